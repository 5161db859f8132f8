"""Eight believable bugs in a Twins, to be found with the tools of the earlier lessons (lesson 08).

A planted network keeps all its parameters: names, shapes and values. Only the class of the broken part is another one,
and so a method or two. On square images each runs without a complaint, and each can be trained.
The docstrings tell what the author of the bug thought, what is wrong, and which check of
`twins_lib.teach.checkup` finds it. Whoever wants to find the bugs in lesson 08 reads them afterwards.
"""

import numpy as np
from mindspore import ops

from ...attention import GSA, LSA, ScaledDotProduct, from_windows, merge_heads, split_heads
from ...block import Block
from ...layers import to_map
from ...model import Twins


class RowsForWindows(LSA):
    """Windows by reshape alone.

    Thought: "Windows of w·w tokens? `reshape` cuts the tokens into pieces of w·w." Wrong: tokens stand in reading
    order, so a piece is a run along a row of the grid; without the transpose no square comes together.
    Found by the check "window": a token must reach its window, all of it and nothing else.
    """

    def queries_keys_values(self, tokens, size):
        B, N, C = tokens.shape
        each = self.window**2
        padded = ops.Pad(((0, 0), (0, -N % each), (0, 0)))(tokens)
        return split_heads(self.qkv(padded.reshape(-1, each, C)), 3, self.heads)

    def construct(self, tokens, size):
        B, N, C = tokens.shape
        q, k, v = self.queries_keys_values(tokens, size)
        return self.proj(merge_heads(self.attend(q, k, v)).reshape(B, -1, C)[:, :N])


class SoftmaxOverQueries(ScaledDotProduct):
    """The softmax along the wrong axis.

    Thought: "Attention is shared out: each key gives all it has." Wrong: the next product sums over keys, so the shares
    over *keys* must sum to one; here an output is no mixture any more.
    Found by the check "shares": rows of the weights sum to one.
    """

    def weights(self, q, k, bias=None):
        scores = self.scores(q * q.shape[-1] ** -0.5, k)
        return ops.softmax(scores if bias is None else scores + bias, axis=-2)


class Unscaled(ScaledDotProduct):
    """No 1/√d.

    Thought: "A constant factor: the linear maps will learn it." Wrong: weights that were trained with the scale are now
    √d times too sure; and a fresh network starts with a softmax that is harder the longer its heads are.
    Found by the check "scale": how fast the logarithm of the weights grows with q·k.
    """

    def weights(self, q, k, bias=None):
        scores = self.scores(q, k)
        return ops.softmax(scores if bias is None else scores + bias, axis=-1)


class WidthFirst(GSA):
    """H and W swapped before the sub-sampling.

    Thought: "Sizes are (width, height), as in PIL." Wrong: the map wants (H, W). The number of keys is the same,
    all shapes fit, and on square images nothing is wrong at all; on others each key is made of scattered tokens.
    Found by the check "footprint": a key is made of one cell of r×r tokens.
    """

    def queries_keys_values(self, tokens, size):
        return super().queries_keys_values(tokens, size[::-1])


class PegFirst(Twins):
    """The PEG before the first block of each stage.

    Thought: "Positions are added to the tokens before the blocks, as in ViT." Wrong: the PEG stands *after* the first
    block. Before it, in the first stage, nothing leaks from one window into the next.
    Found by the check "order": what the embedding made enters the first block as it is.
    """

    def features(self, images, keep=None):
        self._check(images)
        maps, x, done = [], images, 0
        for embed, blocks, peg in zip(self.patch_embeds, self.blocks, self.pos_block):
            tokens, size = embed(x)
            tokens = peg(tokens, size)
            for i, block in enumerate(blocks):
                tokens = block(tokens, size, None if keep is None else keep[done + i])
            done += len(blocks)
            x = to_map(tokens, size)
            maps.append(x)
        return maps


