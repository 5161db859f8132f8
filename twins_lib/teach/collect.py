"""Marks from the notebooks that students handed in: a row for each student, a column for each exercise.

    python -m twins_lib.teach.collect handed_in --csv marks.csv
    python -m twins_lib.teach.collect handed_in --csv marks.csv --rerun --html report.html

Put the notebooks into a folder for each student: handed_in/anna/03_locally_grouped_attention.ipynb. Verdicts are those
that the checks printed and the notebooks hold. With --rerun the answers are judged again by your own checks: what was
edited in outputs or checks then counts for nothing. It RUNS THE STUDENTS' CODE WITH YOUR RIGHTS: use an account that
has nothing to lose. A notebook that cannot be read costs its own row a note, and no other row anything.
"""

import argparse
import csv
import html
import io
import json
import os
import re
import signal
import sys
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from ..weights import CannotWrite, place, write_whole
from . import progress, rerun
from .places import course

MARKS = {"✔": "right", "✘": "wrong", "…": "open"}
SIGNS = {verdict: mark for mark, verdict in MARKS.items()} | {"not run": "?", "": "·"}
LEGEND = "✔ right   ✘ wrong   … open   ? not run, or its cell is gone   · not handed in"
OURS = "student,right,of,"                                           # how a table of ours begins
PAGE = '<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8">\n<title>Handed in</title>'   # and a page


class Unreadable(Exception):
    """A file that is not a notebook of the course; the message says what it is instead."""


@dataclass
class Lesson:
    """A lesson of the teacher's: its number and name, its cells of code by id, and {id: {exercise: arguments}}."""
    number: str
    name: str
    code: dict
    calls: dict

    @property
    def cell_of(self):
        """{exercise: the id of its cell}, in the order of the lesson."""
        return {name: cell for cell, calls in self.calls.items() for name in calls}


@dataclass
class Notebook:
    """What was handed in: [(id, source)] of its cells of code, what each printed, and {exercise: index of its cell}."""
    path: Path
    code: list
    printed: list
    language: str
    lesson: Lesson = None
    found: dict = field(default_factory=dict)


@dataclass
class Row:
    """A student: {(lesson, exercise): (verdict, what the check said)}, and what the teacher should know."""
    verdicts: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)

    @property
    def right(self):
        return sum(verdict == "right" for verdict, _ in self.verdicts.values())


# ---------------------------------------------------------------------------------------------------------------------
# Reading: the teacher's lessons, and what was handed in
# ---------------------------------------------------------------------------------------------------------------------

def joined(part):
    """Text of a notebook, which is stored as a string or as a list of lines."""
    return part if isinstance(part, str) else "".join(part)


def read(path):
    """The cells of code of a notebook.

    Raises:
        Unreadable: it is damaged, cut short or no notebook.
    """
    try:
        notebook = json.loads(path.read_text(encoding="utf-8-sig"))
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        printed = ["".join(joined(output["text"]) for output in cell.get("outputs", ()) if "text" in output)
                   for cell in cells]
        about = notebook.get("metadata", {}).get("kernelspec") or {}
        return Notebook(path, [(cell.get("id"), joined(cell["source"])) for cell in cells], printed,
                        about.get("language") or "python")
    except OSError as fault:
        raise Unreadable(f"cannot be read ({fault.strerror})") from None
    except json.JSONDecodeError as fault:
        size = path.stat().st_size
        raise Unreadable("is empty" if not size else f"is damaged or cut short after {size:,} bytes: ask for it again "
                         f"({fault.msg}, line {fault.lineno})") from None
    except (ValueError, RecursionError):
        raise Unreadable("is not text in UTF-8, so no notebook") from None
    except (KeyError, TypeError, AttributeError):
        raise Unreadable("is not built as a notebook is") from None


