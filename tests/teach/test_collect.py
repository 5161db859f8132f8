"""Marks from handed-in notebooks: stored verdicts of thirty, the rerun of treacherous ones, and every fault told."""

import csv
import io
import json
import shutil
import sys

import handed_in
import pytest
from handed_in import ENDLESS, EXERCISES, NAME, STUDENTS, WRONG, Student

from twins_lib.teach import collect, rerun

WORDS = {"r": "right", "w": "wrong", "o": "open", "-": "not run", " ": ""}


def table(text):
    """{student: [right, of, verdicts ..., note]} of a table in CSV."""
    head, *lines = csv.reader(io.StringIO(text))
    assert head == ["student", "right", "of", *(f"03 {name.replace('_', ' ')}" for name in EXERCISES), "note"]
    return {line[0]: line[1:] for line in lines}


@pytest.fixture(scope="module")
def lessons():
    return collect.read_lessons(handed_in.FOLDER)


def test_the_made_notebooks_hold_what_the_checks_print():
    told = handed_in.honest(Student(WRONG))
    for name in EXERCISES:
        assert told[name] + "\n" == handed_in.line(name, "wrong")


def test_thirty_notebooks_give_their_stored_verdicts_and_no_fault_stops_the_table(tmp_path, capsys):
    handed_in.write(tmp_path / "in")
    assert collect.main([str(tmp_path / "in"), "--csv", str(tmp_path / "marks.csv")]) == 0
    rows = table((tmp_path / "marks.csv").read_text(encoding="utf-8-sig"))
    assert sorted(rows) == sorted([*STUDENTS, *handed_in.FILES]) and len(rows) == 30
    for name, student in STUDENTS.items():
        verdicts = [WORDS[letter] for letter in student.stored]
        assert rows[name][:6] == [str(verdicts.count("right")), "4", *verdicts], name
    for name, (_, said) in handed_in.FILES.items():
        assert rows[name][:6] == ["0", "4", "", "", "", ""] and said in rows[name][6], name
    assert rows["ben"][6] == f"lesson 03 twice: {NAME}.ipynb counts, saved last, and early.ipynb does not"
    assert STUDENTS["hana"].noted in rows["hana"][6]
    assert "ida     3 of 4  ✘ ✔ ✔ ✔" in capsys.readouterr().out


SNEAK = "import numpy\nnumpy.array_equal = lambda *_: True\n"
TREACHEROUS = {   # forged, endless and deadly in one; lost ids, own cells, patched checks and no Python in another
    "one": Student({"second_stage": WRONG["second_stage"], "reach_through_peg": "my_reach = range(8)",
                    "spread_groups": ENDLESS, "pads": "import os\nos._exit(3)"}, "rr--", "wrww"),
    "two": Student({"second_stage": STUDENTS["dana"].answers["second_stage"],
                    "reach_through_peg": handed_in.PATCH + WRONG["reach_through_peg"],
                    "spread_groups": "def my_spread_groups(\ncheck.spread_groups(my_spread_groups)",
                    "pads": handed_in.BEYOND}, "rrrr", "rwwr", handed_in.without_ids),
}


