"""A tiny image folder that can be learned, and the settings to train on it, for tests of the whole program."""

from pathlib import Path

import numpy as np
from PIL import Image

from twins_lib.model import Variant

# Two stages that compile in seconds; windows of 3 do not divide their grids of 8, so padding is tried as well.
TINY = Variant((8, 16), (1, 2), (2, 2), (2, 1), (2, 1), (3, 2))


def write_images(root, train=4, val=3, classes=("blue", "green", "red")):
    """PNGs of 40×36 pixels, each class with more of its own channel."""
    rng = np.random.default_rng(0)
    for split, number in (("train", train), ("val", val)):
        for channel, name in enumerate(classes):
            folder = Path(root, split, name)
            folder.mkdir(parents=True)
            for i in range(number):
                pixels = rng.integers(0, 120, (40, 36, 3))
                pixels[..., channel] += 100
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")


def write_config(root, **changes):
    """A config file for `write_images(root / "data")`; returns its path."""
    settings = {"model": "twins_svt_tiny", "data": root / "data", "output": root / "run", "image_size": 32,
                "drop_path": 0.2, "epochs": 3, "batch_size": 4, "peak_lr": 1e-3, "warmup_epochs": 0, "warmup_lr": 1e-3,
                "eps": 1e-3,  # far above rounding, which Adam would else blow up where the gradient is zero
                "device": "CPU", "precision": "O0", "mode": "pynative", "workers": 1, **changes}
    path = Path(root, "config.yaml")
    path.write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
    return path
