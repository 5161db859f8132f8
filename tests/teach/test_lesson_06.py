"""The checks of lesson 06 against planted answers, wrong and right."""

import numpy as np
import pytest

from twins_lib.teach.checks import lesson_06 as check
from twins_lib.teach.checks.lesson_06 import _adamw


@pytest.mark.parametrize("exercise, answer, told", [
    (check.rate_of_epoch_3, 4e-4, "right"),
    (check.rate_of_epoch_3, 6e-4, "share the first value"),
    (check.rate_of_epoch_3, 2e-4, "that is epoch 2"),
    (check.rate_of_epoch_3, 1e-3, "fifths of the peak"),
    (check.surviving_branches, 14.4, "right"),
    (check.surviving_branches, 12.8, "rate of the last"),
    (check.surviving_branches, 1.6, "left out"),
    (check.surviving_branches, 7.2, "two branches"),
    (check.surviving_branches, 16, "mean rate"),
    (check.faulty_line, "A", "right"),
    (check.faulty_line, "B", "running mean"),
    (check.faulty_line, "D", "first round"),
    (check.faulty_line, "lr", "one letter"),
])
def test_short_answers(exercise, answer, told):
    assert told in exercise.judge(answer)[1]


def changed(**settings):
    return lambda *args, **named: _adamw(*args, **(named | settings))


def corrected_moments(*args, t, **named):
    p, m, v = _adamw(*args, t=t, **named)
    return p, m / (1 - 0.9 ** t), v / (1 - 0.999 ** t)


@pytest.mark.parametrize("answer, told", [
    (changed(), "right"),
    (changed(corrected=False), "bias correction"),
    (changed(coupled=True), "through m and v"),
    (changed(decay=0), "weight decay is missing"),
    (changed(decay=-0.2), "away from zero"),
    (changed(squared=False), "root of v"),
    (changed(lr=-0.1), "uphill"),
    (changed(beta1=0.5), "term by term"),
    (corrected_moments, "without the correction"),
    (lambda p, g, m, v, **named: p, "three arrays"),
])
def test_adamw_step(answer, told):
    assert told in check.adamw_step.judge(answer)[1]


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


@pytest.mark.parametrize("exercise", [check.rate_of_epoch_3, check.surviving_branches, check.adamw_step,
                                      check.mixed_target, check.faulty_line])
def test_an_empty_answer_is_open(exercise):
    assert exercise.judge(None)[0] == "open"
