"""Several processes that train as one: `msrun` or `mpirun` starts them, here they meet (lesson 10).

    python -m twins_lib.distributed plan --help        how long a run would take on 8 to 1024 devices
"""

import argparse
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import communication, ops

# How long processes wait for one another at the start, in seconds.
PATIENCE = 60


class RunError(RuntimeError):
    """A run that cannot start or go on, told in one sentence."""


def start(device="CPU"):
    """Choose the device and join the other processes, if a launcher started any.

    On Ascend both launchers are MindSpore's own affair. On a CPU MindSpore knows only `msrun`; a process
    that `mpirun` started is first given the environment that `msrun` would have given it.

    Args:
        device (str): "CPU" or "Ascend".

    Returns:
        rank in 0..world-1, and world, the number of processes; (0, 1) without a launcher.

    Raises:
        RunError: the device is not here, or the processes do not find one another.
    """
    try:
        ms.set_device(device)
    except (RuntimeError, ValueError):
        raise RunError(f"device {device}: MindSpore finds none here; write device=CPU precision=O0") from None
    if device == "CPU":
        ms.runtime.launch_blocking()  # on few cores two to ten times faster outside compiled functions
    if int(os.environ.get("OMPI_COMM_WORLD_SIZE", 1)) > 1 and device == "CPU":
        _translate_mpirun()
    if "MS_ROLE" not in os.environ and int(os.environ.get("OMPI_COMM_WORLD_SIZE", 1)) == 1:
        return 0, 1
    if os.environ.get("MS_ROLE") == "MS_SCHED":
        _schedule()
    communication.init()
    return communication.get_rank(), communication.get_group_size()


def sum_over_processes(values, world):
    """Add up a short list of numbers over all processes; each gets the sums as a float64 array."""
    values = np.asarray(values, np.float32)
    if world > 1:
        values = ops.AllReduce()(ms.Tensor(values)).asnumpy()
    return values.astype(np.float64)


def texts_of_all(text, rank, world):
    """What every process has to say, in the order of their ranks: a list of strings, the same in each process."""
    own, lengths = np.frombuffer(text.encode(), np.uint8), np.zeros(world)
    lengths[rank] = len(own)
    lengths = sum_over_processes(lengths, world).astype(int)
    board = np.zeros((world, lengths.max() + 1))  # a row a process; the sum fills in those of the others
    board[rank, :len(own)] = own
    board = sum_over_processes(board, world).astype(np.uint8)
    return [row[:length].tobytes().decode() for row, length in zip(board, lengths)]


# ------------------------------------------------------------------------------------------------------ planning

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


def plan_program(options):
    """Print `plan` as a table, and what went into it."""
    from .cost import predict

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


def main(arguments=None):
    """Parse the command line; there is one task."""
    def number(kind, low):
        def read(text):
            if not kind(text) >= low:
                raise argparse.ArgumentTypeError(f"{text}: must be at least {low}")
            return kind(text)
        read.__name__ = kind.__name__
        return read

    from . import VARIANTS

    parser = argparse.ArgumentParser(prog="python -m twins_lib.distributed", description=__doc__.splitlines()[0])
    task = parser.add_subparsers(required=True, metavar="plan").add_parser(
        "plan", help=plan.__doc__.splitlines()[0], description=plan.__doc__.split("Args:")[0])
    positive, whole = number(float, 1e-9), number(int, 1)
    task.add_argument("--images-per-second", type=positive, required=True, metavar="X", help=(
        "training images a second that one device computes, measured: train_images_per_second in the log of a short "
        "run on one"))
    task.add_argument("--input-images-per-second", type=positive, metavar="X", help=(
        "augmented images a second that a host makes for each of its devices, measured: python -m twins_lib.bench "
        "data, divided by the devices of a host (default: never short)"))
    task.add_argument("--model", choices=VARIANTS, metavar="NAME", default="twins_svt_small", help=(
        "says how many gradients are sent (%(default)s)"))
    task.add_argument("--devices", type=whole, nargs="+", metavar="N", default=[8, 16, 32, 64, 128, 256, 512, 1024],
                      help="(8 16 32 ... 1024)")
    task.add_argument("--batch", type=whole, default=128, help="images of one device in one step (%(default)s)")
    task.add_argument("--images", type=whole, default=1_281_167, help="of an epoch (%(default)s: ImageNet)")
    task.add_argument("--epochs", type=whole, default=300, help="(%(default)s)")
    task.add_argument("--bandwidth", type=positive, default=12.5, metavar="GB/S", help=(
        "from one device to the next in the ring (%(default)s, a link of 100 Gbit/s; assumed)"))
    task.add_argument("--latency", type=positive, default=20, metavar="MICROSECONDS", help=(
        "of one message (%(default)s; assumed)"))
    plan_program(parser.parse_args(arguments))


