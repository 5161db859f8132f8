"""The CPU forms of the layers equal the plain ones, and each gradient that is written by hand is the right one."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops
from mindspore.common.initializer import Normal
from scipy.signal import correlate2d
from scipy.special import erf

from twins_lib import Twins, Variant, layers
from twins_lib.layers import (
    GELU,
    BiasOfRows,
    Conv,
    Convolve,
    LayerNorm,
    Linear,
    NormalCDF,
    PatchConv,
    Standardise,
    form,
    swap,
    use_form,
)
from twins_lib.segmentation import MapConv, Segmenter
from twins_lib.training.engine import in_precision


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# ------------------------------------------------------------------------------------------------ which form it is

def test_the_form_follows_the_device_and_can_be_forced():
    assert form() == "cpu"
    with use_form("plain"):
        assert form() == "plain" and not GELU().on_cpu
        with use_form("cpu"):
            assert form() == "cpu"
        assert form() == "plain"
    assert GELU().on_cpu
    with pytest.raises(ValueError, match="form 'fast': must be one of plain, cpu"):
        use_form("fast")


def test_elsewhere_the_form_is_plain(monkeypatch):
    monkeypatch.setattr(layers.ms, "get_context", lambda key: "Ascend")
    assert form() == "plain"


# ------------------------------------------------------------------------------------- two forms, the same numbers

def pair(build, size=0.3):
    """The same layer in both forms, with the same weights; every number of them drawn anew, so that none is 0 or 1."""
    both = {}
    for name in ("plain", "cpu"):
        with use_form(name):
            both[name] = build()
    for number, (one, other) in enumerate(zip(both["plain"].get_parameters(), both["cpu"].get_parameters())):
        assert one.name == other.name and one.shape == other.shape
        drawn = Tensor(size * normal(*one.shape, seed=number) + (one.name.endswith("gamma")))
        one.set_data(drawn)
        other.set_data(drawn.copy())
    return both["plain"], both["cpu"]


def results(layer, arrays, mode):
    """What comes out, and all gradients (of weights and of the first input) of a weighted sum of it."""
    def scalar(x, *others):
        out = layer(x, *others)
        out = out if isinstance(out, (tuple, list)) else (out,)
        total = 0
        for one in out:
            total = total + (one.astype(ms.float32) * ops.cos(ops.arange(one.size).astype(ms.float32)).reshape(
                one.shape)).sum()
        return total, out

    gradient = ms.value_and_grad(scalar, 0, layer.trainable_params(), has_aux=True)
    gradient = ms.jit(gradient) if mode == "graph" else gradient
    for _ in range(2):  # the second call of what is compiled can go wrong where the first does not
        (_, out), (of_input, of_weights) = gradient(*arrays)
    return [one.asnumpy() for one in out], [one.asnumpy() for one in (of_input, *of_weights)]


def furthest(found, wanted, floor=0.0):
    """Largest difference over the largest number, of arrays in pairs, NaN if one is; the number is at least `floor`."""
    return float(np.max([np.abs(a - b).max() / max(np.abs(b).max(), floor) for a, b in zip(found, wanted)]))


def test_what_is_no_number_is_far_from_all():
    one, ill = np.ones(2), np.array([1, np.nan])
    assert np.isnan(furthest([one, ill], [one, one])) and np.isnan(furthest([ill, one], [one, one]))


TOKENS, GRID = normal(2, 15, 8), (3, 5)
SINGLE = {
    "linear": (lambda: Linear(8, 12), [TOKENS]),
    "cells": (lambda: PatchConv(8, 6, 2), [normal(2, 35, 8), (5, 7)]),
    "patches": (lambda: PatchConv(3, 8, 4), [normal(2, 3, 18, 12)]),
    "norm": (lambda: LayerNorm(8, 1e-6), [3 + 2 * TOKENS]),
    "gelu": (GELU, [4 * TOKENS]),
    "depthwise": (lambda: Conv(8, 8, 3, Normal(), depthwise=True), [TOKENS, GRID]),
    "dense": (lambda: Conv(8, 5, 3, Normal(), bias=False), [TOKENS, GRID]),
    "of a map": (lambda: MapConv(8, 5, 1, Normal()), [normal(2, 8, 3, 5)]),
}


@pytest.mark.parametrize("mode", ["pynative", "graph"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 4, 3, 5), (2, 1, 3, 5), (1, 3, 3, 1)])
def test_swap_is_a_transpose_in_both_forms(shape, mode):
    x = normal(*shape)
    for name in layers.FORMS:
        with use_form(name):
            run = ms.jit(swap) if mode == "graph" else swap
            np.testing.assert_array_equal(run(Tensor(x)).asnumpy(), x.transpose(0, 2, 1, 3))


@pytest.mark.parametrize("mode", ["pynative", "graph"])
@pytest.mark.parametrize("name", SINGLE)
def test_a_layer_is_the_same_in_both_forms(name, mode):
    build, arrays = SINGLE[name]
    arrays = [Tensor(a) if isinstance(a, np.ndarray) else a for a in arrays]
    plain, cpu = (results(layer, arrays, mode) for layer in pair(build))
    assert furthest(cpu[0], plain[0]) < 1e-6 and furthest(cpu[1], plain[1]) < 1e-5


SVT = Variant((16, 32), (2, 4), (2, 2), (2, 2), (2, 1), (4, 2))
PCPVT = Variant((16, 32), (2, 4), (2, 2), (1, 2), (2, 1))
NETWORKS = {
    "svt, padded windows": (lambda: Twins(SVT, 7), (40, 28)),
    "svt, a dense head, odd sides": (lambda: Segmenter(Twins(SVT, dense=True), 5, 16, 8), (37, 30)),
    "pcpvt": (lambda: Twins(PCPVT, 7), (32, 24)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_the_same_in_both_forms(name):
    build, size = NETWORKS[name]
    images = [Tensor(normal(2, 3, *size))]
    plain, cpu = (results(network, images, "graph") for network in pair(build, size=0.1))
    largest = max(np.abs(gradient).max() for gradient in plain[1])
    assert furthest(cpu[0], plain[0]) < 2e-6
    assert furthest(cpu[1], plain[1], floor=1e-3 * largest) < 1e-5  # the true gradient of a key's bias is 0


def test_in_float16_the_cpu_form_is_as_near_to_float32_as_the_plain_one():
    build, size = NETWORKS["svt, padded windows"]
    images = [Tensor(normal(2, 3, *size))]
    networks = pair(build, size=0.1)
    exact = results(networks[0], images, "pynative")
    plain, cpu = (results(in_precision(network, "O2"), images, "graph") for network in networks)
    floors = 0, 1e-3 * max(np.abs(gradient).max() for gradient in exact[1])
    for place, floor in enumerate(floors):
        far = furthest(plain[place], exact[place], floor)
        assert far > 1e-4, "float16 was not used"
        assert furthest(cpu[place], exact[place], floor) < 1.5 * far


# ------------------------------------------------------------------- gradients by hand, against float64 differences

def standardised(x, epsilon=1e-6):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred ** 2).mean(-1, keepdims=True) + epsilon)


def normal_cdf(x):
    return 0.5 + 0.5 * erf(x / np.sqrt(2))


def convolved(tokens, matrices):
    """SciPy's correlation, channel by channel: (B, 15, C) and (9, C, C') -> (B, 15, C')."""
    maps = tokens.reshape(len(tokens), *GRID, -1)
    out = np.zeros((*maps.shape[:3], matrices.shape[2]))
    for b, c, o in np.ndindex(len(maps), *matrices.shape[1:]):
        out[b, :, :, o] += correlate2d(maps[b, :, :, c], matrices[:, c, o].reshape(3, 3), "same")
    return out.reshape(len(tokens), 15, -1)


def off(layer, function, arrays, extra=()):
    """How far the gradients of a layer are from central differences of a float64 function, at the worst, relative."""
    first = np.asarray(function(*[a.astype(np.float64) for a in arrays]))
    weights = normal(*first.shape, seed=9)
    found = ms.grad(lambda *inputs: (layer(*inputs, *extra) * Tensor(weights)).sum(), tuple(range(len(arrays))))(
        *map(Tensor, arrays))
    found = found if isinstance(found, tuple) else (found,)
    worst = 0.0
    for number, array in enumerate(arrays):
        wanted = np.zeros(array.shape)
        for at in np.ndindex(array.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [a.astype(np.float64) for a in arrays]
                moved[number][at] += step
                ends.append((function(*moved) * weights).sum())
            wanted[at] = (ends[0] - ends[1]) / 2e-5
        worst = np.maximum(worst, furthest([found[number].asnumpy()], [wanted]))
    return worst


STANDARDISE = Standardise(1e-6), standardised, [2 * normal(5, 6) + 1]
BIAS = BiasOfRows(), np.add, [normal(5, 6), normal(6, seed=1)]
CDF = NormalCDF(), normal_cdf, [2 * normal(4, 6)]
CONVOLVE = Convolve(), convolved, [normal(2, 15, 3), normal(9, 3, 2, seed=1)], [layers.neighbours(GRID, 3)]


@pytest.mark.parametrize("case", [STANDARDISE, BIAS, CDF, CONVOLVE],
                         ids=["standardise", "bias", "normal cdf", "convolve"])
def test_a_gradient_written_by_hand_is_that_of_the_function(case):
    assert off(*case) < 2e-5


class WithoutAlong(Standardise):
    def bprop(self, x, out, dout):
        _, scale = self.parts(x)
        return (scale * (dout - self.rows(self.mean(dout, -1), x)),)


class WithoutMean(Standardise):
    def bprop(self, x, out, dout):
        _, scale = self.parts(x)
        return (scale * (dout - out * self.rows(self.mean(dout * out, -1), x)),)


class MeanOfRows(BiasOfRows):
    def bprop(self, x, bias, out, dout):
        return dout, super().bprop(x, bias, out, dout)[1] / x.shape[0]


class WithoutScale(NormalCDF):
    def bprop(self, x, out, dout):
        return (dout * ops.exp(x * x * -0.5),)


class WithoutHalf(NormalCDF):
    def bprop(self, x, out, dout):
        return (dout * ops.exp(-x * x) * 0.3989423,)


class NotReversed(Convolve):
    def bprop(self, tokens, matrices, index, out, dout):
        right = super().bprop(tokens, matrices, index, out, dout)
        return self.construct(dout, self.turn(matrices, (0, 2, 1)), index), right[1], index  # as `index` stands


class WrongMatrices(Convolve):
    def bprop(self, tokens, matrices, index, out, dout):
        right = super().bprop(tokens, matrices, index, out, dout)
        return right[0], ops.flip(right[1], (0,)), index


@pytest.mark.parametrize("wrong, case", [
    (WithoutAlong(1e-6), STANDARDISE), (WithoutMean(1e-6), STANDARDISE), (MeanOfRows(), BIAS), (WithoutScale(), CDF),
    (WithoutHalf(), CDF), (NotReversed(), CONVOLVE), (WrongMatrices(), CONVOLVE),
], ids=lambda value: type(value).__name__ if isinstance(value, nn.Cell) else "")
def test_a_wrong_gradient_is_found(wrong, case):
    assert off(wrong, *case[1:]) > 0.05
