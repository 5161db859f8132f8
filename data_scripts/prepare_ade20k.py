#!/usr/bin/env python3
"""Unpack ADE20K's scene parsing data (150 classes, 2016) into the layout that training reads, or check a folder.

    FOLDER/images/{training,validation}/*.jpg         20,210 and 2,000 images
    FOLDER/annotations/{training,validation}/*.png    their masks: 0 is "something else", 1 to 150 are classes
    FOLDER/classes.txt                                the names of the 150 classes, from the archive's own table

    python data_scripts/prepare_ade20k.py --archive ADEChallengeData2016.zip --folder ade20k
    python data_scripts/prepare_ade20k.py --download --folder ade20k
    python data_scripts/prepare_ade20k.py --check ade20k

The archive (about 0.9 GB) is that of http://sceneparsing.csail.mit.edu, by MIT CSAIL (Zhou et al., CVPR 2017); read the
terms there. It is compared with its SHA-1 sum before anything is unpacked. A part appears only when it is complete, so
the program may be stopped and run again at any moment; a download goes on where it was stopped. To train on it:
data=ade20k reduce_zero_label=true.
"""

import argparse
import csv
import hashlib
import io
import os
import re
import shutil
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from twins_lib.training.errors import run  # noqa: E402
from twins_lib.training.images import told_left_out, visible  # noqa: E402
from twins_lib.training.labels import count_labels, told_labels  # noqa: E402
from twins_lib.training.masks import MaskFolder  # noqa: E402
from twins_lib.weights import CannotWrite, place, write_whole, writing  # noqa: E402

ADDRESS = "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip"
SHA1 = "219e1696abb36c8ba3a3afe7fb2f4b4606a897c7"  # as GluonCV lists it too; the archive was not at hand here
FILES = {"training": 20210, "validation": 2000}
TABLE = "ADEChallengeData2016/objectInfo150.txt"
WANTED = re.compile(r"ADEChallengeData2016/(images|annotations)/(training|validation)/([\w-]+\.(?:jpg|png))")


