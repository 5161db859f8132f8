"""Every program that writes says in the same sentence that a place cannot be written: read-only, below a file, full."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

import twins_lib
from twins_lib import explorer
from twins_lib.teach import quiz
from twins_lib.teach.publish import pages, refresh
from twins_lib.weights import place, torch_name

ROOT = Path(__file__).parents[1]


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "data_scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NOISE = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
FETCH = script("fetch_cifar10")
FETCH.check, FETCH.pictures = lambda archive, own: None, lambda archive: [("test", 0, NOISE)]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A folder with what the programs read: weights, a picture, a notebook."""
    folder = tmp_path_factory.mktemp("given")
    model = twins_lib.create_model("twins_svt_nano", 10)
    save_file({torch_name(p.name): p.asnumpy() for p in model.get_parameters()}, folder / "nano.safetensors")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(folder / "photo.png")
    (folder / "lesson.ipynb").write_text('{"cells": [{"cell_type": "markdown", "id": "a", "metadata": {}, "source": '
                                         '"# A lesson"}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    return folder


# A program, and its arguments for a place to write to, which is a folder that is not there yet.
WRITERS = {
    "convert_weights": (script("convert_weights").main, lambda given, place: [
        given / "nano.safetensors", place / "n.ckpt"]),
    "make_mini_imagenet": (script("make_mini_imagenet").main, lambda given, place: [
        "--folder", place, "--size", "512", "--classes", "2", "--train", "1", "--val", "1"]),
    "make_scenes": (script("make_scenes").main, lambda given, place: [
        "--folder", place, "--train", "2", "--val", "2", "--size", "256"]),
    "make_toy_data": (script("make_toy_data").main, lambda given, place: ["borders", place, "--count", "2000"]),
    "fetch_cifar10": (FETCH.main, lambda given, place: ["--folder", place, "--source", given / "photo.png"]),
    "explorer": (explorer.main, lambda given, place: [
        given / "photo.png", "--checkpoint", given / "nano.safetensors", "--model", "twins_svt_nano",
        "--num-classes", "10", "--out", place.parent / "page.html"]),
    "pages": (pages.main, lambda given, place: ["slides", "--notebooks", given, "--build", place]),
    "site": (pages.main, lambda given, place: ["site", "--notebooks", given, "--build", place]),
}


def said_by(name, given, place, capsys):
    """The sentence a program ends with, which must not be a traceback and must be told as a failure."""
    main, arguments = WRITERS[name]
    try:
        status = main([str(argument) for argument in arguments(given, place)])
    except SystemExit as end:
        status = end.code
    assert status not in (0, None)
    return status if isinstance(status, str) else capsys.readouterr().err.strip()


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "explorer"])
@pytest.mark.parametrize("read_only", [True, False])
def test_read_only_or_below_a_file(name, read_only, given, tmp_path, capsys):
    (tmp_path / "file").write_text("kept")
    place = Path("/proc/twins") if read_only else tmp_path / "file" / "below"
    said = said_by(name, given, place, capsys)
    assert said.startswith(str(place)) and ": cannot be written (" in said and "\n" not in said
    assert said.endswith("make room, or choose another place")
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk(name, given, tmp_path, capsys, full_disk):
    full_disk()
    said = said_by(name, given, tmp_path / "new", capsys).removeprefix("error: ")
    assert said.startswith(str(tmp_path)) and ": cannot be written (" in said and "File too large)" in said
    assert said.endswith("make room, or choose another place") and "\n" not in said


def test_the_explorer_where_nothing_can_be_written(given, capsys):
    said = said_by("explorer", given, Path("/proc/twins"), capsys)
    assert said.startswith("error: /proc/page.html: cannot be written (No such file or directory)")


def test_a_page_that_does_not_fit_leaves_the_page_before(given, tmp_path, capsys, full_disk):
    (tmp_path / "page.html").write_text("the page before")
    full_disk()
    said = said_by("explorer", given, tmp_path / "new", capsys)
    assert "what was there before is untouched" in said
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html").read_text() == "the page before"


def test_a_notebook_that_does_not_fit_keeps_its_outputs(tmp_path, full_disk):
    before = refresh.nbformat.v4.new_notebook(cells=[refresh.nbformat.v4.new_markdown_cell("a" * 30_000)])
    path = tmp_path / "lesson.ipynb"
    path.write_text("before")

    async def store():
        refresh.write(before, path)

    full_disk()
    assert not refresh.run_told(path, store())
    assert path.read_text() == "before" and len(list(tmp_path.iterdir())) == 1


def test_a_sheet_that_cannot_be_printed(monkeypatch):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        said = quiz.main(["--lesson", "3"])
        monkeypatch.undo()
        with pytest.raises(OSError):
            full.close()
    assert said == "the quiz: cannot be written (No space left on device); make room, or choose another place"


@pytest.mark.parametrize("name", [name for name in WRITERS if name not in ("explorer", "pages", "site")])
def test_a_tilde_never_becomes_a_folder(name, tmp_path, monkeypatch, capsys):
    main, arguments = WRITERS[name]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments(tmp_path, Path("~no such user/x"))])
    assert end.value.code == 2
    assert "names no place; ~ is your home, ./~ is a folder called so" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_a_tilde_is_the_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert [place(text) for text in ("~/x", "./~", "a~")] == [Path("/home/ada/x"), Path("~"), Path("a~")]
