"""The gates of the first day on tiny images, each with a planted fault that it must find."""

import json

import numpy as np
import pytest
from small_images import TINY, write_config, write_images

from twins_lib import VARIANTS
from twins_lib.training import firstday
from twins_lib.training.config import load_config
from twins_lib.training.errors import run


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setitem(VARIANTS, "twins_svt_tiny", TINY)
    write_images(tmp_path / "data")
    return write_config(tmp_path)


def verdicts(path, *words, **options):
    table = firstday.pass_through(firstday.Bench(load_config(path, words), seconds=0.1, **options))
    return {name: (verdict, sentence) for name, verdict, sentence in table}


def test_a_sound_machine_passes_what_can_be_tried(config):
    table = verdicts(config)
    assert list(table) == ["versions", "device", "one_batch", "overfit", "speed", "memory", "feed", "learning"]
    assert {name for name, (verdict, _) in table.items() if verdict == "not tried"} == {"memory", "learning"}
    assert {name for name, (verdict, _) in table.items() if verdict == "FAILED"} <= {"feed"}  # both speeds are tiny
    assert "ln(classes) 1.10" in table["one_batch"][1]


@pytest.mark.parametrize("gate, plant, says", [
    ("versions", ("ms.__version__", "2.8.0"), "MindSpore 2.8.0, written for 2.10.0; install MindSpore 2.10.0"),
    ("one_batch", ("Bench.first_loss", 9.0), "loss 9.00, should be near 1.10; the network or the labels"),
    ("overfit", ("STEPS", 1), "in 1 updates; gradients do not reach"),
    ("feed", ("throughput", lambda *_: 0.1), "0 images/s made"),
])
def test_a_planted_fault_is_found(config, monkeypatch, gate, plant, says):
    monkeypatch.setattr(f"twins_lib.training.firstday.{plant[0]}", plant[1])
    verdict, sentence = verdicts(config)[gate]
    assert verdict == "FAILED" and says in sentence


def test_a_device_that_is_not_here_and_a_folder_without_images(config):
    table = verdicts(config, "device=Ascend", "data=nowhere")
    assert table["device"][0] == "FAILED" and "MindSpore finds none here" in table["device"][1]
    assert table["one_batch"] == ("not tried", "no images in nowhere; give data=...")


def test_memory_and_speed_of_a_device_are_judged(config, monkeypatch):
    bench = firstday.Bench(load_config(config, ["device=Ascend"]))
    bench.speed = 100
    with pytest.raises(firstday.Failed, match="100.0 images/s, less than half of the 253"):
        firstday.speed(bench)
    monkeypatch.setattr(firstday.ms.runtime, "max_memory_allocated", lambda: 31 * 2**30)
    with pytest.raises(firstday.Failed, match="31.0 GiB of 32"):
        firstday.memory(bench)


@pytest.mark.parametrize("loss, top1, fails", [(6.6, 6.0, False), (6.9, 0.3, True), (6.6, 0.3, True)])
def test_the_official_log_is_the_last_gate(tmp_path, loss, top1, fails):
    (tmp_path / "log.jsonl").write_text(json.dumps({"epoch": 2, "train_loss": loss, "test_acc1": top1}) + "\n")
    bench = firstday.Bench(load_config("twins_svt_small", [f"output={tmp_path}"]))
    if fails:
        with pytest.raises(firstday.Failed, match="epoch 2: train loss"):
            firstday.learning(bench)
    else:
        assert firstday.learning(bench) == "as the official log at epochs 2"


def test_entropy_is_the_least_loss():
    targets = np.array([[1.0, 0.0], [0.5, 0.5]], np.float32)
    assert firstday._entropy([(None, targets)]) == pytest.approx(np.log(2) / 2)


def test_the_command_says_where_to_stop(config, capfd, monkeypatch):
    monkeypatch.setattr(firstday, "GATES", {firstday.versions: "install it"})
    monkeypatch.setattr(firstday.ms, "__version__", "2.8.0")
    with pytest.raises(SystemExit) as end:
        run(firstday.main, ["--config", str(config), "--devices", "2"])
    said = capfd.readouterr()
    assert end.value.code == 2 and "versions   FAILED" in said.out and "stop at the gate versions" in said.err
