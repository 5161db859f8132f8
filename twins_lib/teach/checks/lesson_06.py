"""Checks of lesson 06, training on your laptop."""

import numpy as np

from ..check import exercise, require


@exercise
def another_schedule(rate, epoch):
    """100 epochs with a warm-up from 0 to 2e-3 in 10 of them: the rate of epoch 6, and the epoch of half the peak."""
    require(abs(rate - 1.2e-3) > 1e-6, "the rate would be so if epoch 1 climbed already; epochs 0 and 1 share time 0")
    require(abs(rate - 6e-4) > 1e-6, "that is the climb to a peak of 1e-3; here the peak is 2e-3")
    require(abs(rate - 1e-3) < 1e-6, f"rate {rate}: find the time of epoch 6 first, then that many tenths of the peak")
    require(epoch != 50, "the rate is right; 50 is the time of half the peak, and epoch 0 and epoch 1 share time 0")
    require(epoch not in (55, 56), "the rate is right; the cosine counts its time from 0, not from the warm-up")
    require(epoch != 6, "the rate is right; epoch 6 is on the way up, asked is the one on the way down")
    require(epoch == 51, f"the rate is right; epoch {epoch}: half of a cosine's way is half of its time")


@exercise
def best_of_twenty(points):
    """How much the best of 20 scores on 500 pictures is above the 40 % that all settings have, in percentage points."""
    require(abs(points) > 1e-6, "each score alone is fair; but the best of twenty is the one that had most luck")
    require(abs(points - 2.19) > 0.02, "that is the standard deviation of one score; the best of twenty is further out")
    require(abs(points - 44.1) > 0.3, "that is the best score itself; by how much is it above 40?")
    require(abs(points - 0.041) > 0.003, "that is a share; in percentage points it is a hundred times as much")
    require(abs(points - 20.5) > 1, "those are pictures of 500; in percentage points it is a fifth of that")
    require(3.8 < points < 4.4, f"{points} points: draw twenty scores many times, and take the highest each time")


def _adamw(p, g, m, v, t, lr, decay, beta1=0.9, beta2=0.999, eps=1e-8, corrected=True, coupled=False, squared=True):
    g = g + decay * p if coupled else g
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
    one, two = (1 - beta1 ** t, 1 - beta2 ** t) if corrected else (1, 1)
    step = (m / one) / ((np.sqrt(v / two) if squared else v / two) + eps)
    return p - lr * (step + (0 if coupled else decay * p)), m, v


_SHAPES = {"head.weight": (3, 4), "head.bias": (3,), "norm.gamma": (4,), "pos_block.0.proj.0.weight": (4, 1, 3, 3)}
_RULES = {  # which tensors decay
    "right": lambda name: name == "head.weight", "all": lambda name: True, "none": lambda name: False,
    "PEG": lambda name: name.endswith("weight"), "small": lambda name: not name.startswith("pos_block"),
}


def _network_step(weights, gradients, m, v, t, lr, decay, clip="together", rule="right", **adam):
    """The step that `network_step` asks for; the last arguments make the usual slips."""
    def factor(tensors):
        longest = np.sqrt(sum((g**2).sum() for g in tensors))
        return 5 / longest if clip == "always" else min(1, 5 / longest)

    shrink = {name: {"none": 1, "each": factor([g])}.get(clip, factor(gradients.values()))
              for name, g in gradients.items()}
    made = {name: _adamw(p, shrink[name] * gradients[name], m[name], v[name], t, lr,
                         decay if _RULES[rule](name) else 0, **adam) for name, p in weights.items()}
    return tuple({name: parts[k] for name, parts in made.items()} for k in range(3))


def _equal(found, right):
    return all(np.allclose(found[name], right[name], atol=1e-9) for name in right)


@exercise
def network_step(function):
    """One step of the official recipe for all tensors: clipping, AdamW, and decay for matrices only."""
    rng = np.random.default_rng(0)
    for size in (3.0, 0.1):  # a gradient that is clipped and one that is not
        weights, gradients, m = ({name: rng.normal(size=shape) for name, shape in _SHAPES.items()} for _ in range(3))
        gradients = {name: size * g for name, g in gradients.items()}
        v = {name: rng.random(shape) for name, shape in _SHAPES.items()}
        given, settings = (weights, gradients, m, v), {"t": 3, "lr": 0.1, "decay": 0.2}
        found = function(*({name: array.copy() for name, array in one.items()} for one in given), **settings)
        require(isinstance(found, (tuple, list)) and len(found) == 3, "return three dicts: the new weights, m and v")
        require(all(isinstance(part, dict) and part.keys() == weights.keys() for part in found),
                f"each of the three dicts must have the names {', '.join(weights)}")
        right = _network_step(*given, **settings)
        for slip, told in _SLIPS:
            wrong = _network_step(*given, **(settings | slip))[0]
            require(_equal(wrong, right[0]) or not _equal(found[0], wrong), told)
        require(_equal(found[0], right[0]), "the weights differ; compare with the lesson's formula term by term")
        require(_equal(found[1], right[1]) and _equal(found[2], right[2]),
                "the weights are right; but hand back m and v as they are kept, without the correction")


_SLIPS = (
    ({"clip": "none"}, "the gradients are not clipped: together they are longer than 5"),
    ({"clip": "each"}, "each gradient is clipped alone, so their direction changes; take one length for all"),
    ({"clip": "always"}, "gradients shorter than 5 are made longer; clipping only shortens"),
    ({"rule": "all"}, "everything decays; norms, biases and the PEG are spared"),
    ({"rule": "small"}, "norms and biases decay in yours; tensors with one axis are spared"),
    ({"rule": "PEG"}, "the PEG decays in yours; its kernel has four axes, so ask its name"),
    ({"rule": "none"}, "the weight decay is missing"),
    ({"corrected": False}, "the bias correction is missing: divide by 1 - beta ** t"),
    ({"coupled": True}, "the decay goes through m and v; in AdamW it stands beside them"),
    ({"decay": -0.2}, "the decay pushes weights away from zero; it must pull towards it"),
    ({"squared": False}, "the root of v is missing"),
    ({"lr": -0.1}, "it walks uphill; the step is subtracted"),
)


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
    require(line in ("A", "B", "C", "D", "E"), "answer with one letter, A to E")
    require(line != "A", "A counts from 1, as the correction needs it; put g = 0 into the lines below and follow it")
    require(line != "E", "E is the step of Adam, and nothing is wrong in it; what comes into it as m when g is 0?")
    require(line == "B", f"{line} is a running mean as it should be; but of what, when g is 0?")
