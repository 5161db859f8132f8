"""Train a Twins: `python -m twins_lib.train --config twins_svt_nano [key=value ...] [--resume]` (lesson 10)."""

import argparse
import logging
import sys

from .training.config import SegmentationConfig, load_config
from .training.distributed import start
from .training.engine import fit
from .training.errors import run
from .training.tasks import classification, segmentation


def main(arguments=None):
    """Parse the command line and train; the exit code is 0 also for a run that was asked to stop."""
    parser = argparse.ArgumentParser(prog="python -m twins_lib.train", description=(
        "Train a Twins on an image folder, or on images and masks. Several processes: put `mpirun -n 8` or "
        "`msrun --worker_num=8 --local_worker_num=8 --join=True` before it."))
    parser.add_argument("--config", required=True, help=(
        "YAML file, or the name of a shipped one: twins_svt_nano, segmentation_mini ..."))
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in the output folder")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace those of the file")
    options = parser.parse_intermixed_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    config = load_config(options.config, options.overrides)
    rank, world = start(config.device)
    task = (segmentation if isinstance(config, SegmentationConfig) else classification)(config, rank, world)
    fit(task, config, rank, world, options.resume)


if __name__ == "__main__":
    run(main)
