"""From a folder of images to batches, fed by `mindspore.dataset` (lesson 10).

Every random choice is keyed: an image's by (seed, epoch, its index), a batch's mix by (seed, epoch, step). So neither
the number of workers, nor the number of devices that share the global batch, nor a restart in the middle of an epoch
changes a byte of what is trained on.
"""

import functools
import logging
import os
import shutil
import sys
import time

import mindspore.dataset as ds
import numpy as np

from .errors import printable
from .images import load_image
from .recipe import mixup_cutmix
from .transforms import OFFICIAL, eval_transform, normalise, train_transform

ORDER, IMAGE, MIX = 1, 2, 3  # what a key is for
LEAST = 2 ** 20  # bytes of /dev/shm for the locks of one worker process


def keyed(*key):
    """The generator of a key: the same draws wherever and whenever they are made."""
    return np.random.default_rng(key)


class TrainSource:
    """The batches of one rank in one epoch; `source[i]` gives images, targets and a complaint, "" if all is well."""

    def __init__(self, folder, batch_size, image_size, seed, epoch, rank, world, start_step, augmentation):
        self.folder, self.image_size, self.seed, self.epoch = folder, image_size, seed, epoch
        self.start_step, self.augmentation = start_step, augmentation
        self.row_bytes = 12 * batch_size * image_size**2
        together = batch_size * world
        order = keyed(ORDER, seed, epoch).permutation(len(folder))
        order = order[:len(order) // together * together].reshape(-1, together)
        # Mixing pairs the first image of a batch with its last, and so on inwards. A rank takes both ends of the
        # global batch, so the pairs are the same however many ranks share it.
        half = batch_size // 2
        first, last = rank * half, together - rank * half
        self.order = order[start_step:, np.r_[first:first + half, last - half:last]]

    def __len__(self):
        return len(self.order)

    def __getitem__(self, i):
        a, indices = self.augmentation, self.order[i]
        images = np.empty((len(indices), 3, self.image_size, self.image_size), np.float32)
        try:
            for image, index in zip(images, indices):
                rng = keyed(IMAGE, self.seed, self.epoch, index)
                train_transform(load_image(self.folder.paths[index]), self.image_size, rng, a, image)
        except ValueError as complaint:
            return images, np.zeros(0, np.float32), printable(str(complaint))
        rng = keyed(MIX, self.seed, self.epoch, self.start_step + i)
        return *mixup_cutmix(images, self.folder.labels[indices], len(self.folder.classes), rng, a.mixup, a.cutmix,
                             a.mix_prob, a.switch_prob, a.smoothing), ""


class EvalSource:
    """The batches of one rank; `source[i]` gives images, labels, which of them are real, and complaints, one a line."""

    def __init__(self, folder, batch_size, image_size, crop_pct, rank, world):
        self.folder, self.image_size, self.crop_pct = folder, image_size, crop_pct
        self.row_bytes = 12 * batch_size * image_size**2
        together = batch_size * world
        steps = -(-len(folder) // together)
        self.order = np.arange(steps * together).reshape(steps, world, batch_size)[:, rank]

    def __len__(self):
        return len(self.order)

    def __getitem__(self, i):
        indices, complaints = self.order[i], []
        images = np.zeros((len(indices), 3, self.image_size, self.image_size), np.float32)
        labels, valid = np.zeros(len(indices), np.int32), np.zeros(len(indices), bool)
        for b, index in enumerate(indices[indices < len(self.folder)]):
            try:
                image = load_image(self.folder.paths[index])
            except ValueError as complaint:
                complaints.append(printable(str(complaint)))
                continue
            normalise(eval_transform(image, self.image_size, self.crop_pct), images[b])
            labels[b], valid[b] = self.folder.labels[index], True
        return images, labels, valid, "\n".join(complaints)


class Boxed:
    """A source whose rows are packed in a dict: MindSpore passes arrays through /dev/shm, but dicts through a pipe."""

    def __init__(self, source):
        self.source = source

    def __len__(self):
        return len(self.source)

    def __getitem__(self, i):
        return {"row": self.source[i]}


def rows(source, columns, workers):
    """Yield the rows of a source in order, made ahead of time by `workers` processes (a thread for 0 or 1)."""
    workers = min(max(workers, 1), os.cpu_count())  # MindSpore refuses more
    if workers > 1 and sys.platform == "linux" and free_shared_memory() < LEAST * workers:
        warn_once("/dev/shm is missing, full or read-only, so images are read in one thread and not by workers; "
                  "give a container --shm-size=1g, say")
        workers = 1
    # Each holds four rows. Other ranks may want as much, and whoever finds /dev/shm full is killed.
    boxed = workers * 4 * source.row_bytes > free_shared_memory() / 16
    before = ds.config.get_prefetch_size()
    ds.config.set_prefetch_size(2)  # rows are whole batches; read when the first one is asked for
    dataset = ds.GeneratorDataset(Boxed(source) if boxed else source, ["row"] if boxed else columns, shuffle=False,
                                  num_parallel_workers=workers, python_multiprocessing=workers > 1)
    iterator = dataset.create_tuple_iterator(num_epochs=1, output_numpy=True)
    try:
        for row in iterator:
            yield row[0]["row"] if boxed else row
    finally:
        ds.config.set_prefetch_size(before)
        iterator.stop()


def free_shared_memory():
    """Bytes free in /dev/shm, 0 where nothing can be written there; containers often have 64 MB in all."""
    return shutil.disk_usage("/dev/shm").free if os.access("/dev/shm", os.W_OK) else 0


@functools.cache
def warn_once(text):
    logging.getLogger("twins_lib").warning(text)


class TrainBatches:
    """What `train_batches` returns: iterate for one epoch; `len()` is the number of batches that remain in it."""

    def __init__(self, source, workers):
        self.source, self.workers = source, workers

    def __len__(self):
        return len(self.source)

    def __iter__(self):
        for images, targets, complaint in rows(self.source, ["images", "targets", "complaint"], self.workers):
            if str(complaint):
                raise ValueError(str(complaint))
            yield images, targets


def train_batches(folder, *, batch_size, image_size, seed, epoch, rank=0, world=1, start_step=0, workers=2,
                  augmentation=OFFICIAL):
    """One epoch of augmented, mixed, shuffled batches; images beyond the last whole global batch are left out.

    `world` ranks with batches of `batch_size` together see what one rank with `world * batch_size` sees.

    Args:
        folder (ImageFolder): where the images are.
        batch_size (int): B, images a step on this rank, even.
        image_size (int): H = W in pixels.
        seed, epoch (int): what all draws are keyed by, at least 0.
        rank, world (int): this device's number, and how many share the epoch.
        start_step (int): batches of this epoch that have been trained on already.
        workers (int): processes that make batches, one a core at most; 0 or 1 makes them in a thread of this process.
        augmentation (Augmentation): what is done to them.

    Returns:
        TrainBatches that iterate images (B, 3, H, W) and targets (B, classes), float32 arrays.

    Raises:
        ValueError: an odd batch, fewer images than one global batch, or, while iterating, an unreadable image.
    """
    if batch_size < 2 or batch_size % 2:
        raise ValueError(f"batch_size {batch_size}: must be even and at least 2, because images are mixed in pairs")
    if len(folder) < batch_size * world:
        raise ValueError(f"{folder.root}: {len(folder)} images do not fill one batch of {batch_size * world}; "
                         "use a smaller batch_size")
    source = TrainSource(folder, batch_size, image_size, seed, epoch, rank, world, start_step, augmentation)
    return TrainBatches(source, workers)


class EvalBatches:
    """What `eval_batches` returns: iterate once over the folder; `unreadable` then lists a sentence a bad image."""

    def __init__(self, source, workers, strict):
        self.source, self.workers, self.strict = source, workers, strict
        self.unreadable = []

    def __len__(self):
        return len(self.source)

    def __iter__(self):
        self.unreadable = []
        columns = ["images", "labels", "valid", "complaints"]
        for images, labels, valid, complaints in rows(self.source, columns, self.workers):
            self.unreadable += str(complaints).splitlines()
            if self.strict and self.unreadable:
                raise ValueError(self.unreadable[0])
            yield images, labels, valid


def eval_batches(folder, *, batch_size, image_size, crop_pct=0.875, rank=0, world=1, workers=2, strict=False):
    """All images of a folder once, in batches of one shape, shared out over the ranks.

    Args:
        folder (ImageFolder): where the images are.
        batch_size (int): B, images a step on this rank.
        image_size (int): H = W in pixels.
        crop_pct (float): of `eval_transform`.
        rank, world (int): this device's number, and how many share the folder.
        workers (int): processes that make batches, one a core at most; 0 or 1 makes them in a thread of this process.
        strict (bool): raise on an unreadable image instead of leaving it out.

    Returns:
        EvalBatches that iterate images (B, 3, H, W) float32, labels (B,) int32 and valid (B,) bool. Rows that are
        not valid are zeros: they fill the last batches, or stand for an unreadable image of this rank, which
        `unreadable` names.

    Raises:
        ValueError: if strict, while iterating, at the first unreadable image.
    """
    return EvalBatches(EvalSource(folder, batch_size, image_size, crop_pct, rank, world), workers, strict)


def throughput(folder, image_size, batch_size, workers, seconds):
    """Training images a second that `workers` can make, measured for at least `seconds` after the first batch."""
    images, epoch, begin = -batch_size, 0, None
    while True:
        for _ in train_batches(folder, batch_size=batch_size, image_size=image_size, seed=0, epoch=epoch,
                               workers=workers):
            begin = begin or time.perf_counter()
            images += batch_size
            if images and time.perf_counter() - begin >= seconds:
                return images / (time.perf_counter() - begin)
        epoch += 1
