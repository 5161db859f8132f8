"""What thirty students hand in for lesson 03, and what the table must say of it: right, wrong, forged, broken.

    python tests/teach/handed_in.py FOLDER      writes the notebooks
"""

import contextlib
import io
import json
import os
import sys
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "notebooks"
NAME = "03_locally_grouped_attention"
EXERCISES = ("second_stage", "reach_through_peg", "spread_groups", "pads")
LESSON = json.loads((FOLDER / f"{NAME}.ipynb").read_text(encoding="utf-8"))
SOLVED = ["".join(cell["source"]) for cell in
          json.loads((FOLDER / "solutions" / f"{NAME}.ipynb").read_text(encoding="utf-8"))["cells"]
          if cell["cell_type"] == "code"]
RIGHT = {name: next(source for source in SOLVED if f"check.{name}(" in source) for name in EXERCISES}
PADS = '''def my_pads(size, side):
    (H, W), w = size, side
    return (np.arange(H + -H % w)[:, None] >= H) | (np.arange(W + -W % w) >= W)


'''
WRONG = {
    "second_stage": "my_full_macs = 784 * 784 * 128\nmy_lsa_macs = 2 * 784 * 49 * 128\n\n"
                    "check.second_stage(my_full_macs, my_lsa_macs)",
    "reach_through_peg": "my_reach = [0, 1, 4, 5]\n\ncheck.reach_through_peg(my_reach)",
    "spread_groups": "def my_spread_groups(tokens, size, side):\n    return tokens.reshape(-1, side * side, 1)\n\n\n"
                     "check.spread_groups(my_spread_groups)",
    "pads": PADS.split("    return")[0] + "    mask = np.zeros((H + -H % w, W + -W % w), bool)\n"
            "    mask[-(-H % w):] = mask[:, -(-W % w):] = True\n    return mask\n\n\ncheck.pads(my_pads)",
}
SAID = {"second_stage": "full attention: there are two products, scores and weights times v",
        "reach_through_peg": "that is LSA alone: the convolution also takes tokens 2 and 6, from the next window",
        "spread_groups": "a reshape alone: the groups are rows of the grid",
        "pads": "on a grid of 56×60 with windows of 7 every token is marked: with nothing to pad, "
                "-0 is 0, and mask[0:] is the whole mask"}


def line(name, verdict):
    """What the notebook holds of a check's verdict."""
    mark, said = {"right": ("✔", "right"), "wrong": ("✘", SAID[name]), "open": ("…", "not answered yet")}[verdict]
    return f"{mark} {name.replace('_', ' ')}: {said}\n"


@dataclass
class Student:
    """Answers as code of cells, and "r" right, "w" wrong, "o" open, "-" not run: as stored, and as the truth is.

    `edit` gets the notebook and may spoil it; `noted` is what the teacher must be told.
    """
    answers: dict = field(default_factory=dict)
    stored: str = "oooo"
    true: str = None
    edit: object = None
    noted: str = ""

    def notebook(self):
        words = {"r": "right", "w": "wrong", "o": "open"}
        notebook = deepcopy(LESSON)
        for cell in notebook["cells"]:
            for name, verdict in zip(EXERCISES, self.stored):
                if cell["cell_type"] == "code" and f"check.{name}(" in "".join(cell["source"]):
                    cell["source"] = self.answers.get(name, cell["source"])
                    text = line(name, words[verdict]) if verdict in words else ""
                    cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": text}] if text else []
        if self.edit:
            self.edit(notebook)
        return notebook


def own_cell(source):
    """A cell of the student's own, before the exercises."""
    def edit(notebook):
        notebook["cells"].insert(105, {"cell_type": "code", "id": "own", "metadata": {}, "source": source,
                                       "outputs": [], "execution_count": None})
    return edit


def without_ids(notebook):
    """As an older tool saves it, without ids; the helper stands in an own cell."""
    own_cell("def beyond(n, w, real):\n    return np.arange(n + -n % w) >= real")(notebook)
    for cell in notebook["cells"]:
        cell.pop("id")


def other_kernel(notebook):
    notebook["metadata"] = {"kernelspec": {"name": "ir", "language": "R", "display_name": "R"}}


def all_but(name, source):
    return {**RIGHT, name: source}


ALL = {name: RIGHT[name] for name in EXERCISES}
BEYOND = PADS.replace("(np.arange(H + -H % w)[:, None] >= H) | (np.arange(W + -W % w) >= W)",
                      "beyond(H, w, H)[:, None] | beyond(W, w, W)") + "check.pads(my_pads)"
EDGES = ("def my_pads(size, side):\n    return edge(size[0], side)[:, None] | edge(size[1], side)\n\n\n"
         "check.pads(my_pads)")
ENDLESS = ("def my_spread_groups(tokens, size, side):\n    while True:\n        try:\n            len(size)\n"
           "        except BaseException:\n            pass\n\n\ncheck.spread_groups(my_spread_groups)")
