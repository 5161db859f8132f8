"""How long a run would take on many devices: `python -m twins_lib.training.planning --help` (lesson 10).

We measured none of it on an Ascend device. Every figure that goes in is a flag, and the plan names its source.
"""

import argparse
import math
from dataclasses import dataclass

import numpy as np

from ..cost import predict
from .ascend import CARD, GIB, imagenet, stored_peak
from .config import load_config

# Images per second of eight devices and of one, trained in PyTorch 1.8 (O1, 128 images a device).
PUBLISHED = {"twins_svt_small": (2026, 296.8), "twins_pcpvt_small": (1934, 252.7)}
ZOO = "Ascend/ModelZoo-PyTorch, PyTorch 1.8"
IMAGE_BYTES = 147_897_477_120 / 1_281_167  # ILSVRC2012_img_train.tar over its images


@dataclass(frozen=True)
class Assumption:
    """A figure that goes into the plan unless another is given, what it is of, and where it is from."""

    default: float
    unit: str
    about: str
    source: str


ASSUMED = {
    "workers": Assumption(8, "processes", "that read images for one device", "the shipped configurations"),
    "worker-rate": Assumption(220, "images/s", "of one of them, on a core of its own",
                              "4.5 ms of processor time for a picture of 430 x 430 pixels, AMD EPYC"),
    "store": Assumption(math.inf, "GB/s", "that one file system gives to all devices together; an image has 115 kB",
                        "never short, as with a copy on a fast disk of each host"),
    "bandwidth": Assumption(12.5, "GB/s", "from one device to the next in the ring",
                            "no source: a link of 100 Gbit/s between hosts"),
    "latency": Assumption(55, "microseconds", "of one message",
                          "CANN's guide to hccl_test shows 764.55 for 8 KiB on 8 devices, which are 14 messages"),
}


@dataclass(frozen=True)
class Plan:
    """Seconds of one epoch on so many devices; all are estimates but for the measured pieces that went in."""

    devices: int
    batch: int
    steps: int
    compute: float
    input: float
    all_reduce: float

    @property
    def epoch(self):
        """Reading hides behind computing or the other way round; the all-reduce is taken to hide behind neither."""
        return max(self.compute, self.input) + self.all_reduce

    @property
    def binds(self):
        """The longest part: the one to make shorter first."""
        parts = {"compute": self.compute, "input": self.input, "all-reduce": self.all_reduce}
        return max(parts, key=parts.get)


def plan(*, images, batch, parameters, seconds_per_image, images_per_second, bandwidth, latency, store=np.inf,
         devices=(8, 16, 32, 64, 128, 256, 512, 1024)):
    """How long an epoch would take on more devices than one has.

    A step computes and reads `batch` images on every device, then adds up the float32 gradients in a ring: of n
    devices each sends 2(n-1)/n of them, in 2(n-1) messages.

    Args:
        images (int): images of an epoch.
        batch (int): images of one device in one step. The global batch grows with the devices, and beyond a few
            thousand the recipe is no longer the one whose accuracy is known.
        parameters (int): of the network.
        seconds_per_image (float): of a train step on one device.
        images_per_second (float): that the host makes for one device (`python -m twins_lib.bench data`).
        bandwidth (float): bytes per second from one device to the next.
        latency (float): seconds of one message.
        store (float): images per second that the file system gives to all devices together.
        devices (sequence of int): how many to plan for.

    Returns:
        list of Plan.
    """
    plans = []
    for n in devices:
        steps = images // (batch * n)
        ring = 2 * (n - 1) / n * 4 * parameters / bandwidth + 2 * (n - 1) * latency
        reading = max(batch / images_per_second, batch * n / store)
        plans.append(Plan(n, batch * n, steps, steps * batch * seconds_per_image, steps * reading, steps * ring))
    return plans


def published_rate(model):
    """Images per second of one of eight devices, and where the figure is from.

    Two of the networks were published; the others are taken to do as many multiply-adds per second.
    """
    near = model if model in PUBLISHED else f"{model.rpartition('_')[0]}_small"
    rate = PUBLISHED[near][0] / 8 * predict(near).macs / predict(model).macs
    told = f"{near} on 8 devices {PUBLISHED[near][0]} images/s ({ZOO})"
    return round(rate), told if near == model else f"no source: as many multiply-adds per second as {told}"


