"""The first day on a new machine: gates from "does it start" to "does it learn as the original did" (lesson 10).

`python -m twins_lib.training.firstday --config twins_svt_small data=imagenet` runs every gate that can be run here and
prints a table: what passed, what failed and what to do then, what was not tried and why. Each gate that fails makes the
later ones worthless, so they are left out. One device is tried first, then all of them under msrun.
"""

import argparse
import json
import math
import os
import sys
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import mindspore as ms

from .ascend import CARD, GIB, LIMIT, stored_peak
from .config import Config, load_config
from .errors import RunError, run
from .planning import published_rate
from .standins import MADE_FOR, real_cann
from .trials import STEPS, alone_in_a_process, together

# github.com/Meituan-AutoML/Twins, logs/svt_s.txt: epoch -> train loss, top-1; Twins-SVT-S with 2048 images a step.
OFFICIAL = {2: (6.65, 6.4), 5: (5.75, 30.6), 10: (4.78, 53.9)}
SCALING = 2026 / (8 * 296.8)  # what 8 devices made of eight times one: Ascend/ModelZoo-PyTorch, twins_svt_small


class Failed(Exception):
    """What was seen and should not have been."""


class NotTried(Exception):
    """Why a gate cannot be run here."""


class Facts(dict):
    """What a trial has told; to ask for more is `Failed`, with the reason why it ended before."""

    def __init__(self, trial):
        super().__init__()
        try:
            trial(tell=self.update)
            self.reason = "the trial did not tell"
        except (RunError, ValueError, OSError) as fault:
            self.reason = str(fault)

    def __missing__(self, name):
        raise Failed(self.reason)


@dataclass
class Day:
    """A configuration, the devices that are to share its batch, and what the gates share: the facts of both trials."""

    config: Config
    devices: int = 8

    @cached_property
    def share(self):
        """The configuration of one device."""
        return replace(self.config, batch_size=self.config.local_batch(self.devices), accumulate=1)

    @cached_property
    def alone(self):
        return Facts(partial(alone_in_a_process, self.share))

    @cached_property
    def together(self):
        return Facts(partial(together, self.config, self.devices))

    def trained(self):
        """The facts of one device; `NotTried` without images."""
        if not Path(self.config.data, "train").is_dir():
            raise NotTried(f"no images in {self.config.data}; give data=...")
        return self.alone


def versions(day):
    """MindSpore is the one this was written for, and CANN one that it accepts."""
    if ms.__version__ != MADE_FOR:
        raise Failed(f"MindSpore {ms.__version__}, written for {MADE_FOR}")
    if day.config.device != "Ascend":
        return f"MindSpore {ms.__version__}"
    if not real_cann():
        raise Failed("no CANN here: ASCEND_HOME_PATH is not set")
    told = Path(real_cann(), "compiler/version.info")
    if not told.is_file():
        raise Failed(f"{told}: no such file, so CANN's version is not known")
    return f"MindSpore {ms.__version__}, CANN {told.read_text().strip().splitlines()[0]}"


def device(day):
    """The device of the configuration starts."""
    return day.alone["device"]


def one_batch(day):
    """A fresh network knows nothing: the loss of its first batch is the logarithm of the number of classes."""
    return fresh(day.trained()["first_loss"], day)


def fresh(loss, day):
    expected = math.log(day.alone["classes"])
    if not abs(loss - expected) < 0.05 * expected:
        raise Failed(f"loss {loss:.2f}, should be near {expected:.2f}, the logarithm of the number of classes")
    return f"loss {loss:.2f}, ln(classes) {expected:.2f}"


def overfit(day):
    """The same batch again and again is learned: in 20 updates at a rate of 1e-3 the loss falls."""
    seen = day.trained()
    first, last, least = seen["first_loss"], seen["last_loss"], seen["least_loss"]
    if not last - least < 0.8 * (first - least):
        raise Failed(f"loss {first:.3f} -> {last:.3f} in {STEPS} updates")
    return f"loss {first:.3f} -> {last:.3f}; no loss can be below {least:.3f}, the entropy of the targets"


def speed(day):
    """Images per second of one device, beside the figure that is published."""
    made, (published, source) = day.trained()["images_per_second"], published_rate(day.config.model)
    told = f"{made:.1f} images/s"
    if day.config.device != "Ascend":
        return told
    if made < published / 2:
        raise Failed(f"{told}, less than half of {published}: {source}")
    return f"{told}; {published}: {source}"


def memory(day):
    """The peak of the device's memory, beside the figure of the dry run, which leaves out the kernels' workspace."""
    if day.config.device != "Ascend":
        raise NotTried("MindSpore counts the memory of an Ascend device only")
    peak, stored = day.trained()["peak_bytes"] / GIB, stored_peak(day.config, day.share.batch_size)
    told = f"{peak:.1f} GiB of {CARD // GIB}; " + (
        f"{stored} by the dry run, without the kernels' workspace" if stored else "the dry run has no figure for this")
    if peak > LIMIT / GIB:
        raise Failed(told)
    return told