def read_lessons(folder):
    """The lessons of a folder that have exercises, by number.

    Raises:
        Unreadable: there are none.
    """
    lessons = {}
    for number, names in progress.exercises().items():
        for path in sorted(folder.glob(f"{number}_*.ipynb")):
            code, calls = dict(read(path).code), {}
            for cell, source in code.items():
                asked = rerun.calls_of(rerun.parse(source))
                if kept := {name: arguments for name, arguments in asked.items() if name in names}:
                    calls[cell] = kept
            lessons[number] = Lesson(number, path.stem, code, calls)
    if not lessons:
        raise Unreadable("holds no lessons: run this from the top of the course")
    return lessons


def find_exercises(notebook, lesson):
    """{exercise: the number of its cell}: a cell keeps its id, or else it calls the check."""
    by_id = {cell: index for index, (cell, _) in enumerate(notebook.code)}
    found = {}
    for name, cell in lesson.cell_of.items():
        calling = [index for index, (_, source) in enumerate(notebook.code)
                   if re.search(rf"\bcheck\.{name}\(", source)]
        if cell in by_id or calling:
            found[name] = by_id.get(cell, (calling or [0])[-1])
    return found


def recognise(notebook, lessons):
    """Say which lesson a notebook is, whatever its file is called: the one of whose exercises it has most.

    Raises:
        Unreadable: it has an exercise of none.
    """
    found = {number: find_exercises(notebook, lesson) for number, lesson in lessons.items()}
    best = max(found, key=lambda number: (len(found[number]), number in notebook.path.name))
    if not found[best]:
        raise Unreadable("is not a lesson of this course: it has none of its exercises")
    notebook.lesson, notebook.found = lessons[best], found[best]
    return notebook


def student_of(path, folder, lessons):
    """Whose notebook it is: its folder's name; of one that lies in no folder, its own without the lesson's."""
    if path.parent != folder:
        return path.parent.relative_to(folder).as_posix()
    stem = re.sub(r"( ?\(\d+\)|-Copy\d+)$", "", path.stem)
    for lesson in lessons.values():
        stem = stem.replace(lesson.name, "").strip(" _-") or stem
    return stem


def handed_in(folder):
    """What lies in a folder, but for hidden files and for what lies in hidden folders such as .ipynb_checkpoints.

    Raises:
        Unreadable: it holds no file.
    """
    files = sorted(path for path in folder.rglob("*") if not path.is_dir()
                   and not any(part.startswith(".") for part in path.relative_to(folder).parts))
    if not files:
        raise Unreadable("holds no file" if folder.is_dir() else "is not a folder")
    return files


def sort_out(folder, lessons):
    """Who handed in what.

    Returns:
        {student: Row}, so far with notes only, and {(student, lesson): Notebook}, of two the one that was saved later.
    """
    rows, chosen, by_age = {}, {}, sorted(handed_in(folder), key=lambda path: (os.lstat(path).st_mtime, path.name))
    for path in by_age:
        row = rows.setdefault(student := student_of(path, folder, lessons), Row())
        if path.suffix != ".ipynb":
            row.notes.append(f"{path.name} is not a notebook")
            continue
        try:
            notebook = recognise(read(path), lessons)
        except Unreadable as fault:
            row.notes.append(f"{path.name} {fault}")
            continue
        earlier = chosen.get(key := (student, notebook.lesson.number))
        if earlier:
            row.notes.append(f"lesson {key[1]} twice: {path.name} counts, saved last, and {earlier.path.name} does not")
        if notebook.language.lower() != "python":
            row.notes.append(f"{path.name} was made for another kernel ({notebook.language}), not for Python")
        chosen[key] = notebook
    return dict(sorted(rows.items())), chosen


# ---------------------------------------------------------------------------------------------------------------------
# Verdicts
# ---------------------------------------------------------------------------------------------------------------------

def stored(notebook):
    """{exercise: (verdict, what the check said)} as the notebook holds it; "not run" where it holds nothing."""
    verdicts = {}
    for name in notebook.lesson.cell_of:
        printed = notebook.printed[notebook.found[name]] if name in notebook.found else ""
        lines = re.findall(rf"^([✔✘…]) {name.replace('_', ' ')}: (.*)$", printed, re.M)
        verdicts[name] = (MARKS[lines[-1][0]], lines[-1][1]) if lines else ("not run", "")
    return verdicts


