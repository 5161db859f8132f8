"""What is noted of a reader's progress, when nothing may be, and what a file that does not work costs."""

import json
import sys
import types

import pytest

from twins_lib.teach import progress
from twins_lib.teach.checks import lesson_00
from twins_lib.teach.check import exercise, require

RIGHT = 24   # the answer of lesson 00's first exercise


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The file of a reader who has lesson 00 open in JupyterLab."""
    path = tmp_path / "progress.json"
    monkeypatch.setenv("TWINS_PROGRESS", str(path))
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "notebooks" / "00_start_here.ipynb"))
    return path


def test_a_right_answer_is_noted_once(kept, capsys):
    for _ in range(2):
        lesson_00.grid_of_stage_3(RIGHT)
    assert json.loads(kept.read_text()) == {"00": ["grid_of_stage_3"]}
    assert [path.name for path in kept.parent.iterdir()] == ["progress.json"]
    assert capsys.readouterr().out == "✔ grid of stage 3: right\n" * 2


def test_open_and_wrong_answers_and_the_shown_example_are_not_noted(kept):
    lesson_00.grid_of_stage_3(None)
    lesson_00.grid_of_stage_3(14)
    lesson_00.tokens_on_a_grid(49)
    assert not kept.exists()


def test_solutions_and_notebooks_run_by_a_command_are_not_noted(kept, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "/course/notebooks/solutions/00_start_here.ipynb")
    lesson_00.grid_of_stage_3(RIGHT)
    monkeypatch.delenv("JPY_SESSION_NAME")
    lesson_00.grid_of_stage_3(RIGHT)
    assert not kept.exists()


def test_in_vs_code_lessons_are_noted_and_solutions_are_not(kept, monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME")
    for folder, noted in (("solutions", False), ("", True)):
        notebook = kept.parent / "notebooks" / folder / "00_start_here.ipynb"
        monkeypatch.setattr(sys.modules["__main__"], "__vsc_ipynb_file__", str(notebook), raising=False)
        lesson_00.grid_of_stage_3(RIGHT)
        assert kept.exists() == noted


@pytest.mark.parametrize("content", ["{", "[1]", '{"00": 3}'])
def test_a_broken_file_costs_one_sentence(kept, content, capsys):
    kept.write_text(content)
    lesson_00.grid_of_stage_3(RIGHT)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "✔ grid of stage 3: right"
    assert str(kept) in second and progress.RESET in second
    assert kept.read_text() == content
    progress.main([])
    assert progress.RESET in capsys.readouterr().out
    progress.main(["--reset"])
    assert not kept.exists()


def test_a_place_that_cannot_be_written_costs_one_sentence(kept, monkeypatch, capsys):
    monkeypatch.setenv("TWINS_PROGRESS", str(kept.parent / "nowhere" / "progress.json"))
    lesson_00.grid_of_stage_3(RIGHT)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "✔ grid of stage 3: right" and "No such file or directory" in second


def test_the_table_names_what_is_open_and_reset_empties_it(kept, monkeypatch, capsys):
    made = types.ModuleType("twins_lib.teach.checks.lesson_77")

    def easy(answer):
        require(answer == 1, "no")

    def less_easy(answer):
        require(answer == 2, "no")

    for function in (easy, less_easy):
        function.__module__ = made.__name__
        setattr(made, function.__name__, exercise(function))
    monkeypatch.setitem(sys.modules, made.__name__, made)
    monkeypatch.setattr(progress.pkgutil, "iter_modules", lambda path: [(None, "lesson_77", False), (None, "x", False)])

    def table():
        capsys.readouterr()
        progress.main([])
        return capsys.readouterr().out.splitlines()[1:]

    assert table() == ["77        0 of 2   open: easy, less easy", "all       0 of 2"]
    made.easy(1)
    assert table() == ["77        1 of 2   open: less easy", "all       1 of 2"]
    made.less_easy(2)
    assert table() == ["77        2 of 2", "all       2 of 2"]
    for _ in range(2):
        progress.main(["--reset"])
        assert not kept.exists()


def test_every_lesson_has_three_exercises_that_count():
    found = progress.exercises()
    assert list(found) == sorted(found) and min(len(names) for names in found.values()) >= 3
    assert found["00"] == ["grid_of_stage_3", "shape_of_stage_4", "grids"]


def test_the_file_lies_beside_the_lessons_from_wherever_one_looks(tmp_path, monkeypatch):
    monkeypatch.delenv("TWINS_PROGRESS", raising=False)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    seen_from_the_top = progress.progress_file().resolve()
    monkeypatch.chdir("notebooks")
    assert progress.progress_file().resolve() == seen_from_the_top == tmp_path / "notebooks" / ".progress.json"
