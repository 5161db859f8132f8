"""The checks of lesson 03 against planted answers, wrong and right."""

import numpy as np
import pytest

from twins_lib.teach.checks import lesson_03 as check


@pytest.mark.parametrize("matrix, told", [
    ([[10, 0], [0, 10]], "right"),
    (np.diag([3.0, 3.0]) - 5, "right"),
    ([[1, 0], [0, 1]], "red spends 62%"),
    ([[0, 10], [10, 0]], "exchange the two columns"),
    ([[10, 0], [10, 0]], "blue does not find blue"),
    ([[0, 10], [0, 10]], "red does not find red"),
    ([[1, 1], [1, 1]], "equal scores"),
    ([1, 0, 0, 1], "the shape is (4,)"),
])
def test_find_my_colour(matrix, told):
    assert told in check.find_my_colour.judge(matrix)[1]


@pytest.mark.parametrize("full, lsa, told", [
    (157_351_936, 9_834_496, "right"),
    (157_351_936 // 2, 9_834_496, "full attention: there are two products"),
    (2 * 28 * 28 * 128, 9_834_496, "not the side"),
    (157_351_936 + 51_380_224, 9_834_496, "leave the linear maps out"),
    (4 * 157_351_936, 9_834_496, "their number drops out"),
    (5, 9_834_496, "5 for full attention"),
    (157_351_936, 9_834_496 // 2, "LSA: there are two products"),
    (157_351_936, 2 * 49 * 49 * 128, "one window"),
    (157_351_936, 2 * 784 * 7 * 128, "49 keys, not 7"),
    (157_351_936, 157_351_936, "157,351,936 for LSA"),
])
def test_second_stage(full, lsa, told):
    assert told in check.second_stage.judge(full, lsa)[1]


@pytest.mark.parametrize("tokens, told", [
    ([0, 1, 2, 3, 4, 5, 6, 7], "right"),
    ({7, 6, 5, 4, 3, 2, 1, 0}, "right"),
    ([0, 1, 4, 5], "LSA alone"),
    ([0, 1, 2, 4, 5, 6], "convolution alone"),
    (range(16), "not everything"),
    ([1, 16], "0 to 15"),
    ([1, 2], "is not the reach"),
])
def test_reach_through_peg(tokens, told):
    assert told in check.reach_through_peg.judge(tokens)[1]


def sorted_by(rows, columns, order):
    """A grouping that splits H and W by the named sizes and sorts the six axes by `order`."""
    def group(tokens, size, side):
        B, _, C = tokens.shape
        sizes = {"w": side, "H/w": size[0] // side, "W/w": size[1] // side}
        split = tokens.reshape(B, *(sizes[s] for s in rows), *(sizes[s] for s in columns), C)
        return split.transpose(order).reshape(-1, side * side, C)
    return group


TOY_ORDER = [0, 2, 8, 10, 1, 3, 9, 11, 4, 6, 12, 14, 5, 7, 13, 15]


@pytest.mark.parametrize("answer, told", [
    (sorted_by(("w", "H/w"), ("w", "W/w"), (0, 2, 4, 1, 3, 5)), "right"),
    (sorted_by(("H/w", "w"), ("W/w", "w"), (0, 1, 3, 2, 4, 5)), "windows of LSA"),
    (sorted_by(("w", "H/w"), ("w", "W/w"), (0, 1, 3, 2, 4, 5)), "windows of LSA"),
    (lambda tokens, size, side: tokens.reshape(-1, side * side, tokens.shape[2]), "a reshape alone"),
    (lambda tokens, size, side: tokens[:, ::-1].reshape(-1, 4, 1), "group 0 of the toy is"),
    (lambda tokens, size, side: tokens.reshape(4, 4, 1).transpose(1, 0, 2), "columns of the grid"),
    (sorted_by(("w", "H/w"), ("w", "W/w"), (0, 2, 4, 3, 1, 5)), "members of group 0"),
    (sorted_by(("w", "H/w"), ("w", "W/w"), (0, 4, 2, 1, 3, 5)), "another order"),
    (sorted_by(("H/w", "w"), ("W/w", "w"), (0, 2, 4, 1, 3, 5)), "cannot tell from w"),
    (lambda tokens, size, side: tokens, "the shape is"),
    (lambda tokens, size, side: tokens[:, TOY_ORDER].reshape(-1, 4, 1), "two grids of 4×6 give the shape"),
])
def test_spread_groups(answer, told):
    assert told in check.spread_groups.judge(answer)[1]


def by_index(size, side):
    H, W = size
    rows, columns = np.arange(H + -H % side), np.arange(W + -W % side)
    return (rows[:, None] >= H) | (columns >= W)


def by_negative_index(size, side):
    (H, W), bottom, right = size, -size[0] % side, -size[1] % side
    mask = np.zeros((H + bottom, W + right), bool)
    mask[-bottom:] = True
    mask[:, -right:] = True
    return mask


def only_rows(size, side):
    mask = by_index(size, side)
    mask[:size[0]] = False
    return mask


@pytest.mark.parametrize("answer, told", [
    (by_index, "right"),
    (by_negative_index, "56×60 with windows of 7 every token is marked"),
    (only_rows, "tokens are marked instead of"),
    (lambda size, side: ~by_index(size, side), "turned round"),
    (lambda size, side: by_index(size, side)[::-1, ::-1], "other tokens are marked"),
    (lambda size, side: by_index(size, side).astype(int), "not bool"),
    (lambda size, side: np.zeros(size, bool), "the shape is"),
])
def test_pads(answer, told):
    assert told in check.pads.judge(answer)[1]


@pytest.mark.parametrize("exercise, answers", [
    (check.second_stage, 2), (check.reach_through_peg, 1), (check.spread_groups, 1), (check.pads, 1),
])
def test_an_empty_answer_is_open(exercise, answers):
    assert exercise.judge(*[None] * answers)[0] == "open"
