"""Seconds and memory of a Twins, beside timm's in PyTorch: `python -m twins_lib.bench --help` (lesson 10)."""

import argparse
import contextlib
import json
import os
import sys

import numpy as np
from tqdm import tqdm

from .cost import predict
from .model import VARIANTS
from .training.batches import train_batches
from .training.benchmarks import (
    UNSTEADY,
    Subject,
    growth,
    in_turn,
    installed,
    machine,
    mindspore_data,
    mindspore_network,
    run_notebook,
    torch_data,
    torch_installed,
    torch_network,
)
from .training.images import ImageFolder
from .weights import place, write_whole, writing

SMALL = ["twins_svt_small", "twins_pcpvt_small"]
QUIET = 0.5  # of a load, in processes that want a core, before anything is measured


class Report:
    """Prints a table, a line when it is known, and keeps all lines for --json."""

    def __init__(self, path, columns):
        self.path, self.columns, self.machine, self.rows = path, columns, machine(), []
        if path:
            with writing(path):  # told before anything is measured
                open(path, "ab").close()
        about = self.machine
        libraries = ", ".join(f"{name} {about[name] or 'not installed'}" for name in ("mindspore", "torch", "timm"))
        print(f"{about['cpu']}, {about['cores']} cores; Python {about['python']}, {libraries}")
        about["load"] = os.getloadavg()[0] if hasattr(os, "getloadavg") else None  # Windows tells none
        if (about["load"] or 0) > QUIET:
            print(f"This machine is not quiet: its load is {about['load']:.1f} before anything is measured. Trust no "
                  "second below, and the ratios only if a second run agrees.")

    def head(self, title):
        tqdm.write(f"{title}\n\n" + "".join(f"{name:>{width}}" for name, (width, _) in self.columns.items()))

    def row(self, **values):
        cells = ((values.get(name), width, form) for name, (width, form) in self.columns.items())
        tqdm.write("".join(f"{'-' if value is None else format(value, form):>{width}}" for value, width, form in cells))
        self.rows.append(values)
        self.save()

    def save(self, **more):
        if self.path:
            figures = {"machine": self.machine, "rows": self.rows, **more}
            write_whole(self.path, (json.dumps(figures, indent=2) + "\n").encode())


def check_sides(models, sides):
    """Raise ValueError for a side of images that a network does not take."""
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
                (first, *_), (seconds, *timm), varied, faults = in_turn(subjects, options.runs, bar)
                peak, *timm_peak = peaks(subjects, faults)
            compared = {"timm": timm[0], "timm GB": timm_peak[0]} if beside else {}
            if beside and not any(faults):
                compared["ratio"] = seconds / timm[0]
            report.row(model=model, task=task, mode=mode, seconds=seconds, **compared,
                       **{"first call": first, "peak GB": peak},
                       **remarks(("twins_lib", "PyTorch, timm"), varied, faults))


def size(options):
    """Forward time of one image against its size, and the power of the number of pixels it grows with."""
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
                _, seconds, varied, faults = in_turn(subjects, options.runs, bar)
                memory = peaks(subjects, faults)
            macs = [predict(model, side, side).macs for side in options.sizes]
            for side, each, products, peak, *doubts in zip(options.sizes, seconds, macs, memory, varied, faults):
                report.row(model=model, side=side, seconds=each, GMACs=products / 1e9, **{"peak GB": peak},
                           **remarks([f"{side}x{side}"], *([doubt] for doubt in doubts)))
            pixels, *both = zip(*((side ** 2, *pair) for side, *pair in zip(options.sizes, seconds, macs) if pair[0]))
            if len(pixels) < 2:
                continue  # no power from a single size
            powers[model] = {"seconds": growth(pixels, both[0]), "multiply-adds": growth(pixels, both[1])}
            tqdm.write(f"{model}: seconds grow as pixels^{powers[model]['seconds']:.2f}, "
                       f"multiply-adds as pixels^{powers[model]['multiply-adds']:.2f}")
    report.save(powers=powers)


def data(options):
    """Augmented training images a second from a folder, beside PyTorch's loader with timm's transforms."""
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
        _, figures, varied, faults = in_turn(subjects, options.runs, bar)
    for name, figure, *doubts in zip(("twins_lib", "PyTorch, timm"), figures, varied, faults, strict=False):
        report.row(loader=name, **{"images/s": figure}, **remarks([name], *([doubt] for doubt in doubts)))


