"""Photographs of CIFAR-10 from the folder where data_scripts/fetch_cifar10.py puts them (lesson 06).

By Krizhevsky, Nair and Hinton ("Learning Multiple Layers of Features from Tiny Images", Krizhevsky 2009).
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from ...training.images import ImageFolder, load_image

FOLDER = Path(__file__).resolve().parents[3] / "data" / "cifar10"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ANEW = "remove the folder and run data_scripts/fetch_cifar10.py"


def load(split, count, folder=FOLDER):
    """The first photographs of each class, or None where CIFAR-10 has not been fetched.

    Args:
        split (str): "train", "val" or "test".
        count (int): how many, a multiple of 10.
        folder (str or Path): holds train/, val/ and test/, each with one folder a class.

    Returns:
        uint8 (count, 32, 32, 3), class by class, and int32 (count,), an index into CLASSES. None if there is no such
        folder; `python data_scripts/fetch_cifar10.py` makes it.

    Raises:
        ValueError: the folder is there, but does not hold so many photographs of CIFAR-10.
    """
    if not Path(folder).is_dir():
        return None
    try:
        pictures = ImageFolder(Path(folder) / split)
        if pictures.classes != list(CLASSES):
            raise ValueError(f"{pictures.root}: its class folders are not those of CIFAR-10, {CLASSES[0]} to "
                             f"{CLASSES[-1]}")
        chosen = [first_of(pictures, label, count // len(CLASSES)) for label in range(len(CLASSES))]
        images = [of_cifar10(pictures.paths[i]) for i in np.concatenate(chosen)]
    except ValueError as error:
        raise ValueError(f"{error}; or {ANEW}") from error
    return np.stack(images), pictures.labels[np.concatenate(chosen)]


def first_of(pictures, label, count):
    """Where the first pictures of a class stand in an ImageFolder, (count,); ValueError if there are not so many."""
    found = np.flatnonzero(pictures.labels == label)
    if len(found) < count:
        raise ValueError(f"{pictures.root}: holds {len(found)} of the {count} pictures of {CLASSES[label]!r} asked for")
    return found[:count]


def of_cifar10(path):
    """A picture as uint8 (32, 32, 3); ValueError if it is none or has another size."""
    picture = np.asarray(load_image(path))
    if picture.shape != (32, 32, 3):
        raise ValueError(f"{path}: has {picture.shape[1]}×{picture.shape[0]} pixels, CIFAR-10's have 32×32")
    return picture


def origin(folder=FOLDER):
    """What a card says of the photographs' kind: "CIFAR-10 as PNGs", or "CIFAR-10 as JPEGs of quality 75"."""
    with Image.open(ImageFolder(Path(folder) / "train").paths[0]) as picture:
        if picture.format != "JPEG":
            return f"CIFAR-10 as {picture.format}s"
        quality = [f" of quality {q}" for q in range(1, 101) if tables(q) == picture.quantization]
        return "CIFAR-10 as JPEGs" + "".join(quality[:1])


def tables(quality):
    """The quantization tables that Pillow writes into a JPEG of a quality of 1 to 100."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
    return Image.open(file).quantization
