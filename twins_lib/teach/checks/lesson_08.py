"""Checks of lesson 08, the bug lab. What is said of a wrong diagnosis follows from the bugs' own matrix of checks."""

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ...attention import GSA
from ...model import create_model
from ..check import exercise, require
from ..experiments import blind, bugs


@exercise
def torn_footprint(tokens):
    """The tokens of key 4 on a grid of 4×6 with r = 2, H and W swapped."""
    found = sorted(int(token) for token in np.ravel(tokens))
    require(found != [14, 15, 20, 21], "that is key 4 of the right network, on rows of 6 tokens")
    require(found != [4, 5, 10, 11], "that is the grid on its side; but a reshape moves no token: it reads the same "
                                     "24 tokens in a row, and begins a new row after 4 of them")
    require(found != [10, 11, 14, 15], "that is key 3: keys are numbered from 0, and two of them fit in a row of 4")
    require(found != [18, 19, 22, 23], "that is key 5: keys are numbered from 0")
    require(len(found) == 4, f"{len(found)} tokens; a key of r = 2 is made of 2×2")
    require(found == [16, 17, 20, 21],
            f"{found}: write 0 to 23 in 6 rows of 4, cut them into squares of 2×2, and take the fifth square")


_REFUTED = {
    "window": "a token of its LSA depends on its whole window and on nothing else",
    "shares": "the rows of its attention weights sum to one",
    "scale": "the logarithms of its attention weights grow by 1/√d with q·k",
    "footprint": "each of its keys is made of one square cell, on wide images too",
    "order": "what its embeddings make enters the first blocks as it is",
    "norm": "the summaries that its keys are made of have mean 0 and variance 1",
    "residual": "with both branches dropped, its blocks hand the tokens on as they are",
    "repeat": "it gives the same logits when asked twice",
}


@exercise
def diagnosis(table):
    """The bug of each of the eight patients."""
    given = {number: name for number, name in table.items() if name is not None}
    if not given:
        raise NotImplementedError
    for number, name in given.items():
        require(number in range(1, 9), f"there is no patient {number} in this table; there are 1 to 8")
        require(name in bugs.BUGS, f"patient {number}: no bug is called {name!r}; there are {', '.join(bugs.BUGS)}")
    for number, name in given.items():
        require(name == bugs._KEY[number], f"patient {number} does not have {name!r}: {_REFUTED[name]}")
    missing = [str(number) for number in range(1, 9) if number not in given]
    require(not missing, f"right so far; still open: {', '.join(missing)}")


def _filled(cell, seed):
    """Give a network weights that keep the signal alive."""
    rng = np.random.default_rng(seed)
    for p in cell.get_parameters():
        noise = rng.normal(0, 0.4 / np.sqrt(np.prod(p.shape[1:])), p.shape)
        p.set_data(Tensor((noise + p.name.endswith("gamma")).astype(np.float32)))
    return cell


def _gsa(r, kind=GSA):
    """A small GSA, right or of one of the kinds below, always with the same weights."""
    gsa = _filled(GSA(8, 2, r), seed=r)
    gsa.__class__ = kind
    return gsa


class _BothBugs(bugs.NoNormAfterSubsampling):
    def queries_keys_values(self, tokens, size):
        return super().queries_keys_values(tokens, size[::-1])


class _NormTooEarly(bugs.NoNormAfterSubsampling):
    def queries_keys_values(self, tokens, size):
        return super().queries_keys_values(self.norm(tokens), size)


_REPAIRS = (
    (_BothBugs, "both bugs are still there"),
    (bugs.NoNormAfterSubsampling, "rows and columns are right; the summaries still lack their norm"),
    (bugs.WidthFirst, "the norm is there; H and W are still swapped"),
    (_NormTooEarly, "the norm belongs after the sub-sampling: what the convolution makes is what it must tame"),
)


