"""The company of twins_svt_nano: what each network is, and what the cards hold; a run that was stopped goes on."""

import json
import os
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops
from PIL import Image

from twins_lib.cost import count
from twins_lib.teach.experiments import compare
from twins_lib.teach.experiments.company import CNN, NETWORKS, Residual


@pytest.fixture(scope="module")
def networks():
    ms.set_seed(0)
    return {name: make(10) for name, make in NETWORKS.items()}


def moved(network, at, seen):
    """Does the token map of a stage, or the logits, notice a change of the picture's pixel `at`?"""
    images = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    before = seen(network, Tensor(images))
    images[0, :, at[0], at[1]] += 5
    return np.abs(seen(network, Tensor(images)) - before) > 1e-6


def first_stage(network, images):
    return network.features(images)[0].asnumpy()[0].max(0)


def test_all_answer_and_are_as_large_as_the_nano(networks):
    for name, network in networks.items():
        assert network(Tensor(np.zeros((2, 3, 64, 64), np.float32))).shape == (2, 10)
        if name != "linear":
            assert count(network, 64, 64).parameters == pytest.approx(403_402, rel=0.03)


def test_without_gsa_a_window_does_not_notice_a_far_one(networks):
    """The corner pixel is seen within its window, and where the PEG's 3×3 cells reach over its border."""
    seen = moved(networks["without GSA"], (0, 0), first_stage)
    assert seen[:4, :4].all() and not seen[12:, 12:].any()
    for name in ("Twins-SVT nano", "without LSA", "full attention"):
        assert moved(networks[name], (0, 0), first_stage)[12:, 12:].any()


def test_full_attention_has_a_key_for_every_token(networks):
    shapes = []
    hooks = [cell.register_forward_hook(lambda cell, inputs, output: shapes.append(inputs[1].shape[-2]))
             for name, cell in networks["full attention"].cells_and_names() if name.endswith("attn.attend")]
    networks["full attention"](Tensor(np.zeros((1, 3, 64, 64), np.float32)))
    for hook in hooks:
        hook.remove()
    assert shapes == [256] * 2 + [64] * 2 + [16] * 2 + [4] * 2


def test_without_peg_no_parameter_of_it_is_left(networks):
    assert not [p.name for p in networks["without PEG"].get_parameters() if "pos_block" in p.name]


def test_a_residual_block_equals_loops():
    """Both convolutions of the CNN by loops over pixels in NumPy, with SciPy's error function in the GELU."""
    from scipy.special import erf

    ms.set_seed(1)
    block, size = Residual(4), (3, 5)
    x = np.random.default_rng(1).standard_normal((1, 15, 4))
    change = x[0]
    for convolution in block.convolutions:
        rows = (change - change.mean(1, keepdims=True)) / np.sqrt(change.var(1, keepdims=True) + 1e-6)
        rows = rows * (1 + erf(rows / np.sqrt(2))) / 2
        framed = np.pad(rows.reshape(*size, 4), ((1, 1), (1, 1), (0, 0)))
        weight = convolution.weight.asnumpy().astype(float)
        change = np.array([[np.einsum("hwc,ochw->o", framed[i:i + 3, j:j + 3], weight) for j in range(size[1])]
                           for i in range(size[0])]).reshape(-1, 4)
    ours = block(Tensor(x.astype(np.float32)), size).asnumpy()
    np.testing.assert_allclose(ours[0], x[0] + change, atol=1e-5)


