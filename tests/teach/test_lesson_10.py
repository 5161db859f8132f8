"""The checks of lesson 10 against planted answers, wrong and right."""

import numpy as np
import pytest

import twins_lib
from twins_lib.training import planning, recipe, tasks
from twins_lib.teach.checks import lesson_10 as check
from twins_lib.teach.checks.lesson_10 import _NUMBERS, _seconds, _SHAPES, _share


@pytest.mark.parametrize("answer, told", [
    ((2048, 2e-3, 625), "right"),
    ((32, 2e-3, 625), "one device's share"),
    ((96, 2e-3, 625), "multiply"),
    ((1024, 1e-3, 1251), "how many devices"),
    ((2048, 5e-4, 625), "the rate for 512"),
    ((2048, 5e-4 * 32 / 512, 625), "one device's images"),
    ((2048, 1e-3, 625), "for every 512"),
    ((2048, 2e-3, 626), "whole batches only"),
    ((2048, 2e-3, 1_281_167 / 2048), "whole batches only"),
    ((2048, 2e-3, 40036), "not of one"),
    ((2048, 2e-3, 300), "how often"),
])
def test_big_run(answer, told):
    assert told in check.big_run.judge(*answer)[1]


@pytest.mark.parametrize("repeated, points, told", [
    (48, (40_850 + 48) / 50_048 * 100 - 81.7, "right"),
    (48, 0.0176, "right"),
    (16, 0, "left over"),
    (64, 0, "hand out first"),
    (47, 0, "next multiple"),
    (48, 0.096, "denominator"),
    (48, 48 / 50_048 * 100, "dilute"),
    (48, (40_850 + 48) / 50_048 - 0.817, "a share"),
    (48, 1.0, "against 81.7"),
])
def test_sharded_accuracy(repeated, points, told):
    assert told in check.sharded_accuracy.judge(repeated, points)[1]


def rule(shapes):
    return [name for name, shape in shapes.items()
            if len(shape) > 1 and not name.endswith(".bias") and "pos_block" not in name]


@pytest.mark.parametrize("answer, told", [
    (rule, "right"),
    (lambda shapes: set(rule(shapes)), "right"),
    (lambda shapes: None, "a list of them"),
    (lambda shapes: ["nose"], "no name"),
    (lambda shapes: set(shapes) - set(rule(shapes)), "spared"),
    (lambda shapes: [n for n, s in shapes.items() if len(s) > 1], "the PEG decays"),
    (lambda shapes: [n for n, s in shapes.items() if len(s) > 1 and "pos_block" not in n], "odd.bias"),
    (lambda shapes: [n for n in shapes if not n.endswith("bias") and "pos_block" not in n], "gamma decays"),
    (lambda shapes: [*rule(shapes), "head.bias"], "a single axis"),
    (lambda shapes: [n for n in rule(shapes) if "head" not in n], "head.weight'] should decay"),
])
def test_decayed_names(answer, told):
    assert told in check.decayed_names.judge(answer)[1]


def test_the_rule_is_the_librarys_and_the_names_are_the_networks():
    model = twins_lib.create_model("twins_svt_nano", num_classes=4)
    shapes = {p.name: tuple(p.shape) for p in model.get_parameters()}
    decayed, _ = recipe.parameter_groups(model)
    assert {p.name for p in decayed["params"]} == set(rule(shapes))
    assert set(_SHAPES) - {"odd.bias"} <= set(shapes)
    assert all(len(_SHAPES[name]) == len(shapes[name]) for name in set(_SHAPES) - {"odd.bias"})


def outwards(batch, rank, world):
    return _share(batch, world - 1 - rank, world)


@pytest.mark.parametrize("answer, told", [
    (_share, "right"),
    (tasks.local_positions, "right"),
    (lambda b, r, n: range(r * b, (r + 1) * b), "blocks one after the other"),
    (lambda b, r, n: range(r, b * n, n), "every third image"),
    (lambda b, r, n: range(b), "trained on by two"),
    (lambda b, r, n: _share(b, r, n)[1:], "3 images instead of 4"),
    (lambda b, r, n: [i + b * n for i in range(b)], "outside"),
    (lambda b, r, n: [(i + 1) % (b * n) for i in _share(b, r, n)], "a pair is parted"),
    (outwards, "device 0 has both ends"),
    (lambda b, r, n: _share(b, r, n)[::-1], "right"),
    (lambda b, r, n: _share(b, r, n)[1:-1] + _share(b, r, n)[:1] + _share(b, r, n)[-1:], "partners must stand there"),
])
def test_share(answer, told):
    assert told in check.share.judge(answer)[1]


def changed(part, factor):
    def function(**numbers):
        found = list(_seconds(**numbers))
        found[part] *= factor
        return found
    return function


def all_reduce(change):
    return lambda **n: (*_seconds(**n)[:2], change(2 * (n["n"] - 1) / n["n"] * 4 * n["P"] / n["bandwidth"],
                                                    2 * (n["n"] - 1) * n["latency"]))


@pytest.mark.parametrize("answer, told", [
    (_seconds, "right"),
    (lambda **n: 1.0, "three numbers"),
    (changed(0, 64), "compute: each device does only its own"),
    (changed(1, 64), "input: each device does only its own"),
    (changed(1, 3), "input: b images"),
    (lambda **n: (n["compute_rate"] / n["b"], 1, 1), "the inverse"),
    (all_reduce(lambda sent, waited: sent / 4 + waited), "4 bytes"),
    (all_reduce(lambda sent, waited: sent), "latency"),
    (all_reduce(lambda sent, waited: waited), "the bytes are missing"),
    (all_reduce(lambda sent, waited: sent / 2 + waited), "walked twice"),
    (changed(2, 1.5), "term by term"),
])
def test_step_seconds(answer, told):
    assert told in check.step_seconds.judge(answer)[1]


def test_the_formula_is_the_librarys():
    n = _NUMBERS
    (planned,) = planning.plan(images=n["n"] * n["b"], batch=n["b"], parameters=n["P"],
                                  seconds_per_image=1 / n["compute_rate"], images_per_second=n["input_rate"],
                                  bandwidth=n["bandwidth"], latency=n["latency"], devices=(n["n"],))
    assert np.allclose(_seconds(**n), (planned.compute, planned.input, planned.all_reduce))


@pytest.mark.parametrize("answer, told", [
    ("input", "right"), ("compute", "256/253"), ("all-reduce", "256/200"), ("network", 'answer "compute"')])
def test_longest_part(answer, told):
    assert told in check.longest_part.judge(answer)[1]
    assert max(zip(_seconds(**_NUMBERS), ("compute", "input", "all-reduce")))[1] == "input"


@pytest.mark.parametrize("exercise, parts", [
    (check.big_run, 3), (check.sharded_accuracy, 2), (check.decayed_names, 1), (check.share, 1),
    (check.step_seconds, 1), (check.longest_part, 1)])
def test_an_empty_answer_is_open(exercise, parts):
    assert exercise.judge(*[None] * parts)[0] == "open"
