"""Compile for Ascend without a device: `python -m twins_lib.training.ascend [--help]` (lesson 10).

MindSpore's own passes and kernel selection take each graph to the end, in a process of its own; only the calls to the
device are left out. What comes out says which kernels there are, of which types, and the peak of the device's memory.
It cannot say: what CANN's kernels refuse, how fast they are, and any result.
"""

import argparse
import datetime
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms

from .config import SHIPPED, load_config
from .errors import RunError, run, telling_line
from .standins import MADE_FOR, SOC, environment

GIB = 2**30
CARD, LIMIT = 32 * GIB, 30 * GIB  # memory of the smallest device, and what a run may take of it
NODE = re.compile(r"^ +%\d+\([^\n]*?\) = (?:PrimFunc_)?(\w+)([^\n]*)\n((?: +: [^\n]*\n)*)", re.M)
WIRES = {"Depend", "Load", "MakeTuple", "TupleGetItem", "UpdateState", "return"}  # nodes that compute nothing
# Kernels that must not have float16 going in or out.
EXACT = re.compile("LayerNorm|GroupNorm|BatchNorm|LogSoftmax|L2Loss|Adam")
ELSEWHERE = "" if ms.__version__ == MADE_FOR else f"; this was made for MindSpore {MADE_FOR}, here is {ms.__version__}"
PROGRAM = ("-m", "twins_lib.training.graphs")
STORED = Path(__file__).parents[2] / "notebooks/assets/ascend_dry_run.json"


@dataclass(frozen=True)
class Graph:
    """What is compiled.

    Attributes:
        config: a file, or the name of a shipped configuration.
        settings: "key=value" words that replace settings of it.
        evaluate: an evaluation in the place of a step of training.
        world: devices that train together; this is the last but a few, rank 3 of 8.
        classes: length of the logits.
    """

    config: str
    settings: tuple = ()
    evaluate: bool = False
    world: int = 1
    classes: int = 1000


@dataclass(frozen=True)
class Compiled:
    """What came out of it: the device's peak memory in bytes, without the kernels' workspace, and the kernels by name.

    `on_cpu` are kernels that Ascend does not have, `float64` nodes with numbers that it computes slowly or not at all,
    `half` norms, losses and optimizers with float16 going in or out.
    """

    peak: int
    kernels: Counter
    on_cpu: tuple
    float64: tuple
    half: tuple

    def faults(self, messages=None):
        """Sentences on what must not be; `messages` is the greatest number of AllReduce kernels."""
        found = [f"{name} would run on the host's CPU" for name in self.on_cpu]
        found += [f"{name} has float64" for name in self.float64]
        found += [f"{name} has float16" for name in self.half]
        if messages is not None and self.kernels["AllReduce"] > messages:
            found.append(f"{self.kernels['AllReduce']} AllReduce kernels where {messages} would do: gradients are not "
                         "joined to few messages")
        if self.peak > LIMIT:
            found.append(f"{self.peak / GIB:.1f} GiB at the peak, more than {LIMIT / GIB:.0f} of {CARD / GIB:.0f}: "
                         "set accumulate=2")
        return found


def read(text):
    """The kernels of a built graph as MindSpore writes it (graph_build_*.ir): kernels, on_cpu, float64, half."""
    kernels, on_cpu, float64, half = Counter(), set(), set(), set()
    for name, rest, types in NODE.findall(text):
        if name in WIRES:
            continue
        kernels[name] += 1
        if "kernel_backoff_with_failure_info" in rest:
            on_cpu.add(name)
        if "Tensor[Float64]" in types:
            float64.add(name)
        if EXACT.search(name) and "Tensor[Float16]" in types:
            half.add(name)
    return kernels, on_cpu, float64, half


def compiled(graph, program=PROGRAM, kernels=True):
    """Compile a graph for Ascend in a process of its own.

    Args:
        graph (Graph): what.
        program (sequence of str): the Python program that compiles it.
        kernels (bool): read the kernels too, which takes some seconds more.

    Returns:
        Compiled.

    Raises:
        RunError: no dry run is possible here, or the graph does not compile; with the reason.
    """
    config = Path(graph.config).resolve() if Path(graph.config).is_file() else graph.config
    words = ["--config", str(config), "--classes", str(graph.classes), *["--evaluate"] * graph.evaluate,
             "device=Ascend", *graph.settings]
    dry, _ = environment()
    if graph.world > 1:  # the words of a launcher, without one
        dry |= {"RANK_SIZE": str(graph.world), "RANK_ID": "3", "OMPI_COMM_WORLD_SIZE": str(graph.world)}
    with tempfile.TemporaryDirectory() as folder:
        if kernels:
            dry |= {"MS_DEV_SAVE_GRAPHS": "2", "MS_DEV_SAVE_GRAPHS_PATH": folder,
                    "MS_DEV_DUMP_IR_PASSES": "graph_build"}  # all passes would be half a gigabyte
        done = subprocess.run([sys.executable, *program, *words], env=dry, cwd=folder, text=True, errors="replace",
                              capture_output=True)
        if done.returncode:
            raise RunError(f"{graph.config}: does not compile for Ascend ({telling_line(done.stderr)}){ELSEWHERE}")
        built = [read(path.read_text(errors="replace")) for path in Path(folder).rglob("graph_build_*.ir")]
    if kernels and not built:
        raise RunError(f"{graph.config}: MindSpore wrote no graph_build_*.ir{ELSEWHERE}")
    sets = [tuple(sorted(set().union(*(one[place] for one in built)))) for place in (1, 2, 3)]
    return Compiled(json.loads(done.stdout.splitlines()[-1])["peak_bytes"], sum((one[0] for one in built), Counter()),
                    *sets)