def course(options):
    """Seconds and processor seconds of every lesson, one after the other, each in a process of its own, offline."""
    notebooks = sorted(options.folder.glob("*.ipynb"))
    if not notebooks:
        raise ValueError(f"{options.folder}: holds no notebook; give the course's folder notebooks/")
    if not installed("nbclient"):
        raise ValueError("nbclient, which runs notebooks, is not installed; pip install 'twins-lib[teach]'")
    report = Report(options.json, {"notebook": (44, ""), "seconds": (10, ".1f"), "processor": (11, ".1f")})
    report.head("each lesson from its first cell to its last, with the start of its kernel; seconds, and processor "
                "seconds of all cores")
    for path in tqdm(notebooks, unit="lesson", leave=False):
        seconds, used, fault = run_notebook(path)
        report.row(notebook=path.stem, **({"fault": fault} if fault else {"seconds": seconds, "processor": used}))
        if fault:
            tqdm.write(f"{path.stem}: not measured: {fault}")
    stopped = sum("fault" in row for row in report.rows)
    if stopped:
        raise ValueError(f"{stopped} of {len(notebooks)} notebooks did not run to the end; what stopped them stands "
                         "above")
    report.row(notebook="all", **{key: sum(row[key] for row in report.rows) for key in ("seconds", "processor")})


def peaks(subjects, faults):
    """Peak memory of each subject, GB; None for one that could not be measured."""
    return [None if fault else subject.peak() for subject, fault in zip(subjects, faults)]


def remarks(names, varied, faults):
    """What a row says of sides that could not be measured, or were unsteady twice; told also above it, if there is any.

    Args:
        names (sequence of str): of the sides.
        varied, faults (list): what `in_turn` returns of them.
    """
    unmeasured = "; ".join(f"{name}: not measured: {fault}" for name, fault in zip(names, faults) if fault)
    unsteady = "; ".join(f"{name}: runs vary by {share:.0%}, and did when measured before: do not trust this row"
                         for name, share in zip(names, varied) if (share or 0) > UNSTEADY)
    told = {key: text for key, text in (("fault", unmeasured), ("unsteady", unsteady)) if text}
    for text in told.values():
        tqdm.write(text)
    return told


def count(text):
    """A whole number from 1 on, for the command line."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be at least 1")
    return int(text)


def positive(text):
    """A finite number above 0, for the command line."""
    if not 0 < float(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: must be above 0")
    return float(text)


def add_common(parser, runs, part, models=None):
    """The options that every part has."""
    if models:
        parser.add_argument("--models", nargs="+", choices=VARIANTS, metavar="NAME", default=models,
                            help=f"default: {' '.join(models)}")
    parser.add_argument("--runs", type=count, default=runs, help="measured after the first call (%(default)s)")
    parser.add_argument("--json", type=place, metavar="FILE", help="write the figures there too")
    parser.set_defaults(part=part)


def main(arguments=None):
    """Parse the command line and run one part."""
    parser = argparse.ArgumentParser(prog="python -m twins_lib.bench", description=(
        "Forward and train step of Twins on this CPU: seconds, first call, peak memory; beside timm in PyTorch "
        "where torch, torchvision and timm are installed. Runs that vary by more than 30 %% are repeated once. "
        "Three more parts: size, data and course."))
    add_common(parser, 5, speed, SMALL)
    parser.add_argument("--batch", type=count, default=8, help="images (%(default)s)")
    parser.add_argument("--size", type=count, default=224, help="their side in pixels (%(default)s)")
    parser.add_argument("--tasks", nargs="+", choices=("forward", "train"), default=["forward", "train"])
    parser.add_argument("--modes", nargs="+", choices=("pynative", "jit"), default=["pynative", "jit"])
    parts = parser.add_subparsers(metavar="size | data | course", required=False)
    part = parts.add_parser("size", help=size.__doc__, description=size.__doc__)
    add_common(part, 5, size, SMALL)
    part.add_argument("--sizes", type=count, nargs="+", default=[224, 448, 672, 896], help="sides (224 448 672 896)")
    part = parts.add_parser("data", help=data.__doc__, description=data.__doc__)
    part.add_argument("folder", type=place, help="holds one folder of images a class")
    add_common(part, 2, data)
    part.add_argument("--batch", type=count, default=64, help="images (%(default)s)")
    part.add_argument("--size", type=count, default=224, help="their side in pixels (%(default)s)")
    part.add_argument("--workers", type=count, default=os.cpu_count(), help="processes (%(default)s)")
    part.add_argument("--seconds", type=positive, default=10, help="of one measurement (%(default)s)")
    part = parts.add_parser("course", help=course.__doc__, description=course.__doc__)
    part.add_argument("folder", type=place, nargs="?", default=place("notebooks"), help="of lessons (%(default)s)")
    part.add_argument("--json", type=place, metavar="FILE", help="write the figures there too")
    part.set_defaults(part=course)
    options = parser.parse_args(arguments)
    try:
        options.part(options)
    except KeyboardInterrupt:
        sys.exit("stopped")
    except (ValueError, OSError) as fault:
        print(f"error: {fault}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
