"""House rules of the notebooks, each shown to catch a planted fault; and that nbval compares outputs for real."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from twins_lib.teach.publish.refresh import main, NotebookFailed, run, write

FOLDER = Path(__file__).parents[2] / "notebooks"
LESSONS = sorted(FOLDER.glob("*.ipynb"))
SOLUTIONS = sorted(FOLDER.glob("solutions/*.ipynb"))
TEMPLATE = FOLDER / "assets" / "template.ipynb"
LANGUAGES = [folder for folder in sorted(FOLDER.glob("[a-z][a-z]")) if folder.is_dir()]
TRANSLATIONS = [path for folder in LANGUAGES for path in sorted(folder.rglob("*.ipynb"))]
SECTIONS = ["You will", "Before you start", "Exercises", "Recap"]
# Lines that give nothing of an answer away: what the lesson's stub has too, and forms of the language.
STUB = re.compile(r'(def |class |"""|check\.|print\(|import |from |except |#|@)')
REMOTE = re.compile(r"!\[[^\]]*\]\(\s*https?:|<(img|script|iframe|video)[^>]+src=[\"']?https?:", re.IGNORECASE)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def text(part):
    return part if isinstance(part, str) else "".join(part)


def faults_of(notebook):
    """What breaks the rules for all notebooks, in words."""
    about = notebook["metadata"]
    if set(about) != {"kernelspec", "language_info"} or "version" in about["language_info"]:
        yield "metadata of a tool or a machine is left in it: make refresh"
    for number, cell in enumerate(notebook["cells"], start=1):
        if not cell.get("id"):
            yield f"cell {number} has no id"
        if "execution" in cell["metadata"]:
            yield f"cell {number} keeps the times of its run: make refresh"
        outputs = cell.get("outputs", [])
        shown = [text(output.get("data", {}).get("text/html", "")) for output in outputs]
        if any(REMOTE.search(part) for part in [text(cell["source"]), *shown]):
            yield f"cell {number} loads something from a network"
        if cell["cell_type"] == "code" and cell["execution_count"] is None:
            yield f"cell {number} was never run, so nothing compares its output"
        for output in outputs:
            tagged = "raises-exception" in cell["metadata"].get("tags", [])
            if output["output_type"] == "error" and not tagged:
                yield f"cell {number} stores an error"
            picture = "image/png" in output.get("data", {})
            if picture and not output["metadata"].get("image/png", {}).get("alt", "").strip():
                yield f"cell {number} has a picture without an alt text"


def layout_faults(lesson):
    """Code that no slide holds, and code without a word between, in words."""
    row = 0
    for number, cell in enumerate(lesson["cells"], start=1):
        row = row + 1 if cell["cell_type"] == "code" else 0
        if row == 3:
            yield f"cell {number} is the third cell of code in a row, without a word between"
        if row and len(text(cell["source"]).splitlines()) > 30:
            yield f"cell {number} has more than 30 lines of code"


def headings(notebook):
    prose = "\n".join(text(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    return re.findall(r"^#+ (.*?)\s*$", prose, re.MULTILINE)


def missing_sections(lesson):
    return [section for section in SECTIONS if section not in headings(lesson)]


def squeeze(line):
    """A line without its spaces, so that a change of layout hides nothing."""
    return re.sub(r"\s+", "", line)


def leaks(lesson, solution):
    """Lines of the solution's answers that stand in the lesson, in code or in prose."""
    told = squeeze("\n".join(text(cell["source"]) for cell in lesson["cells"]))
    answers = [cell for cell in solution["cells"] if "solution" in cell["metadata"].get("tags", [])]
    lines = [line for cell in answers for line in text(cell["source"]).splitlines() if not STUB.match(line.strip())]
    return [line.strip() for line in lines if len(squeeze(line)) >= 20 and squeeze(line) in told]


class WithoutWords(ast.NodeTransformer):
    """Take the words out of strings, but not what is computed inside them."""

    def visit_Constant(self, node):
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_JoinedStr(self, node):
        computed = [self.visit(part) for part in node.values if isinstance(part, ast.FormattedValue)]
        return ast.JoinedStr(sorted(computed, key=ast.dump))


def skeleton(code):
    """What a translation must not change: the code without comments and without the words of its strings."""
    return ast.dump(WithoutWords().visit(ast.parse(code)))


def drift(original, translation):
    """Where a translation is not the same notebook as its original, in words."""
    if [cell["id"] for cell in original["cells"]] != [cell["id"] for cell in translation["cells"]]:
        yield "other cells: their ids, in order, must be those of the original"
        return
    for number, (cell, other) in enumerate(zip(original["cells"], translation["cells"]), start=1):
        if (cell["cell_type"], cell["metadata"].get("tags")) != (other["cell_type"], other["metadata"].get("tags")):
            yield f"cell {number} has another type or other tags"
        elif cell["cell_type"] == "code" and skeleton(text(cell["source"])) != skeleton(text(other["source"])):
            yield f"cell {number} has other code"


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def lesson(request):
    return request.param


@pytest.fixture(params=[*LESSONS, *SOLUTIONS, TEMPLATE, *TRANSLATIONS],
                ids=lambda path: f"{path.parent.name}-{path.stem}")
def notebook(request):
    return request.param


def solution_of(lesson):
    same_number = [path for path in SOLUTIONS if path.name[:2] == lesson.name[:2]]
    assert len(same_number) == 1, f"{lesson.name} has {len(same_number)} solutions, not 1"
    return same_number[0]


def test_a_notebook_keeps_the_house_rules(notebook):
    assert list(faults_of(read(notebook))) == []
    assert notebook.stat().st_size < 400_000


def test_a_lesson_has_its_sections(lesson):
    assert missing_sections(read(lesson)) == []


def test_a_lesson_has_few_lines_of_code_between_its_words(lesson):
    assert list(layout_faults(read(lesson))) == []


def test_the_template_has_the_sections_of_a_lesson():
    assert missing_sections(read(TEMPLATE)) == []


@pytest.mark.parametrize("translation", TRANSLATIONS, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_translation_is_the_same_notebook_in_other_words(translation):
    original = FOLDER / Path(*translation.relative_to(FOLDER).parts[1:])
    assert list(drift(read(original), read(translation))) == []


def test_a_lesson_has_solutions_that_have_not_leaked(lesson):
    solution = read(solution_of(lesson))
    assert any("solution" in cell["metadata"].get("tags", []) for cell in solution["cells"]), "no cell tagged solution"
    assert leaks(read(lesson), solution) == []


def test_every_solution_has_a_lesson():
    assert [path.name[:2] for path in SOLUTIONS] == [path.name[:2] for path in LESSONS]


# ---------------------------------------------------------------------------------------------------------------------
# The rules themselves
# ---------------------------------------------------------------------------------------------------------------------

def good_notebook():
    picture = {"output_type": "display_data", "data": {"image/png": "aGk="},
               "metadata": {"image/png": {"alt": "A dot."}}}
    prose = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Title\n\n### Recap"}
    code = {"cell_type": "code", "id": "b", "metadata": {}, "source": "", "execution_count": 1, "outputs": [picture]}
    return {"metadata": {"kernelspec": {}, "language_info": {"name": "python"}}, "cells": [prose, code]}


def test_a_good_notebook_has_no_faults():
    assert list(faults_of(good_notebook())) == []


@pytest.mark.parametrize("plant, said", [
    (lambda n: n["metadata"].update(jupytext={}), "metadata"),
    (lambda n: n["metadata"]["language_info"].update(version="3.11"), "metadata"),
    (lambda n: n["cells"][0].pop("id"), "no id"),
    (lambda n: n["cells"][1]["metadata"].update(execution={}), "times"),
    (lambda n: n["cells"][0].update(source="![a](https://example.org/a.png)"), "network"),
    (lambda n: n["cells"][1]["outputs"][0]["data"].update({"text/html": "<img src='http://a.b/c'>"}), "network"),
    (lambda n: n["cells"][1].update(execution_count=None), "never run"),
    (lambda n: n["cells"][1].update(outputs=[{"output_type": "error"}]), "error"),
    (lambda n: n["cells"][1]["outputs"][0]["metadata"].clear(), "alt"),
])
def test_a_planted_fault_is_found(plant, said):
    notebook = good_notebook()
    plant(notebook)
    (fault,) = faults_of(notebook)
    assert said in fault


@pytest.mark.parametrize("sources, said", [
    (["a = 1"] * 3, "cell 4 is the third"), (["a = 1\n" * 31], "cell 2 has more than 30"),
])
def test_a_planted_fault_of_layout_is_found(sources, said):
    notebook = good_notebook()
    notebook["cells"][1:] = [{"cell_type": "code", "source": source} for source in sources]
    (fault,) = layout_faults(notebook)
    assert said in fault


def test_a_missing_section_is_found():
    assert missing_sections(good_notebook()) == ["You will", "Before you start", "Exercises"]


def test_a_translation_may_change_words_and_nothing_else():
    def notebook(prose, code, **changed):
        return {"cells": [{"cell_type": "markdown", "id": "a", "metadata": {}, "source": prose},
                          {"cell_type": "code", "id": "b", "metadata": {}, "source": code, **changed}]}

    english = notebook("# Windows", 'n = 49  # keys\nprint(f"{n} keys of {n + 1}")')
    german = 'n = 49  # Schlüssel\nprint(f"von {n + 1} sind es {n}")'
    assert list(drift(english, notebook("# Fenster", german))) == []
    for other, said in [(notebook("# Fenster", german.replace("49", "50")), "code"),
                        (notebook("# Fenster", german.replace("{n}", "{n - 1}")), "code"),
                        (notebook("# Fenster", german, metadata={"tags": ["nbval-skip"]}), "tags"),
                        (notebook("# Fenster", german, id="c"), "ids")]:
        (fault,) = drift(english, other)
        assert said in fault


def test_a_planted_leak_is_found_in_code_and_in_prose(lesson):
    book, solution = read(lesson), read(solution_of(lesson))
    answers = [cell for cell in solution["cells"] if "solution" in cell["metadata"].get("tags", [])]
    for kind in ["code", "markdown"]:
        planted = {"cell_type": kind, "metadata": {}, "source": text(answers[-1]["source"]).replace("    ", "  ")}
        assert leaks({"cells": [*book["cells"], planted]}, solution)


# ---------------------------------------------------------------------------------------------------------------------
# Running and comparing
# ---------------------------------------------------------------------------------------------------------------------

def made(folder, *sources):
    path = folder / "made.ipynb"
    write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources]), path)
    return path


def test_what_refresh_stores_is_what_nbval_finds_and_nothing_else_passes(tmp_path):
    # The second cell prints past Python, as C++ code does; the third is the one whose stored output gets changed.
    path = made(tmp_path, "import os", "_ = os.system('echo from below')", "print(6 * 7)")
    assert main([str(path)]) == 0
    ids = [cell.id for cell in nbformat.read(path, as_version=4).cells]
    assert main([str(path)]) == 0
    stored = nbformat.read(path, as_version=4)
    assert [cell.id for cell in stored.cells] == ids
    assert list(faults_of(stored)) == []
    assert stored.cells[2].outputs[0].text == "42\n"

    stored.cells[2].outputs[0].text = "43\n"
    nbformat.write(stored, tmp_path / "changed.ipynb")
    nbval = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    ran = subprocess.run([*nbval, str(tmp_path)], capture_output=True, text=True)
    assert ran.returncode == 1
    assert re.findall(r"FAILED \S*?(\w+\.ipynb::Cell \d+)", ran.stdout) == ["changed.ipynb::Cell 2"]
    assert "1 failed, 5 passed" in ran.stdout


def test_nbval_finds_a_changed_output_in_a_copy_of_a_lesson(tmp_path):
    solution = nbformat.read(SOLUTIONS[0], as_version=4)
    spoken = next(output for cell in solution.cells for output in cell.get("outputs", []) if "text" in output)
    spoken.text = spoken.text + "not what the cell prints\n"
    nbformat.write(solution, tmp_path / SOLUTIONS[0].name)
    nbval = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    ran = subprocess.run([*nbval, str(tmp_path), str(SOLUTIONS[0])], capture_output=True, text=True)
    cells = sum(cell.cell_type == "code" for cell in solution.cells)
    assert f"1 failed, {2 * cells - 1} passed" in ran.stdout, ran.stdout


def test_a_notebook_that_fails_is_named_and_stays_as_it_was(tmp_path, capsys):
    path = made(tmp_path, "good = 1", "# the second\nbad = 1 / 0")
    before = path.read_bytes()
    assert main([str(path)]) == 1
    said = capsys.readouterr().out
    assert "made.ipynb, cell 2 (# the second): ZeroDivisionError: division by zero" in said
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["made.ipynb"]


def test_times_names_the_slow_cell_under_its_heading_and_stores_nothing(tmp_path, capsys):
    path = made(tmp_path, "import time", "time.sleep(2)  # the slow one")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell("## Early\n\nProse.\n\n## A long wait"))
    nbformat.write(notebook, path)
    before = path.read_bytes()
    assert main(["--times", str(path)]) == 0
    said = capsys.readouterr().out
    (slow,) = [line for line in said.splitlines() if line.startswith("  ") and " s  cell" in line]
    assert re.fullmatch(r" +2\.\d s  cell 3, under “A long wait”: time.sleep\(2\)  # the slow one", slow)
    assert path.read_bytes() == before


def test_what_is_no_notebook_is_named(tmp_path):
    with pytest.raises(NotebookFailed, match="there is no such notebook"):
        run(tmp_path / "none.ipynb")
    (tmp_path / "broken.ipynb").write_text("{")
    with pytest.raises(NotebookFailed, match="broken.ipynb: not a notebook"):
        run(tmp_path / "broken.ipynb")


def test_no_output_names_a_place_of_the_machine_that_made_it():
    for path in [*FOLDER.glob("*.ipynb"), *FOLDER.glob("solutions/*.ipynb")]:
        for cell in nbformat.read(path, 4).cells:
            text = "".join(str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))
                           for output in cell.get("outputs", []))
            assert not re.search(r"/(tmp|home|root|work)/\w+", text), f"{path.name}, cell {cell.id}"
