"""The engine on a network of two layers: exact arithmetic, exact resumption, and every way a run can be cut short."""

import contextlib
import io
import json
import logging
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn
from safetensors.numpy import save_file
from toy_run import STEPS, make_config, make_task

from twins_lib.training.config import as_yaml
from twins_lib.training.checkpoints import Checkpoints, Progress, read_checkpoint
from twins_lib.training.engine import draw_curve, fit, TrainStep
from twins_lib.training.errors import NonFiniteLoss, RunError
from twins_lib.training.scores import evaluate
from twins_lib.training.recipe import AdamW, parameter_groups
from twins_lib.weights import CannotWrite, load_weights


def weights(task):
    return {p.name: p.asnumpy().copy() for p in task.model.get_parameters()}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Weights and log of a run that nothing happened to."""
    config, task = make_config(tmp_path_factory.mktemp("undisturbed")), make_task()
    return weights(task), fit(task, config), weights(task), Path(config.output)


# -------------------------------------------------------------------------------------------------- the step

class Linear(nn.Cell):
    """weight · mean of the rows: the gradient is that mean."""

    def __init__(self, weight):
        super().__init__()
        self.weight = ms.Parameter(np.array(weight, np.float32), name="weight")

    def construct(self, rows):
        return (self.weight * rows.mean(0)).sum()


def linear_step(weight, **options):
    model = Linear(weight)
    return model, TrainStep(model, AdamW(parameter_groups(model, 0.0)), **options)


@pytest.mark.parametrize("mode", ["pynative", "graph"])
def test_accumulated_batches_equal_one_batch(mode):
    rows = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    results = []
    for parts in (1, 3):
        model, step = linear_step([1, -2, 3], accumulate=parts, mode=mode, clip_norm=0.1)
        told = [step([(rows,)] if parts == 1 else [(part,) for part in np.split(rows, 3)], 0.1) for _ in range(3)]
        results.append((model.weight.asnumpy(), told))
    (one, told_one), (three, told_three) = results
    assert np.allclose(one, three, rtol=1e-5) and np.allclose(told_one, told_three, rtol=1e-5)
    mean = rows.mean(0)
    assert told_one[0] == pytest.approx((np.dot([1, -2, 3], mean), False, np.linalg.norm(mean)), rel=1e-5)


@pytest.mark.parametrize("mode", ["pynative", "graph"])
def test_loss_scaling_leaves_out_a_step_that_overflows(mode):
    model, step = linear_step([1.0, 1.0], scaled=True, mode=mode)
    scale, counter = step.parameters()
    loss, _, norm = step([(np.full((2, 2), 1e34, np.float32),)], 0.1)  # 1e34 · 65536 is beyond float32
    assert np.isfinite(loss) and not np.isfinite(norm)
    assert (model.weight.asnumpy() == 1).all() and scale.asnumpy() == 2 ** 15
    step([(np.ones((2, 2), np.float32),)], 0.1)
    assert np.allclose(model.weight.asnumpy(), 0.9, atol=1e-5) and counter.asnumpy() == 1


def test_a_step_is_left_out_where_only_the_chip_knows_of_an_overflow(monkeypatch):
    """A chip that saturates: every gradient is finite, and its status register says otherwise."""
    monkeypatch.setattr("twins_lib.training.engine.amp.all_finite", lambda gradients: Tensor(False))
    model, step = linear_step([1.0, 1.0], scaled=True, mode="pynative")
    norm = step([(np.ones((2, 2), np.float32),)], 0.1)[2]
    assert np.isfinite(norm) and (model.weight.asnumpy() == 1).all() and step.scaler.scale_value.asnumpy() == 2 ** 15


def test_arrays_of_any_layout_reach_the_step_unchanged():
    rows = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    frozen = rows.copy()
    frozen.flags.writeable = False
    results = []
    for array in (rows, frozen, np.asfortranarray(rows), np.repeat(rows, 2, axis=0)[::2]):
        model, step = linear_step([1, -2, 3], mode="pynative")
        results.append((step([(array,)], 0.1), model.weight.asnumpy().tolist()))
    assert results == results[:1] * 4


def test_a_process_that_was_asked_to_stop_says_so():
    _, step = linear_step([1.0], mode="pynative")
    assert [step([(np.ones((2, 1), np.float32),)], 0.1, stop)[1] for stop in (False, True)] == [False, True]


# ------------------------------------------------------------------------------------------ averaged weights

@pytest.mark.parametrize("mode", ["pynative", "graph"])
@pytest.mark.parametrize("scaled", [False, True])
def test_average_follows_the_formula_and_leaves_out_a_step_that_overflows(mode, scaled):
    rng = np.random.default_rng(0)
    model, step = linear_step([1, -2, 3], mode=mode, scaled=scaled, ema=0.8)
    expected = model.weight.asnumpy().astype(np.float64)
    for number in range(6):
        rows = rng.normal(size=(2, 3)).astype(np.float32)
        before = model.weight.asnumpy().copy()
        lost = scaled and number == 3
        step([(np.full((2, 3), 1e34, np.float32) if lost else rows,)], 0.1)  # 1e34 · 65536 is beyond float32
        assert np.array_equal(model.weight.asnumpy(), before) == lost
        if not lost:
            expected = 0.8 * expected + 0.2 * model.weight.asnumpy()
        assert np.allclose(step.averages[0].asnumpy(), expected, atol=1e-6)
        trained = model.weight.asnumpy().copy()
        with step.averaged():
            assert np.allclose(model.weight.asnumpy(), expected, atol=1e-6)
        assert np.array_equal(model.weight.asnumpy(), trained)
    assert np.abs(expected - trained).max() > 0.05


def test_an_average_is_evaluated_and_saved_and_disturbs_nothing(undisturbed, tmp_path):
    task = make_task()
    history = fit(task, make_config(tmp_path, ema=0.9))
    assert same(weights(task), undisturbed[2])  # what is trained is the same to the bit
    arrays, _ = read_checkpoint(sorted((tmp_path / "checkpoints").iterdir())[-1])
    plain, _ = read_checkpoint(sorted((undisturbed[3] / "checkpoints").iterdir())[-1])
    assert arrays.keys() - plain.keys() == {"average.first", "average.last"}
    assert all(np.array_equal(arrays[name], plain[name]) for name in plain)
    load_weights(task.model, sorted((tmp_path / "checkpoints").iterdir())[-1])
    assert same(weights(task), {name: arrays["average." + name] for name in ("first", "last")})
    figures = task.validate(lambda: False)
    assert figures == {key: history[-1][key] for key in figures} != {key: undisturbed[1][-1][key] for key in figures}
    best = max(history, key=lambda line: line["test_acc1"])
    load_weights(task.model, tmp_path / "best.ckpt")
    assert task.validate(lambda: False)["test_acc1"] == best["test_acc1"]


def test_a_resumed_run_has_the_same_average(tmp_path):
    config = make_config(tmp_path / "whole", ema=0.9)
    fit(make_task(), config)
    for place in ((1, 2), (0, "validate")):
        stopped = make_config(tmp_path / str(place[1]), ema=0.9)
        fit(make_task(at={place: lambda: os.kill(os.getpid(), signal.SIGTERM)}), stopped)
        fit(make_task(seed=5), stopped, resume=True)
        one, other = (sorted(Path(run.output, "checkpoints").iterdir())[-1] for run in (config, stopped))
        assert one.name == other.name == "epoch-0003-step-000000.safetensors"
        assert same(read_checkpoint(one)[0], read_checkpoint(other)[0]) and "average.first" in read_checkpoint(one)[0]


# --------------------------------------------------------------------------------------------------- metrics

def test_evaluation_counts_each_valid_image_once():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(23, 8)).astype(np.float32), rng.integers(8, size=23)
    valid = rng.random(23) < 0.7
    top1 = top5 = loss = 0
    for row, label in zip(logits[valid].astype(float), labels[valid]):
        better = sum(x > row[label] for x in row)
        top1, top5 = top1 + (better < 1), top5 + (better < 5)
        loss -= np.log(np.exp(row[label]) / np.exp(row).sum())
    batches = [(logits[i:i + 5], labels[i:i + 5], valid[i:i + 5]) for i in range(0, 23, 5)]
    n = valid.sum()
    assert evaluate(lambda x: x, batches) == pytest.approx(
        {"test_loss": loss / n, "test_acc1": 100 * top1 / n, "test_acc5": 100 * top5 / n, "test_images": n}, rel=1e-6)


def test_evaluation_of_equal_logits_is_chance_and_of_nothing_an_error():
    flat = [(np.zeros((10, 10), np.float32), np.arange(10), np.ones(10, bool))]
    assert evaluate(lambda x: x, flat)["test_acc1"] == 10
    with pytest.raises(RunError, match="no image"):
        evaluate(lambda x: x, [(flat[0][0], flat[0][1], np.zeros(10, bool))])


# ------------------------------------------------------------------------------------------ what a run leaves

def test_a_run_leaves_log_curve_best_and_the_last_checkpoints(undisturbed):
    before, history, after, output = undisturbed
    assert not same(before, after)
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert lines == history and [line["epoch"] for line in lines] == [0, 1, 2]
    assert {"train_lr", "train_loss", "test_loss", "test_acc1", "test_acc5", "epoch", "n_parameters"} <= lines[0].keys()
    assert lines[2]["train_loss"] < lines[0]["train_loss"]
    assert sorted(p.name for p in (output / "checkpoints").iterdir()) == [
        "epoch-0002-step-000000.safetensors", "epoch-0003-step-000000.safetensors"]
    assert (output / "curve.png").read_bytes()[:4] == b"\x89PNG"
    card = json.loads((output / "best.json").read_text())
    assert card["test_acc1"] == max(line["test_acc1"] for line in lines)


def test_a_second_run_does_not_overwrite_the_first(undisturbed):
    with pytest.raises(RunError, match="holds a run already; go on with --resume"):
        fit(make_task(), make_config(undisturbed[3]))


def test_resuming_a_finished_run_changes_nothing(undisturbed):
    task = make_task(seed=5)
    assert fit(task, make_config(undisturbed[3]), resume=True) == undisturbed[1]
    assert same(weights(task), undisturbed[2])


# ------------------------------------------------------------------------------------------- what a run says

class Terminal(io.StringIO):
    def isatty(self):
        return True


def said_while_training(caplog, monkeypatch, output, stderr):
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr("twins_lib.training.engine.LOG_SECONDS", 0)
    with caplog.at_level(logging.INFO, "twins_lib"):
        fit(make_task(), make_config(output))
    return [record.getMessage() for record in caplog.records if " step " in record.getMessage()]


def test_without_a_terminal_steps_are_log_lines(caplog, monkeypatch, tmp_path):
    stderr = io.StringIO()
    lines = said_while_training(caplog, monkeypatch, tmp_path, stderr)
    # The first step compiles and the last one is told with the epoch, so neither has a line.
    assert [line.split(" loss ")[0] for line in lines] == [
        f"epoch {epoch}/3 step {step}/{STEPS}" for epoch in range(3) for step in range(2, STEPS)]
    form = re.compile(r".* loss \d+\.\d{4} lr 5\.00e-02 norm \d+\.\d\d \d+\.\d img/s, \d+ s left")
    assert all(form.fullmatch(line) for line in lines)
    assert not stderr.getvalue()


def test_on_a_terminal_steps_are_a_progress_bar(caplog, monkeypatch, tmp_path):
    stderr = Terminal()
    assert not said_while_training(caplog, monkeypatch, tmp_path, stderr)
    shown = stderr.getvalue()
    assert all(f"epoch {epoch}/3" in shown for epoch in range(3)) and f"/{4 * STEPS}" in shown and "img/s" in shown


# -------------------------------------------------------------------------------------------- another attempt

@contextlib.contextmanager
def small_files(size):
    """No file can grow beyond `size` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_refused_or_failed_resume_leaves_the_settings_as_they_were(undisturbed, tmp_path):
    shutil.copytree(undisturbed[3], tmp_path / "run")
    saved = (tmp_path / "run" / "config.yaml").read_bytes()
    with pytest.raises(RunError, match="another network"):
        fit(make_task(hidden=9), make_config(tmp_path / "run", seed=7), resume=True)
    with small_files(100), pytest.raises(CannotWrite, match=r"config.yaml: cannot be written \(File too large\)"):
        fit(make_task(), make_config(tmp_path / "run", seed=7), resume=True)
    assert (tmp_path / "run" / "config.yaml").read_bytes() == saved
    assert not list((tmp_path / "run").glob(".*"))


