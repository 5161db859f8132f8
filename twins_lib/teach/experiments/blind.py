"""The blind round of lesson 08: three unseen patients, and twelve measurements of which as few as possible are taken.

Two patients have a bug in the network, one has it in its training. Which one has what stands in `_KEY`: read it
afterwards. Two of the five bugs below are nobody's; they are there because a diagnosis must rule them out.
"""

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops

from ...attention import GSA, ScaledDotProduct, merge_heads
from ...position import PEG
from ...training import recipe
from . import toy
from .runs import pixels


class PegAlone(PEG):
    """Thought: "The PEG is a convolution." Wrong: it is *added*; without its residual the tokens are replaced."""

    def construct(self, tokens, size):
        return self.proj[0](tokens, size)


class HeadsByReshape(ScaledDotProduct):
    """Thought: "`reshape` lays the heads side by side." Wrong: without the transpose a token gets numbers of others."""

    def construct(self, q, k, v, bias=None):
        values = super().construct(q, k, v, bias)
        B, heads, N, d = values.shape
        return values.reshape(B, N, heads, d).transpose(0, 2, 1, 3)  # `merge_heads` makes this one reshape


class Trainer:
    """The right way to train a network by lesson 06's pieces, one step at a time."""

    def __init__(self, model):
        self.optimizer = recipe.AdamW(self.groups(model))

    def groups(self, model):
        return recipe.parameter_groups(model)

    def targets(self, labels):
        return recipe.smooth_labels(labels, len(toy.SHAPES))

    def update(self, gradients, rate):
        self.optimizer(gradients, Tensor(rate, ms.float32))


class PegDecays(Trainer):
    """Thought: "All convolutions and matrices decay." Wrong: the official rule spares the PEG by its name."""

    def groups(self, model):
        decayed, spared = super().groups(model)
        moved = [p for p in spared["params"] if p.ndim > 1]
        kept = [p for p in spared["params"] if p.ndim <= 1]
        return [{**decayed, "params": decayed["params"] + moved}, {**spared, "params": kept}]


class RateOfTheFirstStep(Trainer):
    """Thought: "The step is compiled once." Wrong: the rate that it saw then is compiled in."""

    rate = None

    def update(self, gradients, rate):
        self.rate = rate if self.rate is None else self.rate
        super().update(gradients, self.rate)


class SmoothedTwice(Trainer):
    """Thought: "The loss smooths the targets." Wrong: they came smoothed; 0.91 becomes 0.83."""

    def targets(self, labels):
        once = super().targets(labels)
        return 0.9 * once + 0.1 / once.shape[1]


BUGS = {"peg": PegAlone, "heads": HeadsByReshape, "decay": PegDecays, "rate": RateOfTheFirstStep,
        "smoothing": SmoothedTwice}
_KEY = {"A": "heads", "B": "rate", "C": "peg"}


class Patient:
    """One patient, who is asked by name and counts the questions.

    Args:
        healthy (callable): makes the right network, trained: a Twins-SVT with a `drop_path_rate` above 0.
        bug (str): a key of `BUGS`, or None for the right network.
    """

    def __init__(self, healthy, bug=None):
        self.healthy, self._bug, self.used = healthy, BUGS.get(bug), []

    def network(self):
        """A fresh copy of the patient's network, so that no measurement changes the next."""
        model = self.healthy()
        for _, cell in list(model.cells_and_names()):
            if self._bug and type(cell) in self._bug.__bases__:
                cell.__class__ = self._bug
        return model

    def trainer(self, model):
        """The patient's way of training a network."""
        return self._bug(model) if self._bug and issubclass(self._bug, Trainer) else Trainer(model)

    def measure(self, name):
        """Take one measurement, a key of `MEASUREMENTS`: the number that comes out. Repeated, it counts once.

        Raises:
            ValueError: no such measurement.
        """
        if name not in MEASUREMENTS:
            raise ValueError(f"no measurement is called {name!r}; there are {', '.join(MEASUREMENTS)}")
        if name not in self.used:
            self.used.append(name)
        return round(float(MEASUREMENTS[name](self)), 3)


def ward(healthy):
    """The three patients of the blind round: {"A": Patient, "B": Patient, "C": Patient}."""
    return {letter: Patient(healthy, bug) for letter, bug in _KEY.items()}


# ---- the measurements: a patient -> a number ------------------------------------------------------------------------

def _images(width=64, n=4):
    wide = pixels(toy.silhouettes(n, seed=1000, size=64)[0])
    return Tensor(np.concatenate((wide, wide[..., :width - 64]), axis=3))