class NoNormAfterSubsampling(GSA):
    """Sub-sampling without its LayerNorm.

    Thought: "The block has normalised the tokens already." Wrong: the convolution that comes in between sums r·r·C
    numbers, and its outputs have any mean and any size. (The norm's parameters are still there: checkpoints load.)
    Found by the check "norm": what keys are made of has mean 0 and variance 1.
    """

    def queries_keys_values(self, tokens, size):
        (q,) = split_heads(self.q(tokens), 1, self.heads)
        if self.sr_ratio > 1:
            tokens = self.sr(to_map(tokens, size))
        k, v = split_heads(self.kv(tokens), 2, self.heads)
        return q, k, v


class NoResidual(Block):
    """The residual of the attention forgotten.

    Thought: "`tokens = self.attn(...)` passes the tokens on." Wrong: it replaces them; what attention does not
    carry is lost.
    Found by the check "residual": a block whose branches are both dropped changes nothing.
    """

    def construct(self, tokens, size, keep=None):
        tokens = self.attn(self.norm1(tokens), size)
        if keep is not None:
            tokens = tokens * keep[0].reshape(-1, 1, 1)
        changed = self.mlp(self.norm2(tokens))
        if keep is not None:
            changed = changed * keep[1].reshape(-1, 1, 1)
        return tokens + changed


class AlwaysDrops(Twins):
    """Stochastic depth in evaluation.

    Thought: "If the caller draws no paths, we draw them." Wrong: drawing none is how one says that this is no training.
    Found by the check "repeat": the same images twice give the same logits.
    """

    rng = np.random.default_rng(0)

    def construct(self, images, keep=None):
        if keep is None:
            keep = self.draw_paths(len(images), self.rng)
        return super().construct(images, keep)


class MixedBatch(LSA):
    """Windows put back in an order that knows one image only.

    Thought: "The images are the last thing to sort." Wrong: the windows of a batch come image by image, so B is the
    outermost axis. With one image nothing is wrong; with several, each gets windows of the others.
    None of the eight checks finds it. That is the lesson's last exercise.
    """

    def construct(self, tokens, size):
        q, k, v = self.queries_keys_values(tokens, size)
        windows = merge_heads(self.attend(q, k, v))
        each, B = windows.shape[1:], len(tokens)
        image_last = windows.reshape(-1, B, *each).transpose(1, 0, 2, 3).reshape(windows.shape)
        return self.proj(from_windows(image_last, size, self.window))


BUGS = {
    "window": RowsForWindows, "shares": SoftmaxOverQueries, "scale": Unscaled, "footprint": WidthFirst,
    "order": PegFirst, "norm": NoNormAfterSubsampling, "residual": NoResidual, "repeat": AlwaysDrops,
}
_NINTH = "batch"
_KEY = dict(enumerate(("order", "scale", "window", "repeat", "norm", "residual", "shares", "footprint", _NINTH), 1))


def plant(model, name):
    """Plant one bug in a network, in place. Its parameters stay what they are.

    Args:
        model (Twins): a right network; for "repeat" it needs a `drop_path_rate` above 0.
        name (str): a key of `BUGS`, named like the check that finds it.

    Returns:
        The same model.

    Raises:
        ValueError: no such bug, or nothing in this network that could have it.
    """
    kinds = {**BUGS, _NINTH: MixedBatch}
    if name not in kinds:
        raise ValueError(f"no bug is called {name!r}; there are {', '.join(BUGS)}")
    if name == "repeat" and not any(model.drop_path_rates):
        raise ValueError("drop_path_rate 0: there is nothing to drop; create the model with a rate above 0")
    broken = kinds[name]
    (right,) = broken.__bases__
    parts = [cell for _, cell in model.cells_and_names() if type(cell) is right]
    if not parts:
        raise ValueError(f"the bug {name!r} belongs in {right.__name__}: this network has none that is still whole")
    for part in parts:
        part.__class__ = broken  # keeps the parameters, changes the methods
    return model


def patient(number, model):
    """Plant the bug of an anonymous patient, in place.

    Args:
        number (int): 1 to 8; 9 is for the last exercise.
        model (Twins): a right Twins-SVT with a `drop_path_rate` above 0.

    Returns:
        The same model.

    Raises:
        ValueError: no such patient.
    """
    if number not in _KEY:
        raise ValueError(f"there is no patient {number}; there are 1 to {len(_KEY)}")
    return plant(model, _KEY[number])
