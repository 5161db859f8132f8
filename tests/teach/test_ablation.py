"""twins_lib/teach/experiments: the stored runs of lesson 06 can be trusted, and made again."""

import json

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from twins_lib import create_model, load_weights
from twins_lib.teach.experiments import ablation, cifar10, runs, toy

CHECKPOINT = runs.ASSETS / "twins_svt_nano_shapes.ckpt"


def test_rates_climb_a_tenth_and_then_follow_half_a_cosine():
    rates = runs.rates(2.0, 40)
    assert np.allclose(rates[:4], [0.5, 1.0, 1.49, 1.97], atol=0.01)  # quarters of a cosine that has hardly begun
    assert rates.argmax() == 3 and np.isclose(rates[20], 1.0) and 0 < rates[-1] < 0.01


def test_a_restarted_run_repeats_the_first_one_exactly():
    arrays, labels, _ = ablation.task("far_pairs", 64, 0)
    inputs = [Tensor(array) for array in arrays]
    model = ablation.Small(*ablation.NETWORKS["full"])
    step, optimizer = runs.training_step(model)

    def losses():
        ms.set_seed(5)
        runs.restart(model, optimizer, ablation.Small(*ablation.NETWORKS["full"]))
        return [float(step(Tensor(labels), Tensor(3e-3, ms.float32), *inputs).asnumpy()) for _ in range(4)]

    first = losses()
    assert losses() == first and first[-1] < first[0]


def test_the_stored_checkpoint_scores_what_its_card_says():
    card = json.loads(CHECKPOINT.with_suffix(".json").read_text())
    images, labels = toy.silhouettes(card["score"]["images"], card["score"]["seed"], card["data"]["size"])
    assert toy.checksum(images, labels) == card["score"]["sha256"]
    model = create_model(card["model"], len(card["classes"]))
    load_weights(model, CHECKPOINT)
    assert runs.accuracy(model, (runs.pixels(images[:300]),), labels[:300]) > card["score"]["accuracy"] - 0.02


def test_the_stored_table_is_of_the_data_that_is_made_today():
    card = json.loads((runs.ASSETS / "ablation.json").read_text())
    for name, checksum in card["data"].items():
        assert ablation.task(name, card["test_images"], 1000)[2] == checksum
    for name, lacking in (("borders", "without PEG"), ("far_pairs", "without GSA")):
        scores = card["scores"][name]
        assert set(scores) == set(ablation.NETWORKS) and all(len(seeds) == 3 for seeds in scores.values())
        assert max(scores[lacking]) < 0.6 and all(min(scores[n]) > 0.9 for n in scores if n != lacking)


def test_a_table_made_anew_has_the_same_form(tmp_path, monkeypatch):
    monkeypatch.setattr(ablation, "NETWORKS", {"without GSA": ablation.NETWORKS["without GSA"]})
    ablation.table(tmp_path / "table.json", seeds=(0,), n=32, epochs=1, n_test=100)
    made = json.loads((tmp_path / "table.json").read_text())
    assert made.keys() == json.loads((runs.ASSETS / "ablation.json").read_text()).keys()
    assert abs(made["scores"]["far_pairs"]["without GSA"][0] - 0.5) < 0.15  # known: no network of LSA can do better


def test_the_stored_minute_is_of_photographs_and_no_seed_is_far_off():
    card = json.loads((runs.ASSETS / "cifar10_minute.json").read_text())
    assert card["data"] == "CIFAR-10 as JPEGs of quality 75" and card["test_images"] == 10000
    assert len(card["scores"]) == len(card["seeds"]) == 3
    assert min(card["scores"]) > 0.2 and max(card["scores"]) - min(card["scores"]) < 0.1


def test_a_minute_made_anew_has_the_same_form(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    made_up = rng.integers(0, 256, (40, 32, 32, 3), np.uint8), np.arange(40, dtype=np.int32) % 10
    monkeypatch.setattr(cifar10, "load", lambda split, count: tuple(array[:count] for array in made_up))
    monkeypatch.setattr(cifar10, "origin", lambda: "noise")
    ablation.minute(tmp_path / "minute.json", seeds=(0,), n=40, epochs=1, batch=20, n_test=20)
    made = json.loads((tmp_path / "minute.json").read_text())
    assert made.keys() == json.loads((runs.ASSETS / "cifar10_minute.json").read_text()).keys()
    assert len(made["scores"]) == 1 and made["data"] == "noise" and made["sha256"] == toy.checksum(*made_up)


def test_photographs_that_were_not_fetched_are_told_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar10, "load", lambda split, count: None)
    with pytest.raises(SystemExit, match="error: CIFAR-10 is not there; python data_scripts/"):
        ablation.main(["minute", "--output", str(tmp_path / "minute.json")])
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_left_alone(tmp_path):
    stored = tmp_path / "table.json"
    stored.write_text("kept")
    with pytest.raises(SystemExit, match="is already there; --again makes it anew"):
        ablation.main(["table", "--output", str(stored)])
    assert stored.read_text() == "kept"


def test_a_stopped_run_writes_nothing(tmp_path, monkeypatch):
    def stopped(path):
        raise KeyboardInterrupt
    monkeypatch.setattr(ablation, "table", stopped)
    with pytest.raises(SystemExit, match="stopped; .* was not written"):
        ablation.main(["table", "--output", str(tmp_path / "table.json")])
    assert not list(tmp_path.iterdir())
