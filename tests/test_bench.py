"""The benchmark's tables and arithmetic, on tiny networks. No time is judged here."""

import contextlib
import io
import json
import subprocess
import sys

import nbformat
import numpy as np
import pytest
from PIL import Image
from tqdm import tqdm

from twins_lib import bench
from twins_lib.training import benchmarks


def figures(tmp_path, *arguments):
    path = tmp_path / "bench.json"
    bench.main([*map(str, arguments), "--runs", "1", "--json", str(path)])
    return json.loads(path.read_text())


def test_growth_finds_the_power():
    pixels = np.array([224, 448, 896]) ** 2
    assert benchmarks.growth(pixels, 3e-6 * pixels ** 1.25) == pytest.approx(1.25)


def test_subjects_take_turns_and_the_first_call_is_kept_apart():
    calls = []

    def subject(name, times):
        times = iter(times)
        return lambda: calls.append(name) or next(times)

    subjects = [subject("A", [9, 8, 10, 9]), subject("B", [7, 4, 4, 5])]
    first, medians, varied, faults = benchmarks.in_turn(subjects, 3, tqdm(disable=True))
    assert "".join(calls) == "ABABABAB"
    assert (first, medians, varied, faults) == ([9, 7], [9, 4], [0.25, 0.25], ["", ""])


@pytest.mark.parametrize("again, varied", [([3, 3, 3], [0, 0]), ([3, 3, 6], [0, 1])])
def test_all_are_measured_again_once_if_one_is_unsteady(again, varied):
    ours, peers = iter([9] + 6 * [2]), iter([9, 3, 4, 3] + again)
    with tqdm(total=8, file=io.StringIO()) as bar:
        found = benchmarks.in_turn([ours.__next__, peers.__next__], 3, bar)
        assert bar.n == bar.total == 14
    assert found == ([9, 9], [2, 3], varied, ["", ""]) and not [*ours, *peers]


def test_speed_has_a_row_for_each_task(tmp_path, capsys):
    found = figures(tmp_path, "--models", "twins_svt_nano", "--batch", 2, "--size", 64, "--modes", "pynative")
    assert [(row["model"], row["task"], row["mode"]) for row in found["rows"]] == [
        ("twins_svt_nano", "forward", "pynative"), ("twins_svt_nano", "train", "pynative")]
    for row in found["rows"]:
        assert row["seconds"] > 0 and row["first call"] > 0 and 0.1 < row["peak GB"] < 3
    assert found["machine"]["cores"] >= 1 and found["machine"]["mindspore"]
    table = capsys.readouterr().out
    assert "float32" in table and table.count("twins_svt_nano") == 2


@pytest.mark.parametrize("figures, told", [([9, 1, 2, 1, 2], "runs vary by 100%, and did when measured before"),
                                           ([9, 1, 2, 1, 1], None)])
def test_a_row_that_stays_unsteady_says_so(folder, tmp_path, capsys, monkeypatch, figures, told):
    class Unsteady(contextlib.nullcontext):
        def __init__(self, build, **arguments):
            super().__init__(iter(figures).__next__)

    monkeypatch.setattr(bench, "Subject", Unsteady)
    monkeypatch.setattr(bench, "torch_installed", lambda: False)
    path = tmp_path / "bench.json"
    bench.main(["data", str(folder / "train"), "--batch", "4", "--runs", "2", "--json", str(path)])
    (row,) = json.loads(path.read_text())["rows"]
    assert row.get("unsteady") == (told and f"twins_lib: {told}: do not trust this row")
    assert (told is None) == ("runs vary" not in capsys.readouterr().out)


def notebook(path, *cells):
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), path)


def test_course_times_every_notebook_offline_and_changes_none(tmp_path, capsys):
    notebook(tmp_path / "01_one.ipynb", "import time, twins_lib.versions", """
begin = time.process_time()
while time.process_time() - begin < 1: pass""", """
import urllib.request
try:
    urllib.request.urlopen("http://192.0.2.1", timeout=5)
    raise SystemError("there is a network")
except OSError as fault:
    assert "refused" in str(fault)""")
    before = (tmp_path / "01_one.ipynb").read_bytes()
    bench.main(["course", str(tmp_path), "--json", str(tmp_path / "bench.json")])
    one, total = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert (one["notebook"], total["notebook"]) == ("01_one", "all") and total["seconds"] == one["seconds"]
    assert one["seconds"] > 1 and one["processor"] > 1, "the kernel's own second is counted"
    assert (tmp_path / "01_one.ipynb").read_bytes() == before and "01_one" in capsys.readouterr().out


