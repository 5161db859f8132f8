"""Several processes that train as one: `msrun` or `mpirun` starts them, here they meet (lesson 10)."""

import errno
import os
import re
import socket
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import communication, ops
from mindspore.device_context.ascend import op_precision

from .errors import RunError

# How long processes wait for one another at the start, in seconds.
PATIENCE = 60
# That hand kernels to an Ascend device. On a host of two cores MindSpore takes fewer, and then cannot compile an `if`.
DISPATCH_THREADS = 4


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
    except (RuntimeError, ValueError) as fault:
        raise RunError(f"device {device}: MindSpore finds none here{_reason(str(fault))}; "
                       "write device=CPU precision=O0") from None
    if device == "Ascend":
        _prepare_ascend()
    if device == "CPU":
        ms.runtime.launch_blocking()  # on few cores two to ten times faster outside compiled functions
    if int(os.environ.get("OMPI_COMM_WORLD_SIZE", 1)) > 1 and device == "CPU":
        _translate_mpirun()
    if "MS_ROLE" not in os.environ and int(os.environ.get("OMPI_COMM_WORLD_SIZE", 1)) == 1:
        return 0, 1
    if os.environ.get("MS_ROLE") == "MS_SCHED":
        _schedule()
    _meet()
    return communication.get_rank(), communication.get_group_size()


@cache
def _prepare_ascend():
    """What must be chosen before the first graph; MindSpore takes each of these once in a process."""
    ms.runtime.dispatch_threads_num(DISPATCH_THREADS)
    ms.set_deterministic(True)  # a resumed run ends with the same bits, also there
    op_precision.conv_allow_hf32(False)  # float32 convolutions would else lose 13 of their 23 digits


def _reason(said):
    """What MindSpore says of the first library that it could not load, in brackets; "" if it says nothing of any."""
    found = re.search(r"Load dynamic library: \S+ failed\. (.+)", said)
    return f" ({found[1].strip()})" if found else ""


def _meet():
    """Join the other processes; RunError, naming the address, if they are not there within PATIENCE seconds.

    A longer patience is asked for with msrun's --cluster_time_out, which is 600 unless it is given.
    """
    seconds = _patience()
    try:
        communication.init()
    except RuntimeError as fault:
        if "not successfully spawned" not in str(fault):
            raise RunError(f"the processes cannot be joined at {_address()} ({str(fault).splitlines()[0]})") from None
        raise RunError(f"the processes do not meet at {_address()} within {seconds} seconds: one of them has not "
                       "started, or another program has this address; see what each printed, or give msrun another "
                       "--master_port") from None


def _patience():
    """Tell MindSpore how many seconds to wait for the other processes; they, as text."""
    asked_for = os.environ.get("MS_TOPO_TIMEOUT", "600")
    os.environ["MS_TOPO_TIMEOUT"] = str(PATIENCE) if asked_for == "600" else asked_for
    return os.environ["MS_TOPO_TIMEOUT"]


def _address():
    """Where the scheduler listens, as host:port."""
    return f"{os.environ.get('MS_SCHED_HOST', '127.0.0.1')}:{os.environ.get('MS_SCHED_PORT', '?')}"


def sum_over_processes(values, world):
    """Add up a short list of numbers over all processes; each gets the sums as a float64 array."""
    values = np.asarray(values, np.float32)
    if world > 1:
        values = ops.AllReduce()(ms.Tensor(values)).asnumpy()
    return values.astype(np.float64)


def texts_of_all(text, rank, world):
    """What every process has to say, in the order of their ranks: a list of strings, the same in each process."""
    own, lengths = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8), np.zeros(world)
    lengths[rank] = len(own)
    lengths = sum_over_processes(lengths, world).astype(int)
    board = np.zeros((world, lengths.max() + 1))  # a row a process; the sum fills in those of the others
    board[rank, :len(own)] = own
    board = sum_over_processes(board, world).astype(np.uint8)
    return [row[:length].tobytes().decode("utf-8", "surrogatepass") for row, length in zip(board, lengths)]


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
                raise RunError(f"the scheduler at {_address()} does not answer within {PATIENCE} seconds; "
                               "start the run again") from None
            time.sleep(0.1)


def _start_scheduler():
    """Start the scheduler; it ends when this process ends, in whatever way, because its standard input then closes."""
    subprocess.Popen([sys.executable, "-m", "twins_lib.training.distributed"], stdin=subprocess.PIPE,
                     env={**os.environ, "MS_ROLE": "MS_SCHED"})


def _schedule():
    """Be the scheduler: introduce the processes to one another, wait for the last to leave, and exit.

    msrun shows of the scheduler's log the lines that say Error.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((os.environ["MS_SCHED_HOST"], int(os.environ["MS_SCHED_PORT"])))
        except OSError as fault:
            if fault.errno == errno.EADDRINUSE:
                sys.exit(f"Error: {_address()} is taken by another program; give msrun another --master_port")
    _patience()  # a process that dies before it is here would else keep msrun for ten minutes
    try:
        communication.init()
    except RuntimeError as fault:
        sys.exit(f"Error: a process is gone, so the run is over ({str(fault).splitlines()[0]}); "
                 "see what that process printed, then go on with --resume")
    sys.exit(0)


def _serve():
    """The scheduler's process: MindSpore's cluster manager, until the parent is gone."""
    def leave_with_parent():
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=leave_with_parent, daemon=True).start()
    start()


if __name__ == "__main__":
    _serve()
