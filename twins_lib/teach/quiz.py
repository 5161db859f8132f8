"""The exit quiz of a lesson: five questions on a sheet in Markdown, with or without keys.

    python -m twins_lib.teach.quiz --lesson 3 > quiz.md
    python -m twins_lib.teach.quiz --lesson 3 --keys
"""

import argparse
import sys
from pathlib import Path

import yaml

from ..weights import CannotWrite, writing

QUIZ = Path(__file__).with_name("quiz.yaml")
LETTERS = "abcd"


def questions(lesson=None):
    """The quiz as data.

    Args:
        lesson (str): two digits, as "03"; all lessons if None.

    Returns:
        The lesson's dict with `title` and `questions`, each a dict with `ask`, the choices `a` to `d`, `key` and `why`;
        or a dict of these by lesson.
    """
    every = yaml.safe_load(QUIZ.read_text(encoding="utf-8"))
    return every if lesson is None else every[lesson]


def choice(value):
    """A choice as it is printed: whole numbers with commas."""
    return f"{value:,}" if isinstance(value, int) else str(value)


def sheet(lesson, keys=False):
    """The sheet of one lesson in Markdown.

    Args:
        lesson (str): two digits.
        keys (bool): say after each question which choice is right, and why.
    """
    quiz = questions(lesson)
    lines = [f"# Exit quiz · lesson {lesson}, {quiz['title']}", ""]
    if not keys:
        lines += ["Name: ____________________", ""]
    for number, question in enumerate(quiz["questions"], start=1):
        lines += [f"**{number}.** {question['ask']}", ""]
        lines += [f"- {letter}) {choice(question[letter])}" for letter in LETTERS] + [""]
        if keys:
            lines += [f"**{question['key']}.** {question['why']}", ""]
    return "\n".join(lines)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m twins_lib.teach.quiz", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lesson", type=int, required=True, choices=[int(lesson) for lesson in questions()])
    parser.add_argument("--keys", action="store_true", help="with the right choices and why they are right")
    told_to = parser.parse_args(arguments)
    try:
        with writing("the sheet"):
            print(sheet(f"{told_to.lesson:02}", told_to.keys), end="", flush=True)
    except CannotWrite as fault:
        sys.stdout = None  # or Python would try once more at its end
        return str(fault)


if __name__ == "__main__":
    sys.exit(main())
