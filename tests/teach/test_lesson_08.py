"""Lesson 08: each bug is found by its own check and no other, the right network by none; and the exercises' checks."""

import itertools
import json

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

import twins_lib
from twins_lib.teach.experiments import toy
from twins_lib.teach.experiments.runs import ASSETS
from twins_lib.attention import split_heads
from twins_lib.layers import to_map
from twins_lib.teach import checkup
from twins_lib.teach.experiments import blind, bug_training, bugs
from twins_lib.teach.checks import lesson_08 as check
from twins_lib.teach.checks.lesson_08 import _filled, specimen

NAMES = list(bugs.BUGS)
SOLUTIONS = ASSETS.parent / "solutions"


def fired(model, size=(64, 96)):
    return [name for name, test in checkup.CHECKS.items() if not test(model, size)[0]]


# ---------------------------------------------------------------------------------------------------------------------
# The bugs and the checks: mutation tests
# ---------------------------------------------------------------------------------------------------------------------

def pcpvt(seed, bug=None):
    model = _filled(twins_lib.create_model("twins_pcpvt_nano", 10, drop_path_rate=0.3), seed)
    return model if bug is None else bugs.plant(model, bug)


def table(found):
    """The matrix bugs × checks as text: a cross where a check fires."""
    width = max(map(len, NAMES)) + 1
    lines = ["bug \\ check".ljust(12) + "".join(name.rjust(width) for name in checkup.CHECKS)]
    for bug, names in found.items():
        lines.append(bug.ljust(12) + "".join(("✘" if name in names else "·").rjust(width) for name in checkup.CHECKS))
    return "\n".join(lines)


def test_each_bug_is_found_by_its_own_check_and_by_no_other(record_property):
    found = {bug: fired(specimen(0, bug)) for bug in NAMES}
    record_property("bug matrix", table({"none": fired(specimen(0)), **found}))
    assert list(checkup.CHECKS) == NAMES
    assert found == {bug: [bug] for bug in NAMES}


def test_each_bug_is_found_in_pcpvt_too():
    everywhere = [bug for bug in NAMES if bug != "window"]  # there is no LSA in PCPVT
    assert {bug: fired(pcpvt(0, bug)) for bug in everywhere} == {bug: [bug] for bug in everywhere}


@pytest.mark.parametrize("make, seed, size", [
    (specimen, 1, (64, 64)), (specimen, 2, (96, 64)), (specimen, 3, (40, 76)),
    (pcpvt, 4, (64, 64)), (pcpvt, 5, (44, 96)),
])
def test_no_check_fires_on_a_right_network(make, seed, size):
    assert fired(make(seed), size) == []


def test_the_checks_hold_for_a_fresh_network_too():
    assert fired(twins_lib.create_model("twins_svt_nano", 10)) == []


@pytest.mark.parametrize("first, second", [("order", "scale"), ("window", "footprint"), ("residual", "repeat")])
def test_two_bugs_in_one_network_are_both_named(first, second):
    assert set(fired(bugs.plant(specimen(0, first), second))) == {first, second}


def test_a_square_image_hides_swapped_sides_and_a_batch_of_one_the_ninth_bug():
    right, swapped = specimen(0), specimen(0, "footprint")
    square, wide = (Tensor(np.random.default_rng(0).normal(size=(2, 3, 64, side)).astype(np.float32))
                    for side in (64, 96))
    assert np.array_equal(swapped(square).asnumpy(), right(square).asnumpy())
    assert not np.allclose(swapped(wide).asnumpy(), right(wide).asnumpy(), atol=1e-3)
    assert checkup.footprint(swapped, (64, 64))[0]

    ninth = bugs.patient(9, specimen(0))
    assert fired(ninth) == []
    assert np.array_equal(ninth(square[:1]).asnumpy(), right(square[:1]).asnumpy())
    assert not np.allclose(ninth(square).asnumpy(), right(square).asnumpy(), atol=1e-3)


@pytest.mark.parametrize("bug", NAMES)
def test_a_planted_network_keeps_its_parameters(bug):
    right, planted = specimen(0), specimen(0, bug)
    for a, b in zip(right.get_parameters(), planted.get_parameters(), strict=True):
        assert a.name == b.name and np.array_equal(a.asnumpy(), b.asnumpy())


def test_every_patient_has_one_bug_and_every_bug_its_docstring():
    assert sorted(bugs._KEY[number] for number in range(1, 9)) == sorted(NAMES)
    for name, kind in bugs.BUGS.items():
        assert all(word in kind.__doc__ for word in ("Thought:", "Wrong:", f'Found by the check "{name}"'))


def test_what_cannot_be_planted_is_named():
    with pytest.raises(ValueError, match="no bug is called 'peg'; there are window"):
        bugs.plant(specimen(0), "peg")
    with pytest.raises(ValueError, match="belongs in LSA"):
        bugs.plant(pcpvt(0), "window")
    with pytest.raises(ValueError, match="still whole"):
        bugs.plant(specimen(0, "norm"), "footprint")
    with pytest.raises(ValueError, match="drop_path_rate 0"):
        bugs.plant(twins_lib.create_model("twins_svt_nano"), "repeat")
    with pytest.raises(ValueError, match="no patient 10"):
        bugs.patient(10, specimen(0))


