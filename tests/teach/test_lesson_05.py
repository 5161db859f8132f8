"""The checks of lesson 05 against planted answers, wrong and right."""

import numpy as np
import pytest

import twins_lib
from twins_lib.teach.checks import lesson_05 as check
from twins_lib.weights import torch_name


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


@pytest.mark.parametrize("exercise", [check.draw_stage, check.drop_path_rates, check.which_is_which])
def test_an_empty_answer_is_open(exercise):
    assert exercise.judge(None)[0] == "open"