def judged_again(notebook, seconds):
    """The same by running the answers, and a sentence for each exercise whose stored verdict was another one."""
    before, now = stored(notebook), rerun.judge(notebook.lesson, notebook, seconds)
    verdicts = {name: now.get(name, ("not run", "")) for name in before}
    notes = [f"{name.replace('_', ' ')} of lesson {notebook.lesson.number}: the notebook says {before[name][0]}, "
             f"the answer is {verdict}{': ' * bool(said) + said if verdict == 'wrong' else ''}"
             for name, (verdict, said) in verdicts.items() if before[name][0] != verdict]
    return verdicts, notes


def collect(folder, lessons, seconds=None):
    """The rows of all students.

    Args:
        folder (Path): what was handed in.
        lessons (dict): see `read_lessons`.
        seconds (int): how long a cell may take when the answers are run again; None takes the stored verdicts.

    Returns:
        {student: Row}, by name.

    Raises:
        Unreadable: the folder is empty.
        rerun.CannotRun: the course itself does not start.
    """
    rows, chosen = sort_out(folder, lessons)

    def verdicts(notebook):
        return judged_again(notebook, seconds) if seconds else (stored(notebook), [])

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        found = pool.map(verdicts, chosen.values())
        for (told, notes), (student, number) in zip(tqdm(found, "notebooks", len(chosen), disable=not seconds), chosen):
            rows[student].verdicts.update({(number, name): verdict for name, verdict in told.items()})
            rows[student].notes += notes
    except BaseException:   # also Ctrl+C
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(rerun.running):
            rerun.end(process)
        raise
    return rows


# ---------------------------------------------------------------------------------------------------------------------
# Telling: on the terminal, as a table for a spreadsheet, as a page
# ---------------------------------------------------------------------------------------------------------------------

def columns(rows, lessons):
    """The (lesson, exercise) of every lesson that somebody handed in, in the order of the course."""
    there = {number for row in rows.values() for number, _ in row.verdicts}
    return [(number, name) for number in sorted(there) for name in lessons[number].cell_of]


def heading(column):
    """The name of a column: "03 pads"."""
    number, name = column
    return f"{number} {name.replace('_', ' ')}"


def cells(row, asked):
    """A row's verdicts in the order of the columns; empty for a lesson that was not handed in."""
    return [row.verdicts.get(column, ("", ""))[0] for column in asked]


def as_csv(rows, asked):
    """The table in CSV, UTF-8 with the mark by which spreadsheets know it; no cell of it is taken for a formula."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*OURS.strip(",").split(","), *map(heading, asked), "note"])
    for student, row in rows.items():
        line = [student, row.right, len(asked), *cells(row, asked), "; ".join(row.notes)]
        table.writerow([re.sub(r"^(?=[=+@\t-])", "'", part) if isinstance(part, str) else part for part in line])
    return text.getvalue().encode("utf-8-sig")


def failures(rows, asked):
    """For each column: itself, how many got each verdict, and the diagnoses by frequency; the worst column first."""
    found = []
    for column in asked:
        given = [row.verdicts[column] for row in rows.values() if column in row.verdicts]
        counts = Counter(verdict for verdict, _ in given)
        found.append((column, counts, Counter(said for verdict, said in given if verdict == "wrong").most_common()))
    return sorted(found, key=lambda part: (-part[1]["wrong"], part[1]["right"]))


STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: 0.2rem 1rem 0.2rem 0; border-bottom: 1px solid #888; }
td:nth-child(2) { white-space: nowrap; }
td ul { margin: 0; padding-left: 1.1rem; }
"""


