"""Training is the original's: the same steps by timm and PyTorch gave the same losses, weights and averages."""

from pathlib import Path

import numpy as np
import pytest

import twins_lib
from golden import seeded
from twins_lib.training.config import load_config
from twins_lib.training.engine import step_of
from twins_lib.training.recipe import learning_rates
from twins_lib.training.tasks import functions
from twins_lib.weights import torch_name

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "training.npz")


def trained(name, mode, steps, batch=seeded.batch, **changed):
    """The losses of the first steps, and the tensors at the end: of the weights and of their averages, by name."""
    r = seeded.TRAINING | changed
    keys = ("weight_decay", "clip_norm", "ema", "drop_path")
    config = load_config(name, [f"mode={mode}", *(f"{key}={r[key]}" for key in keys)])
    model = twins_lib.create_model(name, 10, drop_path_rate=r["drop_path"])
    shapes = {torch_name(p.name): p.shape for p in model.get_parameters()}
    twins_lib.load_torch_state(model, seeded.initial(shapes))
    _, loss = functions(config, model)
    _, step = step_of(config, model, loss, world=1)
    rates = learning_rates(r["peak_lr"], r["epochs"], r["warmup_epochs"], r["warmup_lr"], r["min_lr"])
    blocks = sum(model.variant.depths)
    losses = [step([batch(number, blocks)], rates[number // r["steps"]])[0] for number in range(steps)]
    weights = {torch_name(p.name): p.asnumpy() for p in step.weights}
    averages = {torch_name(p.name): a.asnumpy() for p, a in zip(step.weights, step.averages)}
    return np.array(losses), weights, averages


def differences(name, kind, tensors):
    wanted = dict(zip(GOLDEN[f"{name}/names"], GOLDEN[f"{name}/{kind}"]))
    assert wanted.keys() == tensors.keys()
    return {n: seeded.relative_difference(seeded.fingerprint(tensors[n]), wanted[n]) for n in wanted}


@pytest.mark.parametrize("name", ["twins_svt_nano", "twins_pcpvt_nano"])
def test_two_hundred_compiled_steps_are_those_of_timm(name):
    losses, weights, averages = trained(name, "graph", 200)
    np.testing.assert_allclose(losses, GOLDEN[f"{name}/losses"], rtol=1e-5)
    assert losses[-10:].mean() < losses[:10].mean() / 2  # it did learn
    for kind, tensors in (("weights", weights), ("averages", averages)):
        assert np.median(list(differences(name, kind, tensors).values())) < 1e-4
    assert np.median(list(differences(name, "weights", averages).values())) > 1e-2  # which the bound tells apart


@pytest.mark.parametrize("name", ["twins_svt_nano", "twins_pcpvt_nano"])
def test_so_are_steps_that_are_not_compiled(name):
    losses, _, _ = trained(name, "pynative", 10)
    np.testing.assert_allclose(losses, GOLDEN[f"{name}/losses"][:10], rtol=1e-5)


def swapped(number, blocks):
    images, targets, keep = seeded.batch(number, blocks)
    return images, targets, np.ascontiguousarray(keep[:, ::-1])


@pytest.mark.parametrize("changed", [
    {"batch": swapped},         # stochastic depth of the attention on the MLP
    {"warmup_lr": 1.01e-4},     # a learning rate one per cent too high
    {"clip_norm": 0.1},
])
def test_a_mistake_in_the_recipe_is_seen(changed):
    losses, _, _ = trained("twins_svt_nano", "pynative", 10, **changed)
    assert not np.allclose(losses, GOLDEN["twins_svt_nano/losses"][:10], rtol=1e-5, atol=0)
