"""Images in folders, one folder a class, as ImageNet's `train/<wnid>/*.JPEG`, and their reader (lesson 10)."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from .names import composed, some

EXTENSIONS = (".jpg", ".jpeg", ".png")


class ImageFolder:
    """The images of a folder with one folder a class; folders and files that begin with a dot are left out.

    Args:
        root (str or Path): the folder.

    Attributes:
        classes: names of the class folders, sorted, accents composed.
        paths: the images (.jpg, .jpeg, .png in any case), sorted within each class.
        labels: int32 array, the index in `classes` of every path.

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
            raise ValueError(f"{root}: holds no class folder; images belong in {root}/<class>/")
        self.paths, labels = [], []
        for label, (name, folder) in enumerate(folders):
            if name in self.classes[label - 1:label]:
                raise ValueError(f"{self.root}: holds two folders {name!r}, with composed and with separate accents; "
                                 "put their images into one")
            found = images_in(self.root / folder)
            if not found:
                raise ValueError(f"{self.root / folder}: holds no .jpg, .jpeg or .png; fill or remove the class folder")
            self.paths += found
            labels += [label] * len(found)
        self.labels = np.array(labels, np.int32)

    def __len__(self):
        return len(self.paths)


def visible(folder):
    """Entries of a folder whose names do not begin with a dot."""
    return [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]


def images_in(folder):
    """Paths of the images in a folder, sorted."""
    return sorted(entry.path for entry in visible(folder) if entry.name.lower().endswith(EXTENSIONS))


def check_same_classes(train, val):
    """Raise ValueError, naming the classes, if two ImageFolders do not have the same ones."""
    only_train, only_val = (sorted(set(a.classes) - set(b.classes)) for a, b in ((train, val), (val, train)))
    if only_train or only_val:
        sides = [f"only in {folder.root}: {some(names)}"
                 for folder, names in ((train, only_train), (val, only_val)) if names]
        raise ValueError(f"class folders differ ({'; '.join(sides)}); labels would not agree")


def load_image(path):
    """Read an image as RGB, whatever it is stored as: grey, palette, CMYK, with alpha or 16 bits.

    Alpha is dropped and CMYK converted as Pillow does it; of 16-bit grey the upper 8 bits are kept, as
    Pillow keeps them of 16-bit RGB.

    Raises:
        ValueError: naming the file, if it cannot be read to its end.
    """
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):
                return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
            return image.convert("RGB")
    except Exception as fault:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise ValueError(f"{path}: cannot be read as an image ({fault}); replace or remove the file") from fault
