"""What is stored of a run on photographs: weights that score as the run did, the card; a sentence for what lacks."""

import json

import numpy as np
import pytest
from mindspore import Tensor
from PIL import Image
from safetensors.numpy import load_file

import twins_lib
from twins_lib.maps.explorer import MEAN, STD
from twins_lib.teach.drawings import OBJECTS, as_photograph, drawing
from twins_lib.teach.experiments import photographs
from twins_lib.teach.experiments.runs import ASSETS
from twins_lib.training.config import as_yaml, load_config
from twins_lib.training.names import names_kept_with
from twins_lib.weights import save_weights, torch_name


@pytest.fixture
def run(tmp_path):
    """A run's folder with fresh weights, and a folder of twelve pictures in two classes."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for i in range(3):
                picture = Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8))
                picture.save(tmp_path / "data" / split / name / f"{i}.png")
    folder = tmp_path / "runs" / "cifar10_svt_nano"
    folder.mkdir(parents=True)
    config = load_config("cifar10_svt_nano", [f"data={tmp_path / 'data'}", f"output={folder}", "mode=pynative"])
    (folder / "config.yaml").write_text(as_yaml(config))
    save_weights(twins_lib.create_model("twins_svt_nano", 2), folder / "best.ckpt", {"classes": ["cat", "dog"]})
    line = {"epoch": 0, "train_lr": 1e-3, "train_loss": 2.0, "test_loss": 1.0, "test_acc1": 50.0,
            "train_images_per_second": 3.0, "steps": 1}
    (folder / "log.jsonl").write_text(json.dumps(line) + "\n")
    return folder


def test_weights_card_and_log_are_stored(run, tmp_path):
    photographs.main([str(run), "--output", str(tmp_path / "stored"), "--origin", "noise"])
    stored, card = load_file(tmp_path / "stored.safetensors"), json.loads((tmp_path / "stored.json").read_text())
    model = twins_lib.create_model("twins_svt_nano", 2)
    twins_lib.load_weights(model, run / "best.ckpt")
    for p in model.get_parameters():
        assert (stored[torch_name(p.name)] == p.asnumpy().astype(np.float16)).all()
    assert names_kept_with(tmp_path / "stored.safetensors") == card["classes"] == ["cat", "dog"]
    assert (card["data"], card["seconds"], card["train_images"], card["epochs"]) == ("noise", 2, 6, 1)
    assert card["score"]["images"] == 6 and card["score"]["top1"] == card["score_float32"]["top1"]
    assert "steps" not in card["log"][0]
    counts = np.array(card["confusion"])
    assert counts.sum(1).tolist() == [3, 3]  # a row for each true class
    assert np.trace(counts) / 6 == pytest.approx(card["score"]["top1"] / 100)


@pytest.mark.parametrize("lost, told", [("best.ckpt", "best.ckpt: no such checkpoint"), ("config.yaml", "config.yaml")])
def test_a_folder_that_is_no_run_is_told(run, tmp_path, lost, told):
    (run / lost).unlink()
    with pytest.raises(SystemExit, match=told):
        photographs.main([str(run), "--output", str(tmp_path / "stored")])
    assert not list(tmp_path.glob("stored*"))


@pytest.mark.parametrize("name", ["cifar10_svt_nano", "cifar10_pcpvt_nano"])
def test_a_stored_network_knows_the_drawings_and_its_card_adds_up(name):
    card = json.loads((ASSETS / f"{name}.json").read_text())
    counts = np.array(card["confusion"])
    assert counts.sum(1).tolist() == [1000] * 10 and np.trace(counts) / 100 == pytest.approx(card["score"]["top1"])
    assert card["epochs"] == len(card["log"]) and "JPEGs of quality 75" in card["data"]
    model = twins_lib.create_model(card["model"], 10)
    twins_lib.load_weights(model, ASSETS / f"{name}.safetensors")
    pictures = np.stack([as_photograph(drawing(kind), 64) for kind in OBJECTS]) / 255
    images = ((pictures - MEAN) / STD).transpose(0, 3, 1, 2).astype(np.float32)
    named = [card["classes"][one] for one in model(Tensor(images)).asnumpy().argmax(1)]
    assert sum(map(str.__eq__, named, OBJECTS)) >= 5
