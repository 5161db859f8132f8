"""The checks of lesson 01 against planted answers, wrong and right."""

import numpy as np
import pytest

from twins_lib.teach.checks import lesson_01 as check


@pytest.mark.parametrize("tokens, parameters, told", [
    (28 * 28, 33_152, "right"),
    (56 * 28, 33_152, "a quarter"),
    (112 * 112, 33_152, "not the image"),
    (800, 33_152, "800 tokens"),
    (28 * 28, 1_920, "64, not 3"),
    (28 * 28, 32_896, "scale and shift"),
    (28 * 28, 33_024, "bias"),
    (28 * 28, 5, "5 parameters"),
])
def test_second_stage(tokens, parameters, told):
    assert told in check.second_stage.judge(tokens, parameters)[1]


@pytest.mark.parametrize("pixels, told", [
    ([14, 15, 20, 21], "right"),
    ([16, 17, 18, 19], "four pixels in a row"),
    ([12, 13, 18, 19], "starts with 0"),
    ([8, 9, 14, 15], "down the columns"),
    ([14, 20, 15, 21], "in reading order"),
    ([16, 17, 22, 23], "is not patch 4"),
])
def test_draw_patch_4(pixels, told):
    assert told in check.draw_patch_4.judge(pixels)[1]


def sorted_by(split, order):
    def to_images(patches, channels, height, width, p):
        sizes = {"h": height // p, "w": width // p, "c": channels, "p": p, "q": p}
        boxes = patches.reshape(-1, *(sizes[letter] for letter in split))
        return boxes.transpose(order).reshape(-1, channels, height, width)
    return to_images


@pytest.mark.parametrize("answer, told", [
    (sorted_by("hwcpq", (0, 3, 1, 4, 2, 5)), "right"),
    (lambda patches, C, H, W, p: patches.reshape(-1, C, H, W), "a reshape alone"),
    (sorted_by("hwpqc", (0, 5, 1, 3, 2, 4)), "channels come first"),
    (sorted_by("hwcpq", (0, 3, 1, 5, 2, 4)), "turned over its diagonal"),
    (sorted_by("whcpq", (0, 3, 1, 4, 2, 5)), "rows and columns are mixed up"),
    (lambda patches, C, H, W, p: patches, "the shape is"),
    (lambda patches, C, H, W, p: np.zeros((2, C, H, W)), "pixels are in wrong places"),
])
def test_way_back(answer, told):
    assert told in check.way_back.judge(answer)[1]


@pytest.mark.parametrize("answer, told", [
    (lambda w: w.repeat(2, 2).repeat(2, 3) / 4, "right"),
    (lambda w: w.repeat(2, 2).repeat(2, 3), "four times too large"),
    (lambda w: np.tile(w, (1, 1, 2, 2)) / 4, "whole copies"),
    (lambda w: w, "the shape is"),
    (lambda w: np.zeros((5, 3, 8, 8)), "write the average"),
])
def test_larger_patches(answer, told):
    assert told in check.larger_patches.judge(answer)[1]


@pytest.mark.parametrize("exercise, answers", [
    (check.second_stage, 2), (check.draw_patch_4, 1), (check.way_back, 1), (check.larger_patches, 1),
])
def test_an_empty_answer_is_open(exercise, answers):
    assert exercise.judge(*[None] * answers)[0] == "open"
