"""Images in folders, one folder a class, as ImageNet's `train/<wnid>/*.JPEG`, and their reader (lesson 10)."""

import contextlib
import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .names import composed, some

# Kinds of pictures that Pillow reads whole: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000, PNM, Targa, QOI.
EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff",
              ".avif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".qoi")
LITTER = ("thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r", "__macosx", "@eadir", "lost+found")  # of systems

# Neither is a fault: a large photograph (from twice Image.MAX_IMAGE_PIXELS on Pillow refuses one, and `load_image` says
# so), and damaged notes beside a whole picture.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", "Corrupt EXIF data")


class ImageFolder:
    """The images of a folder with one folder a class; names that begin with a dot and systems' litter do not count.

    Args:
        root (str or Path): the folder.

    Attributes:
        classes: names of the class folders, sorted, accents composed.
        paths: the images (EXTENSIONS, in any case), sorted within each class.
        labels: int32 array, the index in `classes` of every path.
        left_out: paths of what else lies there, a folder with a slash at its end; `told_left_out` makes it a sentence.

    Raises:
        ValueError: the folder is missing, has no class folder, or a class folder holds no image.
    """

    def __init__(self, root):
        self.root = Path(root)
        if not self.root.is_dir():
            raise ValueError(f"{root}: no such folder; give the folder that holds one folder a class")
        folders = sorted((composed(entry.name), entry.name) for entry in visible(self.root) if entry.is_dir())
        self.classes = [name for name, _ in folders]
        if not self.classes:
            raise ValueError(holds_no_class(self.root))
        self.left_out = sorted(entry.path for entry in visible(self.root) if not entry.is_dir())
        self.paths, labels = [], []
        for label, (name, folder) in enumerate(folders):
            if name in self.classes[label - 1:label]:
                raise ValueError(f"{self.root}: holds two folders {name!r}, with composed and with separate accents; "
                                 "put their images into one")
            found, others = images_in(self.root / folder)
            if not found:
                raise ValueError(holds_no_image(self.root / folder, others) + "; fill or remove the class folder")
            self.paths += found
            self.left_out += others
            labels += [label] * len(found)
        self.labels = np.array(labels, np.int32)

    def __len__(self):
        return len(self.paths)


def visible(folder):
    """Entries of a folder but those whose names begin with a dot, and the litter of systems."""
    return [entry for entry in os.scandir(folder)
            if not entry.name.startswith(".") and entry.name.lower() not in LITTER]


def images_in(folder):
    """Paths of the images in a folder, and of all else in it, a folder with a slash at its end; each sorted."""
    images, others = [], []
    for entry in visible(folder):
        if entry.is_dir():
            others.append(entry.path + "/")
        else:
            (images if entry.name.lower().endswith(EXTENSIONS) else others).append(entry.path)
    return sorted(images), sorted(others)


def holds_no_class(folder):
    """A sentence on a folder without class folders, and how ImageNet's val/ gets them."""
    flat = len(images_in(folder)[0])
    return (f"{folder}: holds no class folder" + f" but {flat:,} images" * bool(flat) + f"; images belong in {folder}"
            "/<class>/" + " (ImageNet's val/ of Kaggle: data_scripts/prepare_imagenet.py --sort)" * bool(flat))


def holds_no_image(folder, others):
    """The beginning of a sentence on a folder without images; `others` is what it holds instead."""
    instead = f", only {some(names_within(folder, others), 3)}"
    return f"{folder}: holds no image ({', '.join(EXTENSIONS[:5])} ...){instead * bool(others)}"


def names_within(folder, paths):
    """Paths as seen from a folder; a slash at the end stays."""
    return [os.path.relpath(path, folder) + "/" * path.endswith("/") for path in paths]


def told_left_out(folder):
    """One sentence on what lies among the images of a folder and is not read, and why; "" if there is nothing.

    Args:
        folder (ImageFolder or MaskFolder): with the attributes root and left_out.
    """
    if not folder.left_out:
        return ""
    names = names_within(folder.root, folder.left_out)
    files, folders = ([name for name in names if name.endswith("/") == inner] for inner in (False, True))
    told = [f"{len(found)} {what}: {some(found, 3)}" for found, what in (
        (files, "that are no images of a kind or in a place that is read"),
        (folders, "that are folders within a folder of images")) if found]
    return f"{folder.root}: left out {'; '.join(told)}"


def check_same_classes(train, val):
    """Raise ValueError, naming the classes, if two ImageFolders do not have the same ones."""
    only_train, only_val = (sorted(set(a.classes) - set(b.classes)) for a, b in ((train, val), (val, train)))
    if only_train or only_val:
        sides = [f"only in {folder.root}: {some(names)}"
                 for folder, names in ((train, only_train), (val, only_val)) if names]
        raise ValueError(f"class folders differ ({'; '.join(sides)}); labels would not agree")


def load_image(path, upright=False):
    """Read an image as RGB, whatever it is stored as: grey, palette, CMYK, with alpha or 16 bits.

    Alpha is dropped and CMYK converted as Pillow does it; of 16-bit grey the upper 8 bits are kept, as
    Pillow keeps them of 16-bit RGB. Of an animation it is the first picture.

    Args:
        path (str or Path): the file.
        upright (bool): turn the picture as its EXIF orientation asks for, as one that is looked at, or laid over a
            mask. In classification it is not turned: the original recipe reads images with `Image.open(path)` and
            `convert("RGB")` alone, and the released weights are trained and measured on images read so.

    Raises:
        ValueError: naming the file, if it cannot be read to its end, is too large, or its numbers have no fixed white.
    """
    try:
        with Image.open(path) as image:
            if upright:
                with contextlib.suppress(Exception):  # damaged EXIF raises many types; the picture may be whole
                    image = ImageOps.exif_transpose(image)
            return _as_rgb(image)
    except Exception as fault:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise ValueError(f"{path}: cannot be read as an image ({reason(path, fault)}); "
                         "replace or remove the file") from fault


def _as_rgb(image):
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        if image.mode == "F" or values.min() < 0 or values.max() > 0xFFFF:
            raise ValueError("its numbers are no colours of 8 or 16 bits")
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # directly to RGB Pillow would warn
    return image.convert("RGB")


def reason(path, fault):
    """Why Pillow refused a file, in words."""
    if isinstance(fault, Image.DecompressionBombError):
        return f"more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels"
    if isinstance(fault, UnidentifiedImageError):
        return "the file is empty" if os.path.getsize(path) == 0 else "not a picture of a kind that Pillow knows"
    return getattr(fault, "strerror", None) or fault