def test_a_lesson_that_stops_is_told_and_there_is_no_sum(tmp_path, capsys):
    notebook(tmp_path / "02_two.ipynb", "1 / 0")
    with pytest.raises(SystemExit) as end:
        bench.main(["course", str(tmp_path), "--json", str(tmp_path / "bench.json")])
    said = capsys.readouterr()
    assert end.value.code == 2 and said.err.endswith(
        "error: 1 of 1 notebooks did not run to the end; what stopped them stands above\n")
    assert "02_two: not measured: ZeroDivisionError: division by zero" in said.out and "Traceback" not in said.out
    (row,) = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert row == {"notebook": "02_two", "fault": "ZeroDivisionError: division by zero"}


@pytest.mark.parametrize("load", [0.1, 1.7])
def test_a_machine_that_is_not_quiet_is_told(tmp_path, capsys, monkeypatch, load):
    monkeypatch.setattr(bench.os, "getloadavg", lambda: (load, 9, 9))
    report = bench.Report(tmp_path / "bench.json", {})
    assert ("not quiet: its load is 1.7" in capsys.readouterr().out) == (load > bench.QUIET)
    assert report.machine["load"] == load


def test_memory_of_the_parent_is_not_counted():
    ballast = np.ones(2**29, np.uint8)
    code = f"import runpy; print(runpy.run_path({benchmarks.__file__!r})['peak_memory']())"
    child = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert 0 < child < ballast.nbytes / 1e9 < benchmarks.peak_memory()


def test_size_has_a_row_for_each_side_and_a_power(tmp_path, capsys, monkeypatch):
    class Stub(contextlib.nullcontext):
        """A network whose time is its number of pixels to the power 1.5."""

        def __init__(self, build, size, **arguments):
            super().__init__(self)
            self.size = size

        def __call__(self):
            return 1e-6 * self.size ** 3

        def peak(self):
            return 1.0

    monkeypatch.setattr(bench, "Subject", Stub)
    found = figures(tmp_path, "size", "--models", "twins_svt_nano", "--sizes", 64, 128)
    assert [(row["side"], row["seconds"]) for row in found["rows"]] == [(64, 64 ** 3 / 1e6), (128, 128 ** 3 / 1e6)]
    powers = found["powers"]["twins_svt_nano"]
    assert powers["seconds"] == pytest.approx(1.5) and 1 < powers["multiply-adds"] < 2
    assert "twins_svt_nano: seconds grow as pixels^1.50" in capsys.readouterr().out


def test_data_counts_images(folder, tmp_path):
    found = figures(tmp_path, "data", folder / "train", "--size", 32, "--batch", 4, "--workers", 1, "--seconds", 0.1)
    loaders = ["twins_lib", "PyTorch, timm"] if benchmarks.torch_installed() else ["twins_lib"]
    assert [row["loader"] for row in found["rows"]] == loaders
    assert all(row["images/s"] > 0 for row in found["rows"])


@pytest.mark.skipif(not benchmarks.torch_installed(), reason="beside timm needs torch, torchvision and timm")
@pytest.mark.parametrize("task", ["forward", "train"])
def test_pytorch_is_measured_without_mindspore(task):
    with benchmarks.Subject(benchmarks.torch_network, model="twins_svt_small", task=task, batch=1, size=64) as theirs:
        assert theirs() > 0
        maps = open(f"/proc/{theirs.process.pid}/maps").read()
    assert "libtorch" in maps and "mindspore" not in maps


@pytest.fixture
def folder(tmp_path):
    """Two classes of four images each, in train/."""
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(rng.integers(0, 255, (40, 48, 3), np.uint8)).save(tmp_path / "train" / name / f"{i}.png")
    return tmp_path


