"""The two tasks of the engine, classification and segmentation, from the folders of a config (lessons 09 and 10)."""

import logging
from pathlib import Path

import mindspore as ms
import numpy as np

from ..model import create_model
from ..segmentation import Segmenter, load_backbone, pixel_loss
from .batches import eval_batches, keyed, train_batches
from .distributed import texts_of_all
from .engine import Task, evaluated, in_precision
from .errors import RunError
from .images import ImageFolder, check_same_classes
from .masks import MaskFolder, eval_masks, train_masks
from .recipe import learning_rates, soft_cross_entropy
from .scores import absent_classes, evaluate, evaluate_masks

PATHS = 4  # what a key is for, beside those of `batches.keyed`


def local_positions(batch, rank, world):
    """Which images of the global batch a rank trains on, as `train_batches` shares them: mixed pairs together."""
    half, end = batch // 2, batch * world
    front, back = np.arange(rank * half, (rank + 1) * half), np.arange(end - (rank + 1) * half, end - rank * half)
    return np.concatenate([front, back])


def complaints_of_all(loader, rank, world):
    """What rank 0 tells of images that could not be evaluated, by whichever process; nothing on other ranks."""
    told = texts_of_all("\n".join(loader.unreadable), rank, world)
    return [line for text in told for line in text.splitlines()] if rank == 0 else []


def schedule(config, folder):
    """Steps of an epoch, whole batches only, and the learning rate of every epoch; ValueError for less than a batch."""
    steps = len(folder) // config.batch_size
    if not steps:
        raise ValueError(f"{folder.root}: {len(folder)} training images do not fill one batch of {config.batch_size}; "
                         "use a smaller batch_size")
    return steps, learning_rates(config.peak_lr, config.epochs, config.warmup_epochs, config.warmup_lr, config.min_lr)


def classification(config, rank=0, world=1):
    """A classification run as the engine takes it.

    Args:
        config (Config): the settings.
        rank, world (int): which of how many processes this is.

    Returns:
        engine.Task.

    Raises:
        ValueError: the folders do not fit together, or cannot fill one batch.
    """
    train, val = ImageFolder(Path(config.data, "train")), ImageFolder(Path(config.data, "val"))
    check_same_classes(train, val)
    batch = config.local_batch(world)
    ms.set_seed(config.seed)
    model = create_model(config.model, len(train.classes), drop_path_rate=config.drop_path)
    network = in_precision(model, config.precision)
    forward = evaluated(network, config.mode)
    mine = local_positions(batch, rank, world)

    def loss(images, targets, keep):
        return soft_cross_entropy(network(images, keep), targets)

    def batches(epoch, first):
        loader = train_batches(train, batch_size=batch, image_size=config.image_size, seed=config.seed, epoch=epoch,
                               rank=rank, world=world, start_step=first, workers=config.workers,
                               augmentation=config.augmentation)
        for number, (images, targets) in enumerate(loader, first):
            draw = model.draw_paths(batch * world, keyed(PATHS, config.seed, epoch, number))
            yield images, targets, draw.asnumpy()[..., mine]

    def validate(stopped):
        loader = eval_batches(val, batch_size=batch, image_size=config.image_size, crop_pct=config.crop_pct,
                              rank=rank, world=world, workers=config.workers)
        def tell():
            for complaint in complaints_of_all(loader, rank, world):
                logging.getLogger("twins_lib").warning("left out: %s", complaint)

        try:
            figures = evaluate(forward, loader, world, stopped)
        except RunError:  # in every process, as not one image could be read
            tell()
            raise
        if figures:
            figures["test_unreadable"] = len(val) - figures["test_images"]
            tell()
        return figures

    steps, rates = schedule(config, train)
    return Task(model, loss, steps, batches, validate, rates)


def segmentation(config, rank=0, world=1):
    """A segmentation run as the engine takes it.

    Args:
        config (SegmentationConfig): the settings.
        rank, world (int): which of how many processes this is.

    Returns:
        engine.Task.

    Raises:
        ValueError: the folder does not hold what it must, or cannot fill one batch; a backbone that does not fit.
    """
    train, val = (MaskFolder(config.data, split, config.reduce_zero_label) for split in ("training", "validation"))
    batch = config.local_batch(world)
    ms.set_seed(config.seed)
    backbone = create_model(config.model, drop_path_rate=config.drop_path, dense=True)
    if config.backbone:
        load_backbone(backbone, config.backbone)
    model = Segmenter(backbone, len(train.classes), config.channels, config.head_channels)
    network = in_precision(model, config.precision)
    forward = evaluated(network, config.mode)

    def loss(images, masks, keep):
        return pixel_loss(network(images, keep), masks)

    def batches(epoch, first):
        loader = train_masks(train, batch_size=batch, image_size=config.image_size, seed=config.seed, epoch=epoch,
                             rank=rank, world=world, start_step=first, workers=config.workers,
                             augmentation=config.augmentation)
        for number, (images, masks) in enumerate(loader, first):
            draw = backbone.draw_paths(batch * world, keyed(PATHS, config.seed, epoch, number)).asnumpy()
            yield images, masks, np.ascontiguousarray(draw[..., rank * batch:(rank + 1) * batch])

    def validate(stopped):
        loader = eval_masks(val, image_size=config.image_size, multiple=backbone.smallest_side,
                            rank=rank, world=world, workers=config.workers)
        figures = evaluate_masks(forward, loader, len(val.classes), world, stopped)
        if figures and rank == 0 and (absent := absent_classes(val.classes, figures)):
            logging.getLogger("twins_lib").warning("in no validation mask, so without an IoU: %s", ", ".join(absent))
        return figures

    steps, rates = schedule(config, train)
    return Task(model, loss, steps, batches, validate, rates, score="test_miou")
