"""The stored run of lesson 04 is of the data that is made today, and can be made again."""

import json

import pytest

from twins_lib.teach.experiments import near_far, runs

CARD = runs.ASSETS / "near_far.json"


def test_the_price_is_that_of_the_layers():
    """N = 36 tokens of 64 numbers: 4 keys in a window, 9 cells, 36 tokens; 2 N C multiply-adds for each key."""
    macs = {name: near_far.product_macs(parts) for name, parts in near_far.NETWORKS.items()}
    assert macs == {"LSA + LSA": 4608 * 8, "GSA + GSA": 4608 * 18, "LSA + GSA": 4608 * 13, "full + full": 4608 * 72}


@pytest.mark.parametrize("task", near_far.TASKS)
def test_the_stored_run_is_of_the_data_that_is_made_today(task):
    card = json.loads(CARD.read_text())
    assert near_far.data(task, card["test_images"], 1000)[2] == card["data"][task]
    assert set(card["scores"][task]) == set(near_far.NETWORKS)
    assert all(len(seeds) == 3 for seeds in card["scores"][task].values())


def test_each_alone_fails_one_task_and_the_pair_solves_both():
    scores = json.loads(CARD.read_text())["scores"]
    mean = {task: {name: sum(seeds) / 3 for name, seeds in of.items()} for task, of in scores.items()}
    assert max(scores["far"]["LSA + LSA"]) < 0.6 and max(scores["fine"]["GSA + GSA"]) < 0.7
    assert mean["far"]["LSA + GSA"] > 0.95 and mean["fine"]["LSA + GSA"] > 0.8


def test_a_run_made_anew_has_the_same_form(tmp_path, monkeypatch):
    monkeypatch.setattr(near_far, "NETWORKS", {"LSA + LSA": near_far.NETWORKS["LSA + LSA"]})
    near_far.table(tmp_path / "table.json", seeds=(0,), n=32, epochs=1, n_test=100)
    assert json.loads((tmp_path / "table.json").read_text()).keys() == json.loads(CARD.read_text()).keys()
