"""The programs as a user calls them: what they leave, and one sentence for every fault."""

import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from small_images import write_config, write_images

from twins_lib import create_model, load_weights, save_weights
from twins_lib import eval as eval_program
from twins_lib import train as train_program
from twins_lib.training import tasks
from twins_lib.training.batches import TrainSource
from twins_lib.training.images import ImageFolder
from twins_lib.training.transforms import Augmentation
from twins_lib.training.checkpoints import read_checkpoint
from twins_lib.training.errors import run
from twins_lib.training.names import check_names, names_kept_with
from twins_lib.training.tasks import local_positions
from twins_lib.weights import torch_name

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Images, a config and the run it describes, compiled as on a device."""
    root = tmp_path_factory.mktemp("train")
    write_images(root / "data")
    config = write_config(root, mode="graph")
    run(train_program.main, ["--config", str(config)])
    return root


def fails(capfd, program, *words):
    """Exit code and the last line of what a program says; there must be no traceback."""
    with pytest.raises(SystemExit) as end:
        run(program.main, [str(word) for word in words])
    told = capfd.readouterr().err
    assert "Traceback" not in told
    return end.value.code, told.strip().splitlines()[-1]


def arrays_of(root):
    return read_checkpoint(sorted((root / "run" / "checkpoints").iterdir())[-1])[0]


# The program as `python -m twins_lib.train` runs it, but killed before batch 1 of epoch 1.
KILLED = """\
import os, signal
from small_images import TINY
from twins_lib import VARIANTS, train
from twins_lib.training import tasks
from twins_lib.training.errors import run
VARIANTS["twins_svt_tiny"] = TINY
original = tasks.keyed
def keyed(*key):
    if key == (tasks.PATHS, 0, 1, 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*key)