def _furthest(a, b):
    return np.abs((a - b).asnumpy()).max()


def _first(model, images):
    tokens, size = model.patch_embeds[0](images)
    return tokens, size, model.blocks[0]


def twice(patient):
    """The same picture asked twice: the largest difference of its logits."""
    model = patient.network()
    return _furthest(model(_images()), model(_images()))


def company(patient):
    """The same picture alone and beside the negatives of three others: the largest difference of its logits."""
    model, images = patient.network(), _images()
    return _furthest(model(ops.concat((images[:1], -images[1:])))[:1], model(images[:1]))


def other(patient):
    """A wide picture: is any logit further than 0.001 from the right network's? 1 for yes."""
    return _furthest(patient.network()(_images(96)), patient.healthy()(_images(96))) > 1e-3


def rows(patient):
    """Block 1.1: the row sum of the attention weights that is furthest from 1."""
    tokens, size, (block, _) = _first(patient.network(), _images())
    q, k, _ = block.attn.queries_keys_values(block.norm1(tokens), size)
    sums = block.attn.attend.weights(q, k).asnumpy().sum(-1).ravel()
    return sums[np.abs(sums - 1).argmax()]


def summaries(patient):
    """Block 1.2: the mean variance of the summaries that keys are made of, scale and shift of their norm undone."""
    model, seen = patient.network(), []
    gsa = model.blocks[0][1].attn
    hook = gsa.kv.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0].asnumpy()))
    model.features(_images())
    hook.remove()
    return ((seen[0] - gsa.norm.beta.asnumpy()) / gsa.norm.gamma.asnumpy()).var(-1).mean()


def branches(patient):
    """Block 1.1 with both branches dropped: what comes out, over what went in."""
    tokens, size, (block, _) = _first(patient.network(), _images())
    return (block(tokens, size, ops.zeros((2, len(tokens)))).norm() / tokens.norm()).asnumpy()


def silent_peg(patient):
    """The PEG of stage 1 with its kernel and bias set to 0: what comes out, over what went in."""
    model = patient.network()
    tokens, size, _ = _first(model, _images())
    for p in model.pos_block[0].get_parameters():
        p.set_data(ops.zeros_like(p))
    return (model.pos_block[0](tokens, size).norm() / tokens.norm()).asnumpy()


def rebuilt(patient):
    """All GSA layers: the largest difference of a layer's output from weights times values, merged and projected."""
    found = []
    for _, cell in patient.network().cells_and_names():
        if isinstance(cell, GSA):
            x = Tensor(np.random.default_rng(0).normal(size=(1, 64, cell.q.weight.shape[1])).astype(np.float32))
            q, k, v = cell.queries_keys_values(x, (8, 8))
            found.append(_furthest(cell.proj(merge_heads(cell.attend.weights(q, k) @ v)), cell(x, (8, 8))))
    return max(found)


def _stepped(patient, *rates, gradient=0.0):
    """The network before any step and after each: dicts {name: array}."""
    model = patient.network()
    trainer = patient.trainer(model)
    states = [{p.name: p.asnumpy().copy() for p in trainer.optimizer.parameters}]
    for rate in rates:
        trainer.update(tuple(ops.full_like(p, gradient) for p in trainer.optimizer.parameters), rate)
        states.append({p.name: p.asnumpy().copy() for p in trainer.optimizer.parameters})
    return states


def matrices_shrink(patient):
    """One step of training with all gradients 0 and rate 1: what the first qkv matrix is, over what it was."""
    before, after = _stepped(patient, 1.0)
    name = "blocks.0.0.attn.qkv.weight"
    return np.linalg.norm(after[name]) / np.linalg.norm(before[name])


def peg_shrinks(patient):
    """The same step: what the first PEG's kernel is, over what it was."""
    before, after = _stepped(patient, 1.0)
    name = "pos_block.0.proj.0.weight"
    return np.linalg.norm(after[name]) / np.linalg.norm(before[name])


def second_step(patient):
    """Two steps with equal gradients, the second with twice the rate: the second step's length over the first's."""
    states = [state["head.bias"] for state in _stepped(patient, 0.001, 0.002, gradient=1.0)]
    first, second = (np.linalg.norm(b - a) for a, b in zip(states, states[1:]))
    return second / first


def target(patient):
    """What the training's target gives to the right class."""
    return np.asarray(patient.trainer(patient.network()).targets(np.array([3])))[0, 3]


MEASUREMENTS = {measure.__name__: measure for measure in (
    twice, company, other, rows, summaries, branches, silent_peg, rebuilt, matrices_shrink, peg_shrinks, second_step,
    target)}
