"""twins_lib/teach/experiments/dense_training.py: the stored runs of lesson 09 can be trusted, and made again."""

import json

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from twins_lib import GSA, LSA
from twins_lib.teach.experiments import toy
from twins_lib.teach.experiments.runs import ASSETS, pixels
from twins_lib.position import PEG
from twins_lib.segmentation import LinearHead, SemanticFPNHead
from twins_lib.teach.experiments import dense_training


@pytest.mark.parametrize("name, lsa, gsa, pegs, head", [
    ("whole", 3, 3, 3, LinearHead), ("without GSA", 6, 0, 3, LinearHead), ("without PEG", 3, 3, 0, LinearHead),
    ("without both", 6, 0, 0, LinearHead), ("whole, FPN", 3, 3, 3, SemanticFPNHead),
])
def test_a_network_lacks_what_its_name_says(name, lsa, gsa, pegs, head):
    model = dense_training.network(*dense_training.NETWORKS[name])
    kinds = [type(cell) for _, cell in model.cells_and_names()]
    assert (kinds.count(LSA), kinds.count(GSA), kinds.count(PEG)) == (lsa, gsa, pegs) and isinstance(model.head, head)
    images, _ = toy.enclosures(1, 0)
    assert dense_training.predictions(model, images).shape == (1, 64, 64)


def test_errors_by_distance_from_the_lines_one_by_one():
    wrong = np.random.default_rng(0).random((2, 24, 24)) < 0.3
    found = dense_training.errors_by_distance(wrong, period=8, margin=4)
    sums = {d: [] for d in range(4)}
    for n in range(2):
        for r in range(4, 20):
            for c in range(4, 20):  # the lines run before pixels 0, 8 and 16
                sums[min(min(x % 8, 7 - x % 8) for x in (r, c))].append(wrong[n, r, c])
    assert found == [np.mean(sums[d]) for d in range(4)]


def stored(name="dense.json"):
    return json.loads((ASSETS / name).read_text())


def test_the_stored_runs_are_of_the_data_that_is_made_today():
    card = stored()
    for size, count in zip(dense_training.SIZES, card["test_images"]):
        assert toy.checksum(*toy.enclosures(count, 1000, size)) == card["data"][str(size)]
    assert set(card["iou"]) == set(card["errors"]) == set(dense_training.NETWORKS)
    for sizes in card["iou"].values():
        assert [np.shape(sizes[str(size)]) for size in dense_training.SIZES] == [(3, 3), (3, 3)]


def test_runs_made_anew_have_the_same_form(tmp_path):
    path = tmp_path / "dense.json"
    networks = {"without both": dense_training.NETWORKS["without both"]}
    dense_training.table(path, networks, seeds=(0,), n=16, epochs=1, n_test=(5, 5))
    made = json.loads(path.read_text())
    assert made.keys() == stored().keys() and list(made["iou"]) == ["without both"]
    assert np.shape(made["iou"]["without both"]["128"]) == (1, 3)
    assert np.shape(made["errors"]["without both"]) == (1, 16)


def test_heads_made_anew_have_the_same_form(tmp_path):
    path = tmp_path / "heads.json"
    dense_training.heads(path, seeds=(0,), n=16, epochs=1, n_test=20)
    made, card = json.loads(path.read_text()), stored("dense_heads.json")
    assert made.keys() == card.keys() and {name: np.shape(one) for name, one in made["iou"].items()} == {
        "linear": (1, 3), "Semantic FPN": (1, 3)}
    assert toy.checksum(*toy.enclosures(card["test_images"], 1000)) == card["data"]
    assert all(np.shape(one) == (3, 3) for one in card["iou"].values())


@pytest.mark.parametrize("kind, sees", [("with GSA", True), ("windows only", False)])
def test_without_gsa_no_shape_can_know_the_stripe(kind, sees):
    model, (images, _) = dense_training.far_network(kind), toy.legends(1, 0)
    slopes = ms.grad(lambda x: model(x)[..., images.shape[2] // 2:].sum())(Tensor(pixels(images))).asnumpy()
    assert slopes[..., :8].any() == sees and slopes[..., 8:].any()


def test_the_far_run_is_of_the_data_of_today_and_can_be_made_anew(tmp_path):
    dense_training.far(tmp_path / "far.json", seeds=(0,), n=16, epochs=1, n_test=4)
    made, card = json.loads((tmp_path / "far.json").read_text()), stored("dense_far.json")
    assert made.keys() == card.keys() and made["iou"].keys() == made["masks"].keys() == card["masks"].keys()
    assert np.shape(made["iou"]["with GSA"]) == (1, 3) and np.shape(card["iou"]["with GSA"]) == (3, 3)
    for one in (made, card):
        assert one["data"] == toy.checksum(*toy.legends(one["test_images"], 1000))
        assert all(len(mask) == len(row) == 96 for masks in one["masks"].values() for mask in masks for row in mask)
    with_gsa, windows = (np.array(card["iou"][kind])[:, 1:] for kind in ("with GSA", "windows only"))
    assert with_gsa.min() > 0.8 and windows.mean() < 0.4


def test_what_is_there_is_left_alone(tmp_path):
    path = tmp_path / "dense.json"
    path.write_text("kept")
    with pytest.raises(SystemExit, match="is already there; --again makes it anew"):
        dense_training.main(["networks", "--output", str(path)])
    assert path.read_text() == "kept"


@pytest.mark.parametrize("what, function", [("networks", "table"), ("heads", "heads")])
def test_a_stopped_run_writes_nothing(what, function, tmp_path, monkeypatch):
    def stopped(path):
        raise KeyboardInterrupt
    monkeypatch.setattr(dense_training, function, stopped)
    with pytest.raises(SystemExit, match="stopped; .* was not written"):
        dense_training.main([what, "--output", str(tmp_path / "dense.json")])
    assert not list(tmp_path.iterdir())
