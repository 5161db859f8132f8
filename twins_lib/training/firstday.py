"""The first day on a new machine: gates from "does it start" to "does it learn as the original did" (lesson 10).

`python -m twins_lib.training.firstday --config twins_svt_small data=imagenet` runs every gate that one process can run
here and prints a table: what passed, what failed and what to do then, what could not be tried. Each gate that fails
makes the later ones worthless, so stop there. Several devices, and killing and resuming, are runs of `twins_lib.train`.
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import mindspore as ms
import numpy as np

from .batches import throughput
from .config import load_config
from .distributed import start
from .engine import step_of
from .errors import RunError, run
from .images import ImageFolder
from .standins import MADE_FOR, real_cann
from .tasks import classification

# github.com/Meituan-AutoML/Twins, logs/svt_s.txt: epoch -> train loss, top-1; Twins-SVT-S with 2048 images a step.
OFFICIAL = {2: (6.65, 6.4), 5: (5.75, 30.6), 10: (4.78, 53.9)}
PER_DEVICE = 253  # images/s of Twins-SVT-S on one of 8 devices: Ascend/ModelZoo-PyTorch, PyTorch 1.8
STEPS = 20


class Failed(Exception):
    """What was seen and should not have been."""


class NotTried(Exception):
    """Why a gate cannot be run here."""


@dataclass
class Bench:
    """One process with its batch: what the gates share, made when the first of them asks for it."""

    config: object
    seconds: float = 10.0
    speed: float = 0.0

    @cached_property
    def task(self):
        if not Path(self.config.data, "train").is_dir():
            raise NotTried(f"no images in {self.config.data}; give data=...")
        return classification(self.config, 0, 1)

    @cached_property
    def batch(self):
        return [next(iter(self.task.batches(0, 0))) for _ in range(self.config.accumulate)]

    @cached_property
    def step(self):
        return step_of(self.config, self.task.model, self.task.loss, 1)[1]

    @cached_property
    def first_loss(self):
        return self.step(self.batch, 0.0)[0]


def versions(bench):
    """MindSpore is the one this was written for, and CANN one that it accepts."""
    if ms.__version__ != MADE_FOR:
        raise Failed(f"MindSpore {ms.__version__}, written for {MADE_FOR}")
    if bench.config.device != "Ascend":
        return f"MindSpore {ms.__version__}"
    told = Path(real_cann() or "", "compiler/version.info")
    if not told.is_file():
        raise Failed(f"{told}: no such file, so CANN's version is not known")
    return f"MindSpore {ms.__version__}, CANN {told.read_text().strip().splitlines()[0]}"


def device(bench):
    """The device of the configuration starts."""
    try:
        start(bench.config.device)
    except RunError as fault:
        raise Failed(str(fault)) from None
    return bench.config.device


def one_batch(bench):
    """A fresh network knows nothing: the loss of its first batch is the logarithm of the number of classes."""
    expected = math.log(bench.batch[0][1].shape[1])
    if not abs(bench.first_loss - expected) < 0.05 * expected:
        raise Failed(f"loss {bench.first_loss:.2f}, should be near {expected:.2f}")
    return f"loss {bench.first_loss:.2f}, ln(classes) {expected:.2f}"


def overfit(bench):
    """The same batch again and again is learned: in 20 updates at a rate of 1e-3 the loss falls."""
    before = bench.first_loss
    begin = time.perf_counter()
    losses = [bench.step(bench.batch, 1e-3)[0] for _ in range(STEPS)]
    bench.speed = STEPS * bench.config.batch_size / (time.perf_counter() - begin)
    floor = _entropy(bench.batch)
    if not losses[-1] - floor < 0.8 * (before - floor):
        raise Failed(f"loss {before:.3f} -> {losses[-1]:.3f} in {STEPS} updates")
    return f"loss {before:.3f} -> {losses[-1]:.3f}; no loss can be below {floor:.3f}, the entropy of the targets"


def _entropy(batches):
    targets = np.concatenate([batch[1] for batch in batches]).astype(np.float64)
    return float(-(targets * np.log(np.maximum(targets, 1e-12))).sum(1).mean())


def speed(bench):
    """Images per second of one device, beside the one figure that is published."""
    if not bench.speed:
        raise NotTried("the gate before did not run")
    told = f"{bench.speed:.1f} images/s"
    if bench.config.device == "Ascend" and bench.speed < PER_DEVICE / 2:
        raise Failed(f"{told}, less than half of the {PER_DEVICE} of PyTorch 1.8")
    return told


def memory(bench):
    """The peak of the device's memory, for which the dry run predicts a figure without the kernels' workspace."""
    if bench.config.device != "Ascend":
        raise NotTried("MindSpore counts the memory of an Ascend device only")
    gib = ms.runtime.max_memory_allocated() / 2**30
    if gib > 30:
        raise Failed(f"{gib:.1f} GiB of 32")
    return f"{gib:.1f} GiB"


def feed(bench):
    """The host makes images faster than its devices train on them."""
    if not bench.speed:
        raise NotTried("the speed of the device is not known")
    folder, config = ImageFolder(Path(bench.config.data, "train")), bench.config
    made = throughput(folder, config.image_size, config.batch_size, config.workers, bench.seconds)
    if made < bench.speed:
        raise Failed(f"{made:.0f} images/s made, {bench.speed:.0f} trained on")
    return f"{made:.0f} images/s made, {bench.speed:.0f} trained on"


def learning(bench):
    """Epochs 2, 5 and 10 of the run in `output` are as in the official log: train loss within 0.3, top-1 within 5."""
    path = Path(bench.config.output, "log.jsonl")
    if bench.config.model != "twins_svt_small" or not path.is_file():
        raise NotTried(f"needs {path} of a run of twins_svt_small")
    lines = {line["epoch"]: line for line in map(json.loads, path.read_text().splitlines())}
    seen = [epoch for epoch in OFFICIAL if epoch in lines]
    for epoch in seen:
        loss, top1 = lines[epoch]["train_loss"], lines[epoch]["test_acc1"]
        if abs(loss - OFFICIAL[epoch][0]) > 0.3 or top1 < OFFICIAL[epoch][1] - 5:
            raise Failed(f"epoch {epoch}: train loss {loss:.2f} and top-1 {top1:.1f}, officially {OFFICIAL[epoch]}")
    if not seen:
        raise NotTried(f"{path} has no epoch 2 yet")
    return f"as the official log at epochs {', '.join(map(str, seen))}"


# Each with what to do when it fails.
GATES = {
    versions: f"install MindSpore {MADE_FOR} and a CANN that it accepts, 8.2 to 9.1",
    device: "see the sentence; source CANN's set_env.sh, and ask mindspore.run_check()",
    one_batch: "the network or the labels are wrong: run the tests on the CPU, then precision=O0",
    overfit: "gradients do not reach the weights: try precision=O0, then mode=pynative",
    speed: "profile one step before buying hours",
    memory: "set accumulate=2",
    feed: "more workers, or smaller images on disk",
    learning: "stop the run: it will not end at 81.7; compare learning rate, batch and augmentation with the config",
}


def pass_through(bench):
    """Run the gates in their order: list of (name, verdict, sentence), verdict one of passed, FAILED, not tried."""
    table = []
    for gate, advice in GATES.items():
        try:
            table.append((gate.__name__, "passed", gate(bench)))
        except Failed as seen:
            table.append((gate.__name__, "FAILED", f"{seen}; {advice}"))
        except NotTried as reason:
            table.append((gate.__name__, "not tried", str(reason)))
    return table


def main(arguments=None):
    """Parse the command line, print the table; exit code 2 if a gate failed."""
    parser = argparse.ArgumentParser(prog="python -m twins_lib.training.firstday", description=__doc__)
    parser.add_argument("--config", required=True, help="YAML file, or the name of a shipped one: twins_svt_small ...")
    parser.add_argument("--devices", type=int, default=8, help="that will share the batch (%(default)s)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace those of the file")
    options = parser.parse_intermixed_args(arguments)
    share = load_config(options.config, options.overrides).local_batch(options.devices)
    config = load_config(options.config, [*options.overrides, f"batch_size={share}", "accumulate=1"])
    table = pass_through(Bench(config))
    for name, verdict, sentence in table:
        print(f"{name:10} {verdict:10} {sentence}")
    if failed := [name for name, verdict, _ in table if verdict == "FAILED"]:
        raise RunError(f"stop at the gate {failed[0]}: what comes after it says nothing")


if __name__ == "__main__":
    run(main)
