#!/usr/bin/env python3
"""Make a small data set in ImageNet's layout, so that everything that runs on ImageNet runs here in minutes.

    FOLDER/train/<class>/*.JPEG and FOLDER/val/<class>/*.JPEG

Each class is a pattern (stripes, checkers, dots, ...), dark and light, on a disc, a square or a diamond before a
background of any colour. Colours, place, size and period are random: the mean colour hardly tells the classes apart.
The same seed gives the same pictures; classes that are there already are left as they are.

    python data_scripts/make_mini_imagenet.py
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from twins_lib.training.errors import run  # noqa: E402
from twins_lib.weights import CannotWrite, place, writing  # noqa: E402

# Name: where the pattern has its second colour, at u and v periods from its centre.
PATTERNS = {
    "horizontal_stripes": lambda u, v: v % 1 < 0.5,
    "vertical_stripes": lambda u, v: u % 1 < 0.5,
    "rising_stripes": lambda u, v: (u + v) % 1 < 0.5,
    "checkers": lambda u, v: (u % 1 < 0.5) ^ (v % 1 < 0.5),
    "dots": lambda u, v: (u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < 0.12,
    "rings": lambda u, v: np.hypot(u, v) % 1 < 0.5,
    "grid": lambda u, v: (u % 1 < 0.25) | (v % 1 < 0.25),
    "spokes": lambda u, v: np.arctan2(v, u) / np.pi * 6 % 2 < 1,
    "zigzags": lambda u, v: (v + np.abs(u % 1 - 0.5)) % 1 < 0.5,
}
OUTLINES = (
    lambda x, y: x**2 + y**2 < 1,  # disc
    lambda x, y: np.maximum(abs(x), abs(y)) < 0.9,  # square
    lambda x, y: abs(x) + abs(y) < 1.2,  # diamond
)


def scene(pattern, rng, size):
    """One picture of a class: uint8 array (size, size, 3)."""
    rows, columns = np.mgrid[:size, :size]
    x, y = columns - size * rng.uniform(0.35, 0.65), rows - size * rng.uniform(0.35, 0.65)
    radius, period = size * rng.uniform(0.35, 0.5), size * rng.uniform(0.11, 0.17)
    background, first, second = rng.integers(((0,), (0,), (160,)), ((256,), (96,), (256,)), (3, 3))  # any, dark, light
    picture = np.where(PATTERNS[pattern](x / period, y / period)[..., None], second, first)
    inside = OUTLINES[rng.integers(len(OUTLINES))](x / radius, y / radius)
    picture = np.where(inside[..., None], picture, background) + rng.normal(0, 8, (size, size, 3))
    return picture.clip(0, 255).astype(np.uint8)


def write_class(folder, pattern, number, size, key):
    """Write `number` pictures to `folder`, which appears only when all are written."""
    part = folder.with_name(f".{folder.name}.part")
    with writing(folder):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for i in range(number):
            picture = scene(pattern, np.random.default_rng([*key, i]), size)
            Image.fromarray(picture).save(part / f"{pattern}_{i:05d}.JPEG", quality=95)
        os.rename(part, folder)


def write(args):
    """Write the classes that are not there yet."""
    wanted = [(s, split, number, c) for s, (split, number) in enumerate((("train", args.train), ("val", args.val)))
              for c in range(args.classes)]
    for s, split, number, c in tqdm(wanted, unit="class"):
        pattern = list(PATTERNS)[c]
        folder = args.folder / split / pattern
        if not folder.is_dir():
            write_class(folder, pattern, number, args.size, (args.seed, s, c))
        elif len(list(folder.iterdir())) != number:
            sys.exit(f"{folder}: is there, but not with {number} images; remove it or give another --folder")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=place, default=Path("data/mini_imagenet"), help="(default: %(default)s)")
    parser.add_argument("--classes", type=int, default=8, help=f"2 to {len(PATTERNS)} (default: %(default)s)")
    parser.add_argument("--train", type=int, default=100, help="training images a class (default: %(default)s)")
    parser.add_argument("--val", type=int, default=25, help="validation images a class (default: %(default)s)")
    parser.add_argument("--size", type=int, default=96, help="height and width in pixels (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    args = parser.parse_args(arguments)
    if not 2 <= args.classes <= len(PATTERNS):
        sys.exit(f"--classes {args.classes}: there are patterns for 2 to {len(PATTERNS)} classes")
    if min(args.train, args.val, args.size) < 1 or args.seed < 0:
        sys.exit("--train, --val and --size must be at least 1, --seed at least 0")
    try:
        write(args)
    except KeyboardInterrupt:
        sys.exit("stopped; run this again, classes that are complete stay")
    except CannotWrite as fault:
        sys.exit(str(fault))
    print(f"{args.folder}: {args.classes} classes, {args.classes * args.train} images to train on, "
          f"{args.classes * args.val} to validate")


if __name__ == "__main__":
    run(main)
