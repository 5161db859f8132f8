"""One way to count: stages and blocks from 1, as the paper; heads, tokens, rows and columns from 0, as their arrays."""

import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted([*FOLDER.glob("*.ipynb"), *FOLDER.glob("solutions/*.ipynb")])


def words_of(notebook):
    """Prose, code and what the outputs say: titles of figures stand in the code, alt texts in the outputs."""
    return "\n".join("".join(cell["source"]) + json.dumps(cell.get("outputs", []), ensure_ascii=False)
                     for cell in notebook["cells"])


def miscounts(words):
    """What is counted in another way, in the words themselves."""
    yield from re.findall(r"\b(?:stage|block) (?:0\b|\d\.0\b|0\.\d)", words, re.IGNORECASE)
    heads = re.findall(r"\bhead \d\b(?!\.\d)", words, re.IGNORECASE)
    if heads and not any(head.endswith(" 0") for head in heads):
        yield heads[0]
    for place, *numbers in re.findall(r"(token (\d+), in row (\d+) and column (\d+))", words):
        token, row, column = map(int, numbers)
        if row and ((token - column) % row or (token - column) // row <= column):   # no grid is so wide
            yield place


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_notebook_counts_as_all_others_do(path):
    assert list(miscounts(words_of(json.loads(path.read_text(encoding="utf-8"))))) == []


@pytest.mark.parametrize("words, found", [
    ("Stage 0 is the first.", "Stage 0"),
    ("Look at block 3.0 here.", "block 3.0"),
    ("Head 1 finds its colour, head 2 the others", "Head 1"),
    ("token 150, in row 10 and column 7 of the grid", "token 150, in row 10 and column 7"),
])
def test_a_planted_miscount_is_found(words, found):
    assert list(miscounts(words)) == [found]


def test_the_way_of_the_course_passes():
    assert not list(miscounts("Stage 1, block 3.1: head 0 and head 1; token 150, in row 9 and column 6"))
