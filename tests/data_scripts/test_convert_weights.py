"""Released checkpoints become MindSpore's: right files value by value, wrong ones refused in a sentence."""

import argparse
import hashlib
import json
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import twins_lib
from twins_lib.training.names import names_kept_with
from twins_lib.weights import torch_name

sys.path.insert(0, str(Path(__file__).parents[2] / "data_scripts"))
import convert_weights  # noqa: E402


def released(name="twins_svt_nano", num_classes=10, in_channels=3):
    """What a released file would hold: random tensors under the official names."""
    rng = np.random.default_rng(0)
    model = twins_lib.create_model(name, num_classes, in_channels)
    return {torch_name(p.name): rng.standard_normal(p.shape, np.float32) for p in model.get_parameters()}


def assert_holds(path, state, name="twins_svt_nano", num_classes=10, in_channels=3):
    model = twins_lib.create_model(name, num_classes, in_channels)
    twins_lib.load_weights(model, path)
    for p in model.get_parameters():
        np.testing.assert_array_equal(p.asnumpy(), state[torch_name(p.name)])


def refusal(*arguments):
    """The one sentence the script ends with."""
    with pytest.raises(SystemExit) as end:
        convert_weights.main([str(argument) for argument in arguments])
    assert "\n" not in end.value.code
    return end.value.code


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason=".pth files need PyTorch, which is not installed")


@pytest.mark.parametrize("name, num_classes, in_channels", [("twins_svt_nano", 10, 3), ("twins_pcpvt_nano", 7, 1)])
def test_safetensors_value_by_value(tmp_path, capsys, name, num_classes, in_channels):
    state = released(name, num_classes, in_channels)
    source = tmp_path / "model.safetensors"
    save_file(state, source)
    convert_weights.main([str(source)])
    assert_holds(tmp_path / "model.ckpt", state, name, num_classes, in_channels)

    card = json.loads((tmp_path / "model.json").read_text())
    norms = [n for n in state if ".norm" in n or n.startswith("norm.")]
    assert sorted(card["renamed"]) == sorted(norms)
    assert card["renamed"]["norm.weight"] == "norm.gamma"
    assert (card["model"], card["num_classes"], card["in_channels"]) == (name, num_classes, in_channels)
    assert card["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    said = capsys.readouterr().out
    parameters = sum(array.size for array in state.values())
    assert f"{name}, {len(state)} tensors, {parameters:,} parameters, {num_classes} classes" in said
    assert f"{len(state) - len(norms)} tensors keep their name, {len(norms)} of LayerNorms are renamed" in said


@pytest.mark.parametrize("name", twins_lib.VARIANTS)
def test_every_variant_is_recognised(name):
    v = twins_lib.VARIANTS[name]
    first = "qkv" if v.windows else "q"
    state = {f"patch_embeds.{k}.proj.weight": np.empty((dim, 1)) for k, dim in enumerate(v.dims)}
    state |= {f"blocks.{k}.{i}.attn.{first}.weight": None for k, depth in enumerate(v.depths) for i in range(depth)}
    assert convert_weights.recognise(state) == name


def test_all_misfits_are_listed_and_nothing_is_written(tmp_path):
    state = released()
    state["extra"] = state.pop("norm.bias")
    state["head.bias"] = np.zeros(7, np.float32)
    save_file(state, tmp_path / "odd.safetensors")
    told = refusal(tmp_path / "odd.safetensors")
    for fault in ("1 missing: norm.bias", "1 unexpected: extra", "head.bias (7,) instead of (10,)"):
        assert fault in told
    assert [p.name for p in tmp_path.iterdir()] == ["odd.safetensors"]


def test_another_network_is_told_apart(tmp_path):
    save_file({"conv1.weight": np.zeros((4, 3, 7, 7), np.float32)}, tmp_path / "resnet.safetensors")
    assert "no Twins has" in refusal(tmp_path / "resnet.safetensors")
    assert "missing: blocks.0.0" in refusal(tmp_path / "resnet.safetensors", "--model", "twins_svt_nano")


def test_an_existing_output_is_replaced_only_by_force(tmp_path):
    state = released()
    save_file(state, tmp_path / "model.safetensors")
    output = tmp_path / "kept.ckpt"
    output.write_text("precious")
    assert "kept.ckpt: exists; give another output, or --force" in refusal(tmp_path / "model.safetensors", output)
    assert output.read_text() == "precious"
    convert_weights.main([str(tmp_path / "model.safetensors"), str(output), "--force"])
    assert_holds(output, state)


def test_wrong_names_are_told(tmp_path):
    assert "none.pth: no such file" in refusal(tmp_path / "none.pth")
    (tmp_path / "model.onnx").write_bytes(b"\x08\x01\x12\x07")
    assert "neither .safetensors nor a file of PyTorch" in refusal(tmp_path / "model.onnx")
    save_file({}, tmp_path / "model.safetensors")
    assert "must end in .ckpt" in refusal(tmp_path / "model.safetensors", tmp_path / "model.bin")


def test_half_a_file_is_refused(tmp_path):
    path = tmp_path / "half.safetensors"
    save_file(released(), path)
    path.write_bytes(path.read_bytes()[:5000])
    assert "half.safetensors: not a readable .safetensors file" in refusal(path)


def test_without_torch_a_pth_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "model.pth").write_bytes(b"PK\x03\x04")
    assert "needs PyTorch: pip install torch" in refusal(tmp_path / "model.pth")


