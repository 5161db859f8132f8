"""An unsupported set-up is told what is wrong and how to mend it; the files that say what is supported agree."""

import importlib
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from twins_lib.versions import MINDSPORES, PYTHONS, check_versions

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
GOOD = {"numpy": "1.26.4", "mindspore": "2.10.0"}


def check(python=(3, 11), **installed):
    found = {**GOOD, **installed}

    def find(name):
        if found[name] is None:
            raise PackageNotFoundError(name)
        return found[name]

    check_versions(python, find)


@pytest.mark.parametrize("mindspore", ["2.8.0", "2.10.0"])
def test_supported_versions_pass(mindspore):
    check(mindspore=mindspore)


@pytest.mark.parametrize("wrong, told", [
    ({"python": (3, 10)}, "Python 3.10: .* on Python 3.11 and 3.12 only; make a virtual environment"),
    ({"python": (3, 13)}, "Python 3.13: .* on Python 3.11 and 3.12 only; make a virtual environment"),
    ({"numpy": "2.4.6"}, "NumPy 2.4.6: MindSpore is built for NumPy 1 .* pip install"),
    ({"mindspore": "2.3.1"}, "MindSpore 2.3.1: .* tested with 2.8.0 and 2.10.0"),
    ({"mindspore": None}, "MindSpore is not installed; run: pip install"),
])
def test_an_unsupported_version_is_one_clear_sentence(wrong, told):
    with pytest.raises(ImportError, match=told):
        check(**wrong)


@pytest.mark.parametrize("module, kind, told", [
    ("explorer", SystemExit, "error: figures of attention need matplotlib; run: pip install matplotlib"),
    ("maps.figures", ImportError, "figures of attention need matplotlib; run: pip install matplotlib"),
    ("teach", ImportError, r"matplotlib.* is not installed; the lessons need it, run: pip install '.\[teach\]'"),
])
def test_without_matplotlib_what_draws_says_so(monkeypatch, module, kind, told):
    for name in {name for name in sys.modules if name.startswith("matplotlib")} | {"matplotlib"}:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("explorer", "maps.explorer", "maps.figures", "teach", "teach.figures"):
        monkeypatch.delitem(sys.modules, f"twins_lib.{name}", raising=False)
    with pytest.raises(kind, match=told):
        importlib.import_module(f"twins_lib.{module}")


def misfits(project, lock):
    """The requirements of a pyproject.toml that a lock does not meet, each in words."""
    locked = {}
    for line in lock.splitlines():
        if not line.startswith("#"):
            one = Requirement(line)
            locked.setdefault(one.name.lower(), []).append(str(one.specifier).removeprefix("=="))
    wanted = [Requirement(line) for line in sum(project["optional-dependencies"].values(), project["dependencies"])]
    return [f"{one}: locked {locked.get(one.name)}" for one in wanted if one.name != project["name"]
            and not all(one.specifier.contains(version) for version in locked.get(one.name, ["0"]))]


def test_the_lock_meets_every_requirement_and_names_no_machine():
    lock = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert misfits(PROJECT, lock) == []
    assert not re.search("https?:|file:|^-", lock, re.M)


@pytest.mark.parametrize("planted, told", [("numpy==2.1.0", "numpy.*2.1.0"), ("", "numpy.*None")])
def test_a_lock_that_lags_behind_is_found(planted, told):
    lock = re.sub("(?m)^numpy==.*$", planted or "# gone", (ROOT / "constraints.txt").read_text(encoding="utf-8"))
    [found] = misfits(PROJECT, lock)
    assert re.search(told, found)


def test_the_form_for_a_wrong_lesson_names_every_lesson():
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/lesson.yml").read_text(encoding="utf-8"))
    rows = re.findall(r"^\| \[(\d\d [^\]]*)\]", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)
    assert form["body"][0]["attributes"]["options"][:-1] == rows
    assert [row[:2] for row in rows] == sorted(path.name[:2] for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))


def test_pythons_and_mindspores_are_the_same_everywhere():
    pythons = SpecifierSet(PROJECT["requires-python"])
    admitted = [minor for minor in range(8, 20) if pythons.contains(f"3.{minor}.0")]
    named = [int(minor) for minor in re.findall(r"Python :: 3\.(\d+)", " ".join(PROJECT["classifiers"]))]
    assert admitted == named == [minor for _, minor in PYTHONS]
    [mindspore] = [one for one in map(Requirement, PROJECT["dependencies"]) if one.name == "mindspore"]
    assert [f"2.{minor}" for minor in range(20) if mindspore.specifier.contains(f"2.{minor}.0")] == list(MINDSPORES)
