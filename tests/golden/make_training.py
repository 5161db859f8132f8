"""Write training.npz: 200 steps of the recipe by timm and PyTorch, on seeded batches. Only this needs torch and timm.

    python tests/golden/make_training.py
"""

from pathlib import Path

import numpy as np
import timm
import torch
from timm.models.twins import Twins
from timm.optim import param_groups_weight_decay
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV2

import seeded

SIZES = {  # of the lessons' networks, in timm's words
    "twins_svt_nano": {"embed_dims": (16, 32, 64, 96), "num_heads": (1, 2, 4, 6), "mlp_ratios": (4, 4, 4, 4),
                       "depths": (2, 2, 2, 2), "sr_ratios": (4, 2, 1, 1)},
    "twins_pcpvt_nano": {"embed_dims": (16, 32, 64, 96), "num_heads": (1, 2, 4, 6), "mlp_ratios": (8, 8, 4, 4),
                         "depths": (2, 2, 2, 1), "sr_ratios": (4, 2, 1, 1)},
}
WINDOWS = (4, 4, 4, 2)


class Paths(torch.nn.Module):
    """In the place of timm's random DropPath: multiplies each image's branch with a number that is set beforehand."""

    def forward(self, x):
        return x * self.keep[:, None, None]


def network(name):
    """timm's Twins of that size; its windows can only be told for all stages at once, so they are set one by one."""
    model = Twins(img_size=64, num_classes=10, wss=WINDOWS if "svt" in name else None, **SIZES[name])
    shapes = {n: tuple(p.shape) for n, p in model.state_dict().items()}
    model.load_state_dict({n: torch.from_numpy(w) for n, w in seeded.initial(shapes).items()})
    blocks = [block for stage in model.blocks for block in stage]
    for block in blocks:
        block.drop_path1, block.drop_path2 = Paths(), Paths()
    return model.train(), blocks


def train(name):
    r = seeded.TRAINING
    model, blocks = network(name)
    groups = param_groups_weight_decay(model, r["weight_decay"], no_weight_decay_list=model.no_weight_decay())
    optimizer = torch.optim.AdamW(groups, lr=r["peak_lr"])
    schedule = CosineLRScheduler(optimizer, r["epochs"], lr_min=r["min_lr"], warmup_t=r["warmup_epochs"],
                                 warmup_lr_init=r["warmup_lr"])
    average, losses = ModelEmaV2(model, r["ema"]), []
    for epoch in range(r["epochs"]):
        for step in range(epoch * r["steps"], (epoch + 1) * r["steps"]):
            images, targets, keep = map(torch.from_numpy, seeded.batch(step, len(blocks)))
            for block, (first, second) in zip(blocks, keep):
                block.drop_path1.keep, block.drop_path2.keep = first, second
            loss = -(targets * torch.log_softmax(model(images), -1)).sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), r["clip_norm"])
            optimizer.step()
            average.update(model)
            losses.append(loss.item())
        schedule.step(epoch)
    return losses, model, average.module


def main():
    torch.set_num_threads(1)  # so that the order of sums does not depend on the machine's cores
    golden = {"versions": np.array([f"torch {torch.__version__}", f"timm {timm.__version__}"])}
    for name in SIZES:
        losses, *models = train(name)
        golden[f"{name}/losses"] = np.array(losses)
        golden[f"{name}/names"] = np.array([n for n, _ in models[0].named_parameters()])
        for kind, model in zip(("weights", "averages"), models):
            golden[f"{name}/{kind}"] = np.stack([seeded.fingerprint(p.detach().numpy()) for p in model.parameters()])
        print(f"{name}: loss {losses[0]:.3f} at first, {np.mean(losses[-10:]):.3f} in the last epoch")
    path = Path(__file__).with_name("training.npz")
    np.savez_compressed(path, **golden)
    print(f"{path}: {path.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