@pytest.mark.parametrize("form", ["raw", "under model", "with the arguments of the training"])
def test_pth_value_by_value(tmp_path, torch, form):
    state = released()
    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    training = {"model": tensors, "epoch": 3, "args": argparse.Namespace(lr=1e-3)}
    content = {"raw": tensors, "under model": {"model": tensors}, "with the arguments of the training": training}
    torch.save(content[form], tmp_path / "model.pth")
    convert_weights.main([str(tmp_path / "model.pth")])
    assert_holds(tmp_path / "model.ckpt", state)


class Malicious:
    """Unpickled carelessly, it makes a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_pth_that_carries_code_is_refused_and_not_run(tmp_path, torch, writer):
    content = {"model": Malicious(tmp_path / "hacked")}
    path = tmp_path / "bad.pth"
    torch.save(content, path) if writer == "torch" else path.write_bytes(pickle.dumps(content, 2))
    assert "bad.pth: refused, it carries code (posix.mkdir)" in refusal(path)
    assert [p.name for p in tmp_path.iterdir()] == ["bad.pth"]


@pytest.mark.parametrize("place", [("state_dict",), ("state_dict_ema",), ("model_ema",), ("model", "state_dict")])
@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.bin", "w.pth.tar"])
def test_weights_are_found_where_trainings_put_them(tmp_path, capsys, torch, place, name):
    state = released()
    content = {f"module.{key}": torch.from_numpy(array).half().float() for key, array in state.items()}
    for key in reversed(place):
        content = {key: content, "epoch": 3, "best": np.float64(81.5), "rng": np.int64(4), "args": Path("runs")}
    if place == ("state_dict_ema",):
        content["state_dict"] = {key: torch.zeros(1) for key in state}  # the average is taken, not this
    torch.save(content, tmp_path / name)
    convert_weights.main([str(tmp_path / name)])
    half = {key: array.astype(np.float16).astype(np.float32) for key, array in state.items()}
    assert_holds(tmp_path / "w.ckpt", half)
    assert f"taken from '{'/'.join(place)}' in the file" in capsys.readouterr().out


def test_bfloat16_and_the_old_form_of_pth(tmp_path, torch):
    state = {key: torch.from_numpy(array).bfloat16() for key, array in released().items()}
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    convert_weights.main([str(tmp_path / "old.pth")])
    assert_holds(tmp_path / "old.ckpt", {key: tensor.float().numpy() for key, tensor in state.items()})
    whole = (tmp_path / "old.pth").read_bytes()
    for length in (100, len(whole) // 2, len(whole) - 100):
        (tmp_path / "cut.pth").write_bytes(whole[:length])
        told = refusal(tmp_path / "cut.pth")
        assert "cut.pth: not a" in told and "get it again" in told


def test_a_pickled_module_says_so(tmp_path, torch):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pth")
    assert "it carries code (torch.nn.modules.linear.Linear) beside or instead of tensors" in refusal(
        tmp_path / "whole.pth")


def test_a_pth_of_something_else_is_refused(tmp_path, torch):
    torch.save([1, 2], tmp_path / "list.pth")
    assert "holds no dict of tensors" in refusal(tmp_path / "list.pth")
    (tmp_path / "half.pth").write_bytes((tmp_path / "list.pth").read_bytes()[:100])
    assert "half.pth: not a readable .pth file" in refusal(tmp_path / "half.pth")


def test_a_checkpoint_of_a_run_is_converted(tmp_path):
    state = released()
    model = twins_lib.create_model("twins_svt_nano", 10)
    twins_lib.load_torch_state(model, state)
    arrays = {p.name: p.asnumpy() for p in model.get_parameters()}
    arrays |= {f"adam_m.{name}": array + 1 for name, array in arrays.items()}
    names = [f"class {k}" for k in range(10)]
    save_file(arrays, tmp_path / "epoch-0001-step-000000.safetensors", {"extra": json.dumps({"classes": names})})
    convert_weights.main([str(tmp_path / "epoch-0001-step-000000.safetensors"), str(tmp_path / "w.ckpt")])
    assert_holds(tmp_path / "w.ckpt", state)
    assert names_kept_with(tmp_path / "w.ckpt") == names
    assert "w.ckpt: neither .safetensors nor a file of PyTorch; a MindSpore .ckpt needs no conversion" in refusal(
        tmp_path / "w.ckpt", tmp_path / "again.ckpt")
    assert "give the output another name" in refusal(tmp_path / "w.ckpt")


@pytest.mark.parametrize("content, told", [(b"<!DOCTYPE html>", "a web page and no weights"), (b"", "empty"),
                                           (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer")])
def test_what_is_no_checkpoint_says_what_it_is(tmp_path, content, told):
    (tmp_path / "w.pth").write_bytes(content)
    assert f"w.pth: {told}" in refusal(tmp_path / "w.pth")
