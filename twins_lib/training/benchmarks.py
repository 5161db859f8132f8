"""What `twins_lib.bench` measures, each in a process of its own, and how (lesson 10).

Two rules make the numbers honest. A time ends when the result is a NumPy array: MindSpore and PyTorch may return
from a call before its work is done. And the two are measured in turn, A B A B, because a machine has good and bad
minutes: trust the ratios more than the seconds. Each measurement runs in a process of its own, so that its peak
memory is its own and neither library takes threads from the other; in PyTorch's, MindSpore is not imported.
"""

import contextlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

# ------------------------------------------------------------- what is measured: each returns a function of one run

def timed(run):
    """A function that runs `run` once and returns the seconds it took."""
    def seconds():
        begin = time.perf_counter()
        run()
        return time.perf_counter() - begin
    return seconds


def example(batch, size, classes=1000):
    """A made batch: images (batch, 3, size, size) and one-hot targets (batch, classes), float32."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, 3, size, size), np.float32)
    return images, np.eye(classes, dtype=np.float32)[rng.integers(classes, size=batch)]


def mindspore_network(model, task, mode, batch, size):
    """Forward or a whole training step (loss, gradients, clipping, AdamW) of a Twins in MindSpore."""
    import mindspore as ms

    from twins_lib import create_model
    from twins_lib.training import engine, recipe

    ms.set_device("CPU")
    ms.runtime.launch_blocking()
    network = create_model(model)
    images, targets = example(batch, size)
    if task == "forward":
        run, images = (ms.jit(network.construct) if mode == "jit" else network), ms.Tensor(images)
        return timed(lambda: run(images).asnumpy())

    def loss(images, targets):
        return recipe.soft_cross_entropy(network(images), targets)

    optimizer = recipe.AdamW(recipe.parameter_groups(network))
    step = engine.TrainStep(loss, optimizer, mode="graph" if mode == "jit" else "pynative")
    return timed(lambda: step([(images, targets)], 1e-4))


def torch_network(model, task, batch, size):
    """The same in PyTorch, eager, with timm's network."""
    import torch
    from timm import create_model
    from timm.loss import SoftTargetCrossEntropy

    network = create_model(model, img_size=size)
    images, targets = map(torch.from_numpy, example(batch, size))
    if task == "forward":
        network.eval()

        def run():
            with torch.no_grad():
                network(images).numpy()
        return timed(run)

    network.train()
    loss = SoftTargetCrossEntropy()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=0.05)

    def step():
        optimizer.zero_grad()
        value = loss(network(images), targets)
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        value.detach().numpy()
    return timed(step)


def mindspore_data(folder, size, batch, workers, seconds):
    """Training images a second: the official augmentation by `twins_lib.training.batches`."""
    from twins_lib.training.batches import throughput
    from twins_lib.training.images import ImageFolder

    images = ImageFolder(folder)
    return lambda: throughput(images, size, batch, workers, seconds)


def torch_data(folder, size, batch, workers, seconds):
    """The same by torchvision's ImageFolder, timm's transforms and mixup, and PyTorch's loader."""
    from timm.data import Mixup, create_transform
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    transform = create_transform(size, is_training=True, auto_augment="rand-m9-mstd0.5-inc1", interpolation="bicubic",
                                 re_prob=0.25, re_mode="pixel")
    images = ImageFolder(folder, transform)
    mix = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1, num_classes=len(images.classes))
    loader = DataLoader(images, batch, shuffle=True, drop_last=True, num_workers=workers)

    def images_per_second():
        done, begin = -batch, None
        while True:
            for pixels, labels in loader:
                mix(pixels, labels)
                begin = begin or time.perf_counter()
                done += batch
                if done and time.perf_counter() - begin >= seconds:
                    return done / (time.perf_counter() - begin)
    return images_per_second


def run_notebook(path):
    """Run a notebook with nbclient's own command, in a process of its own and without the network.

    Args:
        path (Path): the notebook; the file is not changed. It runs in its own folder.

    Returns:
        Its seconds, its processor seconds (0 on Windows) and a sentence on why it stopped, "" if it ran to its end.
    """
    root, nowhere = str(Path(__file__).resolve().parents[2]), "http://127.0.0.1:9"
    there = {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
             "http_proxy": nowhere, "https_proxy": nowhere}
    before, begin = os.times(), time.perf_counter()
    done = subprocess.run([sys.executable, "-c", "from nbclient.cli import main; main()", "--timeout=600",
                           str(path.resolve())], capture_output=True, text=True, env=os.environ | there)
    seconds, after = time.perf_counter() - begin, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stderr).split("\n")
    last = next((line.strip() for line in reversed(said) if line.strip()), f"ended with code {done.returncode}")
    return seconds, used, last if done.returncode else ""


