"""Checks of lesson 06, training on your laptop."""

import numpy as np

from ..check import exercise, require


@exercise
def rate_of_epoch_3(rate):
    """The warm-up from 0 to 1e-3 in 5 epochs, whose first value is used twice."""
    require(abs(rate - 6e-4) > 1e-6, "that is so if epoch 1 climbs already; epochs 0 and 1 share the first value")
    require(abs(rate - 2e-4) > 1e-6, "that is epoch 2: epochs 0 and 1 are at the start, each later one climbs a fifth")
    require(abs(rate - 4e-4) < 1e-6, f"{rate}: find the time of epoch 3 first, then that many fifths of the peak")


@exercise
def surviving_branches(branches):
    """16 branches with rates from 0 to 0.2."""
    require(abs(branches - 12.8) > 1e-6, "that is as if all blocks had the rate of the last; the first has 0")
    require(abs(branches - 1.6) > 1e-6, "those are the branches left out")
    require(abs(branches - 7.2) > 1e-6, "each of the eight blocks has two branches, attention and MLP")
    require(abs(branches - 14.4) < 1e-6, f"{branches}: what is the mean rate, half-way between 0 and 0.2?")


def _adamw(p, g, m, v, t, lr, decay, beta1=0.9, beta2=0.999, eps=1e-8, corrected=True, coupled=False, squared=True):
    g = g + decay * p if coupled else g
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
    one, two = (1 - beta1 ** t, 1 - beta2 ** t) if corrected else (1, 1)
    step = (m / one) / ((np.sqrt(v / two) if squared else v / two) + eps)
    return p - lr * (step + (0 if coupled else decay * p)), m, v


@exercise
def adamw_step(function):
    """One step of AdamW."""
    rng = np.random.default_rng(0)
    p, g, m = rng.normal(size=(3, 4))
    v, settings = rng.random(4), {"t": 3, "lr": 0.1, "decay": 0.2}
    found = function(p.copy(), g.copy(), m.copy(), v.copy(), **settings)
    require(isinstance(found, (tuple, list)) and len(found) == 3, "return three arrays: the new p, m and v")
    new = np.asarray(found[0])

    def gives(**changed):
        return np.allclose(new, _adamw(p, g, m, v, **(settings | changed))[0])

    right = _adamw(p, g, m, v, **settings)
    require(not gives(corrected=False), "the bias correction is missing: divide by 1 - beta ** t")
    require(not gives(coupled=True), "the decay goes through m and v; in AdamW it stands beside them")
    require(not gives(decay=0), "the weight decay is missing")
    require(not gives(decay=-0.2), "the decay pushes p away from zero; it must pull towards it")
    require(not gives(squared=False), "the root of v is missing")
    require(not gives(lr=-0.1), "it walks uphill; the step is subtracted")
    require(gives(), "p differs; compare with the lesson's formula term by term")
    require(np.allclose(found[1], right[1]) and np.allclose(found[2], right[2]),
            "p is right; but hand back m and v as they are kept, without the correction")


@exercise
def mixed_target(function):
    """The smoothed target of a mixture."""
    found = np.asarray(function(1, 3, 0.7, 5, 0.1), float)
    require(found.shape == (5,), f"the shape is {found.shape} instead of (5,)")
    require(not np.allclose(found, [0, 0.7, 0, 0.3, 0]), "the smoothing is missing")
    require(not np.allclose(found, [0.02, 0.29, 0.02, 0.65, 0.02]), "the shares are swapped: `share` belongs to a")
    require(abs(found.sum() - 1) < 1e-6, f"it sums to {found.sum():.3g}; what smoothing gives it takes from the labels")
    require(not np.allclose(found, [0.1 / 3, 0.63, 0.1 / 3, 0.27, 0.1 / 3]),
            "smoothing gives to all classes, a and b too")
    require(np.allclose(found, [0.02, 0.65, 0.02, 0.29, 0.02]),
            "smooth both labels, then mix by `share` and 1 - `share`")
    same = np.asarray(function(2, 2, 0.7, 5, 0.1), float)
    require(np.allclose(same, [0.02, 0.02, 0.92, 0.02, 0.02]), "where a and b are one class, both shares go to it")


@exercise
def faulty_line(line):
    """Which line of the loop is wrong."""
    require(line in ("A", "B", "C", "D"), "answer with one letter, A, B, C or D")
    require(line != "D", "D is the formula of the lesson; but what is 0.9 ** t in the first round?")
    require(line == "A", f"{line} is a running mean as it should be; compute the first round by hand")
