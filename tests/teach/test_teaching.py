"""The plans of TEACHING.md: their minutes add up, and the headings they name stand in the lessons."""

import re
from pathlib import Path

import nbformat
import pytest

from twins_lib.teach import quiz

FOLDER = Path(__file__).parents[2] / "notebooks"
LESSONS = sorted(FOLDER.glob("*.ipynb"))
ROW = re.compile(r"\| *(\d+|–) *\| *(\d+|–) *\| *([^|]*?) *\| *[^|]*\|")


def plans():
    """number → the rows of its plan: (minutes of 90, minutes of 45, heading)."""
    parts = re.split(r"^## (\d\d) · .*$", (FOLDER / "TEACHING.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {number: [match.groups() for match in map(ROW.fullmatch, part.splitlines())
                     if match and match[3] != "under"]
            for number, part in zip(parts[1::2], parts[2::2])}


def total(minutes):
    return sum(int(m) for m in minutes if m != "–")


@pytest.mark.parametrize("number", sorted(plans()))
def test_the_minutes_of_a_plan_add_up(number):
    long, short, _ = zip(*plans()[number])
    assert (total(long), total(short)) == (90, 45)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_plan_names_headings_of_its_lesson(lesson):
    prose = "\n".join(cell.source for cell in nbformat.read(lesson, as_version=4).cells if cell.cell_type == "markdown")
    headings = set(re.findall(r"^#+ (.*?)\s*$", prose, re.MULTILINE))
    named = [heading for _, _, heading in plans()[lesson.name[:2]] if not heading.startswith("(")]
    assert named and [heading for heading in named if heading not in headings] == []


def test_every_lesson_with_a_plan_has_a_quiz():
    assert sorted(plans()) == sorted(quiz.questions())


# Lessons whose plan keeps the minutes that the lesson itself gives its exercises.
@pytest.mark.parametrize("lesson", [path for path in LESSONS if path.name[:2] in ("06", "07", "08", "09")],
                         ids=lambda path: path.stem)
def test_a_long_plan_has_the_exercise_minutes_of_its_lesson(lesson):
    prose = "\n".join(cell.source for cell in nbformat.read(lesson, as_version=4).cells if cell.cell_type == "markdown")
    (minutes,) = re.findall(r"(\d+) for the exercises", prose)
    assert [long for long, _, heading in plans()[lesson.name[:2]] if heading == "Exercises"] == [minutes]


def test_the_workshop_is_filled_with_plans_that_add_up():
    text = (FOLDER / "TEACHING.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^\| ([12]) \| ([1-4]) \| (\d+) \| (.*) \|$", text, re.MULTILINE)
    assert [(day, block) for day, block, *_ in blocks] == [(day, block) for day in "12" for block in "1234"]
    for *_, minutes, filled in blocks:
        parts = re.findall(r"(\d\d) \((45|90)\)", filled)
        assert sum(int(length) for _, length in parts) == int(minutes)
        assert {number for number, _ in parts} <= set(plans())
