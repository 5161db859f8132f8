"""Which exercises the reader has got right: noted in one folder beside the lessons, and never sent anywhere.

    python -m twins_lib.teach.progress            a table: passed, of how many, and which are open
    python -m twins_lib.teach.progress --reset    forget all of it

A check that answers "right" in JupyterLab or VS Code notes its name in notebooks/.progress; the environment variable
TWINS_PROGRESS names another folder. Nothing is noted in the course's own solutions, nor when notebooks are run by a
command. What an earlier version noted in .progress.json counts as well.
"""

import argparse
import importlib
import json
import os
import pkgutil
import sys
from pathlib import Path

from ..weights import CannotWrite, writing
from .places import course

silent = False  # this kernel's reader has been told that nothing is noted


def progress_folder():
    """Where progress is kept, from whatever folder it is asked: an empty file a note, so kernels share it safely."""
    if "TWINS_PROGRESS" in os.environ:
        named = Path(os.environ["TWINS_PROGRESS"]).expanduser()
        return named.with_suffix("") if named.suffix == ".json" else named  # as it was named when it was a file
    try:
        return course() / "notebooks" / ".progress"
    except FileNotFoundError:
        return Path(".progress")


def read(folder):
    """The names of the checks that were passed, by lesson.

    Args:
        folder (Path): where they are noted; it need not exist.

    Returns:
        dict: "01" → list of names.

    Raises:
        OSError: the folder cannot be read.
        ValueError: the file of an earlier version is damaged.
    """
    passed = {}
    for note in sorted(folder.iterdir()) if folder.exists() else ():
        lesson, _, name = note.name.partition(".")
        passed.setdefault(lesson, []).append(name)
    earlier = earlier_file(folder)
    try:
        noted = json.loads(earlier.read_text(encoding="utf-8")) if earlier.exists() else {}
        for lesson, names in noted.items():
            passed[lesson] = sorted({*passed.get(lesson, []), *names})
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"{earlier}: is damaged; rename it, and what is noted in {folder} counts") from None
    return passed


def earlier_file(folder):
    """The file in which an earlier version kept all notes."""
    return folder.with_name(folder.name + ".json")


def opened_notebook():
    """The notebook that somebody has open, as Jupyter's server or VS Code names it to its kernel; None if none does."""
    in_vs_code = vars(sys.modules["__main__"]).get("__vsc_ipynb_file__")  # its kernels know no JPY_SESSION_NAME
    named = in_vs_code or os.environ.get("JPY_SESSION_NAME")
    return Path.cwd() / named if named else None


def is_solution(notebook):
    """Is it one of the course's own solutions? A folder of the reader's that is called so counts as any other."""
    return notebook.parent.name == "solutions" and notebook.parent.parent.name in ("notebooks", "zh")


def in_a_kernel():
    """Does a kernel run this, and no test or `make refresh`, which set this variable?"""
    kernels = sys.modules.get("ipykernel.kernelapp")
    return bool(kernels and kernels.IPKernelApp.initialized()) and "PYTEST_CURRENT_TEST" not in os.environ


def note(check):
    """Note that a check was passed, if a person passed it; a folder that does not work costs one sentence, no more.

    Args:
        check (function): the check, of a module twins_lib.teach.checks.lesson_NN.
    """
    global silent
    notebook = opened_notebook()
    if notebook is None:
        if in_a_kernel() and not silent:
            print("(Not noted: neither Jupyter nor VS Code named this notebook, so a command may be running it.)")
            silent = True
        return
    if is_solution(notebook):
        return
    lesson = check.__module__.rpartition("lesson_")[2]
    folder = progress_folder()
    try:
        with writing(folder, "set TWINS_PROGRESS to a folder of yours to keep notes"):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{lesson}.{check.__name__}").touch()
    except CannotWrite as fault:
        print(f"(Not noted. {fault})")


def exercises():
    """The names of all checks of the course, by lesson: "01" → list of names."""
    folder = str(Path(__file__).with_name("checks"))
    lessons = [name for _, name, _ in pkgutil.iter_modules([folder]) if name.startswith("lesson_")]
    found = {}
    for name in sorted(lessons):
        checks = vars(importlib.import_module(f"twins_lib.teach.checks.{name}")).values()
        found[name.removeprefix("lesson_")] = [check.__name__ for check in checks if getattr(check, "counts", False)]
    return found


def show():
    """Print a table of what was passed, or one sentence if the notes cannot be read."""
    folder = progress_folder()
    try:
        passed = read(folder)
    except (OSError, ValueError) as fault:
        return f"{folder}: cannot be read ({fault.strerror})" if isinstance(fault, OSError) else str(fault)
    right, total = 0, 0
    print("lesson   passed")
    for lesson, names in exercises().items():
        left = [name.replace("_", " ") for name in names if name not in passed.get(lesson, [])]
        print(row(lesson, len(names) - len(left), len(names)) + ("   open: " + ", ".join(left) if left else ""))
        right, total = right + len(names) - len(left), total + len(names)
    print(row("all", right, total))
    if not right:
        place = os.path.relpath(folder)
        print(f"Noted in {place}, in JupyterLab and in VS Code, but not in the course's own solutions.")


def row(name, right, total):
    return f"{name:6} {right:4} of {total}"


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m twins_lib.teach.progress", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reset", action="store_true", help="forget which exercises were passed")
    if not parser.parse_args(arguments).reset:
        return show()
    folder = progress_folder()
    try:
        for note in folder.iterdir() if folder.exists() else ():
            note.unlink()
        earlier_file(folder).unlink(missing_ok=True)
    except OSError as fault:
        return f"{folder}: cannot be emptied ({fault.strerror})"
    print(f"No exercise is noted any more ({folder} is empty).")


if __name__ == "__main__":
    sys.exit(main())
