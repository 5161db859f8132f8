"""The checks of lesson 04 against planted answers, wrong and right."""

import numpy as np
import pytest

from twins_lib.teach.checks import lesson_04 as check
from twins_lib.teach.checks.lesson_04 import _summaries


@pytest.mark.parametrize("lsa, gsa, told", [
    (4, 16, "right"), (1, 16, "more queries"), (2, 16, "twice the columns"), (16, 16, "window stays 7×7"),
    (49, 16, "49 for LSA"), (4, 4, "so are the cells"), (4, 8, "here they stay"), (4, 2, "2 for GSA"),
])
def test_twice_the_side(lsa, gsa, told):
    assert told in check.twice_the_side.judge(lsa, gsa)[1]


@pytest.mark.parametrize("tokens, told", [
    ([4, 9, 10, 11, 12, 13, 14], "right"), ([], "default, which pads"), (range(10, 15), "last column fills no cell"),
    ([4, 9, 14], "last row fills no cell"), ([0, 1, 2, 3, 5, 6, 7, 8], "left over"),
    ([5, 10, 11, 12, 13, 14, 15], "numbered from 0"), ([12, 13, 14], "mark them"),
])
def test_tokens_in_no_cell(tokens, told):
    assert told in check.tokens_in_no_cell.judge(tokens)[1]


def without_cutting(tokens, size, weight, bias, r):
    (B, _, C), (H, W) = tokens.shape, size
    return tokens.reshape(B, H // r, r, W // r, r, C).transpose(0, 1, 3, 5, 2, 4).reshape(B, -1, C * r * r) \
        @ weight.reshape(len(weight), -1).T + bias


@pytest.mark.parametrize("answer, told", [
    (_summaries, "right"),
    (without_cutting, "cut off the row and column"),
    (lambda t, s, w, b, r: _summaries(t, s, w, 0 * b, r), "bias is missing"),
    (lambda t, s, w, b, r: _summaries(t, s, w, b, r, (0, 1, 3, 2, 4, 5)), "(row, column, channel)"),
    (lambda t, s, w, b, r: _summaries(t, s, w, b, r, (0, 1, 3, 5, 4, 2)), "inside each cell are swapped"),
    (lambda t, s, w, b, r: t, "the shape is"),
    (lambda t, s, w, b, r: np.zeros((2, 6, 5)), "values are not"),
])
def test_summaries(answer, told):
    assert told in check.summaries.judge(answer)[1]


def exact(height, width):
    def macs(w):
        return -(-height // w) * -(-width // w) * w ** 4 + height * width * (height // w) * (width // w)
    return min(range(2, min(height, width) + 1), key=macs)


@pytest.mark.parametrize("answer, told", [
    (exact, "right"), (lambda h, w: (h * w) ** 0.25, "whole number"), (lambda h, w: 1, "between 2"),
    (lambda h, w: 20, "only near"),
])
def test_best_window(answer, told):
    assert told in check.best_window.judge(answer)[1]


@pytest.mark.parametrize("exercise, answers", [
    (check.twice_the_side, 2), (check.tokens_in_no_cell, 1), (check.summaries, 1), (check.best_window, 1),
])
def test_an_empty_answer_is_open(exercise, answers):
    assert exercise.judge(*[None] * answers)[0] == "open"
