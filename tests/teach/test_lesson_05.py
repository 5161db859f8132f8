"""The checks of lesson 05 against planted answers, wrong and right."""

import numpy as np
import pytest

import twins_lib
from twins_lib.teach.checks import lesson_05 as check
from twins_lib.weights import torch_name

C = 128
LSA, GSA = 198_272, 460_800


@pytest.mark.parametrize("lsa, gsa, told", [
    (LSA, GSA, "right"),
    (LSA - 9 * C, GSA, "biases are learned"),
    (LSA - 4 * C, GSA, "4C are missing"),
    (LSA - 2 * C, GSA, "two norms in a block"),
    (GSA, LSA, "no sub-sampling"),
    (5, GSA, "5 in the LSA block"),
    (LSA, LSA, "on top"),
    (LSA, GSA - 2 * C, "norm of its own"),
    (LSA, GSA - C, "has a bias"),
    (LSA, GSA - 3 * C, "has a bias"),
    (LSA, LSA + 4 * C * C + 3 * C, "not r = 4"),
    (LSA, LSA + 16 * C + 3 * C, "not depthwise"),
    (LSA, 7, "7 in the GSA block"),
])
def test_block_parameters(lsa, gsa, told):
    assert told in check.block_parameters.judge(lsa, gsa)[1]


def test_the_right_numbers_are_those_of_the_network():
    blocks = twins_lib.Block(C, 4, twins_lib.LSA(C, 4, 7)), twins_lib.Block(C, 4, twins_lib.GSA(C, 4, 4))
    assert [sum(p.size for p in block.get_parameters()) for block in blocks] == [LSA, GSA]


@pytest.mark.parametrize("parts, told", [
    ("ELPGLGL", "right"),
    ("e l p g l g l", "right"),
    ("ELXGLGL", "letters E, L, G and P"),
    ("ELGLGL", "where is the position"),
    ("ELPGPLPGPL", "one PEG per stage"),
    ("LPGLGL", "begins with its patch embedding"),
    ("EPLGLGL", "not before it"),
    ("ELGLGLP", "not after the last"),
    ("EGPLGLG", "begins with LSA"),
    ("EGPGGGG", "that is PCPVT"),
    ("ELPGLG", "depth counts blocks"),
    ("ELLPGLG", "alternate from L"),
])
def test_draw_stage(parts, told):
    assert told in check.draw_stage.judge(parts)[1]


def cut(line, depths):
    return np.split(np.asarray(line), np.cumsum(depths)[:-1])


@pytest.mark.parametrize("rates, told", [
    (lambda d, last: cut(np.linspace(0, last, sum(d)), d), "right"),
    (lambda d, last: np.linspace(0, last, sum(d)), "one flat list"),
    (lambda d, last: cut(np.linspace(0, last, sum(d)), d)[:3], "one per block"),
    (lambda d, last: [np.linspace(0, last, n) for n in d], "starts from 0 again"),
    (lambda d, last: [[rate] * n for rate, n in zip(np.linspace(0, last, len(d)), d)], "same for all blocks"),
    (lambda d, last: cut(np.arange(sum(d)) / sum(d) * last, d), "must have the full rate"),
    (lambda d, last: cut(np.arange(1, sum(d) + 1) / sum(d) * last, d), "never dropped"),
    (lambda d, last: cut(np.linspace(last, 0, sum(d)), d), "other way round"),
    (lambda d, last: cut(np.zeros(sum(d)), d), "straight line"),
    (lambda d, last: cut(np.linspace(0, 0.2, sum(d)), d), "wrong for (1, 1) and 0.3"),
])
def test_drop_path_rates(rates, told):
    assert told in check.drop_path_rates.judge(rates)[1]


def padded(H, W, w):
    return -(-H // w) * -(-W // w) * w * w


@pytest.mark.parametrize("layers, products, told", [
    (lambda N, P, C, w: 3 * P * C * C + N * C * C, lambda N, P, C, w: 2 * P * w * w * C, "right"),
    (lambda N, P, C, w: 3 * P * C * C + 9 * N * C * C, lambda N, P, C, w: 0, "MLP is not part"),
    (lambda N, P, C, w: 4 * N * C * C, lambda N, P, C, w: 0, "go through qkv too"),
    (lambda N, P, C, w: 4 * P * C * C, lambda N, P, C, w: 0, "cut off before proj"),
    (lambda N, P, C, w: 3 * N * C * C + P * C * C, lambda N, P, C, w: 0, "other way round"),
    (lambda N, P, C, w: 4 * 21 * 35 * C * C, lambda N, P, C, w: 0, "rounds up"),
    (lambda N, P, C, w: 17, lambda N, P, C, w: 0, "17 in qkv and proj"),
    (lambda N, P, C, w: 3 * P * C * C + N * C * C, lambda N, P, C, w: P * w * w * C, "two products"),
    (lambda N, P, C, w: 3 * P * C * C + N * C * C, lambda N, P, C, w: 2 * N * w * w * C, "padded tokens ask"),
    (lambda N, P, C, w: 3 * P * C * C + N * C * C, lambda N, P, C, w: 2 * P * P * C, "its own window"),
    (lambda N, P, C, w: 3 * P * C * C + N * C * C, lambda N, P, C, w: 2 * P * w * C, "w·w keys"),
    (lambda N, P, C, w: 3 * P * C * C + N * C * C, lambda N, P, C, w: 19, "19 in products"),
])
def test_padded_lsa_macs(layers, products, told):
    def macs(H, W, C, w):
        sizes = H * W, padded(H, W, w), C, w
        return layers(*sizes), products(*sizes)
    assert told in check.padded_lsa_macs.judge(macs)[1]


def test_padding_that_always_adds_a_window_is_found():
    def macs(H, W, C, w):
        P = (H // w + 1) * (W // w + 1) * w * w
        return 3 * P * C * C + H * W * C * C, 2 * P * w * w * C
    assert "14×14" in check.padded_lsa_macs.judge(macs)[1]


def test_broken_states_are_broken_as_said():
    model = twins_lib.create_model("twins_svt_nano", num_classes=10)
    sound = {torch_name(p.name): p.asnumpy() for p in model.get_parameters()}
    broken = check.broken_states(sound)
    twins_lib.load_torch_state(model, broken["A"])
    assert sum(not np.array_equal(sound[name], broken["A"][name]) for name in sound) == 1
    with pytest.raises(ValueError, match="weights of this network; [0-9]+ unexpected: blocks.2.2"):
        twins_lib.load_torch_state(model, broken["B"])
    assert len(broken["C"]) == len(sound) and not any(name.endswith(".weight") for name in broken["C"])
    with pytest.raises(ValueError, match="missing.*unexpected"):
        twins_lib.load_torch_state(model, broken["C"])


@pytest.mark.parametrize("faults, told", [
    ({"A": "transposed", "B": "network", "C": "names"}, "right"),
    ({"A": "transposed", "B": "network"}, "name all three"),
    ({"A": "names", "B": "names", "C": "names"}, "once"),
    ({"A": "names", "B": "network", "C": "transposed"}, "keeps names and shapes"),
    ({"A": "transposed", "B": "names", "C": "network"}, "message of B"),
])
def test_which_is_which(faults, told):
    assert told in check.which_is_which.judge(faults)[1]


@pytest.mark.parametrize("exercise, answers", [
    (check.block_parameters, 2), (check.draw_stage, 1), (check.drop_path_rates, 1), (check.padded_lsa_macs, 1),
    (check.which_is_which, 1),
])
def test_an_empty_answer_is_open(exercise, answers):
    assert exercise.judge(*[None] * answers)[0] == "open"
