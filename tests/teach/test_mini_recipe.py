"""The stored run of lesson 10 with augmentation and mixing has the recipe's settings, and can be made again."""

import json

import numpy as np

from twins_lib import create_model
from twins_lib.teach.experiments import mini_recipe, runs
from twins_lib.training.checkpoints import Checkpoints, Progress
from twins_lib.training.config import load_config
from twins_lib.training.transforms import OFFICIAL

CARD = json.loads((runs.ASSETS / "mini_recipe.json").read_text())


def test_only_the_four_of_the_recipe_and_the_epochs_differ():
    shipped = load_config("twins_svt_nano")
    for name, words in mini_recipe.RUNS.items():
        config = load_config("twins_svt_nano", words)
        kept = OFFICIAL if name.startswith("with,") else shipped.augmentation
        assert all(getattr(config.augmentation, key) == getattr(kept, key)
                   for key in ("randaugment", "erasing", "mixup", "cutmix"))
        assert CARD["runs"][name]["command"].endswith(" ".join(words))
        assert [line["epoch"] for line in CARD["runs"][name]["log"]] == list(range(config.epochs))


def test_the_mistakes_are_those_of_the_last_epoch():
    assert CARD["runs"].keys() == mini_recipe.RUNS.keys()
    for run in CARD["runs"].values():
        counts = np.array(run["confusion"])
        assert (counts.sum(1) == 25).all()
        assert 100 * np.trace(counts) / 200 == run["log"][-1]["test_acc1"]


def test_a_run_made_anew_has_the_same_form(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def untrained(folder, words):
        model = create_model("twins_svt_nano", 8)
        Checkpoints(folder / "checkpoints", model.get_parameters()).save(Progress(), {})
        return "", [dict.fromkeys(mini_recipe.KEPT, 0)]

    monkeypatch.setattr(mini_recipe, "train", untrained)
    monkeypatch.setattr(mini_recipe, "RUNS", {"with, 8 epochs": ()})
    mini_recipe.make(tmp_path / "card.json")
    made = json.loads((tmp_path / "card.json").read_text())
    assert made.keys() == CARD.keys() and made["classes"] == CARD["classes"]
    (run,), old = made["runs"].values(), CARD["runs"]["with, 8 epochs"]
    assert run.keys() == old.keys() and run["log"][0].keys() == old["log"][0].keys()