# ------------------------------------------------------------------------------------------------- the command

def project():
    """{name: Graph}: what the project has on Ascend; the last six are the shipped configurations on eight devices."""
    nano = ("batch_size=4", "precision=O2")
    found = {
        "train svt_nano O2": Graph("twins_svt_nano", nano),
        "train pcpvt_nano O2": Graph("twins_pcpvt_nano", nano),
        "train svt_nano O0": Graph("twins_svt_nano", (*nano, "precision=O0")),
        "train svt_nano, padded windows": Graph("twins_svt_nano", (*nano, "image_size=72")),
        "train svt_nano, rank 3 of 8": Graph("twins_svt_nano", (*nano, "batch_size=64", "accumulate=2", "ema=0.99"),
                                             world=8),
        "evaluate svt_nano O2": Graph("twins_svt_nano", nano, evaluate=True),
        "train segmentation": Graph("segmentation_mini", nano, classes=4),
        "evaluate segmentation": Graph("segmentation_mini", nano, evaluate=True, classes=4),
    }
    return found | {name: Graph(name, world=8) for name in imagenet()}


def imagenet():
    """Names of the shipped configurations that are written for Ascend."""
    names = sorted(path.stem for path in SHIPPED.glob("*.yaml"))
    return [name for name in names if load_config(name).device == "Ascend"]


def stored_peak(config, images):
    """GiB at the peak of one of eight devices in training, by the stored dry run of the shipped configurations.

    Args:
        config (Config): of a shipped model.
        images (int): of one forward pass of one device.

    Returns:
        float, or None if no stored line is of this model, so many images, and the same size, precision and average.
    """
    lines = json.loads(STORED.read_text())["graphs"] if STORED.is_file() else ()
    for line in lines:
        if (line["graph"], line["images"]) == (config.model, images):
            shipped = load_config(config.model)
            same = all(getattr(config, key) == getattr(shipped, key) for key in ("image_size", "precision", "ema"))
            return line["peak_gib"] if same else None


def line_of(name, graph, kernels=True):
    """Compile a graph and tell: a dict for the stored table, and the sentences on its faults."""
    config, begin = load_config(graph.config, graph.settings), time.perf_counter()
    done = compiled(graph, kernels=kernels)
    line = {"graph": name, "devices": graph.world, "images": config.local_batch(graph.world),
            "accumulate": config.accumulate, "peak_gib": round(done.peak / GIB, 3 if done.peak < GIB else 1)}
    if kernels:
        line |= {"kernels": done.kernels.total(), "primitives": len(done.kernels),
                 "all_reduce": done.kernels["AllReduce"]}
    return line | {"seconds": round(time.perf_counter() - begin)}, done.faults(1 if kernels else None)


def main(arguments=None):
    """Parse the command line, compile, print a line a graph; exit code 2 if one has a fault."""
    parser = argparse.ArgumentParser(prog="python -m twins_lib.training.ascend", description=__doc__)
    parser.add_argument("--config", help="compile the training of this configuration only; key=value words change it")
    parser.add_argument("--devices", type=int, default=8, help="that share its batch (%(default)s)")
    parser.add_argument("--evaluate", action="store_true", help="its evaluation in the place of its training")
    parser.add_argument("--write", metavar="FILE", help="store what is printed, with versions and date, as JSON")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace those of the file")
    options = parser.parse_intermixed_args(arguments)
    if options.overrides and not options.config:
        parser.error("key=value needs --config")
    graphs = project()
    if options.config:
        graphs = {options.config: Graph(options.config, tuple(options.overrides), options.evaluate, options.devices)}
    print(f"MindSpore {ms.__version__}, dry run, {environment()[1]}")
    lines, faults = [], []
    for name, graph in graphs.items():
        line, found = line_of(name, graph, kernels=name not in imagenet())
        lines.append(line)
        faults += [f"{name}: {one}" for one in found]
        print(f"{name:32}" + "  ".join(f"{key} {line[key]}" for key in list(line)[1:]), flush=True)
    if options.write:
        about = {"command": "python -m twins_lib.training.ascend --write " + options.write, "mindspore": ms.__version__,
                 "libraries": "stand-ins for CANN", "device": SOC, "date": str(datetime.date.today()),
                 "graphs": [{key: line[key] for key in line if key != "seconds"} for line in lines]}
        Path(options.write).write_text(json.dumps(about, indent=1) + "\n")
    if faults:
        raise RunError("; ".join(faults))


if __name__ == "__main__":
    run(main)
