"""Store a network that was trained on CIFAR-10: its weights as float16, its log and its score on the test pictures.

    python data_scripts/fetch_cifar10.py
    python -m twins_lib.train --config cifar10_svt_nano
    python -m twins_lib.teach.experiments.photographs runs/cifar10_svt_nano

The test pictures are scored here for the first time: every decision before was made on data/cifar10/val.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from mindspore import Tensor
from safetensors.numpy import save
from tqdm import tqdm

from ... import create_model, load_weights
from ...training.batches import eval_batches
from ...training.config import Config, ConfigError, load_config
from ...training.engine import evaluated
from ...training.images import ImageFolder
from ...training.scores import evaluate
from ...weights import CannotWrite, place, torch_name, write_whole
from .runs import ASSETS, provenance, write

KEPT = ("epoch", "train_lr", "train_loss", "test_loss", "test_acc1", "train_images_per_second")


def tensors_of(model):
    """The weights under their official names, rounded to float16."""
    return {torch_name(p.name): p.asnumpy().astype(np.float16) for p in model.get_parameters()}


def trained(config, classes, weights):
    """The network of a config with the weights of a file."""
    model = create_model(config.model, classes)
    load_weights(model, weights)
    model.set_train(False)
    return model


def batches(config, folder):
    """The pictures of a folder of classes as the config's evaluation sees them, with a progress bar."""
    loader = eval_batches(folder, batch_size=100, image_size=config.image_size, crop_pct=config.crop_pct,
                          workers=config.workers)
    return tqdm(loader, unit="batch", leave=False, disable=None)


def score(model, config, folder):
    """Top-1 and loss on a folder of classes; the network is compiled, and keeps the weights it has now."""
    figures = evaluate(evaluated(model, config.mode), batches(config, folder))
    return {"top1": figures["test_acc1"], "loss": figures["test_loss"], "images": figures["test_images"]}


def confusion(model, config, folder):
    """Pictures of each class (rows) that the network takes for each class (columns), a list of lists of counts."""
    forward, counts = evaluated(model, config.mode), np.zeros((len(folder.classes),) * 2, int)
    for images, labels, valid in batches(config, folder):
        np.add.at(counts, (labels[valid], forward(Tensor(images)).asnumpy().argmax(1)[valid]), 1)
    return counts.tolist()


def seconds_of(log, images):
    """How long the epochs took to train, by the speed that each line of the log names."""
    return round(sum(images / line["train_images_per_second"] for line in log))


def store(run, data, origin, note, output):
    """Write OUTPUT.safetensors and OUTPUT.json from a run's folder."""
    config = load_config(run / "config.yaml", schema=Config)
    train, test = (ImageFolder(Path(data or config.data, split)) for split in ("train", "test"))
    model = trained(config, len(test.classes), run / "best.ckpt")
    content = save(tensors_of(model), {"extra": json.dumps({"classes": test.classes})})
    weights = output.with_suffix(".safetensors")
    write_whole(weights, content)
    stored = trained(config, len(test.classes), weights)
    log = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    card = provenance(f"photographs {output.name}", model=config.model, classes=test.classes, data=origin,
                      input="RGB / 255, minus ImageNet's mean, over its deviation; 32×32 enlarged to 64×64",
                      seed=config.seed, epochs=len(log), note=note, train_images=len(train),
                      seconds=seconds_of(log, len(train)), score_float32=score(model, config, test),
                      score=score(stored, config, test), confusion=confusion(stored, config, test),
                      log=[{key: line[key] for key in KEPT} for line in log])
    write(output.with_suffix(".json"), card)
    return card


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m twins_lib.teach.experiments.photographs", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=place, help="folder of the run, with best.ckpt, config.yaml and log.jsonl")
    parser.add_argument("--data", type=place, help="folder with train/ and test/ (that of the run)")
    parser.add_argument("--origin", default="CIFAR-10, the authors' binary version",
                        help="what the card says of the pictures (%(default)s)")
    parser.add_argument("--note", default="", help="what the card says of how the run went, if not as its config says")
    parser.add_argument("--output", type=place, help="files to write, without their endings (notebooks/assets/NAME)")
    options = parser.parse_args(arguments)
    try:
        output = options.output or ASSETS / options.run.name
        card = store(options.run, options.data, options.origin, options.note, output)
    except (ConfigError, CannotWrite, ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
    print(f"{output}.safetensors: top-1 {card['score']['top1']:.2f} % of {card['score']['images']:,} test pictures")


if __name__ == "__main__":
    main()
