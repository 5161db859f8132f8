"""Write transforms.npz: what torchvision and timm make of seeded pictures. Needs both; the tests need neither.

    python tests/golden/make_transforms.py        (written with timm 1.0.31, torchvision 0.29.1, Pillow 13.0.0)
"""

from pathlib import Path

import numpy as np
import timm.data.auto_augment
import timm.data.random_erasing
import timm.data.transforms
import torch
from pictures import CROP_SIZES, EVAL_SIZES, SEEDS, SIDE, Draws, picture
from PIL import Image
from torchvision import transforms

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MAGNITUDE = 8.6


def evaluated(image):
    """The official evaluation transform, at 32 pixels instead of 224."""
    resize = transforms.Resize(int(SIDE / 0.875), interpolation=transforms.InterpolationMode.BICUBIC)
    return np.asarray(transforms.CenterCrop(SIDE)(resize(image)))


def normalised(image):
    return transforms.Normalize(MEAN, STD)(transforms.ToTensor()(image)).numpy()


def cropped(image, seed):
    timm.data.transforms.random = Draws(seed)
    return np.asarray(timm.data.transforms.RandomResizedCropAndInterpolation(SIDE, interpolation="bicubic")(image))


def erased(seed):
    draws = Draws(seed)
    timm.data.random_erasing.random = draws
    timm.data.random_erasing._get_pixels = lambda pixel, colour, shape, **_: torch.from_numpy(
        draws.rng.standard_normal(shape, np.float32))
    return timm.data.random_erasing.RandomErasing(1.0, mode="pixel", device="cpu")(torch.zeros(3, 24, 32)).numpy()


def augmented(name, image, negative):
    """One operation of rand-m9-mstd0.5-inc1 at the magnitude MAGNITUDE, with either sign."""
    draws = Draws(0)
    draws.random = lambda: 0.9 if negative else 0.1
    draws.gauss = lambda mean, deviation: MAGNITUDE
    timm.data.auto_augment.random = draws
    options = {"img_mean": tuple(min(255, round(255 * x)) for x in MEAN), "magnitude_std": 0.5,
               "interpolation": Image.Resampling.BICUBIC}
    operation = timm.data.auto_augment.AugmentOp(name, prob=1.0, magnitude=9, hparams=options)
    return np.asarray(operation(image))


def main():
    golden = {f"eval/{W}x{H}": evaluated(picture(W, H)) for W, H in EVAL_SIZES}
    golden["normalise"] = normalised(picture(24, 16))
    for seed in SEEDS:
        for W, H in CROP_SIZES:
            golden[f"crop/{W}x{H}/{seed}"] = cropped(picture(W, H), seed)
        golden[f"erase/{seed}"] = erased(seed)
    for name in timm.data.auto_augment._RAND_INCREASING_TRANSFORMS:
        for negative in (False, True):
            golden[f"augment/{name}/{negative}"] = augmented(name, picture(32, 24), negative)
    np.savez_compressed(Path(__file__).with_name("transforms.npz"), **golden)


if __name__ == "__main__":
    main()
