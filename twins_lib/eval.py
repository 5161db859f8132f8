"""Evaluate weights: `python -m twins_lib.eval --config twins_svt_small --checkpoint twins_svt_small.safetensors`."""

import argparse
from pathlib import Path

from tqdm import tqdm

from . import create_model, load_weights
from .segmentation import Segmenter
from .training.batches import eval_batches
from .training.config import SegmentationConfig, load_config
from .training.distributed import start
from .training.engine import evaluated, in_precision
from .training.errors import RunError, run
from .training.images import ImageFolder, told_left_out
from .training.masks import MaskFolder, eval_masks
from .training.names import check_names
from .training.scores import evaluate, evaluate_masks
from .training.tasks import complaints_of_all
from .weights import MISFIT, place


def main(arguments=None):
    """Parse the command line, evaluate, and print top-1, top-5 and loss, or the IoU of every class and their mean."""
    parser = argparse.ArgumentParser(prog="python -m twins_lib.eval", description=(
        "Top-1, top-5 and loss on the val/ folder of the config. Another crop: image_size=... crop_pct=... "
        "With a config for segmentation: the IoU of every class and their mean, on whole validation images."))
    parser.add_argument("--config", required=True, help="YAML file, or the name of a shipped one: twins_svt_small ...")
    parser.add_argument("--checkpoint", required=True, type=place,
                        help="released PyTorch weights (.safetensors), a run's best.ckpt or one of its checkpoints")
    parser.add_argument("--folder", help=(
        "folder of the config's data to evaluate on: val (if not given), or test, which no decision has seen"))
    parser.add_argument("--batch-size", type=int, default=64, help="images at a time, in classification (64)")
    parser.add_argument("--strict", action="store_true",
                        help="end at the first image that cannot be read; segmentation always does")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace those of the file")
    options = parser.parse_intermixed_args(arguments)
    if options.batch_size < 1:
        parser.error(f"--batch-size {options.batch_size}: must be at least 1")
    config = load_config(options.config, options.overrides)
    if options.folder and isinstance(config, SegmentationConfig):
        parser.error("--folder is for classification; segmentation is evaluated on validation")
    rank, world = start(config.device)
    (segmentation if isinstance(config, SegmentationConfig) else classification)(config, options, rank, world)


def trained(model, config, path, val, rank):
    """The network as it is evaluated, with the weights of a file, whose classes must be those of a folder."""
    if (told := check_names(path, val.classes, val.root)) and rank == 0:
        print(told, flush=True)
    try:
        load_weights(model, path)
    except ValueError as fault:
        if MISFIT not in str(fault):
            raise
        raise RunError(f"{fault}; the config names {config.model}, and {val.root} holds {len(val.classes)} classes") \
            from None
    return evaluated(in_precision(model, config.precision), config.mode)


def segmentation(config, options, rank, world):
    """Print the IoU of every class."""
    val = MaskFolder(config.data, "validation", config.reduce_zero_label)
    tell_strangers(val, rank)
    backbone = create_model(config.model, dense=True)
    multiple = backbone.smallest_side
    model = Segmenter(backbone, len(val.classes), config.channels, config.head_channels)
    forward = trained(model, config, options.checkpoint, val, rank)
    loader = eval_masks(val, image_size=config.image_size, multiple=multiple, rank=rank, world=world,
                        workers=config.workers)
    shown = tqdm(loader, unit="image", leave=False, disable=None if rank == 0 else True)
    figures = evaluate_masks(forward, shown, len(val.classes), world)
    if rank == 0:
        width = max(map(len, val.classes))
        for name, one in zip(val.classes, figures["test_iou"]):
            print(f"{name:{width}}  " + ("not a number: in no validation mask" if one is None else f"{one:6.2f}"))
        print(f"mean IoU {figures['test_miou']:.3f} over {figures['test_classes']} of {len(val.classes)} classes  "
              f"pixels {figures['test_pixel_acc']:.3f}  loss {figures['test_loss']:.3f}  "
              f"on {figures['test_images']} images, {figures['test_uncounted']:.3g} % of whose pixels do not count")


def classification(config, options, rank, world):
    """Print top-1, top-5 and loss."""
    val = ImageFolder(Path(config.data, options.folder or "val"))
    tell_strangers(val, rank)
    forward = trained(create_model(config.model, len(val.classes)), config, options.checkpoint, val, rank)
    loader = eval_batches(val, batch_size=options.batch_size, image_size=config.image_size, crop_pct=config.crop_pct,
                          rank=rank, world=world, workers=config.workers, strict=options.strict)
    shown = tqdm(loader, unit="batch", leave=False, disable=None if rank == 0 else True)
    try:
        figures = evaluate(forward, shown, world)
    except RunError:  # in every process, as not one image could be read
        tell_left_out(loader, rank, world)
        raise
    tell_left_out(loader, rank, world)
    if rank == 0:
        print(f"top-1 {figures['test_acc1']:.3f}  top-5 {figures['test_acc5']:.3f}  loss {figures['test_loss']:.3f}  "
              f"on {figures['test_images']} images, {len(val) - figures['test_images']} unreadable")


def tell_strangers(folder, rank):
    """Say what lies in the folder and is not read."""
    if rank == 0 and (told := told_left_out(folder)):
        print(told, flush=True)


def tell_left_out(loader, rank, world):
    for complaint in complaints_of_all(loader, rank, world):
        print(f"left out: {complaint}", flush=True)


if __name__ == "__main__":
    run(main)
