"""Which exercises the reader has got right: noted in one file beside the lessons, and never sent anywhere.

    python -m twins_lib.teach.progress            a table: passed, of how many, and which are open
    python -m twins_lib.teach.progress --reset    forget all of it

A check that answers "right" in JupyterLab or VS Code notes its name in notebooks/.progress.json; the environment
variable TWINS_PROGRESS names another file. Nothing is noted in a solutions notebook, nor when notebooks are run by a
command.
"""

import argparse
import importlib
import json
import os
import pkgutil
import sys
from pathlib import Path

RESET = "python -m twins_lib.teach.progress --reset"


def progress_file():
    """Where progress is kept, seen from the top of the repository as from a lesson's kernel."""
    folder = Path("notebooks") if Path("notebooks").is_dir() else Path()
    return Path(os.environ.get("TWINS_PROGRESS") or folder / ".progress.json")


def read(path):
    """The names of the checks that were passed, by lesson.

    Args:
        path (Path): the file; it need not exist.

    Returns:
        dict: "01" → list of names.

    Raises:
        OSError, ValueError: the file cannot be read, or something else wrote it.
    """
    if not path.exists():
        return {}
    passed = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(passed, dict) or not all(isinstance(names, list) for names in passed.values()):
        raise ValueError("it holds something else")
    return {lesson: [str(name) for name in names] for lesson, names in passed.items()}


def read_by_a_person():
    """Is this a lesson that somebody has open? Jupyter's server and VS Code name the notebook to its kernel."""
    in_vs_code = vars(sys.modules["__main__"]).get("__vsc_ipynb_file__")  # its kernels know no JPY_SESSION_NAME
    notebook = Path(in_vs_code or os.environ.get("JPY_SESSION_NAME", ""))
    return notebook.name != "" and "solutions" not in notebook.parts


def note(check):
    """Note that a check was passed, if a person passed it; a file that does not work costs one sentence, no more.

    Args:
        check (function): the check, of a module twins_lib.teach.checks.lesson_NN.
    """
    lesson = check.__module__.rpartition("lesson_")[2]
    if not read_by_a_person():
        return
    path = progress_file()
    try:
        passed = read(path)
        if check.__name__ not in passed.get(lesson, []):
            passed.setdefault(lesson, []).append(check.__name__)
            unfinished = path.with_name(path.name + ".unfinished")
            unfinished.write_text(json.dumps(passed, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            unfinished.replace(path)
    except (OSError, ValueError) as error:
        print(f"(Not noted, because {path} does not work: {error}. To begin anew: {RESET})")


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
    """Print a table of what was passed, or one sentence if the file does not work."""
    path = progress_file()
    try:
        passed = read(path)
    except (OSError, ValueError) as error:
        print(f"{path} does not work: {error}. To begin anew: {RESET}")
        return
    right, total = 0, 0
    print("lesson   passed")
    for lesson, names in exercises().items():
        left = [name.replace("_", " ") for name in names if name not in passed.get(lesson, [])]
        print(row(lesson, len(names) - len(left), len(names)) + ("   open: " + ", ".join(left) if left else ""))
        right, total = right + len(names) - len(left), total + len(names)
    print(row("all", right, total))


def row(name, right, total):
    return f"{name:6} {right:4} of {total}"


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m twins_lib.teach.progress", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reset", action="store_true", help="forget which exercises were passed")
    if not parser.parse_args(arguments).reset:
        return show()
    path = progress_file()
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        return f"{path} cannot be removed: {error}"
    print(f"No exercise is noted any more ({path} is gone).")


if __name__ == "__main__":
    sys.exit(main())
