"""The checks of lesson 06 against planted answers, wrong and right."""

import json
import re

import numpy as np
import pytest
import scipy.stats

from twins_lib.teach.checks import lesson_06 as check
from twins_lib.teach.checks.lesson_06 import _adamw, _network_step
from twins_lib.teach.experiments.runs import ASSETS
from twins_lib.training.recipe import learning_rates


@pytest.mark.parametrize("rate, epoch, told", [
    (1e-3, 51, "right"), (1.2e-3, 51, "share time 0"), (6e-4, 51, "here the peak is 2e-3"),
    (5e-4, 51, "tenths of the peak"),
    (1e-3, 50, "epoch 1 share time 0"), (1e-3, 55, "not from the warm"), (1e-3, 56, "not from the warm"),
    (1e-3, 6, "on the way down"), (1e-3, 40, "half of its time"),
])
def test_another_schedule(rate, epoch, told):
    assert told in check.another_schedule.judge(rate, epoch)[1]


def test_the_other_schedule_is_that_of_the_recipe():
    curve = learning_rates(2e-3, epochs=100, warmup_epochs=10, warmup_lr=0, min_lr=0)
    assert np.isclose(curve[6], 1e-3) and np.isclose(curve[51], 1e-3)


@pytest.mark.parametrize("exercise, answer, told", [
    (check.best_of_twenty, 4.1, "right"),
    (check.best_of_twenty, 0, "most luck"),
    (check.best_of_twenty, 2.19, "standard deviation"),
    (check.best_of_twenty, 44.1, "above 40"),
    (check.best_of_twenty, 0.041, "a hundred times"),
    (check.best_of_twenty, 20.5, "pictures of 500"),
    (check.best_of_twenty, 3.5, "twenty scores many times"),
    (check.best_of_twenty, 5, "the highest each time"),
    (check.faulty_line, "B", "right"),
    (check.faulty_line, "A", "counts from 1"),
    (check.faulty_line, "C", "running mean"),
    (check.faulty_line, "E", "step of Adam"),
    (check.faulty_line, "lr", "one letter"),
])
def test_short_answers(exercise, answer, told):
    assert told in exercise.judge(answer)[1]


def test_the_best_of_twenty_is_as_high_as_the_exact_distribution_says():
    pictures = np.arange(501)
    highest = np.diff(scipy.stats.binom.cdf(pictures, 500, 0.4) ** 20, prepend=0)   # of 20 independent scores
    points = (highest * pictures).sum() / 5 - 40
    assert np.isclose(points, 4.107, atol=5e-4) and check.best_of_twenty.judge(points)[0] == "right"
    assert np.isclose(scipy.stats.binom.std(500, 0.4) / 5, 2.19, atol=0.005)


def test_the_faulty_loop_runs_and_does_what_the_exercise_says():
    """It walks a whole learning rate where AdamW walks lr times decay; the repaired one does what is right."""
    lesson = json.loads((ASSETS.parent / "06_training_on_your_laptop.ipynb").read_text(encoding="utf-8"))
    prose = "\n".join("".join(cell["source"]) for cell in lesson["cells"])
    told = prose[prose.index("**4. Find the fault.**"):]
    code = re.search(r"```python\n(.*?)```", told, re.DOTALL)[1]
    for text, step in ((code, 0.01), ("\n".join(line for line in code.splitlines() if not line.endswith("# B")), 0.0)):
        names = {"np": np, "gradients": [0.0], "lr": 0.01, "decay": 0.05}
        exec(text + "\n    return p\n", names)
        assert np.isclose(1 - names["train"](1.0, 0.0, 0.0), step)  # without the line nothing decays at all
    assert np.isclose(1 - _adamw(1.0, 0.0, 0.0, 0.0, 1, 0.01, 0.05)[0], 0.0005)


def changed(**settings):
    return lambda *args, **named: _network_step(*args, **(named | settings))


def corrected_moments(*args, t, **named):
    p, m, v = _network_step(*args, t=t, **named)
    return p, {name: one / (1 - 0.9 ** t) for name, one in m.items()}, v


@pytest.mark.parametrize("answer, told", [
    (changed(), "right"),
    (changed(clip="none"), "not clipped"),
    (changed(clip="each"), "clipped alone"),
    (changed(clip="always"), "only shortens"),
    (changed(rule="all"), "everything decays"),
    (changed(rule="small"), "one axis"),
    (changed(rule="PEG"), "ask its name"),
    (changed(rule="none"), "weight decay is missing"),
    (changed(corrected=False), "bias correction"),
    (changed(coupled=True), "through m and v"),
    (changed(decay=-0.2), "away from zero"),
    (changed(squared=False), "root of v"),
    (changed(lr=-0.1), "uphill"),
    (changed(beta1=0.5), "term by term"),
    (corrected_moments, "without the correction"),
    (lambda weights, *others, **named: weights, "three dicts"),
    (lambda weights, *others, **named: ({}, {}, {}), "must have the names head.weight"),
])
def test_network_step(answer, told):
    assert told in check.network_step.judge(answer)[1]


def target(a, b, share, num_classes, smoothing):
    one_hot = np.eye(num_classes)
    return smoothing / num_classes + (1 - smoothing) * (share * one_hot[a] + (1 - share) * one_hot[b])


def overwritten(a, b, share, num_classes, smoothing):
    found = np.full(num_classes, smoothing / num_classes)
    found[a] = smoothing / num_classes + (1 - smoothing) * share
    found[b] = smoothing / num_classes + (1 - smoothing) * (1 - share)
    return found


@pytest.mark.parametrize("answer, told", [
    (target, "right"),
    (overwritten, "both shares"),
    (lambda a, b, share, k, s: target(a, b, share, k, 0), "smoothing is missing"),
    (lambda a, b, share, k, s: target(b, a, share, k, s), "swapped"),
    (lambda a, b, share, k, s: target(a, b, share, k, s) + s, "sums to"),
    (lambda a, b, share, k, s: np.array([0.1 / 3, 0.63, 0.1 / 3, 0.27, 0.1 / 3]), "a and b too"),
    (lambda a, b, share, k, s: target(a, b, 0.5, k, s), "smooth both"),
    (lambda a, b, share, k, s: [target(a, b, share, k, s)], "the shape is"),
])
def test_mixed_target(answer, told):
    assert told in check.mixed_target.judge(answer)[1]


@pytest.mark.parametrize("exercise, answers", [
    (check.another_schedule, 2), (check.best_of_twenty, 1), (check.network_step, 1), (check.mixed_target, 1),
    (check.faulty_line, 1),
])
def test_an_empty_answer_is_open(exercise, answers):
    assert exercise.judge(*[None] * answers)[0] == "open"
