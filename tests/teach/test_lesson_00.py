"""The checks of lesson 00 against planted answers, wrong and right."""

import numpy as np
import pytest

from twins_lib.teach.checks import lesson_00 as check

STRIDES = (4, 8, 16, 32)


@pytest.mark.parametrize("exercise, answer, told", [
    (check.tokens_on_a_grid, 49, "right"),
    (check.tokens_on_a_grid, 14, "rows times columns"),
    (check.tokens_on_a_grid, 7, "7 is not"),
    (check.grid_of_stage_3, 24, "right"),
    (check.grid_of_stage_3, 14, "this one has 384"),
    (check.grid_of_stage_3, 96, "that is stage 1"),
    (check.grid_of_stage_3, 48, "one halving"),
    (check.grid_of_stage_3, 23, "23: divide"),
    (check.shape_of_stage_4, (8, 512, 2, 3), "right"),
    (check.shape_of_stage_4, (8, 512, 3, 2), "rows come before columns"),
    (check.shape_of_stage_4, (8, 2, 3, 512), "channels come second"),
    (check.shape_of_stage_4, (1, 512, 2, 3), "not 1"),
    (check.shape_of_stage_4, (8, 64, 2, 3), "C is 64"),
    (check.shape_of_stage_4, (8, 512, 7, 7), "7×7"),
    (check.shape_of_stage_4, (512, 2, 3), "3 numbers"),
    (check.grids, lambda h, w: [(h // s, w // s) for s in STRIDES], "right"),
    (check.grids, lambda h, w: np.array([h, w]) // np.array(STRIDES)[:, None], "right"),
    (check.grids, lambda h, w: [(w // s, h // s) for s in STRIDES], "swapped"),
    (check.grids, lambda h, w: [(h / s, w / s) for s in STRIDES], "use //"),
    (check.grids, lambda h, w: [(h // 4, w // 4)], "1 grids"),
    (check.grids, lambda h, w: [(h // s, w // s) for s in (2, 4, 8, 16)], "the strides are"),
])
def test_reply(exercise, answer, told):
    assert told in exercise.judge(answer)[1]


@pytest.mark.parametrize("exercise", [
    check.tokens_on_a_grid, check.grid_of_stage_3, check.shape_of_stage_4, check.grids])
def test_an_empty_answer_is_open(exercise):
    assert exercise.judge(None)[0] == "open"