def test_settings_that_changed_are_told_when_a_run_is_resumed(undisturbed, tmp_path, caplog):
    shutil.copytree(undisturbed[3], tmp_path / "run")
    config = make_config(undisturbed[3])
    (tmp_path / "run" / "config.yaml").write_text(as_yaml(config))
    with caplog.at_level(logging.INFO, "twins_lib"):
        fit(make_task(), make_config(tmp_path / "run", seed=7, clip_norm=1.0, workers=3, save_steps=1), resume=True)
        told = [record.getMessage() for record in caplog.records]
        fit(make_task(), make_config(tmp_path / "run", seed=7, clip_norm=1.0), resume=True)
        silent = [record.getMessage() for record in caplog.records][len(told):]
        (tmp_path / "run" / "config.yaml").unlink()
        fit(make_task(), make_config(tmp_path / "run"), resume=True)
    assert told[0].endswith(f"going on in epoch 3 after step 0, process {os.getpid()}")
    assert told[1:] == ["changed since the last start: clip_norm 5.0 -> 1.0, seed 0 -> 7"] and len(silent) == 1
    assert "whether settings have changed cannot be told" in caplog.records[-1].getMessage()


def test_a_file_that_no_run_saved_is_named_on_resume(undisturbed, tmp_path):
    shutil.copytree(undisturbed[3], tmp_path / "run")
    foreign = tmp_path / "run" / "checkpoints" / "epoch-9999-step-000000.safetensors"
    save_file({"first": np.zeros(3, np.float32)}, foreign)
    with pytest.raises(RunError, match="epoch-9999.*: holds no place in a run, so no training saved it; take it out"):
        fit(make_task(), make_config(tmp_path / "run"), resume=True)


