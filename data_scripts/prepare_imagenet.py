#!/usr/bin/env python3
"""Unpack ImageNet (ILSVRC 2012) into the layout that training reads, or check a folder that is already in it.

    FOLDER/train/<wnid>/*.JPEG    1,281,167 images, 1,000 classes
    FOLDER/val/<wnid>/*.JPEG         50,000 images

Get the three archives from https://image-net.org/download-images (an account is needed), then

    python data_scripts/prepare_imagenet.py --archives DOWNLOADS --folder imagenet
    python data_scripts/prepare_imagenet.py --check imagenet

Kaggle's edition (ILSVRC/Data/CLS-LOC) has all validation images flat in val/, and their classes in a table. Sort them:

    python data_scripts/prepare_imagenet.py --sort ILSVRC/Data/CLS-LOC/val --truth LOC_val_solution.csv

Archives are compared with their MD5 sums before anything is unpacked. A class appears only when it is complete, so
the program may be stopped at any moment and run again: what is complete stays. About 145 GB are written.
"""

import argparse
import contextlib
import csv
import hashlib
import io
import os
import re
import shutil
import sys
import tarfile
import zlib
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from scipy.io import loadmat
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from twins_lib.training.errors import printable, run  # noqa: E402
from twins_lib.training.images import (  # noqa: E402
    ImageFolder,
    check_same_classes,
    holds_no_class,
    holds_no_image,
    images_in,
    load_image,
    told_left_out,
    visible,
)
from twins_lib.training.names import composed  # noqa: E402
from twins_lib.weights import place, writing  # noqa: E402

# Sums of the official archives, as torchvision.datasets.imagenet lists them too.
OFFICIAL = {
    "train": ("ILSVRC2012_img_train.tar", "1d675b47d978889d74fa0da5fadfb00e"),
    "val": ("ILSVRC2012_img_val.tar", "29b22e2961454d5413ddabcf34fc5622"),
    "devkit": ("ILSVRC2012_devkit_t12.tar.gz", "fa75699e90414af021442c21a62c3abf"),
}
IMAGES = {"train": 1281167, "val": 50000}
WNID = re.compile(r"n\d{8}")


# ------------------------------------------------------------------------------------------------------ archives

def check_md5(path, expected):
    """Raise ValueError unless the file has this MD5 sum; a progress bar shows the bytes read."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; download it from https://image-net.org/download-images")
    found = hashlib.md5()
    with path.open("rb") as file, tqdm(total=path.stat().st_size, unit="B", unit_scale=True,
                                       desc=f"checksum of {path.name}") as bar:
        while block := file.read(1 << 22):
            found.update(block)
            bar.update(len(block))
    if found.hexdigest() != expected:
        raise ValueError(f"{path}: MD5 is {found.hexdigest()}, not {expected}; the download is damaged, get it anew")


@contextlib.contextmanager
def opened(archive):
    """An archive to read from; ValueError, naming it, where it is damaged."""
    try:
        with tarfile.open(archive) as tar:
            yield tar
    except (tarfile.TarError, EOFError, zlib.error) as fault:
        raise ValueError(f"{archive}: damaged ({str(fault).splitlines()[0].rstrip(':')}); get it anew") from None


def members(tar, archive):
    """The files of an archive.

    Raises:
        ValueError: a member that is not a file directly in the folder it is unpacked to, but could leave it.
    """
    for member in tar:
        if not member.isfile() or member.name in (".", "..") or member.name != os.path.basename(member.name):
            raise ValueError(f"{archive}: member {member.name!r} is not a file with a plain name and could leave the "
                             "folder; this is not the official archive, give that")
        yield member


def fresh(folder):
    """An empty folder to fill before it is renamed to `folder`; one left from an earlier run is thrown away."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    return part


def unpack_train(archive, folder):
    """Unpack the archive of one archive a class to folder/<wnid>/; return the number of images there."""
    with opened(archive) as outer:
        for member in tqdm(list(members(outer, archive.name)), unit="class", desc="train"):
            wnid = member.name.removesuffix(".tar")
            if not WNID.fullmatch(wnid):
                raise ValueError(f"{archive}: member {member.name!r} is not <wnid>.tar; give the official archive")
            if (folder / wnid).exists():
                continue
            with writing(folder / wnid), tarfile.open(fileobj=outer.extractfile(member)) as inner:
                part = fresh(folder / wnid)
                for image in members(inner, f"{archive.name}/{member.name}"):
                    inner.extract(image, part, filter="data")
                os.rename(part, folder / wnid)
    return sum(len(images_in(entry)[0]) for entry in visible(folder))


