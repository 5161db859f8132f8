"""Lesson 10's stored run of the mini ImageNet with the official augmentation and mixing, which its settings leave out.

    python -m twins_lib.teach.experiments.mini_recipe

Trains twins_svt_nano three times with the command that a user types, 6 minutes of one core of an AMD EPYC. Stopped and
started again, it goes on: images and runs stay in data/ and runs/ of the working folder.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from mindspore import Tensor

from ...model import create_model
from ...training.batches import eval_batches
from ...training.checkpoints import read_checkpoint
from ...training.images import ImageFolder
from .runs import ASSETS, command, provenance, write

DATA = Path("data/mini_imagenet")
RECIPE = ("augmentation.randaugment=rand-m9-mstd0.5-inc1", "augmentation.erasing=0.25", "augmentation.mixup=0.8",
          "augmentation.cutmix=1.0")
RUNS = {"without, 48 epochs": ("epochs=48",), "with, 8 epochs": RECIPE, "with, 48 epochs": (*RECIPE, "epochs=48")}
KEPT = ("epoch", "train_loss", "test_loss", "test_acc1")


def train(folder, words):
    """Train with settings in addition to those of twins_svt_nano; the command, and a line for each epoch."""
    told = ["-m", "twins_lib.train", "--config", "twins_svt_nano", f"data={DATA}", f"output={folder}", *words]
    subprocess.run([sys.executable, *told, "--resume"], check=True)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return " ".join(["python", *told]), [{key: round(line[key], 4) for key in KEPT} for line in lines]


def confusion(folder):
    """Validation images of each class (rows) that the last checkpoint takes for each class (columns)."""
    images = ImageFolder(DATA / "val")
    model = create_model("twins_svt_nano", len(images.classes))
    weights, _ = read_checkpoint(sorted((folder / "checkpoints").iterdir())[-1])
    for parameter in model.get_parameters():
        parameter.set_data(Tensor(weights[parameter.name]))
    counts = np.zeros((len(images.classes),) * 2, int)
    for batch, labels, valid in eval_batches(images, batch_size=50, image_size=64, workers=1):
        np.add.at(counts, (labels[valid], model(Tensor(batch)).asnumpy().argmax(1)[valid]), 1)
    return images.classes, counts.tolist()


def make(path):
    """Train all and write the card."""
    maker = ASSETS.parents[1] / "data_scripts" / "make_mini_imagenet.py"
    subprocess.run([sys.executable, maker, "--folder", DATA], check=True)
    runs = {}
    for name, words in RUNS.items():
        folder = Path("runs/mini_recipe", name.replace(", ", "_").replace(" ", "_"))
        told, log = train(folder, words)
        classes, counts = confusion(folder)
        runs[name] = {"command": told, "log": log, "confusion": counts}
    write(path, provenance("mini_recipe", seed=0, classes=classes, runs=runs))


if __name__ == "__main__":
    command("mini_recipe", __doc__, {"recipe": (make, "mini_recipe.json")})