def test_a_curve_of_figures_that_are_missing_is_drawn(tmp_path):
    draw_curve([{"epoch": 0, "train_loss": 1.0}], tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_without_matplotlib_a_run_ends_well_and_says_that_no_curve_is_drawn(undisturbed, tmp_path, monkeypatch, caplog):
    shutil.copytree(undisturbed[3], tmp_path / "run")
    (tmp_path / "run" / "curve.png").unlink()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with caplog.at_level(logging.INFO, "twins_lib"):
        assert fit(make_task(), make_config(tmp_path / "run"), resume=True) == undisturbed[1]
    assert caplog.records[-1].getMessage().startswith("curve.png is not drawn, as matplotlib is not installed")


# --------------------------------------------------------------------------------------- interrupted, resumed

def resumed_like(undisturbed, output):
    """Resume in `output`; the last weights and the log must be those of the run that nothing happened to."""
    task = make_task(seed=5)  # other fresh weights: all must come from the checkpoint
    history = fit(task, make_config(output), resume=True)
    timeless = [[{k: v for k, v in line.items() if "second" not in k} for line in h] for h in (history, undisturbed[1])]
    return same(weights(task), undisturbed[2]) and timeless[0] == timeless[1]


# In one go, because each is a process of its own that takes seconds to start.
KILLS = {"in an epoch": ["--kill-at", "1", "3"], "in a checkpoint": ["--kill-in-write", "3"],
         "before a rename": ["--kill-before-rename", "3"]}


def test_killed_and_resumed_ends_with_the_same_weights(undisturbed, tmp_path):
    script = Path(__file__).parents[1] / "toy_run.py"
    folders = {how: tmp_path / how.replace(" ", "_") for how in KILLS}
    running = {how: subprocess.Popen([sys.executable, script, folders[how], *KILLS[how]],
                                     env={**os.environ, "PYTHONPATH": str(script.parent.parent)}) for how in KILLS}
    for how, process in running.items():
        assert process.wait(120) == -signal.SIGKILL, how
    assert list((folders["in a checkpoint"] / "checkpoints").glob(".*.part"))  # half-written, and not in the way
    for how in KILLS:
        left = sorted((folders[how] / "checkpoints").glob("epoch*"))
        assert left and left[-1].name < "epoch-0003", how
        assert resumed_like(undisturbed, folders[how]), how


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_saves_and_returns(undisturbed, tmp_path, number):
    before = signal.getsignal(number)
    history = fit(make_task(at={(1, 2): lambda: os.kill(os.getpid(), number)}), make_config(tmp_path))
    assert len(history) == 1 and signal.getsignal(number) is before
    assert sorted((tmp_path / "checkpoints").iterdir())[-1].name == "epoch-0001-step-000003.safetensors"
    assert resumed_like(undisturbed, tmp_path)


def test_asked_to_stop_while_evaluating(undisturbed, tmp_path):
    history = fit(make_task(at={(0, "validate"): lambda: os.kill(os.getpid(), signal.SIGTERM)}), make_config(tmp_path))
    assert not history
    assert resumed_like(undisturbed, tmp_path)


def fail(kind):
    raise kind("no such luck")


@pytest.mark.parametrize("kind", [TypeError, RunError, OSError, KeyboardInterrupt])
def test_an_epoch_that_is_trained_is_saved_before_its_evaluation_can_fail(undisturbed, tmp_path, kind):
    with pytest.raises(kind, match="no such luck"):
        fit(make_task(at={(1, "validate"): lambda: fail(kind)}), make_config(tmp_path))
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == [
        "epoch-0001-step-000000.safetensors", f"epoch-0001-step-{STEPS:06d}.safetensors"]
    assert resumed_like(undisturbed, tmp_path)


@pytest.mark.parametrize("blocked", ["best.ckpt", "best.json", "log.jsonl", "curve.png"])
def test_what_cannot_be_written_after_an_epoch_costs_no_step(undisturbed, tmp_path, blocked):
    (tmp_path / blocked / "in the way").mkdir(parents=True)
    with pytest.raises((OSError, RunError), match=f"{blocked}: cannot be written.*untouched: make room, or choose"):
        fit(make_task(), make_config(tmp_path))
    assert sorted((tmp_path / "checkpoints").iterdir())[-1].name == (
        "epoch-0003-step-000000.safetensors" if blocked == "curve.png" else f"epoch-0000-step-{STEPS:06d}.safetensors")
    shutil.rmtree(tmp_path / blocked)
    assert resumed_like(undisturbed, tmp_path)


def test_a_place_below_a_file_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(CannotWrite, match=r"file/run/config.yaml: cannot be written \(Not a directory\); what was"):
        fit(make_task(), make_config(tmp_path / "file/run"))


def test_full_disk_is_one_sentence_and_loses_nothing(undisturbed, tmp_path):
    fit(make_task(at={(1, 2): lambda: os.kill(os.getpid(), signal.SIGTERM)}), make_config(tmp_path))
    saved = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))  # no file can grow beyond 600 bytes
    try:
        with pytest.raises(CannotWrite, match="cannot be written.*what was saved before is untouched: make room"):
            fit(make_task(), make_config(tmp_path), resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert all(path.read_bytes() == content for path, content in saved.items() if "checkpoints" in str(path))
    assert resumed_like(undisturbed, tmp_path)


def test_full_disk_within_an_epoch(tmp_path):
    config = make_config(tmp_path, save_steps=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))

    try:
        with pytest.raises(CannotWrite, match=r"epoch-0000-step-000003.*File too large"):
            fit(make_task(at={(0, 2): fill}), config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == [
        "epoch-0000-step-000001.safetensors", "epoch-0000-step-000002.safetensors"]


def test_loss_that_is_not_finite_stops_the_run_and_names_the_step(tmp_path):
    task = make_task(poison=(1, 2))
    with pytest.raises(NonFiniteLoss, match=f"epoch 1 step 3 of {STEPS}: loss nan"):
        fit(task, make_config(tmp_path))
    arrays, _ = read_checkpoint(sorted((tmp_path / "checkpoints").iterdir())[-1])
    assert all(np.isfinite(array).all() for array in arrays.values())


# ------------------------------------------------------------------------------------------------ checkpoints

def test_checkpoint_of_another_network_changes_nothing(undisturbed):
    path = undisturbed[3] / "checkpoints" / "epoch-0003-step-000000.safetensors"
    other = make_task(hidden=9)
    before = weights(other)
    with pytest.raises(RunError, match=r"another network .*first is \(7, 4\) there and \(9, 4\) here"):
        Checkpoints(path.parent, [p for p in other.model.get_parameters()]).load(path)
    with pytest.raises(ValueError, match=r"not the weights of this network; 2 of another shape: first \(7, 4\)"):
        load_weights(other.model, path)
    assert same(before, weights(other))
    task = make_task(seed=5)
    load_weights(task.model, path)
    assert same(weights(task), undisturbed[2])


def test_half_written_checkpoint_is_named(undisturbed, tmp_path):
    whole = (undisturbed[3] / "checkpoints" / "epoch-0003-step-000000.safetensors").read_bytes()
    path = tmp_path / "checkpoints" / "epoch-0003-step-000000.safetensors"
    path.parent.mkdir()
    for size in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(RunError, match="not a whole checkpoint .*remove it to go on from the one before") as fault:
            fit(make_task(), make_config(tmp_path), resume=True)
        assert str(path) in str(fault.value) and "\n" not in str(fault.value)


def test_another_number_of_steps_is_refused_within_an_epoch(tmp_path):
    fit(make_task(at={(1, 2): lambda: os.kill(os.getpid(), signal.SIGTERM)}), make_config(tmp_path))
    task = make_task()
    task.steps += 1
    with pytest.raises(RunError, match=f"within an epoch of {STEPS} steps, which now has {STEPS + 1}"):
        fit(task, make_config(tmp_path), resume=True)


def test_checkpoint_keeps_every_bit(tmp_path):
    values = np.array([0.1, -0.0, 1e-45, np.pi], np.float32)
    saved = ms.Parameter(Tensor(values), name="a"), ms.Parameter(Tensor([7], ms.int32), name="b")
    store = Checkpoints(tmp_path, saved, keep=1)
    for step in range(3):
        store.save(Progress(4, step, 0.1, [{"epoch": 3}]), {"steps": 9})
    fresh = ms.Parameter(Tensor(np.zeros(4, np.float32)), name="a"), ms.Parameter(Tensor([0], ms.int32), name="b")
    (path,) = store.all()
    assert Checkpoints(tmp_path, fresh).load(path) == (Progress(4, 2, 0.1, [{"epoch": 3}]), {"steps": 9})
    assert fresh[0].asnumpy().tobytes() == values.tobytes() and fresh[1].asnumpy() == [7]