def download(address, path):
    """Fetch a file, going on where an earlier run stopped; it gets its name when it is complete."""
    if path.is_file():
        return
    part = path.with_name(path.name + ".part")
    with writing(part):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    done = part.stat().st_size
    request = urllib.request.Request(address, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            done = done if answer.status == 206 else 0  # 200: the server starts over
            total = done + int(answer.headers.get("Content-Length", 0))
            with open(part, "ab" if done else "wb") as file, \
                    tqdm(total=total or None, initial=done, unit="B", unit_scale=True, desc=path.name) as bar:
                while block := answer.read(1 << 18):
                    with writing(part, "make room and run this again to go on"):
                        file.write(block)
                        file.flush()
                    bar.update(len(block))
    except CannotWrite:
        raise
    except urllib.error.HTTPError as fault:
        if fault.code != 416:  # 416: nothing is left to fetch
            raise ValueError(f"{address}: {fault}; get the file in a browser and give it with --archive") from None
    except OSError as fault:
        raise ValueError(f"{address}: cannot be fetched ({getattr(fault, 'reason', fault)}); run this again to go on, "
                         "or get the file in a browser and give it with --archive") from None
    else:
        if total and part.stat().st_size < total:
            raise ValueError(f"{address}: the connection broke; run this again to go on")
    os.replace(part, path)


def check_sha1(path, expected):
    """Raise ValueError unless the file has this SHA-1 sum; a progress bar shows the bytes read."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; get it from {ADDRESS}, or with --download")
    found = hashlib.sha1()
    with path.open("rb") as file, tqdm(total=path.stat().st_size, unit="B", unit_scale=True,
                                       desc=f"checksum of {path.name}") as bar:
        while block := file.read(1 << 22):
            found.update(block)
            bar.update(len(block))
    if found.hexdigest() != expected:
        raise ValueError(f"{path}: SHA-1 is {found.hexdigest()}, not {expected}; the download is damaged: remove it "
                         "and get it anew")


def members(archive):
    """The files to unpack: (kind, split) -> list of (member, plain name).

    Raises:
        ValueError: a member that could leave the folder, or parts that are missing; nothing is unpacked then.
    """
    found = {(kind, split): [] for split in FILES for kind in ("annotations", "images")}
    for member in archive.infolist():
        link = member.external_attr >> 16 & 0o170000 == 0o120000
        if link or member.filename.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", member.filename):
            raise ValueError(f"{archive.filename}: member {member.filename!r} could leave the folder; this is not the "
                             "official archive, give that")
        if match := WANTED.fullmatch(member.filename):
            found[match[1], match[2]].append((member, match[3]))
    missing = ["/".join(part) for part, files in found.items() if not files]
    if missing or TABLE not in archive.namelist():
        raise ValueError(f"{archive.filename}: holds no {', '.join(missing) or TABLE} in ADEChallengeData2016/; give "
                         "the official archive")
    return found


def unpack(path, folder):
    """Unpack what is not there yet; return how many files each part has."""
    counts = {}
    with zipfile.ZipFile(path) as archive:
        for (kind, split), files in members(archive).items():
            final = folder / kind / split
            if not final.exists():
                part = final.with_name(f".{split}.part")
                with writing(final):
                    shutil.rmtree(part, ignore_errors=True)
                    part.mkdir(parents=True)
                    for member, name in tqdm(files, unit="file", desc=f"{kind}/{split}"):
                        with archive.open(member) as source, open(part / name, "wb") as target:
                            shutil.copyfileobj(source, target)
                    os.rename(part, final)
            counts[kind, split] = len(list(final.iterdir()))
        table = csv.DictReader(io.StringIO(archive.read(TABLE).decode()), delimiter="\t")
        names = [row["Name"].split(",")[0].strip() for row in table]
    write_whole(folder / "classes.txt", "".join(f"{name}\n" for name in names).encode())
    return counts


def prepare(path, folder, sha1):
    """Check, unpack and count."""
    check_sha1(path, sha1)
    for (kind, split), count in unpack(path, folder).items():
        if sha1 == SHA1 and count != FILES[split]:
            raise ValueError(f"{folder / kind / split}: {count:,} files, not {FILES[split]:,}; remove this folder and "
                             "run this again")
        print(f"{folder / kind / split}: {count:,} files")


def check(folder):
    """What is wrong with a folder: a list of sentences."""
    complaints, seen = [], []
    for split in FILES:
        try:
            pairs = MaskFolder(folder, split, reduce_zero_label=True)
        except ValueError as fault:
            complaints.append(str(fault))
            continue
        if told := told_left_out(pairs):
            print(told)
        for i in tqdm(range(len(pairs)), unit="pair", desc=split):
            try:
                pairs.load(i)
            except ValueError as fault:
                complaints.append(str(fault))
        masks = {entry.name for entry in visible(folder / "annotations" / split)}
        alone = masks - {path.name for path in pairs.masks}
        complaints += [f"{folder / 'annotations' / split / name}: a mask without an image" for name in sorted(alone)]
        seen += [] if complaints else [count_labels(pairs, len(pairs))]
    if len(seen) == len(FILES):
        print("".join(f"{told}\n" for told in told_labels(pairs.classes, *seen)), end="")
    return complaints


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--archive", type=place, metavar="FILE", help="unpack this archive")
    task.add_argument("--download", action="store_true", help=f"get {ADDRESS} into FOLDER first")
    task.add_argument("--check", type=place, metavar="FOLDER",
                      help="report pairs that are missing, unreadable, of two sizes, or labelled wrongly")
    parser.add_argument("--folder", type=place, default=Path("data/ade20k"), help="where to unpack (%(default)s)")
    parser.add_argument("--sha1", default=SHA1, metavar="SUM",
                        help="what the archive must have, if it is not the official one (%(default)s)")
    args = parser.parse_args(arguments)
    if args.check:
        if complaints := check(args.check):
            sys.exit("\n".join(complaints))
        print(f"{args.check}: every image has a mask of its size and known labels")
        return
    try:
        archive = args.archive or args.folder / "ADEChallengeData2016.zip"
        if args.download:
            download(ADDRESS, archive)
        prepare(archive, args.folder, args.sha1)
    except KeyboardInterrupt:
        sys.exit("stopped; run this again to go on, what is complete stays")
    except zipfile.BadZipFile as fault:
        sys.exit(f"{archive}: not a whole zip archive ({fault}); get it anew")
    except (ValueError, OSError) as fault:
        sys.exit(str(fault))


if __name__ == "__main__":
    run(main)
