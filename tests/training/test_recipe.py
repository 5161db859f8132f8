"""The recipe against the official logs, the papers' formulas in NumPy, and statistics of its draws."""

from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor
from scipy import stats
from scipy.special import log_softmax

from twins_lib import VARIANTS, Twins
from twins_lib.training.recipe import (
    AdamW,
    clip_by_global_norm,
    global_norm,
    learning_rates,
    mixup_cutmix,
    parameter_groups,
    smooth_labels,
    soft_cross_entropy,
)

# "train_lr" in logs/*.txt of github.com/Meituan-AutoML/Twins at c1ff671: file, peak, warm-up epochs, {epoch: value}.
LOGGED = [
    ("pcpvt_s", 1.25e-3, 5, {0: 1.000000000000015e-06, 1: 1.000000000000015e-06, 2: 0.0002507999999999969,
                             5: 0.0010002000000000064, 6: 0.0012491503115478462, 100: 0.0009456056777652429,
                             299: 1.0135976245596009e-05}),
    ("pcpvt_b", 1e-3, 5, {0: 9.999999999999953e-07, 2: 0.00020080000000000092, 6: 0.0009993216197035084,
                          7: 0.000999023230572016, 299: 1.0108561679951307e-05}),
    ("pcpvt_l", 1e-3, 5, {5: 0.0008002000000000078, 10: 0.0009978031724785232, 100: 0.0007569755007964469}),
    ("svt_s", 2e-3, 5, {0: 1.000000000000014e-06, 3: 0.0008005999999999952, 6: 0.001998636387080776,
                        100: 0.0015114962086716307, 299: 1.0218219942528794e-05}),
    ("svt_b", 1e-3, 5, {1: 9.999999999999953e-07, 3: 0.000400599999999987, 21: 0.000989183062363242}),
    ("svt_l", 1e-3, 20, {1: 9.999999999999953e-07, 2: 5.0950000000000534e-05, 7: 0.00030069999999999164,
                         20: 0.0009500499999999992, 21: 0.000989183062363242, 299: 1.0108561679951307e-05}),
]


@pytest.mark.parametrize("name, peak, warmup, logged", LOGGED)
def test_learning_rates_are_those_of_the_official_logs(name, peak, warmup, logged):
    rates = learning_rates(peak, warmup_epochs=warmup)
    assert rates.dtype == np.float64 and rates.shape == (300,)
    np.testing.assert_allclose(rates[list(logged)], list(logged.values()), rtol=0, atol=1e-12)


def test_without_warm_up_the_run_begins_at_the_peak():
    assert learning_rates(1e-3, epochs=10, warmup_epochs=0)[0] == 1e-3


@pytest.mark.parametrize("name, decayed", [
    ("twins_pcpvt_small", 98), ("twins_pcpvt_base", 170), ("twins_pcpvt_large", 248),
    ("twins_svt_small", 93), ("twins_svt_base", 124), ("twins_svt_large", 124)])
def test_decay_spares_what_the_official_optimizer_spares(name, decayed):
    # The official depths; the sizes of the tensors do not change their number.
    model = Twins(replace(VARIANTS[name], dims=(4, 4, 4, 4), heads=(1, 1, 1, 1)), num_classes=3)
    first, second = parameter_groups(model)
    assert (len(first["params"]), first["weight_decay"], second["weight_decay"]) == (decayed, 0.05, 0)
    assert len(first["params"]) + len(second["params"]) == len(model.trainable_params())
    spared = {p.name for p in second["params"]}
    assert {"pos_block.0.proj.0.weight", "head.bias", "norm.gamma"} <= spared
    assert {"head.weight", "patch_embeds.0.proj.weight"} <= {p.name for p in first["params"]}


def adamw_by_the_paper(p, gradients, rates, decay, beta1=0.9, beta2=0.999, eps=1e-8):
    """Algorithm 2 of arXiv 1711.05101 line by line, in float64 (its schedule multiplier is in the rates)."""
    p, m, v = p.astype(np.float64), 0, 0
    for t, (g, lr) in enumerate(zip(gradients, rates), start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        p = p - lr * (m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps) + decay * p)
    return p