def test_examine_prints_a_line_a_check_and_names_what_fired(capsys):
    assert checkup.examine(specimen(0, "scale")) == ["scale"]
    lines = capsys.readouterr().out.splitlines()
    assert [line[2:].split()[0] for line in lines if line.startswith("✔")] == [n for n in NAMES if n != "scale"]
    assert "✘ scale" in lines[2] and "not by 1/√16" in lines[2]


def test_the_training_run_leaves_a_finished_file_alone(tmp_path):
    path = tmp_path / "bug_lab.json"
    path.write_text("{}")
    with pytest.raises(SystemExit, match="already there"):
        bug_training.main(["--output", str(path)])
    assert set(bug_training.TRAINED) == {"none", *NAMES} - {"footprint", "repeat"}


def test_the_stored_run_is_that_of_the_command():
    card = json.loads((ASSETS / "bug_lab.json").read_text())
    assert tuple(card["loss"]) == tuple(card["accuracy"]) == bug_training.TRAINED
    assert card["data"] == toy.checksum(*toy.silhouettes(card["test_images"], seed=1000, size=card["size"]))
    assert all(np.shape(card["loss"][bug]) == (len(card["seeds"]), card["epochs"]) for bug in bug_training.TRAINED)


# ---------------------------------------------------------------------------------------------------------------------
# The exercises
# ---------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("answer, told", [
    ([16, 17, 20, 21], "right"),
    ((21, 20, 17, 16), "right"),
    ([14, 15, 20, 21], "right network"),
    ([4, 5, 10, 11], "on its side"),
    ([10, 11, 14, 15], "key 3"),
    ([18, 19, 22, 23], "key 5"),
    ([16, 17], "2 tokens"),
    ([0, 1, 4, 5], "fifth square"),
    (None, "not answered"),
])
def test_torn_footprint(answer, told):
    assert told in check.torn_footprint.judge(answer)[1]


RIGHT = {number: bugs._KEY[number] for number in range(1, 9)}


@pytest.mark.parametrize("answer, told", [
    (RIGHT, "right"),
    (dict.fromkeys(range(1, 9)), "not answered"),
    (RIGHT | {3: None, 5: None}, "still open: 3, 5"),
    (RIGHT | {3: "windows"}, "no bug is called 'windows'"),
    (RIGHT | {9: "norm"}, "no patient 9"),
])
def test_diagnosis(answer, told):
    assert told in check.diagnosis.judge(answer)[1]


def test_what_is_said_of_a_wrong_diagnosis_is_true():
    """It says that the check of the named bug is passed: so it is, as the matrix above has one cross in a row."""
    assert list(check._REFUTED) == NAMES
    for number, right in RIGHT.items():
        for name in NAMES:
            verdict, line = check.diagnosis.judge({number: name})
            if name == right:
                assert "right so far" in line
            else:
                assert verdict == "wrong" and check._REFUTED[name] in line


def repaired(gsa, tokens, size):
    return gsa.queries_keys_values(tokens, size)[1:]


def by_hand(swap=False, norm=True, early=False, guard=True):
    def keys_and_values(gsa, tokens, size):
        if gsa.sr_ratio > 1 or not guard:
            tokens = gsa.norm(tokens) if early else tokens
            tokens = gsa.sr(to_map(tokens, size[::-1] if swap else size))
            tokens = gsa.norm(tokens) if norm and not early else tokens
        return split_heads(gsa.kv(tokens), 2, gsa.heads)
    return keys_and_values


@pytest.mark.parametrize("answer, told", [
    (repaired, "right"),
    (by_hand(), "right"),
    (by_hand(swap=True, norm=False), "both bugs"),
    (by_hand(norm=False), "lack their norm"),
    (by_hand(swap=True), "still swapped"),
    (by_hand(early=True), "after the sub-sampling"),
    (by_hand(guard=False), "sr_ratio 1"),
    (lambda *asked: repaired(*asked)[::-1], "changed places"),
    (lambda *asked: [part + 1 for part in repaired(*asked)], "the numbers are not"),
    (lambda gsa, tokens, size: [gsa.kv(tokens)] * 2, "(B, h, M, d)"),
    (lambda gsa, tokens, size: gsa.norms, "has no attribute"),
])
def test_keys_and_values(answer, told):
    assert told in check.keys_and_values.judge(answer)[1]


def company(model):
    """The images of the tests below: two, not square."""
    return Tensor(np.random.default_rng(7).normal(size=(2, 3, 32, 64)).astype(np.float32))


def alone_or_not(tolerance):
    def is_well(model):
        images = company(model)
        return bool(np.abs((model(images)[:1] - model(images[:1])).asnumpy()).max() <= tolerance)
    return is_well


