#!/usr/bin/env python3
"""Put CIFAR-10 where `python -m twins_lib.train --config cifar10_svt_nano` finds it. After that no network is needed.

60,000 small photographs, 32×32 pixels in colour, of ten classes: airplane, automobile, bird, cat, deer, dog, frog,
horse, ship, truck. By Alex Krizhevsky, Vinod Nair and Geoffrey Hinton ("Learning Multiple Layers of Features from Tiny
Images", Krizhevsky 2009), who ask to be cited and state no licence.

The authors' binary version (162 MB) is downloaded, checked against their MD5 sum and unpacked as PNG files:
    train/<class>/  4,500 of each class, to learn from
    val/<class>/      500 of each class, the last of the authors' training pictures, for every decision
    test/<class>/   1,000 of each class, the authors' test pictures, to be scored once

Stop it and run it again as often as you like: a download goes on where it ended.

    python data_scripts/fetch_cifar10.py
"""

import argparse
import hashlib
import shutil
import sys
import tarfile
import urllib.error
import urllib.request
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from twins_lib.training.errors import run  # noqa: E402
from twins_lib.weights import CannotWrite, place, writing  # noqa: E402

ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # as https://www.cs.toronto.edu/~kriz/cifar.html gives it
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCHES = {f"data_batch_{i}.bin": "train" for i in range(1, 6)} | {"test_batch.bin": "test"}
RECORD = 1 + 3 * 32 * 32  # the label, then red, green and blue, each row by row
VAL = 500  # pictures of each class that are kept from training for validation


def download(address, path):
    """Fetch a file to `path`, from where an earlier download ended, with a progress bar.

    Raises:
        ValueError: the address is not reached; what has come stays, and the next run goes on with it.
    """
    there = path.stat().st_size if path.is_file() else 0
    ask = urllib.request.Request(address, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        with urllib.request.urlopen(ask, timeout=30) as answer, writing(path), open(path, "ab") as file:
            if there and answer.status != 206:  # a server that only sends whole files
                file.truncate(0)
                there = 0
            total = there + int(answer.headers.get("Content-Length", 0))
            with tqdm(total=total, initial=there, unit="B", unit_scale=True, desc=path.name) as bar:
                while block := answer.read(1 << 16):
                    file.write(block)
                    bar.update(len(block))
    except CannotWrite:
        raise
    except OSError as error:
        if isinstance(error, urllib.error.HTTPError) and error.code == 416:  # nothing is left to ask for
            return
        raise ValueError(f"{address}: cannot be downloaded ({getattr(error, 'reason', error)}); run this again to go "
                         "on, or get the file on another machine and run this with --source FILE") from None


def check(archive, own):
    """Compare an archive with the authors' MD5 sum; one that was downloaded here and is wrong is removed."""
    with open(archive, "rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != MD5:
        if own:
            archive.unlink()
        raise ValueError(f"{archive}: cut short or altered (its MD5 sum is {found}, the authors' is {MD5}); "
                         + ("it is removed, run this again" if own else f"get it anew from {ADDRESS}"))


def pictures(archive):
    """Yield split, label and pixels (32, 32, 3) of each picture, in the order of the archive's files."""
    try:
        with tarfile.open(archive) as packed:
            for name, split in BATCHES.items():
                content = packed.extractfile(f"cifar-10-batches-bin/{name}").read()
                for record in np.frombuffer(content, np.uint8).reshape(-1, RECORD):
                    yield split, int(record[0]), record[1:].reshape(3, 32, 32).transpose(1, 2, 0)
    except (tarfile.TarError, KeyError, ValueError, EOFError, zlib.error) as error:
        raise ValueError(f"{archive}: not CIFAR-10's binary version ({error}); get {ADDRESS}") from None


def unpack(archive, folder):
    """Write all pictures as PNG files, into a folder that gets its name when it is whole."""
    unfinished = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    found = {split: [[] for _ in CLASSES] for split in ("train", "test")}
    for split, label, pixels in pictures(archive):
        found[split][label].append(pixels)
    splits = {"train": [of[:-VAL] for of in found["train"]], "val": [of[-VAL:] for of in found["train"]],
              "test": found["test"]}
    with writing(folder), tqdm(total=sum(len(of) for each in splits.values() for of in each), unit="picture") as bar:
        for split, of_classes in splits.items():
            for name, of_class in zip(CLASSES, of_classes):
                home = unfinished / split / name
                home.mkdir(parents=True)
                for i, pixels in enumerate(of_class):
                    Image.fromarray(pixels).save(home / f"{i:04}.png")
                    bar.update()
        unfinished.rename(folder)
    return {split: sum(map(len, each)) for split, each in splits.items()}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=place, default=Path("data/cifar10"), help="where to keep them (%(default)s)")
    parser.add_argument("--source", type=place, help="cifar-10-binary.tar.gz, if it is on this machine already")
    options = parser.parse_args(arguments)
    folder, archive = options.folder, options.source or options.folder.with_name("cifar-10-binary.tar.gz")
    if folder.exists():
        print(f"{folder}: is there already; to make it anew, remove it first")
        return
    if options.source and not options.source.is_file():
        sys.exit(f"--source {options.source}: no such file")
    try:
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
        if not options.source:
            download(ADDRESS, archive)
        check(archive, own=not options.source)
        counts = unpack(archive, folder)
        if not options.source:
            archive.unlink()
    except (ValueError, CannotWrite) as error:
        sys.exit(str(error))
    print(f"{folder}: " + ", ".join(f"{count:,} pictures in {split}/" for split, count in counts.items()))


if __name__ == "__main__":
    run(main)