@pytest.mark.parametrize("compiled", [False, True])
def test_adamw_is_the_papers(compiled):
    rng = np.random.default_rng(0)
    start = [rng.standard_normal(s).astype(np.float32) for s in ((5, 7), (7,))]
    # From 1e-9, where eps matters, to 10, where it does not.
    gradients = [[(rng.standard_normal(p.shape) * 10.0 ** rng.integers(-9, 2)).astype(np.float32) for p in start]
                 for _ in range(12)]
    rates = learning_rates(1e-2, epochs=12) + 1e-3
    weight, bias = (Parameter(p, name=name) for p, name in zip(start, ("weight", "bias")))
    optimizer = AdamW([{"params": [weight], "weight_decay": 0.05}, {"params": [bias], "weight_decay": 0.0}])

    def step(g_weight, g_bias, lr):
        return optimizer((g_weight, g_bias), lr)

    step = ms.jit(step) if compiled else step
    for (g_weight, g_bias), lr in zip(gradients, rates):
        step(Tensor(g_weight), Tensor(g_bias), Tensor(lr, ms.float32))
    for p, first, i, decay in ((weight, start[0], 0, 0.05), (bias, start[1], 1, 0)):
        expected = adamw_by_the_paper(first, [g[i] for g in gradients], rates, decay)
        assert np.abs(expected - first).max() > 0.02
        np.testing.assert_allclose(p.asnumpy(), expected, rtol=0, atol=1e-6)
    assert optimizer.step.asnumpy() == 12


@pytest.mark.parametrize("noise", [1e-19, -1e-19])
def test_noise_leaves_no_subnormal_moment(noise):
    weight = Parameter(Tensor(np.ones(3, np.float32)), name="w")
    optimizer = AdamW([{"params": [weight], "weight_decay": 0.0}])
    optimizer((Tensor(np.array([noise, 1e-12, np.nan], np.float32)),), Tensor(0.1, ms.float32))
    second = optimizer.moments2[0].asnumpy()
    assert second[0] == 0 and np.isclose(second[1], 1e-27, rtol=1e-5) and np.isnan(second[2])
    assert weight.asnumpy()[0] == 1 and weight.asnumpy()[1] < 1


def test_all_that_adamw_remembers_is_parameters():
    weight = Parameter(np.ones((2, 2), np.float32), name="weight")
    optimizer = AdamW([{"params": [weight], "weight_decay": 0.05}])
    gradient, lr = (Tensor(np.full((2, 2), 0.3, np.float32)),), Tensor(0.1, ms.float32)
    optimizer(gradient, lr)
    saved = {p.name: p.asnumpy().copy() for p in optimizer.get_parameters()}
    assert set(saved) == {"weight", "adam_m.weight", "adam_v.weight", "adam_step"}
    optimizer(gradient, lr)
    undisturbed = weight.asnumpy().copy()
    for p in optimizer.get_parameters():
        p.set_data(Tensor(saved[p.name]))
    optimizer(gradient, lr)
    np.testing.assert_array_equal(weight.asnumpy(), undisturbed)


def test_clipping_scales_all_gradients_by_one_factor():
    rng = np.random.default_rng(0)
    arrays = [3 * rng.standard_normal(s).astype(np.float32) for s in ((20, 30), (30,), (4, 4, 2))]
    gradients = tuple(Tensor(a) for a in arrays)
    norm = np.sqrt(sum((a.astype(np.float64)**2).sum() for a in arrays))
    clip = ms.jit(clip_by_global_norm)
    for _ in range(3):  # a compiled function must not remember the last call
        for clipped, a in zip(clip(gradients), arrays):
            np.testing.assert_allclose(clipped.asnumpy(), a * 5 / norm, rtol=2e-6)
    assert float(global_norm(gradients)) == pytest.approx(norm, rel=1e-6)
    for clipped, a in zip(clip_by_global_norm(gradients, 2 * norm), arrays):
        np.testing.assert_array_equal(clipped.asnumpy(), a)