def tell(options):
    """Print what goes into `plan`, each figure with its source, and the plan as a table."""
    rate, source = published_rate(options.model)
    speed = options.images_per_second or rate
    print(f"{options.model}, {predict(options.model).parameters:,} parameters; {options.images:,} images, "
          f"{options.epochs} epochs\n")
    line("images-per-second", f"{speed:g}", "images/s", source if speed == rate else "given")
    for name, one in ASSUMED.items():
        value = getattr(options, name.replace("-", "_"))
        line(name, f"{value:g}", one.unit, one.source if value == one.default else "given")
    shares = [options.global_batch // n if options.global_batch else options.batch for n in options.devices]
    line("memory", *memory(options.model, max(shares)))
    heads = {"devices": 7, "images each": 11, "batch": 8, "peak lr": 8, "steps": 6, "compute s": 9, "input s": 8,
             "all-reduce s": 12, "binds": 10, "epoch s": 8, "run h": 6}
    print("\n" + " ".join(f"{name:>{width}}" for name, width in heads.items()))
    for n, share in zip(options.devices, shares):
        p = plan_of(options, speed, n, share)
        begin = f"{n:7} {share:11} {p.batch:8,} {5e-4 * p.batch / 512:8.2g} {p.steps:6}"
        if p.steps:
            print(f"{begin} {p.compute:9.1f} {p.input:8.1f} {p.all_reduce:12.2f} {p.binds:>10} {p.epoch:8.1f} "
                  f"{p.epoch * options.epochs / 3600:6.1f}")
        else:
            print(f"{begin}  an epoch has fewer images than one step, or a device none")
    print(NOTE)


NOTE = """
batch: images of a step, of all devices. peak lr: by the rule 5e-4 for 512 of them. The released logs have 1024 to 2048;
whether larger batches reach the same accuracy is not known. The all-reduce hides behind nothing; input and compute hide
behind each other. Not in the plan: compiling (MindCV reports 150 to 385 s for most transformers), evaluations,
checkpoints, and that a device with few images in a step computes fewer per second."""


def line(name, value, unit, source):
    """A figure of the plan, and where it is from."""
    print(f"{name:18}{value:>7} {unit:13}{source}")


def plan_of(options, speed, devices, batch):
    """The plan of a command line, for one number of devices."""
    images = options.images if batch else 0
    (one,) = plan(images=images, batch=max(batch, 1), parameters=predict(options.model).parameters,
                  seconds_per_image=1 / speed, images_per_second=options.workers * options.worker_rate,
                  store=options.store * 1e9 / IMAGE_BYTES, bandwidth=options.bandwidth * 1e9,
                  latency=options.latency * 1e-6, devices=[devices])
    return one


def memory(model, batch):
    """GiB, unit and source of what one device needs for training, by the stored dry run."""
    stored = stored_peak(load_config(model), batch)
    if stored is None:
        return "?", "GiB", f"python -m twins_lib.training.ascend --config {model} batch_size={8 * batch} tells it"
    return f"{stored:g}", f"GiB of {CARD // GIB}", "MindSpore's dry run, without the kernels' workspace"


def _number(kind, low):
    def read(text):
        if not kind(text) >= low:
            raise argparse.ArgumentTypeError(f"{text}: must be at least {low}")
        return kind(text)
    read.__name__ = kind.__name__
    return read


def main(arguments=None):
    """Parse the command line and print the plan."""
    parser = argparse.ArgumentParser(prog="python -m twins_lib.training.planning", description=(
        f"{plan.__doc__.split('Args:')[0]} Every figure below that the plan needs has a source or says that it has "
        "none; put in your own."))
    positive, whole = _number(float, 1e-9), _number(int, 1)
    parser.add_argument("--model", choices=imagenet(), metavar="NAME", default="twins_svt_small",
                        help=f"{', '.join(imagenet())} (%(default)s)")
    parser.add_argument("--devices", type=whole, nargs="+", metavar="N", default=[8, 16, 32, 64, 128, 256, 512, 1024],
                        help="(8 16 32 ... 1024)")
    share = parser.add_mutually_exclusive_group()
    share.add_argument("--batch", type=whole, metavar="N", help="images of one device in one step, so that the batch "
                       "grows with the devices (as many as the shipped configuration gives to one of 8)")
    share.add_argument("--global-batch", type=whole, metavar="N", help="images of all devices in one step, so that "
                       "each gets fewer: 2048 keeps the recipe of the released log of twins_svt_small")
    parser.add_argument("--images", type=whole, default=1_281_167, help="of an epoch (%(default)s: ImageNet)")
    parser.add_argument("--epochs", type=whole, default=300, help="(%(default)s: the recipe)")
    parser.add_argument("--images-per-second", type=positive, metavar="X", help=(
        "that one device trains on (published for two networks on 8 devices, " + ", ".join(
            f"{name} {rates[0]}, which is {rates[0] / 8:.0f} a device" for name, rates in PUBLISHED.items())
        + f": {ZOO}; MindCV reports 475 to 602 for other transformers in MindSpore; yours: the gate speed of "
        "twins_lib.training.firstday)"))
    for name, one in ASSUMED.items():
        parser.add_argument(f"--{name}", type=positive, default=one.default, metavar="X",
                            help=f"{one.unit} {one.about} (%(default)s: {one.source})")
    options = parser.parse_args(arguments)
    options.batch = options.batch or load_config(options.model).local_batch(8)
    tell(options)


if __name__ == "__main__":
    main()
