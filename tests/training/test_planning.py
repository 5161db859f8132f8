"""The plan of a run on many devices: its sums by hand, its sources, and where it says that something binds."""

import numpy as np
import pytest

from twins_lib.training import ascend, planning

SMALL = dict(images=1_281_167, batch=128, parameters=24_060_776, seconds_per_image=1e-3, images_per_second=4000,
             bandwidth=25e9, latency=2e-5)


def test_plan_adds_up():
    eight, many = planning.plan(**SMALL, devices=(8, 1024))
    assert (eight.steps, eight.batch, many.batch) == (1251, 1024, 131072)
    assert eight.compute == pytest.approx(1251 * 128 * 1e-3) and eight.input == pytest.approx(1251 * 128 / 4000)
    assert eight.all_reduce == pytest.approx(1251 * (2 * 7 / 8 * 4 * 24_060_776 / 25e9 + 14 * 2e-5))
    assert eight.epoch == pytest.approx(max(eight.compute, eight.input) + eight.all_reduce)


def test_the_store_is_shared_and_the_workers_are_not():
    eight, many = planning.plan(**SMALL, store=64_000, devices=(8, 1024))
    assert eight.input == pytest.approx(1251 * 128 / 4000)  # 32,000 images/s of all workers are fewer than 64,000
    assert many.input == pytest.approx(many.steps * many.batch / 64_000)


@pytest.mark.parametrize("changes, binds", [
    ({}, "compute"), ({"images_per_second": 900}, "input"), ({"store": 7000}, "input"), ({"batch": 2}, "all-reduce")])
def test_what_binds_is_the_longest_part(changes, binds):
    (plan,) = planning.plan(**{**SMALL, **changes}, devices=(8,))
    assert plan.binds == binds


def table(capsys, *words):
    """What is printed, the figures with their sources, and the rows of the table by devices."""
    planning.main(words)
    said = capsys.readouterr().out
    lines = said.splitlines()
    figures = {line.split()[0]: line for line in lines[2:9]}
    rows = [line.split() for line in lines[9:]]
    return said, figures, {int(row[0]): row[1:] for row in rows if row and row[0].isdigit()}


def test_the_program_prints_the_plan_of_published_figures(capsys):
    said, figures, rows = table(capsys)
    plans = planning.plan(images=1_281_167, batch=256, parameters=24_060_776, seconds_per_image=1 / 253,
                          images_per_second=8 * 220, bandwidth=12.5e9, latency=55e-6)
    assert "24,060,776 parameters" in said and list(rows) == [plan.devices for plan in plans]
    for plan, row in zip(plans, rows.values()):
        assert row == ["256", f"{plan.batch:,}", f"{5e-4 * plan.batch / 512:.2g}", str(plan.steps),
                       f"{plan.compute:.1f}", f"{plan.input:.1f}", f"{plan.all_reduce:.2f}", "compute",
                       f"{plan.epoch:.1f}", f"{plan.epoch * 300 / 3600:.1f}"]
    assert rows[8][-1] == "53.4"  # hours, as 300 epochs of 1,281,167 images at 2026 images/s, and the all-reduce
    assert 300 * 1_281_167 / 2026 / 3600 == pytest.approx(52.7, abs=0.05)


def test_every_figure_has_its_source_or_is_given(capsys):
    _, figures, _ = table(capsys)
    assert list(figures) == ["images-per-second", *planning.ASSUMED, "memory"]
    for name, one in planning.ASSUMED.items():
        assert figures[name].endswith(one.source)
    assert "2026 images/s (Ascend/ModelZoo-PyTorch, PyTorch 1.8)" in figures["images-per-second"]
    assert "16.9 GiB of 32" in figures["memory"] and "dry run" in figures["memory"]
    words = [word for name in ("images-per-second", *planning.ASSUMED) for word in (f"--{name}", "7")]
    _, figures, _ = table(capsys, *words)
    assert all(line.endswith("given") and " 7 " in line for name, line in figures.items() if name != "memory")


def test_help_names_every_default_and_its_source(capsys):
    with pytest.raises(SystemExit):
        planning.main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    for one in planning.ASSUMED.values():
        assert f"({one.default:g}: {one.source})" in told
    assert "twins_svt_small 2026, which is 253 a device" in told and "MindCV reports 475 to 602" in told


def test_a_recipe_kept_gets_slower_with_too_many_devices(capsys):
    _, figures, rows = table(capsys, "--global-batch", "2048")
    assert [row[0] for row in rows.values()] == [str(2048 // n) for n in rows] and figures["memory"].count("16.9")
    assert {n: row[7] for n, row in rows.items()} == {n: "compute" if n < 256 else "all-reduce" for n in rows}
    hours = [float(row[-1]) for row in rows.values()]
    assert np.argmin(hours) == list(rows).index(256)


def test_a_shared_store_binds_many_devices(capsys):
    _, _, rows = table(capsys, "--store", "10")
    assert {n: row[7] for n, row in rows.items()} == {n: "compute" if n < 512 else "input" for n in rows}


def test_other_networks_are_planned_by_their_multiply_adds(capsys):
    rates = {name: planning.published_rate(name) for name in ascend.imagenet()}
    assert rates["twins_svt_small"][0] == 253 and rates["twins_pcpvt_small"][0] == 242
    assert rates["twins_svt_large"][0] == round(253.25 * 2.927 / 15.112)  # GMACs, reference: official code
    assert rates["twins_svt_large"][1].startswith("no source: as many multiply-adds per second as twins_svt_small")


def test_memory_that_was_not_stored_is_told_how_to_get(capsys):
    _, figures, _ = table(capsys, "--batch", "64")
    assert figures["memory"].split(maxsplit=3)[1:] == [
        "?", "GiB", "python -m twins_lib.training.ascend --config twins_svt_small batch_size=512 tells it"]


def test_an_epoch_without_a_step_is_told(capsys):
    said, _, _ = table(capsys, "--images", "1000", "--devices", "1", "16")
    assert "16         256    4,096    0.004      0  an epoch has fewer images than one step" in said
    said, _, _ = table(capsys, "--global-batch", "8", "--devices", "16")
    assert "or a device none" in said


@pytest.mark.parametrize("words, says", [
    (["--images-per-second", "0"], "must be at least"), (["--model", "twins_svt_nano"], "invalid choice"),
    (["--batch", "2", "--global-batch", "16"], "not allowed with")])
def test_faults_of_a_plan(capsys, words, says):
    with pytest.raises(SystemExit) as end:
        planning.main(words)
    assert end.value.code == 2 and says in capsys.readouterr().err
