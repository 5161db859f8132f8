"""The benchmark's tables and arithmetic, on tiny networks. No time is judged here."""

import contextlib
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from twins_lib import bench


def figures(tmp_path, *arguments):
    path = tmp_path / "bench.json"
    bench.main([*map(str, arguments), "--runs", "1", "--json", str(path)])
    return json.loads(path.read_text())


def test_growth_finds_the_power():
    pixels = np.array([224, 448, 896]) ** 2
    assert bench.growth(pixels, 3e-6 * pixels ** 1.25) == pytest.approx(1.25)


def test_subjects_take_turns_and_the_first_call_is_kept_apart():
    calls = []

    def subject(name, times):
        times = iter(times)
        return lambda: calls.append(name) or next(times)

    class Bar:
        update = staticmethod(lambda: None)

    first, medians = bench.in_turn([subject("A", [9, 1, 2, 6]), subject("B", [8, 3, 5, 4])], 3, Bar)
    assert "".join(calls) == "ABABABAB"
    assert (first, medians) == ([9, 8], [2, 4])


def test_speed_has_a_row_for_each_task(tmp_path, capsys):
    found = figures(tmp_path, "--models", "twins_svt_nano", "--batch", 2, "--size", 64, "--modes", "pynative")
    assert [(row["model"], row["task"], row["mode"]) for row in found["rows"]] == [
        ("twins_svt_nano", "forward", "pynative"), ("twins_svt_nano", "train", "pynative")]
    for row in found["rows"]:
        assert row["seconds"] > 0 and row["first call"] > 0 and 0.1 < row["peak GB"] < 3
    assert found["machine"]["cores"] >= 1 and found["machine"]["mindspore"]
    table = capsys.readouterr().out
    assert "float32" in table and table.count("twins_svt_nano") == 2


def test_memory_of_the_parent_is_not_counted():
    ballast = np.ones(2**29, np.uint8)
    code = f"import runpy; print(runpy.run_path({bench.__file__!r})['peak_memory']())"
    child = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert 0 < child < ballast.nbytes / 1e9 < bench.peak_memory()


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


def test_data_counts_images(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(rng.integers(0, 255, (40, 48, 3), np.uint8)).save(tmp_path / "train" / name / f"{i}.png")
    found = figures(tmp_path, "data", tmp_path / "train", "--size", 32, "--batch", 4, "--workers", 1, "--seconds", 0.1)
    loaders = ["twins_lib", "PyTorch, timm"] if bench.torch_installed() else ["twins_lib"]
    assert [row["loader"] for row in found["rows"]] == loaders
    assert all(row["images/s"] > 0 for row in found["rows"])


@pytest.mark.skipif(not bench.torch_installed(), reason="beside timm needs torch, torchvision and timm")
@pytest.mark.parametrize("task", ["forward", "train"])
def test_pytorch_is_measured_without_mindspore(task):
    with bench.Subject(bench.torch_network, model="twins_svt_small", task=task, batch=1, size=64) as theirs:
        assert theirs() > 0
        maps = open(f"/proc/{theirs.process.pid}/maps").read()
    assert "libtorch" in maps and "mindspore" not in maps


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SystemExit, match="none: no such folder"):
        bench.main(["data", str(tmp_path / "none")])


def test_a_process_that_dies_is_told(capfd):
    with bench.Subject(bench.mindspore_network, model="none", task="forward", mode="jit", batch=1, size=64) as lost:
        with pytest.raises(SystemExit, match="ended with code 1 before it was measured"):
            lost()
    assert "no Twins is called 'none'" in capfd.readouterr().err
