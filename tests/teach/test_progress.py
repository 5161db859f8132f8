"""What is noted of a reader's progress, when nothing may be, and what a file that does not work costs."""

import subprocess
import sys
import types

import pytest

from twins_lib.teach import progress
from twins_lib.teach.checks import lesson_00
from twins_lib.teach.check import exercise, require

RIGHT = 24   # the answer of lesson 00's first exercise


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The folder of a reader who has lesson 00 open in JupyterLab."""
    path = tmp_path / "progress"
    monkeypatch.setenv("TWINS_PROGRESS", str(path))
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "notebooks" / "00_start_here.ipynb"))
    return path


def test_a_right_answer_is_noted_once(kept, capsys):
    for _ in range(2):
        lesson_00.grid_of_stage_3(RIGHT)
    assert progress.read(kept) == {"00": ["grid_of_stage_3"]}
    assert [path.name for path in kept.iterdir()] == ["00.grid_of_stage_3"]
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


@pytest.mark.parametrize("notebook, noted", [
    ("solutions/00_start_here.ipynb", True),  # a folder of the reader's
    ("solutions/course/notebooks/00_start_here.ipynb", True),
    ("course/notebooks/zh/solutions/00_start_here.ipynb", False),
    ("course/notebooks/solutions/00_start_here.ipynb", False),
])
def test_only_the_course_s_own_solutions_do_not_count(kept, monkeypatch, notebook, noted):
    monkeypatch.setenv("JPY_SESSION_NAME", str(kept.parent / notebook))
    lesson_00.grid_of_stage_3(RIGHT)
    assert kept.exists() == noted


def test_a_kernel_whose_notebook_nobody_named_says_so_once(kept, monkeypatch, capsys):
    monkeypatch.delenv("JPY_SESSION_NAME")
    monkeypatch.setattr(progress, "silent", False)
    monkeypatch.setattr(progress, "in_a_kernel", lambda: True)
    for _ in range(2):
        lesson_00.grid_of_stage_3(RIGHT)
    assert capsys.readouterr().out.count("(Not noted: neither Jupyter nor VS Code named this notebook") == 1
    assert not kept.exists()


def test_two_kernels_at_once_lose_no_note(kept):
    """Each notes 300 checks, and both begin at the same moment."""
    program = ("import sys, time, types\nfrom twins_lib.teach import progress\n"
               "sys.stdin.readline()\n"
               "for k in range(300):\n"
               "    check = types.FunctionType((lambda: 0).__code__, {}, f'{sys.argv[1]}_{k}')\n"
               "    check.__module__ = 'twins_lib.teach.checks.lesson_00'\n"
               "    progress.note(check)\n")
    kernels = [subprocess.Popen([sys.executable, "-c", program, name], stdin=subprocess.PIPE) for name in "ab"]
    for kernel in kernels:
        kernel.stdin.write(b"\n")
        kernel.stdin.flush()
    assert [kernel.wait(timeout=60) for kernel in kernels] == [0, 0]
    assert len(progress.read(kept)["00"]) == 600


def test_notes_of_an_earlier_version_count_and_a_damaged_file_of_it_hides_nothing(kept, capsys, monkeypatch):
    monkeypatch.setenv("TWINS_PROGRESS", str(kept) + ".json")  # as it was set then
    earlier = kept.with_name("progress.json")
    earlier.write_text('{"00": ["shape_of_stage_4"]}')
    lesson_00.grid_of_stage_3(RIGHT)
    assert progress.read(kept) == {"00": ["grid_of_stage_3", "shape_of_stage_4"]}
    for content in ("{", "[1]", '{"00": 3}'):
        earlier.write_text(content)
        assert progress.main([]) == f"{earlier}: is damaged; rename it, and what is noted in {kept} counts"
        assert earlier.read_text() == content
    capsys.readouterr()
    lesson_00.grids(None)
    assert "Not noted" not in capsys.readouterr().out
    progress.main(["--reset"])
    assert not earlier.exists() and progress.read(kept) == {}


def test_a_place_that_cannot_be_written_costs_one_sentence(kept, monkeypatch, capsys):
    kept.write_text("a file")
    lesson_00.grid_of_stage_3(RIGHT)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "✔ grid of stage 3: right"
    assert second == (f"(Not noted. {kept}: cannot be written (File exists); "
                      "set TWINS_PROGRESS to a folder of yours to keep notes)")
    assert progress.main([]) == f"{kept}: cannot be read (Not a directory)"


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
        return [line for line in capsys.readouterr().out.splitlines()[1:] if not line.startswith("Noted in")]

    assert table() == ["77        0 of 2   open: easy, less easy", "all       0 of 2"]
    made.easy(1)
    assert table() == ["77        1 of 2   open: less easy", "all       1 of 2"]
    made.less_easy(2)
    assert table() == ["77        2 of 2", "all       2 of 2"]
    for _ in range(2):
        progress.main(["--reset"])
        assert progress.read(kept) == {}


def test_every_lesson_has_three_exercises_that_count():
    found = progress.exercises()
    assert list(found) == sorted(found) and min(len(names) for names in found.values()) >= 3
    assert found["00"] == ["grid_of_stage_3", "shape_of_stage_4", "grids"]


def test_the_file_lies_beside_the_lessons_from_wherever_one_looks(tmp_path, monkeypatch):
    monkeypatch.delenv("TWINS_PROGRESS", raising=False)
    (tmp_path / "notebooks" / "assets").mkdir(parents=True)
    for folder in (".", "notebooks", "notebooks/assets"):
        monkeypatch.chdir(tmp_path / folder)
        assert progress.progress_folder() == tmp_path / "notebooks" / ".progress"
