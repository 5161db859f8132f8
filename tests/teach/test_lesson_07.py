"""The checks of lesson 07 against planted answers, wrong and right."""

import json
from pathlib import Path

import numpy as np
import pytest
from mindspore import Tensor

import twins_lib
import twins_lib.maps.attention as maps
from twins_lib import teach
from twins_lib.maps.explorer import MEAN, STD, explorer
from twins_lib.teach.checks import lesson_07 as check
from twins_lib.teach.checks.lesson_07 import _product, _spread
from twins_lib.weights import save_weights


@pytest.mark.parametrize("answer, told", [
    ([18, 19, 26, 27], "right"),
    ((27, 26, 19, 18), "right"),
    ([18, 26, 27], "itself"),
    ([19, 20, 27, 28], "do not start"),
    ([12, 13, 18, 19], "rows of 6"),
    ([18, 19, 20, 21], "piece of a row"),
    ([18, 19], "2 tokens"),
    ([1, 2, 3, 4], "not among"),
    ([10, 11, 18, 19], "row 2 and column 3"),
])
def test_equal_tokens(answer, told):
    assert told in check.equal_tokens.judge(answer)[1]


@pytest.mark.parametrize("answer, told", [
    (_spread, "right"),
    (maps.spread, "right"),
    (lambda w, size, cell: _spread(w, size, cell, divide=False), "sums to 4"),
    (lambda w, size, cell: _spread(w, size, cell, tile=True), "np.tile"),
    (lambda w, size, cell: _spread(
        w.reshape(3, size[1] // cell, size[0] // cell).swapaxes(1, 2).reshape(3, -1), size, cell), "swapped"),
    (lambda w, size, cell: (w.reshape(-1, size[0] // cell, size[1] // cell) / cell**2).repeat(cell, 1).repeat(cell, 2),
     "the shape is (3, 4, 6) instead"),
    (lambda w, size, cell: (w / cell**2).reshape(-1, *np.floor_divide(size, cell)).repeat(cell, 1).repeat(cell, 2)
     .reshape(-1, *size), "left over"),
    (lambda w, size, cell: _spread(w[:, ::-1], size, cell), "reading order"),
    (lambda w, size, cell: w, "the shape is"),
])
def test_on_grid(answer, told):
    assert told in check.on_grid.judge(answer)[1]


def layer_by_layer(layers, s):
    return [s * np.eye(len(a)) + (1 - s) * a for a in layers]


@pytest.mark.parametrize("answer, told", [
    (_product, "right"),
    (lambda layers, s: np.linalg.multi_dot(layer_by_layer(layers, s)[::-1]), "right"),
    (lambda layers, s: np.linalg.multi_dot(layer_by_layer(layers, s)), "order is swapped"),
    (lambda layers, s: _product([a.T for a in layers], s), "transposed"),
    (lambda layers, s: _product(layers, 0), "residual is missing"),
    (lambda layers, s: _product(layers, 1 - s) if s else _product(layers, 0), "s and 1-s"),
    (lambda layers, s: np.prod(layer_by_layer(layers, s), axis=0), "entry by entry"),
    (lambda layers, s: np.mean(layers, axis=0), "mean of the layers"),
    (lambda layers, s: sum(layers), "the rows sum to"),
    (lambda layers, s: np.eye(6), "the values differ"),
    (lambda layers, s: layers[0][0], "the shape is"),
])
def test_rollout(answer, told):
    assert told in check.rollout.judge(answer)[1]


@pytest.mark.parametrize("first, second, told", [
    (("GSA", 2), ("LSA", 4), "right"),
    (("LSA", 4), ("GSA", 2), "other way round"),
    (("LSA", 2), ("LSA", 4), "first: LSA would"),
    (("GSA", 2), ("GSA", 4), "second: a key"),
    (("GSA", 4), ("LSA", 4), "first: 4"),
    (("GSA", 1), ("LSA", 4), "first: 1"),
    (("GSA", 2), ("LSA", 8), "second: 8"),
    (("GSA", 2), ("LSA", 3), "second: 3"),
    (None, ("LSA", 4), "1 of 2 answered"),
    (None, None, "not answered"),
])
def test_makers(first, second, told):
    assert told in check.makers.judge(first, second)[1]


def test_stray_maps_can_be_told_apart():
    """As printed, in thousandths: GSA's has no zero; LSA's window has none either, and no square of equals."""
    gsa, lsa = (np.rint(1000 * stray) for stray in check.stray_maps())
    assert (gsa > 0).all() and (lsa[4:, :4] > 0).all() and (lsa > 0).sum() == 16
    squares = lsa[4:, :4].reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(4, 4)
    assert all(len(set(square)) > 1 for square in squares)
    assert len({tuple(gsa[i:i + 2, j:j + 2].ravel()) for i in (0, 2, 4, 6) for j in (0, 2, 4, 6)}) > 8


def plain(rows):
    return -(rows * np.log(np.where(rows > 0, rows, 1))).sum(-1)


@pytest.mark.parametrize("answer, told", [
    (plain, "right"),
    (lambda a: -(a * np.log(a + 1e-12)).sum(-1), "right"),
    (lambda a: -(a * np.log(a)).sum(-1), "NaN"),
    (lambda a: -plain(a), "sign"),
    (lambda a: plain(a) / np.log(2), "log2"),
    (lambda a: plain(a) / 5, "mean over the keys"),
    (lambda a: np.exp(plain(a)), "exponential"),
    (lambda a: plain(a).mean(), "the shape is"),
    (lambda a: -(a * np.log(np.where(a > 0, a, 1))).sum(1), "the shape is"),
    (lambda a: 0 * plain(a), "the values differ"),
])
def test_entropy(answer, told):
    assert told in check.entropy.judge(answer)[1]


@pytest.mark.parametrize("exercise", [check.equal_tokens, check.on_grid, check.rollout, check.entropy])
def test_an_empty_answer_is_open(exercise):
    assert exercise.judge(None)[0] == "open"


def test_the_cell_for_released_weights_shows_them_at_224_and_at_448_pixels(tmp_path, monkeypatch):
    """With seeded weights under the name of the converted ones."""
    notebook = json.loads((Path(__file__).parents[2] / "notebooks" / "07_attention_maps.ipynb").read_text("utf-8"))
    (cell,) = [source for source in map("".join, (cell["source"] for cell in notebook["cells"]))
               if source.startswith("converted = ")]
    save_weights(twins_lib.create_model("twins_svt_small"), tmp_path / "twins_svt_small.ckpt")
    monkeypatch.setattr(teach, "course", lambda: tmp_path)
    shown = []
    exec(cell, {"teach": teach, "twins_lib": twins_lib, "np": np, "Tensor": Tensor, "explorer": explorer, "MEAN": MEAN,
                "STD": STD, "display": shown.append})
    assert [view.title for view in shown] == [f"ImageNet weights, {side} pixels, stage 2" for side in (224, 448)]
