"""The house: imports run downwards, nothing goes in a circle, and the plan in CONTRIBUTING.md is the real one."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "twins_lib"
NETWORK = {"layers", "patch_embed", "position", "attention", "block", "model", "segmentation", "weights", "cost",
           "versions"}
COMMANDS = {"train", "eval", "explorer", "bench"}
FLOORS = {"network": 0, "maps": 1, "training": 1, "commands": 2, "teach": 3}


def wing(module):
    """The wing a module belongs to: "twins_lib.maps.figures" -> "maps"."""
    first = (module.split(".") + [""])[1]
    return "network" if first in NETWORK | {""} else "commands" if first in COMMANDS else first


def room(module):
    """As `wing`, but the folders in teach count for themselves: "twins_lib.teach.checks.lesson_01" -> "checks"."""
    parts = module.split(".")
    inner = parts[1:2] == ["teach"] and len(parts) > 2 and (LIBRARY / "teach" / parts[2]).is_dir()
    return parts[2] if inner else wing(module)


def library():
    """{module name: its source} of every module of the library."""
    found = {}
    for path in LIBRARY.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


def imports(sources):
    """{module: the modules of the library it imports}, also those that a function imports when it is called."""
    graph = {}
    for name, source in sources.items():
        package = name if (ROOT / name.replace(".", "/")).is_dir() else name.rpartition(".")[0]
        graph[name] = set()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom):
                parts = package.split(".")
                base = ".".join(parts[:len(parts) - node.level + 1] * bool(node.level) + [node.module or ""]).strip(".")
                graph[name] |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in sources else base
                                for alias in node.names}
            elif isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names}
        graph[name] = {one for one in graph[name] if one in sources} - {name}
    return graph


def climbing(graph):
    """The imports from a lower floor to a higher one, or between two wings of one floor."""
    return [(one, other) for one, others in sorted(graph.items()) for other in sorted(others)
            if wing(one) != wing(other) and FLOORS[wing(one)] <= FLOORS[wing(other)]]


def circle(graph):
    """A circle of imports, or nothing. What only names the package (`import twins_lib`) is the door, and no arrow."""
    rooms = {one: others - {"twins_lib"} for one, others in graph.items() if one != "twins_lib"}
    try:
        TopologicalSorter(rooms).prepare()
    except CycleError as fault:
        return fault.args[1]


def test_imports_run_downwards_only():
    assert climbing(imports(library())) == []


def test_imports_do_not_go_in_a_circle():
    assert circle(imports(library())) is None


@pytest.mark.parametrize("module, line", [
    ("twins_lib.segmentation", "from .teach.experiments.toy import IGNORE"),
    ("twins_lib.segmentation", "from .training.distributed import sum_over_processes"),
    ("twins_lib.training.config", "from ..teach.checks import lesson_10"),
    ("twins_lib.maps.figures", "from ..training import transforms"),
    ("twins_lib.model", "def build():\n    import twins_lib.training.recipe"),
    ("twins_lib.training.engine", "from twins_lib.train import main"),
])
def test_an_import_that_climbs_is_found(module, line):
    sources = library()
    sources[module] += f"\n{line}\n"
    assert [one for one, _ in climbing(imports(sources))] == [module]


def test_a_circle_is_found():
    sources = library()
    sources["twins_lib.training.recipe"] += "\nfrom .batches import keyed\n"
    assert {"twins_lib.training.recipe", "twins_lib.training.batches"} <= set(circle(imports(sources)))


def test_the_top_holds_the_network_and_the_commands_and_nothing_else():
    standing = {path.name.removesuffix(".py") for path in LIBRARY.iterdir() if not path.name.startswith("__")}
    assert standing == NETWORK | COMMANDS | {"maps", "training", "teach"}


def long_functions(sources, limit=40):
    """Functions of more lines than the limit, docstrings included: (module, function, lines)."""
    return [(name, node.name, node.end_lineno - node.lineno + 1) for name, source in sorted(sources.items())
            for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)
            and node.end_lineno - node.lineno >= limit]


def test_no_function_has_more_than_40_lines():
    assert long_functions(library()) == []
    assert long_functions({"m": "def f():\n" + "    x = 1\n" * 40}) == [("m", "f", 41)]


def test_the_plan_in_contributing_is_the_one_that_stands():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    drawn = {tuple(arrow) for arrow in re.findall(r"^ +(\w+) --> (\w+)$", text, re.M)}
    standing = {(room(one), room(other)) for one, others in imports(library()).items() for other in others
                if one != "twins_lib" and other != "twins_lib" and room(one) != room(other)}
    assert drawn == standing
    for name in {one for arrow in drawn for one in arrow}:
        assert re.search(rf"^\| `{name}` \|", text, re.M), f"{name} has no sentence"