@pytest.mark.parametrize("words, says", [
    (["data", "none"], "error: none: no such folder; give the folder that holds one folder a class"),
    (["data", "{}"], "error: {}: holds train/; give {}/train"),
    (["data", "{}/train/cats"], "error: {}/train/cats: holds no class folder but 4 images; images belong in"),
    (["data", "{}/train", "--batch", "10"], "error: {}/train: 8 images do not fill one batch of 10"),
    (["data", "{}/train", "--batch", "3"], "error: batch_size 3: must be even"),
    (["data", "{}/train", "--batch", "many"], "argument --batch: invalid count value: 'many'"),
    (["data", "{}/train", "--seconds", "-1"], "argument --seconds: -1: must be above 0"),
    (["data", "{}/train", "--seconds", "nan"], "argument --seconds: nan: must be above 0"),
    (["course", "{}"], "error: {}: holds no notebook; give the course's folder notebooks/"),
    (["--size", "10"], "error: 10x10 pixels: twins_svt_small takes sides that are a multiple of 4 and at least 32"),
    (["size", "--sizes", "64", "16"], "error: 16x16 pixels: twins_svt_small takes"),
])
def test_faults_are_one_sentence(folder, capfd, words, says):
    with pytest.raises(SystemExit) as end:
        bench.main([word.format(folder) for word in words])
    told = capfd.readouterr().err
    assert end.value.code == 2 and says.format(folder, folder) in told.splitlines()[-1] and "Traceback" not in told


def test_an_image_that_cannot_be_read_is_named(folder, capfd):
    bad = folder / "train" / "dogs" / "2.png"
    bad.write_bytes(bad.read_bytes()[:200])
    words = ["--size", "32", "--batch", "8", "--workers", "1", "--seconds", "0.1"]
    with pytest.raises(SystemExit) as end:
        bench.main(["data", str(folder / "train"), *words])
    told = capfd.readouterr().err
    assert end.value.code == 2 and "Traceback" not in told
    assert told.splitlines()[-1].startswith(f"error: {bad}: cannot be read as an image")


def test_a_process_that_dies_is_told(capfd):
    inputs = {"model": "none", "task": "forward", "mode": "jit", "batch": 1, "size": 64}
    with benchmarks.Subject(benchmarks.mindspore_network, **inputs) as lost:
        with pytest.raises(SystemExit, match="ended with code 1 before it was measured"):
            lost()
    assert "no Twins is called 'none'" in capfd.readouterr().err


@pytest.mark.parametrize("place", ["/proc/figures.json", "file/figures.json", "."])
def test_figures_that_cannot_be_kept_are_told_before_anything_is_measured(tmp_path, place, capfd, monkeypatch):
    (tmp_path / "file").write_text("kept")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        bench.main(["--json", place])
    said = capfd.readouterr()
    assert end.value.code == 2 and not said.out
    assert said.err.startswith(f"error: {place}: cannot be written (") and said.err.endswith("another place\n")


class Stub(contextlib.nullcontext):
    """Something that is measured at once: PyTorch's side fails at its second run, as timm with Pillow 13 may."""

    def __init__(self, build, **arguments):
        super().__init__(self)
        self.fails, self.runs = build in (benchmarks.torch_data, benchmarks.torch_network), 0

    def __call__(self):
        self.runs += 1
        if self.fails and self.runs == 2:
            raise ValueError("ValueError: bits must be between 1 and 8")
        return 5.0

    def peak(self):
        assert not self.fails
        return 1.0


@pytest.mark.parametrize("words, key", [(["data", "{}/train", "--batch", "4", "--size", "32"], "images/s"),
                                        (["--models", "twins_svt_small", "--tasks", "forward"], "seconds")])
def test_a_side_that_fails_is_told_and_the_figure_of_the_other_stays(folder, tmp_path, capsys, monkeypatch, words, key):
    monkeypatch.setattr(bench, "Subject", Stub)
    monkeypatch.setattr(bench, "torch_installed", lambda: True)
    rows = figures(tmp_path, *(word.format(folder) for word in words))["rows"]
    assert rows[0][key] == 5.0
    assert "PyTorch, timm: not measured: ValueError: bits must be between 1 and 8" in rows[-1]["fault"]
    assert rows[-1]["fault"] in capsys.readouterr().out
    assert rows[-1].get("images/s" if key == "images/s" else "timm") is None


def test_a_size_that_fails_leaves_the_figures_of_the_others(tmp_path, monkeypatch):
    class Small(Stub):
        def __init__(self, build, size, **arguments):
            super().__init__(build)
            self.fails, self.size = size == 96, size

        def __call__(self):
            return super().__call__() * self.size

    monkeypatch.setattr(bench, "Subject", Small)
    found = figures(tmp_path, "size", "--models", "twins_svt_nano", "--sizes", 64, 96, 128)
    assert [row["seconds"] for row in found["rows"]] == [320, None, 640]
    assert found["powers"]["twins_svt_nano"]["seconds"] == pytest.approx(0.5)
