"""The checks of lesson 02 against planted answers, wrong and right."""

import numpy as np
import pytest

from twins_lib.teach.checks import lesson_02 as check
from twins_lib.teach.checks.lesson_02 import _reference


@pytest.mark.parametrize("exercise, answer, told", [
    (check.sums_on_two_rows, [[4, 6, 6, 6, 4]] * 2, "right"),
    (check.sums_on_two_rows, [[4, 9, 9, 9, 4]] * 2, "9 needs"),
    (check.sums_on_two_rows, [[3, 5, 5, 5, 3]] * 2, "left out the token itself"),
    (check.sums_on_two_rows, [[5, 7, 7, 7, 5]] * 2, "with the residual"),
    (check.sums_on_two_rows, [[4, 4, 4, 4, 4]] * 2, "count"),
    (check.sums_on_two_rows, [4, 6, 6, 6, 4], "the shape is"),
    (check.layers_to_know, 10, "right"),
    (check.layers_to_know, 9, "at the neighbour"),
    (check.layers_to_know, 5, "one token to each side"),
    (check.layers_to_know, 1, "1: the zeros"),
])
def test_numbers(exercise, answer, told):
    assert told in exercise.judge(answer)[1]


def with_change(**changed):
    return lambda tokens, size, weight, bias: _reference(tokens, size, weight, bias, **changed)


@pytest.mark.parametrize("answer, told", [
    (with_change(), "right"),
    (with_change(residual=False), "residual is missing"),
    (with_change(pad=False), "other side"),
    (with_change(flip=True), "turned by 180°"),
    (lambda t, s, w, b: _reference(t, s, w, 0 * b), "bias is missing"),
    (lambda t, s, w, b: _reference(t, s[::-1], w, b), "rows and columns are swapped"),
    (lambda t, s, w, b: _reference(t, s, np.broadcast_to(w[:1], w.shape), b), "kernel of channel 0"),
    (lambda t, s, w, b: t, "the values differ"),
    (lambda t, s, w, b: t[0], "the shape is"),
])
def test_peg(answer, told):
    assert told in check.peg.judge(answer)[1]


def shuffled(part, tokens, order):
    return np.allclose(part(tokens[order]), part(tokens)[order])


def alike(part, tokens, summary):
    """A test that looks at a summary of all rows instead of at each row."""
    order = np.random.default_rng(1).permutation(12)
    return np.allclose(summary(part(tokens[order])), summary(part(tokens)[order]))


@pytest.mark.parametrize("answer, told", [
    (lambda part, x: shuffled(part, x, np.random.default_rng(1).permutation(12)), "right"),
    (lambda part, x: shuffled(part, x, np.arange(12)), "everything blind"),
    (lambda part, x: False, "part(tokens)[order]"),
    (lambda part, x: np.array_equal(part(x[::-1]), x[::-1]), "not blind"),
    (lambda part, x: not shuffled(part, x, np.arange(12)[::-1]), "tanh"),
    (lambda part, x: part is np.tanh, "allow for rounding"),
    (lambda part, x: shuffled(part, x, np.roll(np.arange(12), 1)), "one before it"),
    (lambda part, x: alike(part, x, lambda y: np.sort(y, axis=0)), "the same rows"),
    (lambda part, x: alike(part, x, np.linalg.norm), "the same rows"),
    (lambda part, x: alike(part, x, np.sum), "one before it"),
])
def test_blindness(answer, told):
    assert told in check.blindness.judge(answer)[1]


@pytest.mark.parametrize("exercise", [check.sums_on_two_rows, check.layers_to_know, check.peg, check.blindness])
def test_an_empty_answer_is_open(exercise):
    assert exercise.judge(None)[0] == "open"