@exercise
def keys_and_values(function):
    """Keys and values of GSA, repaired."""
    for size, r in (((4, 6), 2), ((5, 7), 2), ((3, 4), 1)):
        tokens = Tensor(np.random.default_rng(1).normal(size=(2, size[0] * size[1], 8)).astype(np.float32))
        try:
            k, v = (part.asnumpy() for part in function(_gsa(r), tokens, size))
        except AttributeError as error:
            require(r > 1, f"with sr_ratio 1 a GSA has no sub-sampling and no norm to call ({error})")
            raise
        _, right_k, right_v = (part.asnumpy() for part in _gsa(r).queries_keys_values(tokens, size))
        require(k.shape == right_k.shape == v.shape,
                f"on {size[0]}×{size[1]} tokens with r = {r}, k is {k.shape} and v is {v.shape}; "
                f"both must be (B, h, M, d) = {right_k.shape}")
        for kind, what_is_left in _REPAIRS if r > 1 else ():
            _, wrong_k, _ = _gsa(r, kind).queries_keys_values(tokens, size)
            require(not np.allclose(k, wrong_k.asnumpy(), atol=1e-5), what_is_left)
        require(not np.allclose(k, right_v, atol=1e-5), "k and v have changed places")
        require(np.allclose(k, right_k, atol=1e-5) and np.allclose(v, right_v, atol=1e-5),
                f"the shapes are right, the numbers are not, on {size[0]}×{size[1]} tokens with r = {r}")


def specimen(seed, bug=None):
    """A twins_svt_nano with drawn weights and one bug, or none."""
    ms.set_seed(seed)
    model = _filled(create_model("twins_svt_nano", 10, drop_path_rate=0.3), seed)
    return model if bug is None else bugs.plant(model, bug)


@exercise
def ninth_check(function):
    """A check of the reader's own: it must fire on patient 9, and on nobody else."""
    def passes(model):
        verdict = function(model)
        require(isinstance(verdict, (bool, np.bool_)), f"it gives {verdict!r}; wanted: True if all is well, else False")
        return bool(verdict)

    require(passes(specimen(0)), "it fires on the right network: do you ask for equality to the last bit? Numbers "
                                 "of a batch are rounded otherwise than those of one image")
    require(not passes(specimen(0, bugs._NINTH)),
            "it passes patient 9, who gives an image other logits in company than alone")
    require(passes(specimen(1)), "right with one set of weights; with another it fires on the right network too")
    fired = [name for name in bugs.BUGS if not passes(specimen(0, name))]
    require(fired != ["repeat"], "it finds patient 9, and fires on \"repeat\" as well, whose answers differ from call "
                                 "to call. Ask within one call: a gradient does")
    require(not fired, f"it finds patient 9, and fires on {', '.join(fired)} as well: it tells that something is "
                       "wrong, but not what")


_RULED_OUT = {  # what a patient without this bug gives
    "peg": "with the kernel of its PEG at 0 the tokens come through as they are (silent_peg is 1)",
    "heads": "its GSA layers can be rebuilt from weights, values and projection (rebuilt is 0)",
    "decay": "the kernel of its PEG does not shrink when gradients are 0 (peg_shrinks is 1)",
    "rate": "with twice the rate its second step is twice as long (second_step is 2)",
    "smoothing": "its target gives the right class 0.91 (target)",
}


@exercise
def blind_round(table):
    """The bugs of the three unseen patients."""
    given = {letter: name for letter, name in table.items() if name is not None}
    if not given:
        raise NotImplementedError
    for letter, name in given.items():
        require(letter in blind._KEY, f"there is no patient {letter!r}; there are {', '.join(blind._KEY)}")
        require(name in blind.BUGS, f"patient {letter}: no bug is called {name!r}; there are {', '.join(blind.BUGS)}")
    for letter, name in given.items():
        require(name == blind._KEY[letter], f"patient {letter} does not have {name!r}: {_RULED_OUT[name]}")
    missing = [letter for letter in blind._KEY if letter not in given]
    require(not missing, f"right so far; still open: {', '.join(missing)}")