def by_gradient(model):
    return not ms.grad(lambda images: model(images)[0].sum())(company(model))[1].asnumpy().any()


@pytest.mark.parametrize("answer, told", [
    (by_gradient, "right"),
    (alone_or_not(1e-3), '"repeat" as well'),
    (lambda model: True, "it passes patient 9"),
    (lambda model: False, "fires on the right network"),
    (lambda model: 1, "True if all is well"),
    (lambda model: np.array_equal(model(company(model)).asnumpy(), specimen(0)(company(model)).asnumpy()),
     "with another it fires"),
    (lambda model: type(model.blocks[0][0].attn) is twins_lib.LSA, "fires on window as well"),
])
def test_ninth_check(answer, told):
    assert told in check.ninth_check.judge(answer)[1]


# ---------------------------------------------------------------------------------------------------------------------
# The blind round
# ---------------------------------------------------------------------------------------------------------------------

TELLS = {"peg": "silent_peg", "heads": "rebuilt", "decay": "peg_shrinks", "rate": "second_step", "smoothing": "target"}


RIGHT_NUMBERS = {"twice": 0, "company": 0, "other": 0, "rows": 1, "summaries": 1, "branches": 1, "silent_peg": 1,
                 "rebuilt": 0, "matrices_shrink": 0.95, "peg_shrinks": 1, "second_step": 2, "target": 0.91}


def unlike(bug):
    """The measurements that give a patient another number than a right network must give."""
    sick = blind.Patient(lambda: specimen(0), bug)
    found = {name for name in blind.MEASUREMENTS if abs(sick.measure(name) - RIGHT_NUMBERS[name]) > 0.002}
    assert sick.used == list(RIGHT_NUMBERS)
    return found


def test_the_right_network_gives_what_a_right_network_must_give():
    assert unlike(None) == set()


@pytest.mark.parametrize("bug", TELLS)
def test_each_blind_bug_is_told_by_one_measurement_and_no_other(bug):
    in_the_network = not issubclass(blind.BUGS[bug], blind.Trainer)
    assert unlike(bug) == {TELLS[bug]} | ({"other"} if in_the_network else set())
    if in_the_network:
        assert fired(blind.Patient(lambda: specimen(0), bug).network()) == []  # the eight checks know none of them


@pytest.mark.parametrize("bug, told", [("repeat", "twice"), ("batch", "company"), ("shares", "rows"),
                                       ("norm", "summaries"), ("residual", "branches")])
def test_the_measurements_without_a_blind_bug_are_not_deaf(bug, told):
    sick = blind.Patient(lambda: specimen(0, bug))
    assert abs(sick.measure(told) - RIGHT_NUMBERS[told]) > 0.002


def test_two_patients_are_ill_in_the_network_and_one_in_its_training():
    trained = [issubclass(blind.BUGS[bug], blind.Trainer) for bug in blind._KEY.values()]
    assert sorted(trained) == [False, False, True] and len(set(blind._KEY.values())) == 3
    with pytest.raises(ValueError, match="no measurement is called 'x'; there are twice"):
        blind.Patient(lambda: specimen(0)).measure("x")


def test_a_measurement_that_is_repeated_counts_once():
    patient = blind.Patient(lambda: specimen(0), "smoothing")
    assert patient.measure("target") == patient.measure("target") != RIGHT_NUMBERS["target"]
    assert patient.used == ["target"]


class Told:
    """A patient of whom is known what each measurement gives."""

    def __init__(self, bug):
        self.bug, self.used = bug, []

    def measure(self, name):
        self.used.append(name)
        return RIGHT_NUMBERS[name] + (name == TELLS[self.bug])


def test_the_plan_of_the_solution_takes_five_measurements_whatever_the_patients_have():
    book = json.loads((SOLUTIONS / "08_bug_lab.ipynb").read_text(encoding="utf-8"))
    (cell,) = [cell for cell in book["cells"] if cell["id"] == "blind-solved"]
    plan, taken = "".join(cell["source"]).split("patients = ")[0], []
    exec(plan, names := {})
    for key in itertools.permutations(TELLS, 3):
        if {"peg", "heads"} < set(key):
            patients = dict(zip("ABC", map(Told, key)))
            assert names["diagnose"](patients) == dict(zip("ABC", key))
            taken.append(sum(len(patient.used) for patient in patients.values()))
    assert len(taken) == 18 and max(taken) == 5


@pytest.mark.parametrize("change, told", [
    ({}, "right"), (dict.fromkeys("ABC"), "not answered"), ({"B": None}, "still open: B"),
    ({"A": "norm"}, "no bug is called 'norm'"), ({"D": "peg"}, "no patient 'D'"),
])
def test_blind_round(change, told):
    assert told in check.blind_round.judge(blind._KEY | change)[1]


def test_what_is_said_of_a_wrong_blind_diagnosis_names_the_measurement_that_rules_it_out():
    for letter, right in blind._KEY.items():
        for name in blind.BUGS:
            line = check.blind_round.judge({letter: name})[1]
            assert "right so far" in line if name == right else TELLS[name] in line