def test_soft_cross_entropy_is_the_formula():
    rng = np.random.default_rng(0)
    logits = 5 * rng.standard_normal((4, 7)).astype(np.float32)
    targets = rng.dirichlet(np.ones(7), 4).astype(np.float32)
    expected = -(targets * log_softmax(logits.astype(np.float64), -1)).sum(-1).mean()
    assert float(soft_cross_entropy(Tensor(logits), Tensor(targets))) == pytest.approx(expected, rel=1e-6)


def test_smoothing_leaves_a_tenth_to_all_classes():
    np.testing.assert_allclose(smooth_labels(np.array([1, 3]), 4),
                               [[0.025, 0.925, 0.025, 0.025], [0.025, 0.025, 0.025, 0.925]], rtol=1e-6)


def constant_batch(B=4, H=12, W=16):
    """Image i is i everywhere and has label i, so each pixel says where it came from."""
    return np.repeat(np.arange(B, dtype=np.float32), 3 * H * W).reshape(B, 3, H, W), np.arange(B)


def test_cutmix_pastes_a_box_of_the_reversed_batch_and_counts_its_area():
    images, labels = constant_batch()
    before = images.copy()
    areas = set()
    for seed in range(50):
        mixed, targets = mixup_cutmix(images, labels, 4, np.random.default_rng(seed), mixup=0, smoothing=0)
        pasted = mixed[0, 0] == 3
        rows, columns = np.flatnonzero(pasted.any(1)), np.flatnonzero(pasted.any(0))
        assert pasted.sum() == len(rows) * len(columns)  # one box
        assert set(np.unique(mixed[1])) <= {1, 2} and np.array_equal(mixed[1, 0] == 2, pasted)
        np.testing.assert_allclose(targets[0], [1 - pasted.mean(), 0, 0, pasted.mean()], atol=1e-6)
        areas.add(pasted.sum())
    assert len(areas) > 20
    np.testing.assert_array_equal(images, before)


def test_cutmix_box_has_the_drawn_area_where_the_border_does_not_cut_it():
    from twins_lib.training.recipe import _box
    sides = []
    for seed in range(400):
        top, bottom, left, right = _box((100, 60), 0.75, np.random.default_rng(seed))
        assert 0 <= top <= bottom <= 100 and 0 <= left <= right <= 60
        sides.append((bottom - top, right - left))
    assert np.max(sides, axis=0).tolist() == [50, 30]  # √(1 - 0.75) of each side
    assert np.min(sides, axis=0).tolist() == [25, 15]  # the centre may lie on the border


def test_mixup_blends_pixels_and_targets_in_one_proportion():
    images, labels = constant_batch()
    shares = []
    for seed in range(400):
        mixed, targets = mixup_cutmix(images, labels, 4, np.random.default_rng(seed), cutmix=0, smoothing=0)
        share = float(targets[0, 0])
        np.testing.assert_allclose(mixed[0], 3 * (1 - share), atol=1e-5)
        np.testing.assert_allclose(mixed[1], share + 2 * (1 - share), atol=1e-5)
        shares.append(share)
    assert stats.kstest(shares, stats.beta(0.8, 0.8).cdf).pvalue > 0.01


def test_half_the_batches_are_cutmix_and_targets_are_smoothed_distributions():
    images, labels = constant_batch()
    boxed = 0
    for seed in range(400):
        mixed, targets = mixup_cutmix(images, labels, 4, np.random.default_rng(seed))
        assert mixed.dtype == targets.dtype == np.float32
        np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
        np.testing.assert_allclose(targets[0, 1:3], 0.025, atol=1e-6)
        boxed += set(np.unique(mixed[0])) <= {0, 3}
    assert 160 < boxed < 240  # four standard deviations round 200


def test_prob_0_leaves_the_batch_as_it_is():
    images, labels = constant_batch()
    mixed, targets = mixup_cutmix(images, labels, 4, np.random.default_rng(0), prob=0)
    np.testing.assert_array_equal(mixed, images)
    np.testing.assert_array_equal(targets, smooth_labels(labels, 4))
