"""The exit quiz of a lesson: five questions on a sheet in Markdown, with or without keys, or for a learning platform.

    python -m twins_lib.teach.quiz --lesson 3 > quiz.md
    python -m twins_lib.teach.quiz --lesson 3 --keys
    python -m twins_lib.teach.quiz --format gift > quiz.gift               all lessons, for Moodle's question bank
    python -m twins_lib.teach.quiz --format text2qti --lesson 3 > quiz.md  then `text2qti quiz.md`: QTI for Canvas
"""

import argparse
import re
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


def gift(lessons):
    """The quizzes of lessons in GIFT, as Moodle's question bank reads it: a category a lesson, choices with feedback.

    Args:
        lessons (list of str): two digits each.
    """
    def told(text):
        return re.sub(r"([~=#{}:])", r"\\\1", choice(text))

    parts = []
    for lesson in lessons:
        quiz = questions(lesson)
        parts.append(f"$CATEGORY: Twins/{lesson} {quiz['title']}")
        for number, question in enumerate(quiz["questions"], start=1):
            choices = "".join(f"\n{'=' if letter == question['key'] else '~'}{told(question[letter])}"
                              for letter in LETTERS)
            parts.append(f"::{lesson}.{number}::[markdown]{told(question['ask'])} "
                         f"{{{choices}\n####{told(question['why'])}\n}}")
    return "\n\n".join(parts) + "\n"


def text2qti(lesson):
    """The quiz of a lesson in the Markdown from which the program text2qti makes QTI, which Canvas imports.

    Args:
        lesson (str): two digits.
    """
    quiz = questions(lesson)
    lines = [f"Quiz title: Exit quiz · lesson {lesson}, {quiz['title']}", ""]
    for number, question in enumerate(quiz["questions"], start=1):
        lines += [f"{number}.  {question['ask']}", f"...  {question['why']}"]
        lines += [f"{'*' * (letter == question['key'])}{letter})  {choice(question[letter])}" for letter in LETTERS]
        lines.append("")
    return "\n".join(lines)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m twins_lib.teach.quiz", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lesson", type=int, choices=[int(lesson) for lesson in questions()])
    parser.add_argument("--keys", action="store_true", help="with the right choices and why they are right")
    parser.add_argument("--format", choices=["sheet", "gift", "text2qti"], default="sheet",
                        help="a sheet to print (default), or what learning platforms read; those hold the keys")
    told_to = parser.parse_args(arguments)
    if told_to.lesson is None and told_to.format != "gift":
        parser.error("name a lesson, such as --lesson 3; only --format gift holds all of them")
    lesson = None if told_to.lesson is None else f"{told_to.lesson:02}"
    made = {"sheet": lambda: sheet(lesson, told_to.keys), "text2qti": lambda: text2qti(lesson),
            "gift": lambda: gift([lesson] if lesson else list(questions()))}[told_to.format]
    try:
        with writing("the quiz"):
            print(made(), end="", flush=True)
    except CannotWrite as fault:
        sys.stdout = None  # or Python would try once more at its end
        return str(fault)


if __name__ == "__main__":
    sys.exit(main())