def test_the_cnn_feels_a_neighbour(networks):
    ms.set_seed(0)
    gradient = ms.grad(lambda x: ops.square(CNN(10)(x)).sum())(Tensor(np.ones((1, 3, 64, 64), np.float32)))
    assert np.isfinite(gradient.asnumpy()).all() and np.abs(gradient.asnumpy()).max() > 0


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A tiny CIFAR-10 in two classes, and a plan of one epoch for it, in a working folder of its own."""
    rng = np.random.default_rng(0)
    for split, number in (("train", 40), ("val", 3), ("test", 2)):
        for name in ("cat", "dog"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for i in range(number):
                picture = Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8))
                picture.save(tmp_path / "data" / split / name / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare, "PER_CLASS", 20)
    monkeypatch.setattr(compare, "apart", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(compare, "BUDGET", ("epochs=1", "batch_size=8", "mode=pynative"))
    monkeypatch.setattr(compare, "SEEDS", (0, 1))
    monkeypatch.setattr(compare, "NETWORKS", {name: NETWORKS[name] for name in ("linear", "Twins-SVT nano")})
    compare.part.cache_clear()
    return tmp_path / "data"


def test_networks_are_trained_once_and_their_card_names_all(data, capsys):
    words = ["networks", "--data", str(data), "--output", str(data / "card.json")]
    compare.main(words)
    card = json.loads((data / "card.json").read_text())
    assert card["networks"].keys() == {"linear", "Twins-SVT nano"}
    assert card["networks"]["linear"]["parameters"] == 3 * 64 * 64 * 2 + 2
    assert all(len(entry["top1"]) == 2 for entry in card["networks"].values())
    assert card["data"] == "CIFAR-10 as PNGs" and card["test_images"] == 4 and card["images"] == 40
    assert "timm in PyTorch is left out" in capsys.readouterr().out
    copied = sorted(Path("runs/compare/pictures_20/train/cat").iterdir())
    assert len(copied) == 20 and len(list(Path("runs/compare/pictures_20/val/dog").iterdir())) == 1

    scores = sorted(Path("runs/compare").rglob("score.json"))
    times = [path.stat().st_mtime_ns for path in scores]
    for seed in (0, 1):  # what compare_timm leaves
        place = Path("runs/compare/timm_in_PyTorch", f"seed{seed}")
        place.mkdir(parents=True)
        (place / "score.json").write_text(json.dumps({"top1": 50 + seed}))
    compare.main(words)
    assert [path.stat().st_mtime_ns for path in scores] == times  # nothing was trained again
    assert json.loads((data / "card.json").read_text())["networks"]["timm in PyTorch"]["top1"] == [50, 51]


def test_a_call_apart_is_made_in_another_process():
    assert compare.apart(os.getpid) != os.getpid()


def test_pieces_of_the_recipe_change_what_their_names_say(data, monkeypatch):
    monkeypatch.setattr(compare, "BUDGETS", {"short": {"epochs": 1, "seeds": [0]}})
    monkeypatch.setattr(compare, "FEW", 40)
    seen = {}

    def fit(task, config, resume):
        Path(config.output).mkdir(parents=True)
        Path(config.output, "log.jsonl").write_text('{"train_loss": 2}\n{"train_loss": 1.23456}\n')
        seen[config.output] = config
        return [0] * config.epochs

    monkeypatch.setattr(compare, "fit", fit)
    monkeypatch.setattr(compare, "score", lambda model, config, folder: {"top1": 10.0, "images": 6})
    compare.main(["recipe", "--data", str(data), "--output", str(data / "card.json")])
    configs = {Path(output).parent.name: config for output, config in seen.items()}
    plain = configs["as_configured"]
    assert (plain.weight_decay, plain.drop_path, plain.augmentation.mixup) == (0.05, 0, 0)
    assert configs["no_weight_decay"].weight_decay == 0 and configs["no_clipping"].clip_norm > 1e8
    assert configs["with_mixing"].augmentation.cutmix == 1 and configs["with_drop_path"].drop_path == 0.1
    card = json.loads((data / "card.json").read_text())
    assert card["pieces"]["no smoothing"] == {
        "settings": ["augmentation.smoothing=0"], "short": [10.0], "train_loss short": [1.235]}
    assert card["validation_images"] == 6


def test_runs_on_other_pictures_are_not_taken_for_these(data):
    compare.check_same(data)
    compare.part(data, 2)
    compare.check_same(data)
    told = r"error: runs/compare: its runs were trained on \S*data, not on other; remove it, or work elsewhere"
    with pytest.raises(SystemExit, match=told):
        compare.main(["networks", "--data", "other", "--output", str(data / "card.json")])


def test_a_folder_that_lacks_a_part_is_told(data):
    with pytest.raises(SystemExit, match="error: nowhere/test: no such folder"):
        compare.main(["networks", "--data", "nowhere", "--output", str(data / "card.json")])


def test_timm_starts_from_the_same_weights_and_needs_torch(monkeypatch):
    pytest.importorskip("timm")
    import torch

    from twins_lib.teach.experiments import compare_timm

    model = compare_timm.theirs(0, 10).eval()
    ms.set_seed(0)
    ours = NETWORKS["Twins-SVT nano"](10)
    images = np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32)
    with torch.no_grad():
        np.testing.assert_allclose(model(torch.from_numpy(images)).numpy(), ours(Tensor(images)).asnumpy(), atol=1e-5)