def unpack_val(archive, wnids, folder):
    """Unpack the validation archive to folder/<wnid>/; return the number of images there.

    `wnids` has the class of image 1, 2, ... Only a complete folder gets its name.
    """
    if not folder.exists():
        with opened(archive) as tar, writing(folder):
            part = fresh(folder)
            for member in tqdm(members(tar, archive.name), total=len(wnids), unit="image", desc="val"):
                number = re.fullmatch(r"ILSVRC2012_val_(\d{8})\.JPEG", member.name)
                if not number or not 1 <= int(number[1]) <= len(wnids):
                    raise ValueError(f"{archive}: member {member.name!r} is no image that the devkit knows; "
                                     "give the official validation archive and its devkit")
                tar.extract(member, part / wnids[int(number[1]) - 1], filter="data")
            os.rename(part, folder)
    return sum(len(images_in(entry)[0]) for entry in visible(folder))


def classes_of_val(devkit):
    """The wnid of every validation image in order, from the devkit's ground truth and table of classes."""
    with opened(devkit) as tar:
        root = "ILSVRC2012_devkit_t12/data/"
        try:
            table = tar.extractfile(root + "meta.mat").read()
            truth = tar.extractfile(root + "ILSVRC2012_validation_ground_truth.txt").read().split()
        except KeyError as missing:
            raise ValueError(f"{devkit}: {missing.args[0]}; give the official devkit of tasks 1 and 2") from None
    try:
        table = np.atleast_1d(loadmat(io.BytesIO(table), squeeze_me=True)["synsets"])
        wnids = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in table}
        return [wnids[int(number)] for number in truth]
    except Exception as fault:  # SciPy raises a different type for each way a table can be broken
        raise ValueError(f"{devkit}: its table of classes and its ground truth do not fit together ({fault!r}); "
                         "give the official devkit of tasks 1 and 2") from None


def sort_val(folder, truth):
    """Move the images that lie flat in a folder into class folders; run again after a stop, it goes on.

    Args:
        folder (Path): what to sort.
        truth (Path): Kaggle's LOC_val_solution.csv, or the official devkit.

    Raises:
        ValueError: a table that cannot be read, or an image that is not in it; nothing is moved then.
    """
    if truth.suffix == ".csv":
        with truth.open(encoding="utf-8-sig", newline="") as file:
            classes = {row[0]: row[1].split()[0] for row in csv.reader(file) if len(row) > 1 and row[1].split()}
    else:
        classes = {f"ILSVRC2012_val_{i:08d}": wnid for i, wnid in enumerate(classes_of_val(truth), 1)}
    images = [Path(path) for path in images_in(folder)[0]]
    for path in images:
        if not WNID.fullmatch(classes.get(path.stem, "")):
            raise ValueError(f"{path}: has no class in {truth}; give LOC_val_solution.csv of Kaggle's ImageNet, or "
                             "the official devkit")
    with writing(folder, "what is sorted stays: mend that and run this again"):
        for path in tqdm(images, unit="image", desc="sorting"):
            (folder / classes[path.stem]).mkdir(exist_ok=True)
            path.rename(folder / classes[path.stem] / path.name)
    print(f"{folder}: {len(images):,} images sorted")


def prepare(archives, folder, md5):
    """Check, unpack and count; `md5` maps train, val and devkit to the sums that their archives must have."""
    paths = {kind: archives / name for kind, (name, _) in OFFICIAL.items()}
    for kind, path in paths.items():
        check_md5(path, md5[kind])
    counts = {"val": unpack_val(paths["val"], classes_of_val(paths["devkit"]), folder / "val"),
              "train": unpack_train(paths["train"], folder / "train")}
    for kind, count in counts.items():
        if md5[kind] == OFFICIAL[kind][1] and count != IMAGES[kind]:
            raise ValueError(f"{folder / kind}: {count:,} images, not {IMAGES[kind]:,}; remove the classes that are "
                             "short and run this again")
        print(f"{folder / kind}: {count:,} images")
    check_same_classes(ImageFolder(folder / "train"), ImageFolder(folder / "val"))


