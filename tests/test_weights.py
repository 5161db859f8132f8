"""Checkpoints in and out, and every way in which one can be wrong."""

import json
import re

import numpy as np
import pytest
from safetensors.numpy import save_file

import twins_lib
from twins_lib.weights import CannotWrite, torch_name, writing

NAME = "twins_svt_nano"


def fresh(seed, num_classes=10):
    model = twins_lib.create_model(NAME, num_classes)
    rng = np.random.default_rng(seed)
    state = {torch_name(p.name): rng.standard_normal(p.shape, np.float32) for p in model.get_parameters()}
    twins_lib.load_torch_state(model, state)
    return model, state


def values(model):
    return {torch_name(p.name): p.asnumpy() for p in model.get_parameters()}


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name])


def test_torch_names_are_the_official_ones():
    names = set(values(fresh(0)[0]))
    assert {"patch_embeds.0.proj.weight", "patch_embeds.0.norm.weight", "blocks.0.0.attn.qkv.bias",
            "blocks.0.1.attn.sr.weight", "blocks.0.1.attn.norm.bias", "blocks.0.1.attn.kv.weight",
            "blocks.3.1.mlp.fc2.weight", "pos_block.3.proj.0.bias", "norm.weight", "head.bias"} <= names


def test_mindspore_checkpoint_round_trip(tmp_path):
    model, state = fresh(1)
    twins_lib.save_weights(model, tmp_path / "nano.ckpt", {"score": 0.5})
    other, _ = fresh(2)
    twins_lib.load_weights(other, tmp_path / "nano.ckpt")
    assert_same(values(other), state)
    assert json.loads((tmp_path / "nano.json").read_text()) == {"score": 0.5}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["nano.ckpt", "nano.json"]


def test_safetensors_load_without_torch(tmp_path):
    _, state = fresh(1)
    save_file(state, tmp_path / "nano.safetensors")
    other, _ = fresh(2)
    twins_lib.load_weights(other, tmp_path / "nano.safetensors")
    assert_same(values(other), state)


def test_all_faults_are_listed_and_nothing_is_half_loaded():
    model, state = fresh(1)
    before = values(model)
    wrong = {**fresh(2)[1], "extra": np.zeros(1, np.float32), "head.bias": np.zeros(7, np.float32)}
    del wrong["norm.weight"], wrong["norm.bias"]
    with pytest.raises(ValueError) as error:
        twins_lib.load_torch_state(model, wrong)
    told = str(error.value)
    assert "2 missing: norm.bias, norm.weight" in told
    assert "1 unexpected: extra" in told
    assert "1 of another shape: head.bias (7,) instead of (10,)" in told
    assert " more" not in told
    assert_same(values(model), before)


def test_many_misfits_are_counted_and_the_first_three_named():
    model = fresh(1)[0]
    other = twins_lib.create_model("twins_svt_small", num_classes=5)
    with pytest.raises(ValueError) as error:
        twins_lib.load_torch_state(other, {torch_name(p.name): p.asnumpy() for p in model.get_parameters()})
    told = str(error.value)
    assert len(told) < 600
    for kind in "missing", "of another shape":
        names, more = re.search(rf"(\d+) {kind}: .*? and (\d+) more", told).groups()
        assert int(names) == int(more) + 3 > 100


def test_a_checkpoint_of_another_model_is_named(tmp_path):
    twins_lib.save_weights(fresh(1, num_classes=5)[0], tmp_path / "five.ckpt")
    model, state = fresh(2)
    with pytest.raises(ValueError, match=r"five.ckpt: these are not the weights of this network; .*head.weight"):
        twins_lib.load_weights(model, tmp_path / "five.ckpt")
    assert_same(values(model), state)


@pytest.mark.parametrize("suffix", ["ckpt", "safetensors"])
def test_half_a_file_is_refused(tmp_path, suffix):
    model, state = fresh(1)
    path = tmp_path / f"half.{suffix}"
    twins_lib.save_weights(model, path) if suffix == "ckpt" else save_file(state, path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=f"half.{suffix}: not a readable"):
        twins_lib.load_weights(model, path)
    assert_same(values(model), state)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.ckpt: no such checkpoint"):
        twins_lib.load_weights(fresh(1)[0], tmp_path / "none.ckpt")


@pytest.mark.parametrize("place, reason", [("/proc/nano.ckpt", "No such file or directory"),
                                           ("file/nano.ckpt", "Not a directory"),
                                           ("none/nano.ckpt", "No such file or directory")])
