"""What a first day looks at: one device on one batch, and all devices, killed and resumed (lesson 10).

`python -m twins_lib.training.firstday` judges what comes out. It starts both as processes of their own: a program that
has once used a device keeps its memory, and the run after it would find less.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mindspore as ms
import numpy as np

from ..weights import writing
from .batches import throughput
from .checkpoints import read_checkpoint
from .config import Config, as_yaml, load_config
from .distributed import start
from .engine import step_of
from .errors import RunError, run, telling_line
from .images import ImageFolder
from .tasks import classification

STEPS = 20  # updates, and updates between the checkpoints of a run
COMPILING = 1800  # seconds after which a run that saves nothing is given up; MindCV reports up to 385 of compiling
ENDING = 120  # seconds within which a run ends that was killed or stopped
FEED_SECONDS = 3.0
LIBRARY = str(Path(__file__).resolve().parents[2])


# ------------------------------------------------------------------------------------------------- one device

def alone(config, tell):
    """Train on one batch, then make batches without training.

    Args:
        config (Config): with the batch of one device, and accumulate 1.
        tell (callable): takes facts as keywords, as soon as they are known: device; classes and first_loss, before any
            update; last_loss after 20 at a rate of 1e-3, least_loss, which is the entropy of the targets, and
            images_per_second; peak_bytes of an Ascend device; images_made per second by the workers of one device.

    Raises:
        RunError, ValueError: no device, no images.
    """
    start(config.device)
    tell(device=config.device)
    task = classification(config)
    batch = [next(iter(task.batches(0, 0)))]
    _, step = step_of(config, task.model, task.loss, 1)
    tell(classes=batch[0][1].shape[1], first_loss=step(batch, 0.0)[0])
    begin = time.perf_counter()
    losses = [step(batch, 1e-3)[0] for _ in range(STEPS)]
    speed = STEPS * config.batch_size / (time.perf_counter() - begin)
    tell(last_loss=losses[-1], least_loss=entropy(batch[0][1]), images_per_second=speed)
    if config.device == "Ascend":
        tell(peak_bytes=ms.runtime.max_memory_allocated())
    folder = ImageFolder(Path(config.data, "train"))
    tell(images_made=throughput(folder, config.image_size, config.batch_size, config.workers, FEED_SECONDS))


def entropy(targets):
    """Mean entropy of the rows of float32 targets (B, classes): no cross-entropy with them is smaller."""
    targets = targets.astype(np.float64)
    return float(-(targets * np.log(np.maximum(targets, 1e-12))).sum(1).mean())


def alone_in_a_process(config, tell):
    """As `alone`, in a process that gives the device back; RunError with what it said if it did not come to its end."""
    with tempfile.TemporaryDirectory() as folder:
        (settings := Path(folder, "config.yaml")).write_text(as_yaml(config), encoding="utf-8")
        done = subprocess.run([sys.executable, "-m", "twins_lib.training.trials", str(settings)], text=True,
                              errors="replace", capture_output=True, env=_environment())
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            tell(**json.loads(line))
    if done.returncode:
        raise RunError(telling_line(done.stderr or f"its process ended with exit code {done.returncode}"))


def _environment():
    """That of this process; its library and its Python are found first."""
    paths = filter(None, [LIBRARY, os.environ.get("PYTHONPATH")])
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PATH": programs}


# ------------------------------------------------------------------------------------------------- all devices

def together(config, devices, tell, program=("-m", "twins_lib.train")):
    """Train on several devices as a user does; kill one process; resume, and compare with what was there before.

    The run goes beyond its second checkpoint before it is killed. Then this checkpoint is laid aside, and the run
    resumed from the first: it must come to the second again.

    Args:
        config (Config): of the whole run. Its folder `firstday` in `output` is used, and removed at the end.
        devices (int): of this host, all of which train.
        tell (callable): takes facts as keywords: loss_together, the mean of the updates before the first checkpoint,
            and speed_together, images per second between the two; then loss, the sum of all losses up to the second
            checkpoint, resumed_loss, the same after resuming, and difference, the largest of weights and moments.
        program (sequence of str): the Python program that trains.

    Raises:
        RunError: a run that ends by itself, does not start or does not end; with the reason, and where its logs are.
    """
    folder, steps = Path(config.output, "firstday"), _steps_between(config)
    shutil.rmtree(folder, ignore_errors=True)
    with writing(folder):
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(as_yaml(config), encoding="utf-8")
    words = [*program, "--config", folder / "config.yaml", f"output={folder / 'run'}", f"save_steps={steps}", "keep=9",
             "epochs=300"]  # so that the run does not end by itself
    first, second = (folder / f"run/checkpoints/epoch-0000-step-{n * steps:06d}.safetensors" for n in (1, 2))
    with Launched(config, devices, folder / "logs", words) as training:
        training.wait_for(second)
        seconds = second.stat().st_mtime - first.stat().st_mtime
        tell(loss_together=_loss_sum(first) / steps, speed_together=steps * config.batch_size / seconds)
        training.signal_one(signal.SIGKILL)
    second.rename(before := folder / "before.safetensors")
    for later in sorted(first.parent.glob("epoch-*"))[1:]:
        later.unlink()
    with Launched(config, devices, folder / "resumed_logs", [*words, "--resume"]) as training:
        training.wait_for(second)
        training.signal_one(signal.SIGTERM)
    tell(loss=_loss_sum(before), resumed_loss=_loss_sum(second), difference=_difference(before, second))
    shutil.rmtree(folder)
    with contextlib.suppress(OSError):  # there are other things in it
        folder.parent.rmdir()


def _steps_between(config):
    """Updates between two checkpoints, so that an epoch has two and goes on."""
    images = len(ImageFolder(Path(config.data, "train")))
    steps = images // config.batch_size
    if steps < 3:
        raise RunError(f"{config.data}: {images} training images are {steps} updates of {config.batch_size}, and the "
                       "trial needs 3 within an epoch; give a smaller batch_size")
    return min(STEPS, (steps - 1) // 2)


class Launched:
    """A training on all devices by `msrun`, as a user starts it; a context manager that leaves nothing of it."""

    def __init__(self, config, devices, logs, words):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        bound = ["--bind_core=True"] if config.device == "Ascend" else []
        command = ["msrun", *bound, f"--worker_num={devices}", f"--local_worker_num={devices}", "--join=True",
                   f"--master_port={port}", f"--log_dir={logs}", "python", *words]
        self.logs = logs
        self.launcher = subprocess.Popen([str(word) for word in command], env=_environment(),
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.launcher.send_signal(signal.SIGINT)  # upon which msrun kills its processes, each in a session of its own
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.launcher.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.launcher.pid, signal.SIGKILL)
        self.launcher.wait()

    def wait_for(self, checkpoint):
        """Return once the file is there."""
        deadline = time.monotonic() + COMPILING
        while not checkpoint.is_file():
            if self.launcher.poll() is not None:
                raise RunError(f"the run ended before {checkpoint.name}, exit code {self.launcher.returncode}"
                               + self.end())
            if time.monotonic() > deadline:
                raise RunError(f"no {checkpoint.name} within {COMPILING} seconds" + self.end())
            time.sleep(0.05)

    def signal_one(self, number):
        """Send a signal to the one process that says that it starts or goes on, and wait for the end of all."""
        found = re.findall(r"process (\d+)$", self.said(), re.M)
        if len(found) != 1:
            raise RunError(f"{len(found)} processes train for themselves instead of all together" + self.end())
        os.kill(int(found[0]), number)
        try:
            self.launcher.wait(ENDING)
        except subprocess.TimeoutExpired:
            raise RunError(f"the run has not ended {ENDING} seconds after one process got its signal" + self.end()) \
                from None

    def said(self):
        return "".join(path.read_text(errors="replace") for path in sorted(Path(self.logs).glob("worker_*.log")))

    def end(self):
        """The end of a sentence: what the processes said that tells most, and where the rest stands."""
        return f" ({telling_line(self.said())}); see {self.logs}"


def _loss_sum(checkpoint):
    return json.loads(read_checkpoint(checkpoint)[1]["progress"])["loss_sum"]


def _difference(one, other):
    """The largest difference of two checkpoints in any array; NaN if an array has one."""
    one, other = read_checkpoint(one)[0], read_checkpoint(other)[0]
    return float(np.max([np.abs(one[name].astype(np.float64) - other[name]).max() for name in one]))


if __name__ == "__main__":
    run(lambda words: alone(load_config(words[0], schema=Config), lambda **facts: print(json.dumps(facts), flush=True)),
        sys.argv[1:])