tasks.keyed = keyed
run(train.main)
"""


def test_killed_and_resumed_a_compiled_run_ends_with_the_same_bits(root, tmp_path):
    (tmp_path / "data").symlink_to(root / "data")
    (tmp_path / "killed.py").write_text(KILLED)
    config = str(write_config(tmp_path, mode="graph", save_steps=1))
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests.parent), str(tests)])}
    process = subprocess.run([sys.executable, tmp_path / "killed.py", "--config", config], env=environment)
    assert process.returncode == -signal.SIGKILL
    assert sorted((tmp_path / "run" / "checkpoints").iterdir())[-1].name == "epoch-0001-step-000001.safetensors"
    run(train_program.main, ["--resume", "--config", config])
    undisturbed, resumed = arrays_of(root), arrays_of(tmp_path)
    assert undisturbed.keys() == resumed.keys()
    assert all(np.array_equal(undisturbed[name], resumed[name]) for name in undisturbed)


def test_stopped_and_resumed_ends_with_the_same_weights_in_pynative_mode_as_well(root, tmp_path, monkeypatch):
    (tmp_path / "data").symlink_to(root / "data")
    config = str(write_config(tmp_path))

    def stop_in_the_second_epoch(*key, original=tasks.keyed):
        if key == (tasks.PATHS, 0, 1, 1):
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*key)

    monkeypatch.setattr("twins_lib.training.tasks.keyed", stop_in_the_second_epoch)
    run(train_program.main, ["--config", config])
    monkeypatch.undo()
    assert sorted((tmp_path / "run" / "checkpoints").iterdir())[-1].name == "epoch-0001-step-000002.safetensors"
    run(train_program.main, ["--resume", "--config", config])
    compiled, interrupted = arrays_of(root), arrays_of(tmp_path)
    assert compiled.keys() == interrupted.keys()
    for name in compiled:  # compiled and not, the arithmetic is the same but for the order of sums
        assert np.allclose(compiled[name], interrupted[name], atol=2e-6), name
    run(train_program.main, ["--config", config, f"output={tmp_path / 'whole'}"])
    (tmp_path / "whole").rename(tmp_path / "moved")
    (tmp_path / "run").rename(tmp_path / "first")
    (tmp_path / "moved").rename(tmp_path / "run")
    whole = arrays_of(tmp_path)
    assert all(np.array_equal(whole[name], interrupted[name]) for name in whole)


def test_evaluation_agrees_with_the_log_for_every_kind_of_weights(root, tmp_path, capfd):
    config = str(root / "config.yaml")
    best = root / "run" / "best.ckpt"
    model = create_model("twins_svt_tiny", 3)
    load_weights(model, best)
    save_file({torch_name(p.name): p.asnumpy() for p in model.get_parameters()}, tmp_path / "torch.safetensors")
    capfd.readouterr()
    said = []
    for checkpoint in (best, tmp_path / "torch.safetensors"):
        run(eval_program.main, ["--config", config, "--checkpoint", str(checkpoint), "mode=pynative"])
        said.append(capfd.readouterr().out)
    card = json.loads((root / "run" / "best.json").read_text())
    assert said[0] == said[1].splitlines(True)[-1]
    assert f"top-1 {card['test_acc1']:.3f}  top-5 100.000  loss {card['test_loss']:.3f}  on 9 images" in said[0]
    last = sorted((root / "run" / "checkpoints").iterdir())[-1]
    run(eval_program.main, ["--config", config, "--checkpoint", str(last), "mode=pynative"])
    lines = (root / "run" / "log.jsonl").read_text().splitlines()
    assert f"loss {json.loads(lines[-1])['test_loss']:.3f}" in capfd.readouterr().out


SCENES = ("task=segmentation", "channels=8", "head_channels=8")


@pytest.mark.parametrize("words, score", [((), "test_acc1"), (SCENES, "test_miou")])
def test_averaged_weights_are_those_of_the_log_and_of_best(root, tmp_path, capfd, words, score):
    if words:
        make = Path(__file__).parents[2] / "data_scripts" / "make_scenes.py"
        numbers = ["--train", "8", "--val", "4", "--size", "32"]
        subprocess.run([sys.executable, make, "--folder", tmp_path / "data", *numbers], check=True)
    else:
        (tmp_path / "data").symlink_to(root / "data")
    config = str(write_config(tmp_path, mode="graph", ema=0.5, peak_lr=3e-3, warmup_lr=3e-3))
    run(train_program.main, ["--config", config, *words])
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert len({line["test_loss"] for line in lines}) == 3
    last = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    # The last of equally good epochs is the one in best.ckpt.
    best = max(lines, key=lambda line: (line[score], line["epoch"]))
    for checkpoint, line in ((tmp_path / "run" / "best.ckpt", best), (last, lines[-1])):
        capfd.readouterr()
        run(eval_program.main, ["--config", config, "--checkpoint", str(checkpoint), *words])
        said = capfd.readouterr().out.splitlines()[-1]
        assert f" {line[score]:.3f} " in said and f"loss {line['test_loss']:.3f} " in said


def test_full_disk_leaves_the_best_weights_as_they_were(root, tmp_path):
    shutil.copytree(root / "run", tmp_path / "run")
    saved = {path: path.read_bytes() for path in (tmp_path / "run").glob("best.*")}
    model = create_model("twins_svt_tiny", 3)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))  # no file can grow beyond 600 bytes
    try:
        with pytest.raises((OSError, RuntimeError, ValueError)):
            save_weights(model, tmp_path / "run" / "best.ckpt", {"score": 1})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path: path.read_bytes() for path in (tmp_path / "run").glob("*best.*")} == saved and len(saved) == 2


def test_unreadable_image_is_named_and_counted_or_fatal(root, tmp_path, capfd):
    write_images(tmp_path / "data")
    bad = tmp_path / "data" / "val" / "green" / "1.png"
    bad.write_bytes(bad.read_bytes()[:200])
    words = ["--config", str(write_config(tmp_path)), "--checkpoint", str(root / "run" / "best.ckpt")]
    run(eval_program.main, words)
    said = capfd.readouterr().out
    assert f"left out: {bad}: cannot be read" in said and "on 8 images, 1 unreadable" in said
    code, line = fails(capfd, eval_program, *words, "--strict")
    assert code == 2 and str(bad) in line
    for path in (tmp_path / "data" / "val").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(SystemExit):
        run(eval_program.main, words)
    said, told = capfd.readouterr()
    assert said.count("left out: ") == 9 and told.strip().endswith("no image could be evaluated; see the complaints "
                                                                   "about them")


@pytest.mark.parametrize("words, says", [
    (["--config", "nowhere.yaml"], "error: config nowhere.yaml: no such file"),
    (["epohcs=3"], "did you mean 'epochs'?"),
    (["data=nowhere"], "error: nowhere/train: no such folder"),
    (["batch_size=6", "accumulate=2"], "error: batch_size 6: must be a multiple of 4"),
    (["batch_size=64", "output=elsewhere"], "12 training images do not fill one batch of 64; use a smaller batch_size"),
    (["device=Ascend"], "error: device Ascend: MindSpore finds none here (libge_runner.so: cannot open shared object "
                        "file: No such file or directory); write device=CPU precision=O0"),
    ([], "holds a run already; go on with --resume, or choose another output=..."),
    (["--resume", "model=twins_pcpvt_nano"], "belongs to another network"),
])
def test_faults_of_training(root, capfd, words, says):
    config = [] if "--config" in words else ["--config", root / "config.yaml"]
    code, line = fails(capfd, train_program, *config, *words)
    assert code == 2 and line.startswith("error: ") and says in line


def test_another_folder_than_val_is_scored_when_it_is_named(root, tmp_path, capfd):
    (tmp_path / "data" / "test").mkdir(parents=True)
    for name in ("train", "val"):
        (tmp_path / "data" / name).symlink_to(root / "data" / name)
    for folder in sorted((root / "data" / "val").iterdir()):
        (tmp_path / "data" / "test" / folder.name).mkdir()
        first = sorted(folder.iterdir())[0]
        (tmp_path / "data" / "test" / folder.name / first.name).write_bytes(first.read_bytes())
    words = ["--config", root / "config.yaml", "--checkpoint", root / "run" / "best.ckpt", "mode=pynative"]
    words = [*map(str, words), f"data={tmp_path / 'data'}"]
    capfd.readouterr()
    run(eval_program.main, [*words, "--folder", "test"])
    assert "on 3 images" in capfd.readouterr().out
    run(eval_program.main, words)
    assert "on 9 images" in capfd.readouterr().out
    code, line = fails(capfd, eval_program, *words, "--folder", "nowhere")
    assert code == 2 and "nowhere: no such folder" in line
    code, line = fails(capfd, eval_program, "--config", "segmentation_mini", "--checkpoint", "x", "--folder", "test")
    assert code == 2 and "--folder is for classification" in line


def test_faults_of_evaluation(root, tmp_path, capfd):
    def told(checkpoint, *words):
        return fails(capfd, eval_program, "--config", root / "config.yaml", "--checkpoint", checkpoint, *words)

    best = root / "run" / "best.ckpt"
    half = tmp_path / "half.ckpt"
    half.write_bytes(best.read_bytes()[:best.stat().st_size // 2])
    save_weights(create_model("twins_svt_tiny", 8), tmp_path / "other.ckpt")
    assert told("nowhere.ckpt") == (2, "error: nowhere.ckpt: no such checkpoint")
    (tmp_path / "x.pth").write_bytes(b"anything")
    assert "x.pth: not a readable MindSpore checkpoint" in told(tmp_path / "x.pth")[1]
    assert told(half)[0] == 2 and "not a readable MindSpore checkpoint" in told(half)[1]
    code, line = told(tmp_path / "other.ckpt")
    assert code == 2 and "not the weights of this network" in line and "head.weight (8, 16) instead of (3, 16)" in line
    assert told(best, "--batch-size", "0")[0] == 2


def test_classes_that_differ_are_named(tmp_path, capfd):
    write_images(tmp_path / "data")
    (tmp_path / "data" / "val" / "red").rename(tmp_path / "data" / "val" / "rot")
    code, line = fails(capfd, train_program, "--config", write_config(tmp_path))
    assert code == 2 and "red" in line and "rot" in line
    assert not (tmp_path / "run").exists()


def test_a_run_whose_loss_is_lost_ends_with_code_1(root, tmp_path, capfd):
    (tmp_path / "data").symlink_to(root / "data")
    code, line = fails(capfd, train_program, "--config", write_config(tmp_path, peak_lr="1e30", warmup_lr="1e30"))
    assert code == 1 and line.startswith("stopped: epoch 0 step 2 of 3: loss nan")


@pytest.mark.parametrize("world", [1, 2, 3])
def test_positions_are_those_the_loader_shares_out(root, world):
    folder = ImageFolder(root / "data" / "train")

    def order(batch, rank, world):
        return TrainSource(folder, batch, 32, 0, 0, rank, world, 0, Augmentation()).order

    whole = order(12, 0, 1)
    for rank in range(world):
        assert (order(12 // world, rank, world) == whole[:, local_positions(12 // world, rank, world)]).all()


def test_half_precision_trains_the_same_parameters(root, tmp_path):
    (tmp_path / "data").symlink_to(root / "data")
    run(train_program.main, ["--config", str(write_config(tmp_path, precision="O2", epochs=1, batch_size=12))])
    arrays = arrays_of(tmp_path)
    assert arrays.keys() - arrays_of(root).keys() == {"scale_value", "counter"}
    assert arrays["counter"] == 1 and arrays["head.weight"].dtype == np.float32


# --------------------------------------------------------------------------------------- labels keep their names

def renamed(root, tmp_path, old, new):
    """The data of `root` and its run, with one class folder called otherwise in train and val."""
    shutil.copytree(root, tmp_path / "copy")
    for split in ("train", "val"):
        (tmp_path / "copy/data" / split / old).rename(tmp_path / "copy/data" / split / new)
    return [f"data={tmp_path / 'copy/data'}", f"output={tmp_path / 'copy/run'}"]


@pytest.mark.parametrize("old, new", [("blue", "zebra"), ("red", "rot"), ("green", "Green ")])
def test_classes_that_are_not_those_of_the_training_are_refused(root, tmp_path, capfd, old, new):
    words = ["--config", root / "config.yaml", *renamed(root, tmp_path, old, new)]
    last = sorted((tmp_path / "copy/run/checkpoints").iterdir())[-1]
    shutil.copy(tmp_path / "copy/run/best.ckpt", tmp_path / "alone.ckpt")  # without its card
    for checkpoint in (tmp_path / "copy/run/best.ckpt", last, tmp_path / "alone.ckpt"):
        code, line = fails(capfd, eval_program, *words, "--checkpoint", checkpoint)
        assert code == 2 and f"only there: {old!r}; only in" in line and repr(new) in line and str(checkpoint) in line
    code, line = fails(capfd, train_program, *words, "--resume")
    assert code == 2 and f"only there: {old!r}; only in" in line and str(last) in line


def test_another_number_of_classes_is_told_by_name(root, tmp_path, capfd):
    shutil.copytree(root / "data", tmp_path / "data")
    for split in ("train", "val"):
        shutil.rmtree(tmp_path / "data" / split / "green")
    code, line = fails(capfd, eval_program, "--config", root / "config.yaml", f"data={tmp_path / 'data'}",
                       "--checkpoint", root / "run/best.ckpt")
    assert code == 2 and "was trained for 3 classes and" in line and "has 2, and label 1" in line


def test_class_names_stand_in_all_that_a_run_leaves(root):
    names = ["blue", "green", "red"]
    assert json.loads((root / "run/best.json").read_text())["classes"] == names
    assert json.loads((root / "run/log.jsonl").read_text().splitlines()[0])["classes"] == names
    assert [names_kept_with(path) for path in (root / "run/best.ckpt", *(root / "run/checkpoints").iterdir())] == [
        names] * 3


def test_weights_without_class_names_are_evaluated_and_that_is_told(root, tmp_path, capfd):
    model = create_model("twins_svt_tiny", 3)
    load_weights(model, root / "run/best.ckpt")
    save_weights(model, tmp_path / "old.ckpt")
    run(eval_program.main, ["--config", str(root / "config.yaml"), "--checkpoint", str(tmp_path / "old.ckpt")])
    said = capfd.readouterr().out
    assert "old.ckpt: holds no class names, so whether its labels mean the classes of" in said and "top-1 " in said
    run(eval_program.main, ["--config", str(root / "config.yaml"), "--checkpoint", str(root / "run/best.ckpt")])
    assert "holds no class names" not in capfd.readouterr().out


def test_a_checkpoint_from_before_class_names_were_kept_is_resumed(root, tmp_path, caplog):
    shutil.copytree(root / "run", tmp_path / "run")
    for path in (tmp_path / "run/checkpoints").iterdir():
        arrays, about = read_checkpoint(path)
        save_file(arrays, path, {**about, "extra": json.dumps({"steps": 3})})
    with caplog.at_level(logging.INFO, "twins_lib"):
        run(train_program.main, ["--config", str(root / "config.yaml"), "--resume", f"output={tmp_path / 'run'}"])
    assert "holds no class names, so whether its labels mean" in caplog.text
    assert "3 classes: 'blue', 'green', 'red'" in caplog.text


def test_a_thousand_classes_that_are_not_imagenets_are_told(tmp_path):
    model = tmp_path / "released.safetensors"
    save_file({"x": np.zeros(1, np.float32)}, model)
    others = [f"class {k:03d}" for k in range(1000)]
    assert "with released weights every score would be wrong" in check_names(model, others, "val")
    assert "ImageNet" not in check_names(model, others[:999], "val")
