"""Seconds and memory of a Twins, beside timm's in PyTorch: `python -m twins_lib.bench --help` (lesson 10).

Two rules make the numbers honest. A time ends when the result is a NumPy array: MindSpore and PyTorch may return
from a call before its work is done. And the two are measured in turn, A B A B, because a machine has good and bad
minutes: trust the ratios more than the seconds. Each measurement runs in a process of its own, so that its peak
memory is its own and neither library takes threads from the other; in PyTorch's, MindSpore is not imported.
"""

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from tqdm import tqdm

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


# ------------------------------------------------------------------------------------------------ how it is measured

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
            how = ["-m", "twins_lib.bench"]
            root = str(Path(__file__).resolve().parents[1])
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
        self.process = subprocess.Popen([sys.executable, *how, "serve", build.__name__, json.dumps(arguments)],
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
    """First and median figure of each subject: all once, then `runs` times A B A B.

    Returns:
        (list of first figures, list of medians).
    """
    def ask(subject):
        figure = subject()
        bar.update()
        return figure

    first = [ask(subject) for subject in subjects]
    rounds = [[ask(subject) for subject in subjects] for _ in range(runs)]
    return first, np.median(rounds, axis=0).tolist()


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


# ------------------------------------------------------------------------------------------------- the three parts

class Report:
    """Prints a table, a line when it is known, and keeps all lines for --json."""

    def __init__(self, path, columns):
        self.path, self.columns, self.machine, self.rows = path, columns, machine(), []
        about = self.machine
        libraries = ", ".join(f"{name} {about[name] or 'not installed'}" for name in ("mindspore", "torch", "timm"))
        print(f"{about['cpu']}, {about['cores']} cores; Python {about['python']}, {libraries}")

    def head(self, title):
        tqdm.write(f"{title}\n\n" + "".join(f"{name:>{width}}" for name, (width, _) in self.columns.items()))

    def row(self, **values):
        cells = ((values.get(name), width, form) for name, (width, form) in self.columns.items())
        tqdm.write("".join(f"{'-' if value is None else format(value, form):>{width}}" for value, width, form in cells))
        self.rows.append(values)
        self.save()

    def save(self, **more):
        if self.path:
            self.path.write_text(json.dumps({"machine": self.machine, "rows": self.rows, **more}, indent=2) + "\n")


def check_sides(models, sides):
    """Raise ValueError for a side of images that a network does not take."""
    from twins_lib import VARIANTS

    for model in models:
        least = max(np.cumprod(VARIANTS[model].patch_sizes) * VARIANTS[model].sr_ratios)
        for side in sides:
            if side % 4 or side < least:
                raise ValueError(f"{side}x{side} pixels: {model} takes sides that are a multiple of 4 and at least "
                                 f"{least}; give another size")


def speed(options):
    """Forward and train step, seconds and memory, PyNative and jit, beside timm."""
    check_sides(options.models, [options.size])
    report = Report(options.json, {"model": (18, ""), "task": (9, ""), "mode": (10, ""), "seconds": (9, ".3f"),
                                   "timm": (8, ".3f"), "ratio": (7, ".2f"), "first call": (12, ".1f"),
                                   "peak GB": (9, ".2f"), "timm GB": (9, ".2f")})
    report.head(f"batch {options.batch}, {options.size}x{options.size}, float32; seconds are medians of {options.runs} "
                "runs after the first call, in turn with timm")
    # timm has no nano.
    plan = [(model, task, mode, torch_installed() and not model.endswith("nano"))
            for model in options.models for task in options.tasks for mode in options.modes]
    with tqdm(total=sum((1 + beside) * (1 + options.runs) for *_, beside in plan), unit="run", leave=False) as bar:
        for model, task, mode, beside in plan:
            bar.set_description(f"{model} {task} {mode}")
            inputs = {"model": model, "task": task, "batch": options.batch, "size": options.size}
            with contextlib.ExitStack() as stack:
                subjects = [stack.enter_context(Subject(mindspore_network, mode=mode, **inputs))]
                if beside:
                    subjects.append(stack.enter_context(Subject(torch_network, **inputs)))
                (first, *_), (seconds, *timm) = in_turn(subjects, options.runs, bar)
                peak, *timm_peak = [subject.peak() for subject in subjects]
            compared = {"timm": timm[0], "ratio": seconds / timm[0], "timm GB": timm_peak[0]} if beside else {}
            report.row(model=model, task=task, mode=mode, seconds=seconds, **compared,
                       **{"first call": first, "peak GB": peak})


def size(options):
    """Forward time of one image against its size, and the power of the number of pixels it grows with."""
    from twins_lib import cost

    check_sides(options.models, options.sizes)
    report = Report(options.json, {"model": (18, ""), "side": (6, ""), "seconds": (9, ".3f"), "GMACs": (9, ".2f"),
                                   "peak GB": (9, ".2f")})
    report.head(f"forward of one image, jit, float32; medians of {options.runs} runs, the sizes in turn")
    powers = {}
    with tqdm(total=len(options.models) * len(options.sizes) * (1 + options.runs), unit="run", leave=False) as bar:
        for model in options.models:
            bar.set_description(model)
            inputs = {"model": model, "task": "forward", "mode": "jit", "batch": 1}
            with contextlib.ExitStack() as stack:
                subjects = [stack.enter_context(Subject(mindspore_network, size=side, **inputs))
                            for side in options.sizes]
                _, seconds = in_turn(subjects, options.runs, bar)
                peaks = [subject.peak() for subject in subjects]
            macs = [cost.predict(model, side, side).macs for side in options.sizes]
            for side, each, products, peak in zip(options.sizes, seconds, macs, peaks, strict=True):
                report.row(model=model, side=side, seconds=each, GMACs=products / 1e9, **{"peak GB": peak})
            pixels = [side ** 2 for side in options.sizes]
            powers[model] = {"seconds": growth(pixels, seconds), "multiply-adds": growth(pixels, macs)}
            tqdm.write(f"{model}: seconds grow as pixels^{powers[model]['seconds']:.2f}, "
                       f"multiply-adds as pixels^{powers[model]['multiply-adds']:.2f}")
    report.save(powers=powers)


def data(options):
    """Augmented training images a second from a folder, beside PyTorch's loader with timm's transforms."""
    from twins_lib.training.batches import train_batches
    from twins_lib.training.images import ImageFolder

    if (options.folder / "train").is_dir():
        raise ValueError(f"{options.folder}: holds train/; give {options.folder / 'train'}")
    train_batches(ImageFolder(options.folder), batch_size=options.batch, image_size=options.size, seed=0, epoch=0)
    report = Report(options.json, {"loader": (16, ""), "images/s": (10, ".1f")})
    report.head(f"{options.size}x{options.size}, batch {options.batch}, {options.workers} workers, "
                f"medians of {options.runs} times {options.seconds} s, in turn")
    inputs = {"folder": str(options.folder), "size": options.size, "batch": options.batch, "workers": options.workers,
              "seconds": options.seconds}
    builds = [mindspore_data, torch_data] if torch_installed() else [mindspore_data]
    with tqdm(total=len(builds) * (1 + options.runs), unit="run", leave=False) as bar, contextlib.ExitStack() as stack:
        subjects = [stack.enter_context(Subject(build, **inputs)) for build in builds]
        _, figures = in_turn(subjects, options.runs, bar)
    for name, figure in zip(("twins_lib", "PyTorch, timm"), figures, strict=False):
        report.row(loader=name, **{"images/s": figure})


def main(arguments=None):
    """Parse the command line and run one part."""
    from twins_lib import VARIANTS

    def count(text):
        if int(text) < 1:
            raise argparse.ArgumentTypeError(f"{text}: must be at least 1")
        return int(text)

    def seconds(text):
        if not 0 < float(text) < float("inf"):
            raise argparse.ArgumentTypeError(f"{text}: must be above 0")
        return float(text)

    def common(parser, runs, **given):
        if "models" in given:
            parser.add_argument("--models", nargs="+", choices=VARIANTS, metavar="NAME", default=given["models"],
                                help=f"default: {' '.join(given['models'])}")
        parser.add_argument("--runs", type=count, default=runs, help="measured after the first call (%(default)s)")
        parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")

    parser = argparse.ArgumentParser(prog="python -m twins_lib.bench", description=(
        "Forward and train step of Twins on this CPU: seconds, first call, peak memory; beside timm in PyTorch "
        "where torch, torchvision and timm are installed. Two more parts: size and data."))
    small = ["twins_svt_small", "twins_pcpvt_small"]
    common(parser, 5, models=small)
    parser.add_argument("--batch", type=count, default=8, help="images (%(default)s)")
    parser.add_argument("--size", type=count, default=224, help="their side in pixels (%(default)s)")
    parser.add_argument("--tasks", nargs="+", choices=("forward", "train"), default=["forward", "train"])
    parser.add_argument("--modes", nargs="+", choices=("pynative", "jit"), default=["pynative", "jit"])
    parser.set_defaults(part=speed)
    parts = parser.add_subparsers(metavar="size | data", required=False)
    part = parts.add_parser("size", help=size.__doc__, description=size.__doc__)
    common(part, 5, models=small)
    part.add_argument("--sizes", type=count, nargs="+", default=[224, 448, 672, 896], help="sides (224 448 672 896)")
    part.set_defaults(part=size)
    part = parts.add_parser("data", help=data.__doc__, description=data.__doc__)
    part.add_argument("folder", type=Path, help="holds one folder of images a class")
    common(part, 2)
    part.add_argument("--batch", type=count, default=64, help="images (%(default)s)")
    part.add_argument("--size", type=count, default=224, help="their side in pixels (%(default)s)")
    part.add_argument("--workers", type=count, default=os.cpu_count(), help="processes (%(default)s)")
    part.add_argument("--seconds", type=seconds, default=10, help="of one measurement (%(default)s)")
    part.set_defaults(part=data)
    options = parser.parse_args(arguments)
    try:
        options.part(options)
    except KeyboardInterrupt:
        sys.exit("stopped")
    except (ValueError, OSError) as fault:
        print(f"error: {fault}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(*sys.argv[2:])
    else:
        main()
