"""Evaluate weights: `python -m twins_lib.eval --config twins_svt_small --checkpoint twins_svt_small.safetensors`."""

import argparse
from pathlib import Path

import mindspore as ms
from tqdm import tqdm

from . import create_model, load_weights
from .config import load_config
from .data import ImageFolder, eval_batches
from .distributed import start
from .engine import evaluate, in_precision, load_trained
from .train import complaints_of_all, run


def main(arguments=None):
    """Parse the command line, evaluate on val/ and print top-1, top-5 and loss."""
    parser = argparse.ArgumentParser(prog="python -m twins_lib.eval", description=(
        "Top-1, top-5 and loss on the val/ folder of the config. Another crop: image_size=... crop_pct=..."))
    parser.add_argument("--config", required=True, help="YAML file, or the name of a shipped one: twins_svt_small ...")
    parser.add_argument("--checkpoint", required=True,
                        help="released PyTorch weights (.safetensors), a run's best.ckpt or one of its checkpoints")
    parser.add_argument("--batch-size", type=int, default=64, help="images of one process at a time (64)")
    parser.add_argument("--strict", action="store_true", help="end at the first image that cannot be read")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace those of the file")
    options = parser.parse_intermixed_args(arguments)
    if options.batch_size < 1:
        parser.error(f"--batch-size {options.batch_size}: must be at least 1")
    config = load_config(options.config, options.overrides)
    rank, world = start(config.device)
    val = ImageFolder(Path(config.data, "val"))
    model = create_model(config.model, len(val.classes))
    if Path(options.checkpoint).name.startswith("epoch-"):
        load_trained(model, options.checkpoint)
    else:
        load_weights(model, options.checkpoint)
    network = in_precision(model, config.precision)

    @ms.jit
    def compiled(images):
        return network(images)

    loader = eval_batches(val, batch_size=options.batch_size, image_size=config.image_size, crop_pct=config.crop_pct,
                          rank=rank, world=world, workers=config.workers, strict=options.strict)
    shown = tqdm(loader, unit="batch", leave=False, disable=None if rank == 0 else True)
    figures = evaluate(compiled if config.mode == "graph" else network, shown, world)
    for complaint in complaints_of_all(loader, rank, world):
        print(f"left out: {complaint}")
    if rank == 0:
        print(f"top-1 {figures['test_acc1']:.3f}  top-5 {figures['test_acc5']:.3f}  loss {figures['test_loss']:.3f}  "
              f"on {figures['test_images']} images, {len(val) - figures['test_images']} unreadable")


if __name__ == "__main__":
    run(main)