CHECK = "class check:\n    pads = staticmethod(lambda answer: print('✔ pads: right'))\n"
PATCH = "import twins_lib.teach.checks.lesson_03 as own\nown.require = lambda *_: None\n\n"

STUDENTS = {
    "ada": Student(ALL, "rrrr"),
    "ben": Student(ALL, "rrrr"),
    "cem": Student(all_but("pads", PADS + "check.pads(my_pads)"), "rrrr"),
    "dana": Student(all_but("second_stage", "check.second_stage(2 * 784 ** 2 * 128, 2 * 784 * 49 * 128)"), "rrrr"),
    "eva": Student(all_but("pads", "def edge(n, w):\n    return np.arange(n + -n % w) >= n\n\n\n" + EDGES), "rrrr"),
    "finn": Student({**ALL, "pads": BEYOND}, "rrrr", edit=own_cell(
        "def beyond(n, w, real):\n    return np.arange(n + -n % w) >= real")),
    "gero": Student({**ALL, "pads": BEYOND}, "rrrr", edit=without_ids),
    "hana": Student(ALL, "rrrr", edit=other_kernel, noted="was made for another kernel (R), not for Python"),
    **{name: Student(all_but(exercise, WRONG[exercise]), "".join("rw"[one == exercise] for one in EXERCISES))
       for name, exercise in zip(("ida", "jan", "kim", "leo"), EXERCISES)},
    "mia": Student(WRONG, "wwww"),
    "noa": Student(all_but("second_stage", WRONG["second_stage"]), "wrrr"),
    "ole": Student({}, "oooo"),
    "pia": Student({name: ALL[name] for name in EXERCISES[:2]}, "rroo"),
    "quin": Student({}, "----", "oooo", noted="the notebook says not run, the answer is open"),
    # Forged: outputs, checks, and what the checks stand on.
    "rita": Student(WRONG, "rrrr", "wwww", noted="pads of lesson 03: the notebook says right, the answer is wrong"),
    "sven": Student({**ALL, "pads": CHECK + WRONG["pads"]}, "rrrr", "rrrw", noted="says right, the answer is wrong"),
    "tara": Student(all_but("pads", PATCH + WRONG["pads"]), "rrrr", "rrrw", noted="says right, the answer is wrong"),
    "uwe": Student(all_but("pads", "print('✔ pads: right')"), "rrrr", "rrrw", noted="the answer is wrong"),
    # Stuck.
    "vera": Student(all_but("spread_groups", ENDLESS), "rr-r", "rrwr", noted="did not end within"),
    "walt": Student(all_but("pads", "import os\nos._exit(3)\n" + RIGHT["pads"]), "rrr-", "rrrw", noted="exit code 3"),
    "xenia": Student(all_but("pads", "hoard = np.ones(1 << 31)\n" + RIGHT["pads"]), "rrr-", "rrrw", noted="Memory"),
    "yara": Student(all_but("pads", "def my_pads(size, side:\n    pass"), "rrr-", "rrrw", noted="not Python in line 1"),
    "zoe": Student({**ALL, "pads": "raise SystemExit\n"}, "rrr-", "rrrw", noted="SystemExit"),
}
FILES = {
    "aron": (json.dumps(LESSON)[:60_000].encode(), "is damaged or cut short after 60,0"),
    "bela": (b"", "is empty"),
    "carl": (b'{"cells": [{"cell_type": "code", "source": "1", "outputs": []}], "metadata": {}}',
             "is not a lesson of this course"),
    "dora": ("{}".encode("utf-16"), "is not text in UTF-8, so no notebook"),
}


def write(folder, names=None):
    """Write the notebooks of some students, or of all; "ben" hands in twice, and the right one is the later."""
    for name in names or [*STUDENTS, *FILES]:
        (folder / name).mkdir(parents=True)
        path = folder / name / f"{NAME}.ipynb"
        path.write_bytes(FILES[name][0] if name in FILES else json.dumps(STUDENTS[name].notebook()).encode())
    if (folder / "ben").exists():
        early = folder / "ben" / "early.ipynb"
        early.write_text(json.dumps(Student(WRONG, "wwww").notebook()), encoding="utf-8")
        os.utime(early, (1e9, 1e9))


def honest(student):
    """What the checks really print for the answers of a student, by exercise: `line` must have it right."""
    import mindspore as ms
    import numpy as np
    from mindspore import Tensor

    import twins_lib
    from twins_lib.teach.checks import lesson_03

    told = {}
    for name in EXERCISES:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(student.answers[name], {"np": np, "ms": ms, "Tensor": Tensor, "twins_lib": twins_lib,
                                         "check": lesson_03})
        told[name] = printed.getvalue().splitlines()[-1]
    return told


if __name__ == "__main__":
    write(Path(sys.argv[1]))
