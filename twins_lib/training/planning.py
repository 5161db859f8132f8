"""How long a run would take on many devices: `python -m twins_lib.training.planning --help` (lesson 10)."""

import argparse
from dataclasses import dataclass

import numpy as np

from ..cost import predict
from ..model import VARIANTS


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


def plan(*, images, batch, parameters, seconds_per_image, images_per_second, bandwidth, latency,
         devices=(8, 16, 32, 64, 128, 256, 512, 1024)):
    """How long an epoch would take on more devices than one has.

    A step computes and reads `batch` images on every device, then adds up the float32 gradients in a ring: of n
    devices each sends 2(n-1)/n of them, in 2(n-1) messages.

    Args:
        images (int): images of an epoch.
        batch (int): images of one device in one step. The global batch grows with the devices, and beyond a few
            thousand the recipe is no longer the one whose accuracy is known.
        parameters (int): of the network.
        seconds_per_image (float): of a train step on one device, measured there.
        images_per_second (float): that the host makes for one device, measured (`python -m twins_lib.bench data`).
        bandwidth (float): bytes a second from one device to the next, from the data sheet or measured.
        latency (float): seconds of one message.
        devices (sequence of int): how many to plan for.

    Returns:
        list of Plan.
    """
    plans = []
    for n in devices:
        steps = images // (batch * n)
        ring = 2 * (n - 1) / n * 4 * parameters / bandwidth + 2 * (n - 1) * latency
        plans.append(Plan(n, batch * n, steps, steps * batch * seconds_per_image, steps * batch / images_per_second,
                          steps * ring))
    return plans


def tell(options):
    """Print `plan` as a table, and what went into it."""
    parameters = predict(options.model).parameters
    reading = options.input_images_per_second
    plans = plan(images=options.images, batch=options.batch, parameters=parameters,
                 seconds_per_image=1 / options.images_per_second, images_per_second=reading or np.inf,
                 bandwidth=options.bandwidth * 1e9, latency=options.latency * 1e-6, devices=options.devices)
    print(f"""{options.model}, {parameters:,} parameters; {options.images:,} images, {options.epochs} epochs
given    compute: {options.images_per_second:g} images/s a device, batches of {options.batch}
         input:   {f"{reading:g} images/s for each device" if reading else "not given, taken to be never short"}
assumed  all-reduce: float32 gradients in a ring of links of {options.bandwidth:g} GB/s, {options.latency:g} \
microseconds a message;
         it hides behind nothing, while input and compute hide behind each other
""")
    heads = {"devices": 7, "batch": 8, "peak lr": 8, "steps": 6, "compute s": 10, "input s": 8, "all-reduce s": 13,
             "epoch s": 8, "run h": 7, "efficiency": 11}
    print(" ".join(f"{name:>{width}}" for name, width in heads.items()))
    for p in plans:
        if not p.steps:
            print(f"{p.devices:7} {p.batch:8,}  an epoch has fewer images than one step")
            continue
        print(f"{p.devices:7} {p.batch:8,} {5e-4 * p.batch / 512:8.2g} {p.steps:6} {p.compute:10.1f} {p.input:8.1f} "
              f"{p.all_reduce:13.2f} {p.epoch:8.1f} {p.epoch * options.epochs / 3600:7.1f} {p.compute / p.epoch:11.0%}")
    print("\nbatch and peak lr: over all devices, by the rule 5e-4 for 512 images. The released logs have 1024 to\n"
          "2048 images a step; whether larger batches reach the same accuracy is not known.")


def _number(kind, low):
    def read(text):
        if not kind(text) >= low:
            raise argparse.ArgumentTypeError(f"{text}: must be at least {low}")
        return kind(text)
    read.__name__ = kind.__name__
    return read


def main(arguments=None):
    """Parse the command line and print the plan."""
    parser = argparse.ArgumentParser(prog="python -m twins_lib.training.planning",
                                     description=plan.__doc__.split("Args:")[0])
    positive, whole = _number(float, 1e-9), _number(int, 1)
    parser.add_argument("--images-per-second", type=positive, required=True, metavar="X", help=(
        "training images a second that one device computes, measured: train_images_per_second in the log of a short "
        "run on one"))
    parser.add_argument("--input-images-per-second", type=positive, metavar="X", help=(
        "augmented images a second that a host makes for each of its devices, measured: python -m twins_lib.bench "
        "data, divided by the devices of a host (default: never short)"))
    parser.add_argument("--model", choices=VARIANTS, metavar="NAME", default="twins_svt_small", help=(
        "says how many gradients are sent (%(default)s)"))
    parser.add_argument("--devices", type=whole, nargs="+", metavar="N", default=[8, 16, 32, 64, 128, 256, 512, 1024],
                      help="(8 16 32 ... 1024)")
    parser.add_argument("--batch", type=whole, default=128, help="images of one device in one step (%(default)s)")
    parser.add_argument("--images", type=whole, default=1_281_167, help="of an epoch (%(default)s: ImageNet)")
    parser.add_argument("--epochs", type=whole, default=300, help="(%(default)s)")
    parser.add_argument("--bandwidth", type=positive, default=12.5, metavar="GB/S", help=(
        "from one device to the next in the ring (%(default)s, a link of 100 Gbit/s; assumed)"))
    parser.add_argument("--latency", type=positive, default=20, metavar="MICROSECONDS", help=(
        "of one message (%(default)s; assumed)"))
    tell(parser.parse_args(arguments))


if __name__ == "__main__":
    main()