# ------------------------------------------------------------------------------------------------ how it is measured

UNSTEADY = 0.3  # a subject whose runs vary by more is measured again


class Subject:
    """Something to measure, in a process of its own. A context manager; call it for the figure of one run.

    Args:
        build (callable): one of the four above.
        arguments: its arguments, plain values.
    """

    def __init__(self, build, **arguments):
        self.title = f"{build.__name__} {arguments}"
        environment = dict(os.environ)
        if build in (torch_network, torch_data):
            # Run as a file, it does not import the package; and twins_lib's limit on oneDNN is not for PyTorch.
            how = ["-I", __file__]
            environment.pop("ONEDNN_MAX_CPU_ISA", None)
        else:
            how = ["-m", "twins_lib.training.benchmarks"]
            root = str(Path(__file__).resolve().parents[2])
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
        self.process = subprocess.Popen([sys.executable, *how, build.__name__, json.dumps(arguments)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def _ask(self, question):
        try:
            print(question, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass  # it has ended: what it last said stands above, and its answer is empty
        answer = self.process.stdout.readline()
        if answer.startswith('"'):
            raise ValueError(json.loads(answer))
        if not answer:
            sys.exit(f"{self.title}: ended with code {self.process.wait()} before it was measured; "
                     "the reason stands above, or, with code -9, there was not enough memory")
        return json.loads(answer)

    def __call__(self):
        return self._ask("run")

    def peak(self):
        """Largest memory it has held so far, GB."""
        return self._ask("peak")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def peak_memory():
    """Largest memory that this process has held, GB."""
    with contextlib.suppress(OSError):  # Linux's ru_maxrss would begin with what the parent held
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9


def serve(build, arguments):
    """Be the process of a `Subject`: build, then answer each line of stdin by one of stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the process that asks; it ends this one
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no reply
    run = globals()[build](**json.loads(arguments))
    for question in sys.stdin:
        try:
            answer = run() if question.strip() == "run" else peak_memory()
        except (ValueError, OSError) as fault:  # an image that cannot be read, which PyTorch's loader tells last
            answer = str(fault).strip().splitlines()[-1]
        print(json.dumps(answer), file=replies, flush=True)


def in_turn(subjects, runs, bar):
    """First and median figure of each subject: all once, then `runs` times A B A B, and again if one is unsteady.

    Returns:
        Four lists, an entry a subject: first figures, medians, how much the runs vary (largest over smallest, less 1),
        and sentences on why there are no figures, "" where there are.

    Raises:
        ValueError: the first subject's sentence, if none of them could be measured.
    """
    faults = [""] * len(subjects)

    def ask(k):
        bar.update()
        try:
            return float("nan") if faults[k] else subjects[k]()
        except (ValueError, SystemExit) as fault:
            faults[k] = str(fault)
            return float("nan")

    def rounds(number):
        return np.array([[ask(k) for k in range(len(subjects))] for _ in range(number)])

    first, measured = rounds(1)[0], rounds(runs)
    if (variation(measured) > UNSTEADY).any():  # a peer's noise is in the ratio too, so all are measured again
        bar.total += measured.size
        measured = rounds(runs)
    if all(faults):
        raise ValueError(faults[0])
    figures = first, np.median(measured, axis=0), variation(measured)
    return *([None if fault else one for one, fault in zip(each.tolist(), faults)] for each in figures), faults


def variation(rounds):
    """How much the runs of each subject vary, from an array (runs, subjects): largest over smallest, less 1."""
    return rounds.max(axis=0) / rounds.min(axis=0) - 1


def growth(pixels, seconds):
    """The p of seconds ~ pixels^p, by least squares in the logarithms."""
    return float(np.polyfit(np.log(pixels), np.log(seconds), 1)[0])


def torch_installed():
    return all(installed(package) for package in ("torch", "torchvision", "timm"))


def installed(package):
    """Version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def machine():
    """CPU model, cores this process may use, and versions."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": model, "cores": cores, "python": platform.python_version(),
            **{package: installed(package) for package in ("mindspore", "torch", "timm")}}


if __name__ == "__main__":
    serve(*sys.argv[1:])
