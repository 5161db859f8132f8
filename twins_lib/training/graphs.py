"""The graphs of a config as its device compiles them: one step of training or one evaluation, on zeros (lesson 10).

`python -m twins_lib.training.ascend` starts this program once for each graph, in the environment of a dry run.
"""

import argparse
import json

import mindspore as ms
import numpy as np
from mindspore import Tensor

from .config import SegmentationConfig, load_config
from .distributed import start
from .engine import step_of
from .errors import run
from .tasks import build, functions


def main(arguments=None):
    """Compile what the command line names, and print parameters and the device's peak memory as JSON."""
    parser = argparse.ArgumentParser(prog="python -m twins_lib.training.graphs", description=__doc__)
    parser.add_argument("--config", required=True, help="YAML file, or the name of a shipped one")
    parser.add_argument("--evaluate", action="store_true", help="evaluation in the place of a step of training")
    parser.add_argument("--classes", type=int, default=1000, help="(%(default)s)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace those of the file")
    options = parser.parse_intermixed_args(arguments)
    config = load_config(options.config, options.overrides)
    _, world = start(config.device)
    (evaluate if options.evaluate else train)(config, options.classes, world)
    print(json.dumps({"peak_bytes": ms.runtime.max_memory_allocated()}))


def train(config, classes, world):
    """One update, with the batch that one of `world` devices has."""
    batch, side = config.local_batch(world), config.image_size
    model = build(config, classes)
    _, loss = functions(config, model)
    _, step = step_of(config, model, loss, world)
    keep = getattr(model, "backbone", model).draw_paths(batch, np.random.default_rng(0)).asnumpy()
    masks = isinstance(config, SegmentationConfig)
    targets = np.zeros((batch, side, side), np.int32) if masks else np.zeros((batch, classes), np.float32)
    step([(np.zeros((batch, 3, side, side), np.float32), targets, keep)] * config.accumulate, 1e-3)


def evaluate(config, classes, world):
    """The logits of one batch."""
    forward, _ = functions(config, build(config, classes))
    batch = 1 if isinstance(config, SegmentationConfig) else config.local_batch(world)
    forward(Tensor(np.zeros((batch, 3, config.image_size, config.image_size), np.float32))).asnumpy()


if __name__ == "__main__":
    run(main)