def feed(day):
    """The workers of one device make images faster than it trains on them."""
    used, made = day.trained()["images_per_second"], day.alone["images_made"]
    if made < used:
        raise Failed(f"{made:.0f} images/s made, {used:.0f} trained on")
    return f"{made:.0f} images/s made, {used:.0f} trained on"


def several(day):
    """All devices train together under msrun: the loss is that of a fresh network, and the speed nearly adds up."""
    if day.devices < 2 or sys.platform != "linux":
        raise NotTried("needs two devices, and Linux")
    one, seen = day.trained()["images_per_second"], day.together
    told, made = fresh(seen["loss_together"], day), seen["speed_together"]
    ratio = made / (day.devices * one)
    told = f"{day.devices} train together: {told}; {made:.1f} images/s, {ratio:.0%} of {day.devices} times one"
    if day.config.device == "Ascend" and ratio < 0.5:
        raise Failed(f"{told}, where PyTorch 1.8 had {SCALING:.0%}")
    return told


def resume(day):
    """One of the processes is killed, and the run, resumed, comes to the same loss and the same weights."""
    if day.devices < 2 or sys.platform != "linux":
        raise NotTried("needs two devices, and Linux")
    day.trained()
    seen = day.together
    told = (f"sum of losses {seen['loss']:.6f}, killed and resumed {seen['resumed_loss']:.6f}; "
            f"largest difference of a weight {seen['difference']:g}")
    if seen["loss"] != seen["resumed_loss"] or seen["difference"]:
        raise Failed(told)
    return told


def learning(day):
    """Epochs 2, 5 and 10 of the run in `output` are as in the official log: train loss within 0.3, top-1 within 5."""
    path = Path(day.config.output, "log.jsonl")
    if day.config.model != "twins_svt_small" or not path.is_file():
        raise NotTried(f"needs {path} of a run of twins_svt_small")
    try:
        told = [json.loads(line) for line in path.read_text().splitlines()]
        lines = {line["epoch"]: (line["train_loss"], line["test_acc1"]) for line in told}
    except (ValueError, KeyError, TypeError):
        raise Failed(f"{path}: is not the log of a run") from None
    seen = [epoch for epoch in OFFICIAL if epoch in lines]
    for epoch in seen:
        loss, top1 = lines[epoch]
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
    several: "try two devices; then look at the links between them and at the feed of all together",
    resume: "do not start a run of days: a kill would end it",
    learning: "stop the run: it will not end at 81.7; compare learning rate, batch and augmentation with the config",
}


def pass_through(day, only=None):
    """Run the gates in their order: yield (name, verdict, sentence), verdict one of passed, FAILED, not tried.

    Args:
        day (Day): what they judge.
        only (str): the name of the one gate to run.
    """
    failed = ""
    for gate, advice in GATES.items():
        if only not in (None, gate.__name__):
            continue
        try:
            if failed:
                raise NotTried(f"the gate {failed} comes before it")
            yield gate.__name__, "passed", gate(day)
        except Failed as seen:
            failed = gate.__name__
            yield failed, "FAILED", f"{seen}; {advice}"
        except NotTried as reason:
            yield gate.__name__, "not tried", str(reason)


def main(arguments=None):
    """Parse the command line, print the table line by line; exit code 2 if a gate failed."""
    parser = argparse.ArgumentParser(prog="python -m twins_lib.training.firstday", description=__doc__)
    parser.add_argument("--config", required=True, help="YAML file, or the name of a shipped one: twins_svt_small ...")
    parser.add_argument("--devices", type=int, default=8, metavar="N", help=(
        "of this host, which share the batch (%(default)s)"))
    parser.add_argument("--only", choices=[gate.__name__ for gate in GATES], metavar="GATE", help=(
        "run this one: " + ", ".join(gate.__name__ for gate in GATES) + "; learning uses no device and can be asked "
        "while a run goes on"))
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace those of the file")
    options = parser.parse_intermixed_args(arguments)
    if options.devices < 1:
        parser.error("--devices: must be at least 1")
    if {"MS_ROLE", "OMPI_COMM_WORLD_SIZE"} & set(os.environ):
        raise RunError("the gates start the processes themselves; call this command without msrun or mpirun")
    config = load_config(options.config, options.overrides)
    if not isinstance(config, Config):
        raise RunError(f"{options.config}: is no classification, and the gates know nothing else")
    day = Day(config, options.devices)
    failed = []
    for name, verdict, sentence in pass_through(day, options.only):
        print(f"{name:10} {verdict:10} {sentence}", flush=True)
        failed += [name] * (verdict == "FAILED")
    if failed:
        raise RunError(f"stop at the gate {failed[0]}: what comes after it says nothing")


if __name__ == "__main__":
    run(main)
