#!/usr/bin/env python3
"""Write one of the made data sets of `twins_lib.teach.experiments.toy` to a folder.

Two forms:
    npz   one file with the arrays: images, labels and, if there are any, marks; or images and masks
    png   one picture a file. Labelled sets as FOLDER/CLASS/00000.png, the layout image folders have everywhere;
          far_pairs, borders, sides and matches with marks.csv beside; scenes, enclosures and legends as
          FOLDER/images/00000.png and FOLDER/masks/00000.png

The same arguments give the same pixels on every machine; the checksum printed at the end says so.
A second run finds its work done; after a stop, the same command starts over. Nothing else in the folder is touched.

    python data_scripts/make_toy_data.py shapes data/shapes/train --count 4000 --seed 0 --form png
"""

import argparse
import io
import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from twins_lib.teach.experiments import toy  # noqa: E402
from twins_lib.training.errors import run  # noqa: E402
from twins_lib.weights import CannotWrite, place, write_whole, writing  # noqa: E402

CLASSES = {
    "far_pairs": ("different", "same"), "textures": toy.TEXTURES, "corners": toy.CORNERS,
    "borders": ("apart", "touching"), "sides": ("left", "right"), "matches": ("none", "one"),
    "shapes": toy.SHAPES, "silhouettes": toy.SHAPES,
    "scenes": toy.SCENES, "enclosures": toy.ENCLOSURES, "legends": toy.LEGENDS,
}
MASKED = ("scenes", "enclosures", "legends")  # a class for each pixel


def make(name, count, seed, size):
    """The arrays of one data set by name: {"images": ..., "labels": ...} and so on, and their checksum."""
    options = {} if size is None else {"size": size}
    if name in ("shapes", *MASKED):  # the others take no time
        options["progress"] = partial(tqdm, unit="image", desc="drawing")
    made = getattr(toy, name)(count, seed, **options)
    names = ("images", "masks") if name in MASKED else ("images", "labels", "marks")
    return dict(zip(names, made, strict=False)), toy.checksum(*made)


def replace(path, content):
    """Write bytes to a file, whole or not at all, in a folder that need not be there yet."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)


def png(array):
    """A picture (H, W, 3) or a mask (H, W), uint8, as the bytes of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, "png")
    return file.getvalue()


def npz(arrays):
    """Named arrays as the bytes of an npz file."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def write_pictures(name, arrays, folder):
    """One picture a file, and beside it what the name of a folder cannot tell."""
    for i, image in enumerate(tqdm(arrays["images"], unit="image", desc="writing")):
        if name in MASKED:
            replace(folder / "images" / f"{i:05d}.png", png(image))
            replace(folder / "masks" / f"{i:05d}.png", png(arrays["masks"][i]))
        else:
            of_class = CLASSES[name][arrays["labels"][i]].replace(" ", "_")
            replace(folder / of_class / f"{i:05d}.png", png(image))
    if "marks" in arrays:
        rows = [f"{i:05d},{row},{column}\n" for i, (row, column) in enumerate(arrays["marks"])]
        replace(folder / "marks.csv", "".join(["image,row,column\n", *rows]).encode())


def write(args, arrays):
    """Write the data set in the form that was asked for."""
    if args.form == "npz":
        replace(args.folder / "data.npz", npz(arrays))
    else:
        write_pictures(args.name, arrays, args.folder)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=CLASSES, help="which data set")
    parser.add_argument("folder", type=place, help="where to write")
    parser.add_argument("--count", type=int, default=1000, help="images (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other images (default: %(default)s)")
    parser.add_argument("--size", type=int, help="side in pixels (default: the data set's own)")
    parser.add_argument("--form", choices=("npz", "png"), default="npz", help="default: %(default)s")
    args = parser.parse_args(arguments)
    card = args.folder / "made.json"
    asked = {key: getattr(args, key) for key in ("name", "count", "seed", "size", "form")}
    if card.exists():
        found = json.loads(card.read_text())
        checksum = found.pop("checksum", None)
        if found != asked:
            sys.exit(f"{args.folder}: holds another data set, {found}; choose another folder or delete this one")
        if checksum:
            print(f"{args.folder}: already made, checksum {checksum}")
            return
    elif args.folder.is_dir() and any(args.folder.iterdir()):
        sys.exit(f"{args.folder}: holds files of something else; choose an empty folder")
    try:
        arrays, checksum = make(args.name, args.count, args.seed, args.size)
        replace(card, json.dumps(asked).encode())
        write(args, arrays)
        replace(card, json.dumps({**asked, "checksum": checksum}).encode())
    except CannotWrite as fault:
        sys.exit(str(fault))
    except ValueError as error:
        sys.exit(f"{args.name}: {error}")
    print(f"{args.folder}: {args.count} images of {args.name}, checksum {checksum}")


if __name__ == "__main__":
    run(main)
