"""The checks of lesson 09 against planted answers, wrong and right."""

from functools import partial

import numpy as np
import pytest
from mindspore import nn

from twins_lib.cost import count
from twins_lib.segmentation import SemanticFPNHead
from twins_lib.training.scores import iou
from twins_lib.teach.checks import lesson_09 as check
from twins_lib.teach.checks.lesson_09 import _head_macs, _one_sided, _real


@pytest.mark.parametrize("square, line, told", [
    (5 / 7, 1 / 3, "right"), (0.714, 0.333, "right"), (30 / 36, 1 / 3, "too many count"),
    (25 / 47, 1 / 3, "along the diagonal"), (0.5, 1 / 3, "draw both"), (5 / 7, 1 / 2, "again are marked wrongly"),
    (5 / 7, 38 / 42, "moves across"), (5 / 7, 0.9, "in at least one"),
])
def test_shifted_by_one(square, line, told):
    assert told in check.shifted_by_one.judge(square, line)[1]


def by_sets(first, second):
    return len(first & second) / len(first | second)


def test_the_shifted_shapes_counted_pixel_by_pixel():
    square = {(r, c) for r in range(6) for c in range(6)}
    line = {(r, c) for r in range(2) for c in range(20)}
    moved = by_sets(square, {(r, c + 1) for r, c in square}), by_sets(line, {(r + 1, c) for r, c in line})
    assert check.shifted_by_one.judge(*moved)[0] == "right"


@pytest.mark.parametrize("answer, told", [
    (_real, "right"), (lambda size, w: _real(size, w).astype(int), "right"),
    (_one_sided, "[-0:]"), (lambda size, w: ~_real(size, w), "exchanged"),
    (lambda size, w: _real(size, w)[::-1], "marked wrongly"), (lambda size, w: np.ones(size, bool), "the shape is"),
    (lambda size, w: np.ones_like(_real(size, w)), "marked wrongly"),
])
def test_real_tokens(answer, told):
    assert told in check.real_tokens.judge(answer)[1]


def test_real_tokens_one_by_one():
    def by_loop(size, w):
        H, W = size
        return np.array([[r < H and c < W for c in range(-(-W // w) * w)] for r in range(-(-H // w) * w)])
    assert check.real_tokens.judge(by_loop)[0] == "right"


def of(numerator, denominator):
    """A wrong mean IoU: classes that are in the truth, this over that."""
    def answer(counts):
        hits, truth, said = np.diag(counts), counts.sum(1), counts.sum(0)
        there = truth > 0
        names = {"hits": hits, "truth": truth, "said": said, "both": truth + said, "union": truth + said - hits}
        return np.mean(names[numerator][there] / names[denominator][there])
    return answer


@pytest.mark.parametrize("answer, told", [
    (lambda counts: np.nanmean(iou(counts)), "right"), (of("hits", "union"), "right"),
    (lambda counts: np.mean(iou(counts)), "the answer is nan"),
    (lambda counts: np.nan_to_num(iou(counts)).mean(), "as 0"),
    (lambda c: np.nanmean(np.diag(c) / (c.sum(1) + c.sum(0) - np.diag(c))), "as 0"),  # said, but never true: 0 / 3
    (lambda counts: np.trace(counts) / counts.sum(), "share of right pixels"),
    (of("hits", "truth"), "by the truth alone"),
    (of("hits", "said"), "by the prediction alone"), (of("hits", "both"), "counts the pixels in both twice"),
    (lambda c: np.trace(c) / (c.sum(1) + c.sum(0) - np.diag(c)).sum(), "first an IoU for each class"),
    (lambda counts: 0.5, "rows are the truth"),
])
def test_mean_iou(answer, told):
    assert told in check.mean_iou.judge(answer)[1]


@pytest.mark.parametrize("answer, told", [
    (_head_macs, "right"), (partial(_head_macs, smooth=1, scale=1), "9 products"),
    (partial(_head_macs, late=True), "on the smaller map"), (partial(_head_macs, convs=1), "three convolutions"),
    (lambda *a: _head_macs(*a) - a[1] * a[2] // 16 * a[4] * a[5], "classifier is missing"),
    (lambda *a: _head_macs(*a[:1], 4 * a[1], 4 * a[2], *a[3:]), "a quarter of the image"), (lambda *a: 7, "on its own"),
])
def test_head_macs(answer, told):
    assert told in check.head_macs.judge(answer)[1]


class Maps(nn.Cell):
    """The head behind maps of zeros, so that the library's counter can count it."""
    in_channels = 3

    def __init__(self, head, dims):
        super().__init__()
        self.head, self.dims = head, dims

    def construct(self, image):
        H, W = image.shape[2:]
        return self.head([image[:, :1, :H // s, :W // s].broadcast_to((1, dim, H // s, W // s)) * 0
                          for dim, s in zip(self.dims, (4, 8, 16, 32))])


def test_head_macs_are_those_that_are_counted():
    dims = (5, 6, 7, 8)
    counted = count(Maps(SemanticFPNHead(dims, 3, 8, 4), dims), 64, 96)
    assert counted.macs == _head_macs(dims, 64, 96, 8, 4, 3)


@pytest.mark.parametrize("exercise, answers", [
    (check.shifted_by_one, 2), (check.real_tokens, 1), (check.mean_iou, 1), (check.head_macs, 1),
])
def test_an_empty_answer_is_open(exercise, answers):
    assert exercise.judge(*[None] * answers)[0] == "open"
