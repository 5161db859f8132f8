#!/usr/bin/env python3
"""Put Fashion-MNIST where the lessons find it. After that no network is needed.

70 000 grey pictures of clothes, 28×28 pixels, 10 classes: 60 000 to train on, 10 000 to test.
By Zalando Research (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747), MIT licence, © 2017 Zalando SE.

The four files are taken from
    1. the folder given with --source, if one is given; else
    2. Debian's package, if it is there (apt-get install dataset-fashion-mnist); else
    3. the address in the data set's README, https://github.com/zalandoresearch/fashion-mnist.
Whatever the place, what is inside them is checked before it is kept. Run it again as often as you like:
what is there and right stays, what is missing or damaged is fetched anew.

    python data_scripts/fetch_fashion_mnist.py
"""

import argparse
import sys
import urllib.request
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from twins_lib.teach.experiments.fashion_mnist import FILES, FOLDER, unpack  # noqa: E402
from twins_lib.training.errors import run  # noqa: E402
from twins_lib.weights import CannotWrite, place, write_whole, writing  # noqa: E402

ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def is_right(packed, name):
    """Whether gzip bytes hold exactly what the official file of that name holds."""
    try:
        unpack(packed, name)
    except ValueError:
        return False
    return True


def download(address):
    """The bytes at an address, with a progress bar."""
    with urllib.request.urlopen(address, timeout=30) as answer:
        total = int(answer.headers.get("Content-Length", 0)) or None
        with tqdm(total=total, unit="B", unit_scale=True, desc=address.rsplit("/", 1)[1]) as bar:
            blocks = []
            while block := answer.read(1 << 16):
                blocks.append(block)
                bar.update(len(block))
    return b"".join(blocks)


def fetch(name, source):
    """One file: its bytes, and the place they come from.

    Raises:
        ValueError: what was found is not the official file, or it was found nowhere.
    """
    place = (source or DEBIAN) / name
    if place.is_file():
        packed = place.read_bytes()
    elif source:
        raise ValueError(f"{source}: has no file {name}; give the folder that holds the four .gz files")
    else:
        place = ADDRESS + name
        try:
            packed = download(place)
        except OSError as error:
            raise ValueError(
                f"{place}: cannot be downloaded ({getattr(error, 'reason', error)}); on Debian or Ubuntu "
                "`apt-get install dataset-fashion-mnist` and run this again, or get the four .gz files on another "
                "machine and run this with --source FOLDER") from error
    if not is_right(packed, name):
        raise ValueError(f"{place}: is not the official file (other contents than its checksum); get it anew")
    return packed, place


def keep(kept, source):
    """Bring one file to where it is kept, unless it is there and right."""
    if kept.is_file() and is_right(kept.read_bytes(), kept.name):
        print(f"{kept}: there and right")
        return
    packed, place = fetch(kept.name, source)
    write_whole(kept, packed)
    print(f"{kept}: from {place}, checksum right")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=place, default=FOLDER, help="where to keep them (default: %(default)s)")
    parser.add_argument("--source", type=place, help="a folder that already holds the four .gz files")
    args = parser.parse_args(arguments)
    if args.source and not args.source.is_dir():
        sys.exit(f"--source {args.source}: no such folder")
    try:
        with writing(args.folder):
            args.folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            keep(args.folder / name, args.source)
    except (ValueError, CannotWrite) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    run(main)
