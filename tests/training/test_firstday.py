"""The gates of the first day on tiny images, each with a planted fault that it must find."""

import json
import re
import sys

import numpy as np
import pytest
from small_images import write_config, write_images
from test_distributed import alive

from twins_lib.training import firstday, trials
from twins_lib.training.config import load_config
from twins_lib.training.errors import RunError, run

pytestmark = pytest.mark.usefixtures("tiny")

linux = pytest.mark.skipif(sys.platform != "linux", reason="MindSpore's processes on CPUs meet on Linux only")

# What a user calls, with a network that is known here only, and a fault.
PROGRAM = """\
import os
from small_images import TINY
from twins_lib import VARIANTS, train
from twins_lib.training import distributed, tasks
from twins_lib.training.errors import run
VARIANTS["twins_svt_tiny"] = TINY
{planted}
run(train.main)
"""
UNKEYED = "tasks.keyed = lambda *key: tasks.np.random.default_rng()"
APART = "train.start = lambda device: (0, 1)"
# Then nobody comes to the scheduler, which once kept msrun waiting for ten minutes.
ALL_ARE_ILL = """\
distributed.PATIENCE = 5
if os.environ["MS_ROLE"] != "MS_SCHED":
    raise ValueError("no memory left")
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("firstday")
    write_images(root / "data")
    write_config(root)
    return root


@pytest.fixture(scope="module")
def seen(root, tiny):
    """What one process tells on this machine, and what two would tell that are sound."""
    alone = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "FEED_SECONDS", 0.1)
        trials.alone(load_config(root / "config.yaml"), lambda **facts: alone.update(facts))
    return alone, {"loss_together": alone["first_loss"], "speed_together": 1.7 * alone["images_per_second"],
                   "loss": 2.5, "resumed_loss": 2.5, "difference": 0.0}


def verdicts(config, alone, together):
    """{gate: (verdict, sentence)} of two devices that told so."""
    day = firstday.Day(config, 2)
    day.alone, day.together = (firstday.Facts(lambda tell, facts=facts: tell(**facts)) for facts in (alone, together))
    return {name: (verdict, sentence) for name, verdict, sentence in firstday.pass_through(day)}


def test_a_sound_machine_passes_what_can_be_tried(root, seen):
    alone, together = seen
    assert alone["images_made"] > 0 and alone["images_per_second"] > 0
    table = verdicts(load_config(root / "config.yaml"), {**alone, "images_made": 1e9}, together)
    assert list(table) == ["versions", "device", "one_batch", "overfit", "speed", "memory", "feed", "several", "resume",
                           "learning"]
    assert {name for name, (verdict, _) in table.items() if verdict == "FAILED"} == set()
    assert {name for name, (verdict, _) in table.items() if verdict == "not tried"} == {"memory", "learning"}
    assert "ln(classes) 1.10" in table["one_batch"][1] and "85% of 2 times one" in table["several"][1]


@pytest.mark.parametrize("gate, planted, says", [
    ("one_batch", {"first_loss": 9.0}, "loss 9.00, should be near 1.10, .*; the network or the labels"),
    ("one_batch", {"first_loss": float("nan")}, "loss nan, should be near"),
    ("overfit", {"last_loss": 1.09}, "in 20 updates; gradients do not reach"),
    ("feed", {"images_made": 0.1}, "0 images/s made, .* trained on; more workers"),
    ("several", {"loss_together": 2.2}, "loss 2.20, should be near 1.10"),  # a sum in the place of a mean
    ("resume", {"resumed_loss": 2.6}, "losses 2.500000, killed and resumed 2.600000; .*; do not start a run of days"),
    ("resume", {"difference": 1e-7}, "largest difference of a weight 1e-07; do not start"),
])
def test_a_planted_fault_is_found_and_nothing_tried_after_it(root, seen, gate, planted, says):
    sound = {**seen[0], "images_made": 1e9}, seen[1]
    alone, together = ({key: planted.get(key, value) for key, value in facts.items()} for facts in sound)
    assert_fails(verdicts(load_config(root / "config.yaml"), alone, together), gate, says)


def assert_fails(table, gate, says):
    assert table[gate][0] == "FAILED" and re.search(says, table[gate][1]), table[gate]
    later = list(table)[list(table).index(gate) + 1:]
    assert {table[name] for name in later} <= {("not tried", f"the gate {gate} comes before it")}


def test_another_mindspore_is_found(root, seen, monkeypatch):
    monkeypatch.setattr(firstday.ms, "__version__", "2.8.0")
    table = verdicts(load_config(root / "config.yaml"), *seen)
    assert_fails(table, "versions", "MindSpore 2.8.0, written for 2.10.0; install MindSpore 2.10.0")


def test_a_device_that_is_not_here_is_found(root):
    day = firstday.Day(load_config(root / "config.yaml", ["model=twins_svt_nano", "device=Ascend"]), 2)
    with pytest.raises(firstday.Failed, match="^device Ascend: MindSpore finds none here"):
        firstday.device(day)


def test_a_folder_without_images_is_not_tried(root, seen):
    table = verdicts(load_config(root / "config.yaml", ["data=nowhere"]), {"device": "CPU"}, {})
    for gate in ("one_batch", "overfit", "speed", "feed", "several", "resume"):
        assert table[gate] == ("not tried", "no images in nowhere; give data=...")


def test_a_trial_that_ends_early_fails_the_gate_that_it_did_not_reach(root, seen):
    def dies(tell):
        tell(device="CPU")
        raise RunError("the device is on fire")

    day = firstday.Day(load_config(root / "config.yaml"), 2)
    day.alone = firstday.Facts(dies)
    table = {name: (verdict, sentence) for name, verdict, sentence in firstday.pass_through(day)}
    assert table["device"][0] == "passed"
    assert_fails(table, "one_batch", "^the device is on fire; the network or the labels")


# ------------------------------------------------------------------------------------------- what a device would tell

@pytest.mark.parametrize("gate, planted, says", [
    (None, {}, None),
    ("speed", {"images_per_second": 100}, "100.0 images/s, less than half of 253: twins_svt_small on 8 devices 2026"),
    ("memory", {"peak_bytes": 31 * 2**30}, "^31.0 GiB of 32; 16.9 by the dry run, without .*; set accumulate=2$"),
    ("several", {"speed_together": 1000}, "1000.0 images/s, 42% of 8 times one, where PyTorch 1.8 had 85%; try two"),
])
def test_memory_and_speed_of_devices_are_judged(tmp_path, monkeypatch, gate, planted, says):
    (tmp_path / "train").mkdir()
    (tmp_path / "compiler").mkdir()
    (tmp_path / "compiler/version.info").write_text("Version=9.1.0\n")
    monkeypatch.setattr(firstday, "real_cann", lambda: tmp_path)
    told = {"device": "Ascend", "classes": 1000, "first_loss": 6.91, "last_loss": 5.0, "least_loss": 1.0,
            "images_per_second": 300, "peak_bytes": 18 * 2**30, "images_made": 1760, "loss_together": 6.9,
            "speed_together": 2026, "loss": 138.0, "resumed_loss": 138.0, "difference": 0, **planted}
    day = firstday.Day(load_config("twins_svt_small", [f"data={tmp_path}", f"output={tmp_path}"]), 8)
    day.alone = day.together = firstday.Facts(lambda tell: tell(**told))
    table = {name: (verdict, sentence) for name, verdict, sentence in firstday.pass_through(day)}
    if gate:
        assert_fails(table, gate, says)
    else:
        assert {verdict for verdict, _ in list(table.values())[:-1]} == {"passed"}
        assert table["memory"][1] == "18.0 GiB of 32; 16.9 by the dry run, without the kernels' workspace"


def test_cann_without_a_version_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(firstday, "real_cann", lambda: tmp_path)
    with pytest.raises(firstday.Failed, match="compiler/version.info: no such file, so CANN's version is not known"):
        firstday.versions(firstday.Day(load_config("twins_svt_small")))


@pytest.mark.parametrize("loss, top1, fails", [(6.6, 6.0, False), (6.9, 0.3, True), (6.6, 0.3, True)])
def test_the_official_log_is_the_last_gate(tmp_path, loss, top1, fails):
    (tmp_path / "log.jsonl").write_text(json.dumps({"epoch": 2, "train_loss": loss, "test_acc1": top1}) + "\n")
    day = firstday.Day(load_config("twins_svt_small", [f"output={tmp_path}"]))
    if fails:
        with pytest.raises(firstday.Failed, match="epoch 2: train loss"):
            firstday.learning(day)
    else:
        assert firstday.learning(day) == "as the official log at epochs 2"


def test_entropy_is_the_least_loss():
    targets = np.array([[1.0, 0.0], [0.5, 0.5]], np.float32)
    assert trials.entropy(targets) == pytest.approx(np.log(2) / 2)


# ------------------------------------------------------------------------------------------- two processes on this CPU

@pytest.fixture
def two(root, tmp_path, monkeypatch):
    """`trials.together` with two processes, a fault planted in each; returns the facts."""
    monkeypatch.setenv("PYTHONPATH", f"{trials.LIBRARY}/tests")
    monkeypatch.setenv("MS_NODE_TIMEOUT", "10")  # silence after which a process is given up; else 30 s
    for end in ("LOWER", "UPPER"):  # workers that knock before the scheduler listens knock again after 1 s
        monkeypatch.setenv(f"MS_RETRY_INTERVAL_{end}", "1")

    def two(planted=""):
        (tmp_path / "program.py").write_text(PROGRAM.replace("{planted}", planted))
        config, facts = load_config(root / "config.yaml", [f"output={tmp_path / 'run'}"]), {}
        try:
            trials.together(config, 2, lambda **known: facts.update(known), [str(tmp_path / "program.py")])
        except RunError as fault:
            facts["fault"] = str(fault)
        return facts

    yield two
    assert not alive(str(tmp_path))  # whatever a run came to, none of its processes is left


@linux
def test_two_processes_train_together_are_killed_and_resumed(two, tmp_path, seen):
    facts = two()
    assert facts["loss_together"] == pytest.approx(seen[0]["first_loss"], rel=1e-3)
    assert facts["loss"] == facts["resumed_loss"] and facts["difference"] == 0 and facts["speed_together"] > 0
    assert not (tmp_path / "run").exists()


@linux
def test_draws_that_are_not_keyed_are_found_by_resuming(two):
    facts = two(UNKEYED)
    assert facts["difference"] > 0 and facts["loss"] != facts["resumed_loss"]


@linux
@pytest.mark.parametrize("planted, says", [
    (APART, "^2 processes train for themselves instead of all together .*; see .*/firstday/logs$"),
    (ALL_ARE_ILL, r"the run ended before epoch-0000-step-000002.safetensors, .* \(.*no memory left\); see .*/logs$"),
])
def test_processes_that_do_not_train_together_are_found(two, tmp_path, planted, says):
    facts = two(planted)
    assert re.search(says, facts["fault"]) and "loss" not in facts
    assert (tmp_path / "run/firstday/logs").is_dir()


def test_an_epoch_that_is_too_short_is_told(root):
    with pytest.raises(RunError, match="12 training images are 2 updates of 6, and the trial needs 3 .* smaller"):
        trials.together(load_config(root / "config.yaml", ["batch_size=6"]), 2, None)


# ---------------------------------------------------------------------------------------------------------- the command

def test_the_command_says_where_to_stop(root, capfd):
    """The whole table as a user gets it; the process of the device does not know this network."""
    with pytest.raises(SystemExit) as end:
        run(firstday.main, ["--config", str(root / "config.yaml"), "--devices", "2"])
    said = capfd.readouterr()
    rows = [re.split(r" {2,}", line, maxsplit=2) for line in said.out.splitlines()]
    assert end.value.code == 2 and [row[0] for row in rows] == [gate.__name__ for gate in firstday.GATES]
    assert "error: stop at the gate device: what comes after it says nothing" in said.err


def test_one_gate_can_be_asked_while_a_run_goes_on(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(firstday, "alone_in_a_process", None)  # no device is touched
    line = {"epoch": 2, "train_loss": 6.6, "test_acc1": 6.0}
    (tmp_path / "log.jsonl").write_text(json.dumps(line) + "\n")
    firstday.main(["--config", "twins_svt_small", f"output={tmp_path}", "--only", "learning"])
    assert capfd.readouterr().out == "learning   passed     as the official log at epochs 2\n"


@pytest.mark.parametrize("words, role, says", [
    (["--config", "segmentation_mini"], None, "segmentation_mini: is no classification, and the gates know"),
    (["--config", "twins_svt_small", "--devices", "0"], None, "--devices: must be at least 1"),
    (["--config", "twins_svt_small", "--devices", "7"], None, "batch_size 2048: must be a multiple of 14"),
    (["--config", "twins_svt_small"], "MS_WORKER", "the gates start the processes themselves; call this"),
])
def test_what_cannot_be_is_told_in_a_sentence(capfd, monkeypatch, words, role, says):
    monkeypatch.setattr(firstday, "GATES", {firstday.device: ""})
    if role:
        monkeypatch.setenv("MS_ROLE", role)
    with pytest.raises(SystemExit) as end:
        run(firstday.main, words)
    assert end.value.code == 2 and says in capfd.readouterr().err


@pytest.mark.parametrize("text", ["no log", '{"epoch": 2}', "[2]"])
def test_a_file_that_is_no_log_is_named(tmp_path, text):
    (tmp_path / "log.jsonl").write_text(text)
    with pytest.raises(firstday.Failed, match="log.jsonl: is not the log of a run"):
        firstday.learning(firstday.Day(load_config("twins_svt_small", [f"output={tmp_path}"])))


def test_a_weight_that_is_no_number_is_no_difference_of_nothing(monkeypatch):
    monkeypatch.setattr(trials, "read_checkpoint", lambda arrays: (arrays, {}))
    sound = {"a": np.ones(2), "b": np.zeros(2)}
    assert trials._difference(sound, {"a": np.ones(2), "b": np.array([0, 0.5])}) == 0.5
    assert np.isnan(trials._difference(sound, {"a": np.ones(2), "b": np.array([0, np.nan])}))