def as_page(rows, asked):
    """The page for the teacher: which exercise failed most and with which diagnosis, and then the students."""
    def table(name, heads, lines):
        head = "".join(f'<th scope="col">{html.escape(part)}</th>' for part in heads)
        body = "".join(f'<tr><th scope="row">{line[0]}</th>{"".join(f"<td>{part}</td>" for part in line[1:])}</tr>\n'
                       for line in lines)
        return (f'<h2>{name}</h2>\n<div class="wide" tabindex="0" role="region" aria-label="{name}"><table>\n'
                f'<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n')

    kinds = [*MARKS.values(), "not run"]
    worst = [[heading(column), *(counts[kind] for kind in kinds),
              "<ul>" + "".join(f"<li>{times} × {html.escape(said)}</li>" for said, times in diagnoses) + "</ul>"]
             for column, counts, diagnoses in failures(rows, asked)]
    students = [[html.escape(student), f"{row.right} of {len(asked)}", *(cell or "–" for cell in cells(row, asked)),
                 "<br>".join(map(html.escape, row.notes))] for student, row in rows.items()]
    return (f'{PAGE}\n<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style>\n'
            f"<body><main><h1>Handed in: {len(rows)} students</h1>\n"
            + table("What failed most", ["exercise", *kinds, "diagnoses of the wrong ones"], worst)
            + table("Students", ["student", "right", *map(heading, asked), "notes"], students)
            + "</main></body></html>\n").encode()


def print_rows(rows, asked):
    """The table on the terminal, with the notes under their rows."""
    width = max(map(len, rows))
    print("Columns:", ", ".join(map(heading, asked)))
    for student, row in rows.items():
        signs = " ".join(SIGNS[cell] for cell in cells(row, asked))
        print(f"{student:{width}}  {row.right:2} of {len(asked)}  {signs}")
        for note in row.notes:
            print(f"{'':{width}}    {note}")
    print(LEGEND)


def store(path, content, ours):
    """Write a table or a page, over an earlier one of ours but over nothing else.

    Raises:
        CannotWrite: the place cannot be written, or holds something else.
    """
    try:
        before = path.read_text(encoding="utf-8-sig", errors="replace")[:len(ours)] if path.exists() else ours
    except OSError as fault:
        raise CannotWrite(f"{path}: cannot be written ({fault.strerror}); choose another place") from None
    if before and before != ours:
        raise CannotWrite(f"{path}: exists and is not what this command writes there; choose another name")
    write_whole(path, content)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m twins_lib.teach.collect", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=place, help="what was handed in, a folder for each student")
    parser.add_argument("--csv", type=place, metavar="FILE", help="write the table for a spreadsheet")
    parser.add_argument("--html", type=place, metavar="FILE", help="write a page: what failed most, and why")
    parser.add_argument("--rerun", action="store_true", help="run the answers and judge them by your own checks")
    parser.add_argument("--seconds", type=int, default=60, help="with --rerun: how long a cell may take (default: 60)")
    told_to = parser.parse_args(arguments)
    if told_to.seconds < 1:
        parser.error("--seconds must be 1 or more")
    if told_to.rerun and not hasattr(signal, "alarm"):
        return "--rerun needs Linux or macOS: this system cannot stop an answer that does not end"
    warnings.simplefilter("ignore", SyntaxWarning)   # of the students' code
    try:
        lessons = read_lessons(course() / "notebooks")
        rows = collect(told_to.folder, lessons, told_to.seconds if told_to.rerun else None)
        asked = columns(rows, lessons)
        print_rows(rows, asked)
        for path, write, ours in ((told_to.csv, as_csv, OURS), (told_to.html, as_page, PAGE)):
            if path:
                store(path, write(rows, asked), ours)
                print(f"Written: {path}")
    except Unreadable as fault:
        return f"{told_to.folder}: {fault}"
    except (CannotWrite, rerun.CannotRun, FileNotFoundError) as fault:
        return str(fault)
    except KeyboardInterrupt:
        return "Stopped; nothing was written."
    return 0


if __name__ == "__main__":
    sys.exit(main())
