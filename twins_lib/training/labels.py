"""Which labels masks really hold, counted before hours are spent on a class that no picture has (lesson 09)."""

from dataclasses import dataclass
from multiprocessing.pool import ThreadPool

import numpy as np
from tqdm import tqdm

from ..segmentation import IGNORE

MOST = 2000  # masks of a split that are looked at before a training: some seconds


@dataclass
class Seen:
    """What the masks of a split hold.

    Attributes:
        split: "training" or "validation".
        masks: int array (K,), how many of the masks that were looked at hold each class.
        looked, number: masks that were looked at, and all of the split.
        uncounted: share of their pixels that does not count, in [0, 1].
    """

    split: str
    masks: np.ndarray
    looked: int
    number: int
    uncounted: float

    def __str__(self):
        part = f" that were looked at, of {self.number:,}" if self.looked < self.number else ""
        return f"{self.looked:,} {self.split} masks{part}"


def count_labels(folder, most=MOST):
    """Read the masks of a `MaskFolder`, or `most` of them at even distances, and count the masks of every class.

    Returns:
        Seen.

    Raises:
        ValueError: a mask that cannot be read, or a label that no class has.
    """
    chosen = np.unique(np.linspace(0, len(folder) - 1, min(most, len(folder))).round().astype(int))
    totals = np.zeros(256, np.int64), np.zeros(256, np.int64)  # masks that hold a label, and pixels
    with ThreadPool() as pool:  # Pillow decodes outside Python's lock
        read = pool.imap_unordered(lambda i: np.bincount(folder.labels(i).ravel(), minlength=256), chosen, chunksize=16)
        for counts in tqdm(read, total=len(chosen), unit="mask", desc=f"labels of {folder.split}", leave=False,
                           disable=None):
            totals[0][:] += counts > 0
            totals[1][:] += counts
    masks, pixels = totals
    return Seen(folder.split, masks[:len(folder.classes)], len(chosen), len(folder), pixels[IGNORE] / pixels.sum())


def told_labels(names, train, val):
    """What a training should know of labels that are missing somewhere, or do not count: a list of sentences.

    Args:
        names (list of str): the classes, in the order of their labels.
        train, val (Seen): of the two splits.

    Raises:
        ValueError: no pixel to train on counts.
    """
    if not train.masks.any():
        raise ValueError(f"no pixel counts in any of the {train}; are all of them labelled {IGNORE}?")
    known, scored = train.masks > 0, val.masks > 0
    told = {f"in none of the {train}, so never learned, but scored": (~known & scored, val),
            f"in none of the {train} and of the {val}": (~known & ~scored, None),
            f"learned, but in none of the {val}, so without a score": (known & ~scored, train)}
    said = []
    for what, (which, seen) in told.items():
        numbers = [f" (in {number:,} {seen.split} masks)" if seen else "" for number in (seen or train).masks]
        if which.any():
            said.append(f"{what}: " + ", ".join(repr(names[k]) + numbers[k] for k in np.flatnonzero(which)))
    return said + [f"{100 * seen.uncounted:.3g} % of the pixels of the {seen} do not count"
                   for seen in (train, val) if seen.uncounted]
