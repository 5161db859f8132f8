"""The two tasks of the engine, classification and segmentation, from the folders of a config (lessons 09 and 10)."""

import logging
from functools import partial
from pathlib import Path

import mindspore as ms
import numpy as np

from ..model import create_model
from ..segmentation import Segmenter, load_backbone, pixel_loss
from .batches import eval_batches, keyed, train_batches
from .config import SegmentationConfig
from .distributed import texts_of_all
from .engine import Task, evaluated, in_precision
from .errors import RunError
from .images import ImageFolder, check_same_classes, told_left_out
from .labels import count_labels, told_labels
from .masks import MaskFolder, eval_masks, train_masks
from .recipe import learning_rates, soft_cross_entropy
from .scores import absent_classes, evaluate, evaluate_masks

log = logging.getLogger("twins_lib")

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


def build(config, classes):
    """The network of a config: a `Twins`, or a `Segmenter` around one that starts from `config.backbone`."""
    ms.set_seed(config.seed)
    if not isinstance(config, SegmentationConfig):
        return create_model(config.model, classes, drop_path_rate=config.drop_path)
    backbone = create_model(config.model, drop_path_rate=config.drop_path, dense=True)
    if config.backbone:
        load_backbone(backbone, config.backbone)
    return Segmenter(backbone, classes, config.channels, config.head_channels)


def functions(config, model):
    """What is compiled of a network: images -> logits, as evaluated; and images, targets, keep -> mean loss."""
    network = in_precision(model, config.precision)
    criterion = pixel_loss if isinstance(config, SegmentationConfig) else soft_cross_entropy

    def loss(images, targets, keep):
        return criterion(network(images, keep), targets)

    return evaluated(network, config.mode), loss


def assemble(config, rank, world, folder, loader, mine, model, validate, score):
    """What both tasks share: the network in its precision, the loss of a batch, and batches with their paths drawn.

    Args:
        config (RunConfig): the settings.
        rank, world (int): which of how many processes this is.
        folder (ImageFolder or MaskFolder): what is trained on.
        loader (callable): `train_batches` or `train_masks`.
        mine (array or slice): which images of the global batch this rank trains on.
        model (Cell): a `Twins`, or a `Segmenter` around one.
        validate (callable): takes the network as a function of images, and what `Task.validate` takes.
        score (str): as in `Task`.

    Returns:
        engine.Task.
    """
    forward, loss = functions(config, model)
    batch, draw_paths = config.local_batch(world), getattr(model, "backbone", model).draw_paths

    def batches(epoch, first):
        arrays = loader(folder, batch_size=batch, image_size=config.image_size, seed=config.seed, epoch=epoch,
                        rank=rank, world=world, start_step=first, workers=config.workers,
                        augmentation=config.augmentation)
        for number, (images, targets) in enumerate(arrays, first):
            keep = draw_paths(batch * world, keyed(PATHS, config.seed, epoch, number)).asnumpy()
            yield images, targets, np.ascontiguousarray(keep[..., mine])

    steps, rates = schedule(config, folder)
    return Task(model, loss, steps, batches, partial(validate, forward), rates, score, folder.classes)


def classification(config, rank=0, world=1, build=build):
    """A classification run as the engine takes it.

    Args:
        config (Config): the settings.
        rank, world (int): which of how many processes this is.
        build (callable): makes the network of a config and a number of classes; it has `draw_paths` as `Twins` has.

    Returns:
        engine.Task.

    Raises:
        ValueError: the folders do not fit together, or cannot fill one batch.
    """
    train, val = ImageFolder(Path(config.data, "train")), ImageFolder(Path(config.data, "val"))
    tell_strangers(rank, train, val)
    check_same_classes(train, val)
    batch = config.local_batch(world)
    model = build(config, len(train.classes))

    def validate(forward, stopped):
        loader = eval_batches(val, batch_size=batch, image_size=config.image_size, crop_pct=config.crop_pct,
                              rank=rank, world=world, workers=config.workers)
        try:
            figures = evaluate(forward, loader, world, stopped)
        except RunError:  # in every process, as not one image could be read
            tell_left_out(loader, rank, world)
            raise
        if figures:
            figures["test_unreadable"] = len(val) - figures["test_images"]
            tell_left_out(loader, rank, world)
        return figures

    return assemble(config, rank, world, train, train_batches, local_positions(batch, rank, world), model,
                    validate, "test_acc1")


def tell_strangers(rank, *folders):
    """Say what lies in the folders and is not read, once."""
    for told in filter(None, map(told_left_out, folders)):
        if rank == 0:
            log.warning(told)


def tell_left_out(loader, rank, world):
    for complaint in complaints_of_all(loader, rank, world):
        log.warning("left out: %s", complaint)


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
    tell_strangers(rank, train, val)
    batch = config.local_batch(world)
    model = build(config, len(train.classes))

    def validate(forward, stopped):
        loader = eval_masks(val, image_size=config.image_size, multiple=model.backbone.smallest_side,
                            rank=rank, world=world, workers=config.workers)
        figures = evaluate_masks(forward, loader, len(val.classes), world, stopped)
        if figures and rank == 0 and (absent := absent_classes(val.classes, figures)):
            log.warning("test_miou is the mean of %d of %d classes; in no validation mask, so without an IoU: %s",
                        figures["test_classes"], len(val.classes), ", ".join(absent))
        return figures

    task = assemble(config, rank, world, train, train_masks, slice(rank * batch, (rank + 1) * batch), model,
                    validate, "test_miou")
    if rank == 0:  # at last, because it takes some seconds
        for told in told_labels(train.classes, count_labels(train), count_labels(val)):
            log.warning(told)
    return task
