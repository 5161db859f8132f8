"""Pictures made from a seed, and a stand-in that lets timm draw from a NumPy generator in our order."""

import numpy as np
from PIL import Image

EVAL_SIZES = ((50, 37), (37, 50), (40, 40), (64, 33), (300, 37))
CROP_SIZES = ((50, 37), (37, 50), (90, 12), (12, 90))
SIDE = 32
SEEDS = range(4)


def picture(W, H, seed=0):
    """Coarse squares, a gradient and noise: PIL image, RGB."""
    rng = np.random.default_rng([W, H, seed])
    squares = np.kron(rng.integers(0, 200, (H // 8 + 1, W // 8 + 1, 3)), np.ones((8, 8, 1), int))[:H, :W]
    pixels = squares + np.linspace(0, 40, W)[None, :, None] + rng.integers(0, 16, (H, W, 3))
    return Image.fromarray(pixels.astype(np.uint8))


class Draws:
    """The functions of Python's `random` that timm uses, on a NumPy generator."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def random(self):
        return self.rng.random()

    def uniform(self, low, high):
        return self.rng.uniform(low, high)

    def randint(self, low, high):
        return low + int(self.rng.integers(high - low + 1))