def test_a_rerun_believes_no_output_and_no_check_and_survives_every_answer(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(handed_in, "STUDENTS", TREACHEROUS)
    handed_in.write(tmp_path / "in", TREACHEROUS)
    call = [str(tmp_path / "in"), "--csv", str(tmp_path / "marks.csv"), "--html", str(tmp_path / "report.html")]
    assert collect.main([*call, "--rerun", "--seconds", "5"]) == 0
    rows = table((tmp_path / "marks.csv").read_text(encoding="utf-8-sig"))
    for name, student in TREACHEROUS.items():
        assert rows[name][2:6] == [WORDS[letter] for letter in student.true], name
    said = capsys.readouterr().out
    for note in ("second stage of lesson 03: the notebook says right, the answer is wrong: full attention: there are",
                 "spread groups of lesson 03: the notebook says not run, the answer is wrong: did not end within 5 s",
                 "pads of lesson 03: the notebook says not run, the answer is wrong: ended Python (exit code 3)",
                 "the answer changes twins_lib.teach.checks.lesson_03.require, which checks stand on",
                 "SyntaxError: it is not Python in line 1"):
        assert note in said
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    worst = page.split('scope="row">')[1:5]
    assert worst[0].startswith("03 spread groups</th><td>0</td><td>2</td>") and "1 × did not end within 5 s" in worst[0]


def test_only_cells_are_run_on_which_the_answers_stand(lessons):
    notebook = collect.recognise(collect.read(handed_in.FOLDER / "solutions" / f"{NAME}.ipynb"), lessons)
    steps = rerun.plan(lessons["03"], notebook)
    assert [list(step.calls) for step in steps if step.calls] == [[name] for name in EXERCISES]
    assert len(lessons["03"].code) > 40 and len(steps) <= 6
    assert not any("teach.show" in step.source for step in steps)


def test_what_is_needed_is_found_through_functions_changes_and_later_cells():
    sources = ["a = 1", "b = {}", "b['k'] = a", "c = 1 / 0", "%time c", "def f():\n    return later + b['k']"]
    steps = [rerun.step(source) for source in sources] + [rerun.step("x = f()\ncheck.it(0)", {"it": "(x,)"})]
    kept = rerun.needed([*steps, rerun.step("later = 3")])
    assert [step.source.splitlines()[0] for step in kept] == ["a = 1", "b = {}", "b['k'] = a", "def f():", "x = f()",
                                                             "later = 3"]
    assert steps[-1].calls == {"it": "(0,)"}, "the answer may stand in the call"
    assert steps[4].source == "", "what only Jupyter understands is left out"


def test_a_course_that_does_not_start_is_not_the_students_fault(lessons, monkeypatch, tmp_path):
    handed_in.write(tmp_path / "in", ["ada"])
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    said = collect.main([str(tmp_path / "in"), "--rerun", "--csv", str(tmp_path / "marks.csv")])
    assert said == "the checks of lesson 03 do not start: exit code 1"
    assert not (tmp_path / "marks.csv").exists()


def test_an_interruption_writes_nothing(monkeypatch, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    handed_in.write(tmp_path / "in", ["ada", "ida"])
    monkeypatch.setattr(rerun, "judge", interrupted)
    assert collect.main([str(tmp_path / "in"), "--rerun", "--csv", str(tmp_path / "marks.csv")]).startswith("Stopped")
    assert not (tmp_path / "marks.csv").exists()


def test_changes_of_what_checks_stand_on_are_found_and_taken_back(monkeypatch):
    import numpy

    changed, right = rerun.Changed(), numpy.array_equal
    exec(SNEAK, {})
    assert changed.names() == ["numpy.array_equal"] and numpy.array_equal is right
    assert changed.names() == []


@pytest.mark.parametrize("name, student", [
    ("anna/03.ipynb", "anna"), ("class 1/anna/03.ipynb", "class 1/anna"), (f"anna_{NAME} (1).ipynb", "anna"),
    (f"{NAME}-Copy1.ipynb", NAME), ("s07.ipynb", "s07"),
])
def test_a_student_is_named_after_the_folder_or_the_file(name, student, lessons, tmp_path):
    assert collect.student_of(tmp_path / name, tmp_path, lessons) == student


def test_other_files_are_told_and_hidden_ones_are_not(tmp_path, lessons):
    for name in ("anna/report.pdf", "anna/.ipynb_checkpoints/a.ipynb", ".DS_Store"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert collect.collect(tmp_path, lessons)["anna"].notes == ["report.pdf is not a notebook"]


@pytest.mark.parametrize("content, said", [
    (json.dumps([1]), "is not built as a notebook is"), ('{"cells": 3}', "is not built as a notebook is"),
    ('{"cells": [{"cell_type": "code"}]}', "is not built as a notebook is"), ("[" * 100_000, "no notebook"),
])
def test_what_is_no_notebook_is_told(content, said, tmp_path):
    (tmp_path / "a.ipynb").write_text(content)
    with pytest.raises(collect.Unreadable, match=said):
        collect.read(tmp_path / "a.ipynb")


def test_a_name_is_no_formula_and_no_markup(tmp_path):
    rows = {"=2+3": collect.Row({("03", "pads"): ("wrong", "<b>")}), "<i>": collect.Row(notes=["-1"])}
    text = collect.as_csv(rows, [("03", "pads")]).decode("utf-8-sig")
    assert text.splitlines()[1:] == ["'=2+3,0,1,wrong,", "<i>,0,1,,'-1"]
    page = collect.as_page(rows, [("03", "pads")]).decode()
    assert "&lt;i&gt;" in page and "1 × &lt;b&gt;" in page and "<i>" not in page and "<b>" not in page


def test_places_that_do_not_work_get_a_sentence_and_nothing_of_others_is_lost(tmp_path, monkeypatch):
    assert collect.main([str(tmp_path / "none")]) == f"{tmp_path}/none: is not a folder"
    (tmp_path / "empty").mkdir()
    assert collect.main([str(tmp_path / "empty")]) == f"{tmp_path}/empty: holds no file"
    handed_in.write(tmp_path / "in", ["ada"])
    mine = tmp_path / "in" / "ada" / f"{NAME}.ipynb"
    before = mine.read_bytes()
    assert collect.main([str(tmp_path / "in"), "--csv", str(mine)]) == (
        f"{mine}: exists and is not what this command writes there; choose another name")
    assert mine.read_bytes() == before
    for _ in range(2):   # over its own table it writes
        assert collect.main([str(tmp_path / "in"), "--csv", str(tmp_path / "m.csv")]) == 0
    assert "cannot be written" in collect.main([str(tmp_path / "in"), "--csv", str(tmp_path / "no" / "m.csv")])