def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path, place, reason, capfd):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(CannotWrite) as error:
        twins_lib.save_weights(fresh(1)[0], tmp_path / place)
    assert str(error.value) == (f"{tmp_path / place}: cannot be written ({reason}); what was there before is "
                                "untouched: make room, or choose another place")
    assert capfd.readouterr() == ("", "")


def test_a_full_disk_is_one_sentence_and_leaves_the_old_weights(tmp_path, full_disk):
    model, state = fresh(1)
    path = tmp_path / "nano.ckpt"
    twins_lib.save_weights(model, path)
    full_disk()
    with pytest.raises(CannotWrite, match=r"nano.ckpt: cannot be written \(.*File too large\).*untouched: make room"):
        twins_lib.save_weights(fresh(2)[0], path)
    assert [p.name for p in tmp_path.iterdir()] == ["nano.ckpt"]
    other, _ = fresh(3)
    twins_lib.load_weights(other, path)
    assert_same(values(other), state)


def test_a_sentence_is_not_told_twice(tmp_path):
    with pytest.raises(CannotWrite) as error, writing("outer"), writing(tmp_path, "find another"):
        tmp_path.write_text("a folder is no file")
    assert str(error.value) == f"{tmp_path}: cannot be written (Is a directory); find another"


# ----------------------------------------------------------------------------------------- files as people have them

@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model."])
def test_what_a_wrapper_put_before_the_names_is_taken_away(tmp_path, prefix):
    _, state = fresh(1)
    save_file({prefix + name: array for name, array in state.items()}, tmp_path / "nano.safetensors")
    other, _ = fresh(2)
    twins_lib.load_weights(other, tmp_path / "nano.safetensors")
    assert_same(values(other), state)


def test_half_precision_is_read_and_whole_numbers_are_refused(tmp_path):
    _, state = fresh(1)
    model = fresh(2)[0]
    save_file({name: array.astype(np.float16) for name, array in state.items()}, tmp_path / "half.safetensors")
    twins_lib.load_weights(model, tmp_path / "half.safetensors")
    for name, array in values(model).items():
        np.testing.assert_array_equal(array, state[name].astype(np.float16))
    state["head.weight"] = state["head.weight"].astype(np.int8)
    save_file(state, tmp_path / "whole.safetensors")
    before = values(model)
    with pytest.raises(ValueError, match=r"whole.safetensors: head.weight is of whole numbers \(int8\), as quantised"):
        twins_lib.load_weights(model, tmp_path / "whole.safetensors")
    assert_same(values(model), before)


@pytest.mark.parametrize("name", ["epoch-0003-step-000000.safetensors", "mine.safetensors", "mine.ckpt", "mine.bin"])
@pytest.mark.parametrize("averaged", [True, False])
def test_a_checkpoint_of_a_run_is_known_by_its_content(tmp_path, name, averaged):
    """The average is taken where there is one; the optimizer's state is not."""
    model, state = fresh(1)
    arrays = {}
    for p in model.get_parameters():
        arrays |= {f"adam_m.{p.name}": p.asnumpy() + 1, f"adam_v.{p.name}": p.asnumpy() + 2}
        arrays |= {p.name: p.asnumpy() + 3 * averaged}
        arrays |= {f"average.{p.name}": p.asnumpy()} if averaged else {}
    save_file(arrays, tmp_path / name)
    other, _ = fresh(2)
    twins_lib.load_weights(other, tmp_path / name)
    assert_same(values(other), state)


@pytest.mark.parametrize("content, told", [
    (b"", "empty; get it again"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "a Git LFS pointer.*run: git lfs pull"),
    (b"\n<!DOCTYPE html><title>Google Drive - Virus scan warning</title>", "a web page and no weights"),
    (b"\xef\xbb\xbf<html>", "a web page and no weights"),
    (b"PK\x03\x04", "a PyTorch file: convert it with data_scripts/convert_weights.py"),
    (b"\x80\x02\x8a\nl\xfc\x9cF", "a PyTorch file: convert it"),
])
@pytest.mark.parametrize("name", ["w.ckpt", "w.safetensors", "w.pth"])
def test_what_is_no_checkpoint_says_what_it_is(tmp_path, content, told, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: {told}"):
        twins_lib.load_weights(fresh(1)[0], tmp_path / name)


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match="a folder; give a file in it"):
        twins_lib.load_weights(fresh(1)[0], tmp_path)


def test_another_number_of_classes_is_said(tmp_path):
    twins_lib.save_weights(fresh(1, num_classes=5)[0], tmp_path / "five.ckpt")
    with pytest.raises(ValueError, match="all but the head fits, which has another number of classes; 2 of another "
                                         r"shape: head.bias \(5,\) instead of \(10,\)"):
        twins_lib.load_weights(fresh(2)[0], tmp_path / "five.ckpt")
