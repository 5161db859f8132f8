"""Train timm's Twins of the nano's sizes in PyTorch, from the weights and on the batches of `compare networks`.

    python -m twins_lib.teach.experiments.compare_timm

Needs torch and timm, which the course does not install. `compare networks` takes its scores into the card.
"""

import argparse
import json
import sys
from pathlib import Path

import mindspore as ms
from tqdm import tqdm

from ...model import VARIANTS, create_model
from ...training.batches import eval_batches, train_batches
from ...training.config import load_config
from ...training.images import ImageFolder
from ...training.recipe import learning_rates
from ...weights import CannotWrite, place, torch_name, write_whole
from .compare import BUDGET, PER_CLASS, RUNS, SEEDS, TIMM, check_same, named, part


def theirs(seed, classes):
    """timm's Twins of the nano's sizes, with the weights that MindSpore draws for the seed."""
    import torch
    from timm.models.twins import Twins

    v = VARIANTS["twins_svt_nano"]
    model = Twins(img_size=64, num_classes=classes, embed_dims=v.dims, num_heads=v.heads, mlp_ratios=v.mlp_ratios,
                  depths=v.depths, sr_ratios=v.sr_ratios, wss=v.windows)
    ms.set_seed(seed)
    ours = create_model("twins_svt_nano", classes)
    model.load_state_dict({torch_name(p.name): torch.from_numpy(p.asnumpy()) for p in ours.get_parameters()})
    return model


def train(model, config, pictures, bar):
    """The recipe of a config by PyTorch's AdamW and timm's groups; the batches are those of `train_batches`."""
    import torch
    from timm.optim import param_groups_weight_decay

    groups = param_groups_weight_decay(model, config.weight_decay, no_weight_decay_list=model.no_weight_decay())
    optimizer = torch.optim.AdamW(groups, lr=config.peak_lr, eps=config.eps)
    rates = learning_rates(config.peak_lr, config.epochs, config.warmup_epochs, config.warmup_lr, config.min_lr)
    for epoch, rate in enumerate(rates):
        for group in optimizer.param_groups:
            group["lr"] = float(rate)
        for images, targets in train_batches(pictures, batch_size=config.batch_size, image_size=config.image_size,
                                             seed=config.seed, epoch=epoch, workers=config.workers,
                                             augmentation=config.augmentation):
            images, targets = torch.tensor(images), torch.tensor(targets)
            loss = -(targets * torch.log_softmax(model(images), -1)).sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            optimizer.step()
            bar.update()
            bar.set_postfix(loss=f"{loss.item():.2f}")


def score(model, config, pictures):
    """Percent right on a folder of classes."""
    import torch

    model.eval()
    right = 0
    with torch.no_grad():
        for images, labels, valid in eval_batches(pictures, batch_size=100, image_size=config.image_size,
                                                  crop_pct=config.crop_pct, workers=config.workers):
            right += int((model(torch.tensor(images)).numpy().argmax(1) == labels)[valid].sum())
    return round(100 * right / len(pictures), 2)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m twins_lib.teach.experiments.compare_timm", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=place, default=Path("data/cifar10"), help="train/, val/, test/ (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        check_same(options.data)
        pictures, tested = ImageFolder(part(options.data, PER_CLASS) / "train"), ImageFolder(options.data / "test")
        for seed in SEEDS:
            done = RUNS / named(TIMM) / f"seed{seed}" / "score.json"
            if done.exists():
                continue
            config = load_config("cifar10_svt_nano", [*BUDGET, f"seed={seed}"])
            model = theirs(seed, len(pictures.classes))
            steps = config.epochs * (len(pictures) // config.batch_size)
            with tqdm(total=steps, unit="step", desc=f"seed {seed}") as bar:
                train(model.train(), config, pictures, bar)
            done.parent.mkdir(parents=True, exist_ok=True)
            write_whole(done, json.dumps({"top1": score(model, config, tested), "images": len(tested)}).encode())
    except ModuleNotFoundError as missing:
        sys.exit(f"error: {missing.name} is not installed; this program needs torch and timm")
    except (CannotWrite, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