# -------------------------------------------------------------------------------------------------------- checks

def complaint_about(path):
    """Why an image cannot be read, or None."""
    try:
        load_image(path)
    except ValueError as fault:
        return printable(str(fault))


def check(folder, workers):
    """What is wrong with a folder in ImageNet's layout, or with one folder of classes: a list of sentences."""
    if not folder.is_dir():
        return [f"{folder}: no such folder"]
    splits = [folder / name for name in ("train", "val") if (folder / name).is_dir()]
    complaints = []
    if len(splits) == 1:
        complaints.append(f"{folder / ('val' if splits[0].name == 'train' else 'train')}: missing")
    classes, images = [], []
    for split in splits or [folder]:
        names = sorted(entry.name for entry in visible(split) if entry.is_dir())
        complaints += [] if names else [holds_no_class(split)]
        found, others = ({name: images_in(split / name)[k] for name in names} for k in (0, 1))
        complaints += [holds_no_image(split / name, others[name]) for name in names if not found[name]]
        strangers = [entry.path for entry in visible(split) if not entry.is_dir()] + sum(others.values(), [])
        if told := told_left_out(SimpleNamespace(root=split, left_out=strangers)):
            print(told)
        number, official = sum(map(len, found.values())), IMAGES.get(split.name)
        if official and number != official and len(names) == 1000 and all(map(WNID.fullmatch, names)):
            complaints.append(f"{split}: {number:,} images, but ImageNet has {official:,}")
        classes.append(set(map(composed, names)))
        images += [path for paths in found.values() for path in paths]
    if len(splits) == 2:
        complaints += [f"{splits[1] / name}: missing, train has this class" for name in sorted(classes[0] - classes[1])]
        complaints += [f"{splits[0] / name}: missing, val has this class" for name in sorted(classes[1] - classes[0])]
    with ThreadPool(workers) as pool:  # Pillow decodes outside Python's lock
        read = tqdm(pool.imap(complaint_about, images, chunksize=64), total=len(images), unit="image", desc="reading")
        complaints += filter(None, read)
    return complaints


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--archives", type=place, metavar="FOLDER",
                      help="unpack the archives that lie here: " + ", ".join(name for name, _ in OFFICIAL.values()))
    task.add_argument("--check", type=place, metavar="FOLDER",
                      help="report what is missing, empty or unreadable in a folder with train and val, or of classes")
    task.add_argument("--sort", type=place, metavar="FOLDER", help="move flat validation images into class folders")
    parser.add_argument("--truth", type=place, metavar="FILE", default=Path("LOC_val_solution.csv"),
                        help="for --sort: Kaggle's table, or the official devkit (default: %(default)s)")
    parser.add_argument("--folder", type=place, default=Path("data/imagenet"),
                        help="where to unpack (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(),
                        help="threads that --check reads with (default: one a core)")
    for kind, (name, md5) in OFFICIAL.items():
        parser.add_argument(f"--{kind}-md5", default=md5, metavar="SUM",
                            help=f"what {name} must have, if it is not the official one (default: %(default)s)")
    args = parser.parse_args(arguments)
    if args.check:
        try:
            complaints = check(args.check, max(args.workers, 1))
        except KeyboardInterrupt:
            sys.exit("stopped; nothing was changed")
        except OSError as fault:
            sys.exit(f"{fault.filename}: cannot be read ({fault.strerror})")
        if complaints:
            sys.exit("\n".join(complaints))
        print(f"{args.check}: nothing is missing, empty or unreadable")
        return
    try:
        if args.sort:
            return sort_val(args.sort, args.truth)
        prepare(args.archives, args.folder, {kind: getattr(args, f"{kind}_md5") for kind in OFFICIAL})
    except KeyboardInterrupt:
        sys.exit("stopped; run this again to go on, what is complete stays")
    except (ValueError, OSError) as fault:
        sys.exit(str(fault))


if __name__ == "__main__":
    run(main)