# --------------------------------------------------------------------------------------- mpirun, and the scheduler

def _translate_mpirun():
    """Write Open MPI's rank and size as MindSpore's roles, and start the scheduler that the roles need."""
    rank, world, local = (int(os.environ[f"OMPI_COMM_WORLD_{name}"]) for name in ("RANK", "SIZE", "LOCAL_SIZE"))
    if local != world:
        raise RunError(f"mpirun put {world} CPU processes on several hosts: start them with msrun, "
                           "which takes the scheduler's address")
    # mpirun makes this folder for the job and removes it afterwards, however the job ends.
    meeting_point = Path(os.environ["PMIX_SERVER_TMPDIR"]) / "twins_scheduler_port"
    for name in [name for name in os.environ if name.startswith(("OMPI_", "PMIX_"))]:
        del os.environ[name]
    os.environ.update(MS_WORKER_NUM=str(world), MS_SCHED_HOST="127.0.0.1")
    os.environ["MS_SCHED_PORT"] = _announce_port(meeting_point) if rank == 0 else _read_port(meeting_point)
    if rank == 0:
        _start_scheduler()
    _wait_for_scheduler()
    os.environ.update(MS_ROLE="MS_WORKER", MS_NODE_ID=str(rank))


def _announce_port(meeting_point):
    """Find a free port and write it where the other ranks look for it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    unfinished = meeting_point.with_suffix(".part")
    unfinished.write_text(port)
    unfinished.replace(meeting_point)
    return port


def _read_port(meeting_point):
    deadline = time.monotonic() + PATIENCE
    while not meeting_point.exists():
        if time.monotonic() > deadline:
            raise RunError(f"rank 0 has not started within {PATIENCE} seconds; see what it printed")
        time.sleep(0.05)
    return meeting_point.read_text()


def _wait_for_scheduler():
    """Return once the scheduler listens: a worker that knocks earlier tries again only much later."""
    address = os.environ["MS_SCHED_HOST"], int(os.environ["MS_SCHED_PORT"])
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection(address, timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise RunError(f"the scheduler on port {address[1]} does not answer; start the run again") from None
            time.sleep(0.1)


def _start_scheduler():
    """Start the scheduler; it ends when this process ends, in whatever way, because its standard input then closes."""
    subprocess.Popen([sys.executable, "-m", "twins_lib.distributed", "serve"], stdin=subprocess.PIPE,
                     env={**os.environ, "MS_ROLE": "MS_SCHED"})


def _schedule():
    """Be the scheduler: introduce the processes to one another, wait for the last to leave, and exit.

    msrun shows of the scheduler's log the lines that say Error.
    """
    try:
        communication.init()
    except RuntimeError as fault:
        sys.exit(f"Error: a process is gone, so the run is over ({str(fault).splitlines()[0]}); "
                 "see what that process printed, then go on with --resume")
    sys.exit(0)


def _serve():
    """The scheduler's process: MindSpore's cluster manager, until the parent is gone."""
    import threading

    def leave_with_parent():
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=leave_with_parent, daemon=True).start()
    start()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        _serve()
    else:
        main()
