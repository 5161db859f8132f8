#!/usr/bin/env python3
"""Write the made scenes of `twins_lib.teach.experiments.toy` with their masks, in the layout of ADE20K.

    FOLDER/images/{training,validation}/00000.png         several textured shapes that hide one another
    FOLDER/annotations/{training,validation}/00000.png    the class of each pixel
    FOLDER/classes.txt                                    the names of the classes

The same arguments give the same pictures on every machine. A split that is there already is left as it is, and one
appears only when it is complete.

    python data_scripts/make_scenes.py
    python -m twins_lib.train --config segmentation_mini
"""

import argparse
import os
import shutil
import sys
from functools import partial
from pathlib import Path

from PIL import Image
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from twins_lib.teach.experiments import toy  # noqa: E402
from twins_lib.training.errors import run  # noqa: E402
from twins_lib.weights import place, write_whole, writing  # noqa: E402


def write_split(folder, split, count, seed, size):
    """Draw one split; its two folders appear when both are written, annotations first."""
    images, masks = toy.scenes(count, seed, size, progress=partial(tqdm, unit="image", desc=split))
    for kind, pictures in (("annotations", masks), ("images", images)):
        part = folder / kind / f".{split}.part"
        with writing(folder / kind / split):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            for i, picture in enumerate(pictures):
                Image.fromarray(picture).save(part / f"{i:05d}.png")
            shutil.rmtree(folder / kind / split, ignore_errors=True)
            os.rename(part, folder / kind / split)


def size_of(path):
    """(width, height) of a picture, in pixels."""
    with Image.open(path) as picture:
        return picture.size


def write(args):
    """Write what is not there yet."""
    for number, (split, count) in enumerate((("training", args.train), ("validation", args.val))):
        images = args.folder / "images" / split
        if images.exists():
            found = sorted(images.iterdir())
            if len(found) != count or size_of(found[0]) != (args.size, args.size):
                raise ValueError(f"{images}: is there, but not with {count} scenes of {args.size}x{args.size} pixels; "
                                 "choose another --folder or delete this one")
            print(f"{images}: there already")
        else:
            write_split(args.folder, split, count, 2 * args.seed + number, args.size)
    write_whole(args.folder / "classes.txt", "".join(f"{name}\n" for name in toy.SCENES).encode())


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=place, default=Path("data/scenes"), help="(default: %(default)s)")
    parser.add_argument("--train", type=int, default=320, help="training scenes (default: %(default)s)")
    parser.add_argument("--val", type=int, default=60, help="validation scenes (default: %(default)s)")
    parser.add_argument("--size", type=int, default=64, help="height and width in pixels (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    args = parser.parse_args(arguments)
    try:
        write(args)
    except KeyboardInterrupt:
        sys.exit("stopped; run this again, a split that is complete stays")
    except (ValueError, OSError) as fault:
        sys.exit(str(fault))
    print(f"{args.folder}: {args.train} training and {args.val} validation scenes, {len(toy.SCENES)} classes")


if __name__ == "__main__":
    run(main)
