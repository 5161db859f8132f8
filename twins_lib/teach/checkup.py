"""Eight checks of a Twins, each for one kind of bug and deaf to the others (lesson 08).

A check is a function `check(model, size=(64, 96))` that returns (passed, sentence). It looks at one part with made
tokens, so that a bug elsewhere does not disturb it; `size` is (height, width) of the image in pixels and sets the token
grids. The default is not square, because there rows and columns can be told apart. Nothing is written on the model.
"""

import numpy as np
from mindspore import Tensor, ops

from ..attention import GSA, LSA, merge_heads
from ..maps.attention import reach


def _draw(*shape, spread=1.0):
    return Tensor(np.random.default_rng(0).normal(0, spread, shape).astype(np.float32))


def _blocks(model, size, kinds=(LSA, GSA), spread=1.0):
    """Each block with attention of these kinds: where it is, the block, made tokens (1, N, C), their grid (H, W)."""
    strides = np.cumprod(model.variant.patch_sizes).tolist()
    for stage, (blocks, stride, dim) in enumerate(zip(model.blocks, strides, model.variant.dims)):
        grid = size[0] // stride, size[1] // stride
        for i, block in enumerate(blocks):
            if isinstance(block.attn, kinds):
                tokens = _draw(1, grid[0] * grid[1], dim, spread=spread)
                yield f"stage {stage + 1}, block {i + 1}", block, tokens, grid


def _cell_of(token, grid, side):
    """The tokens of the square of `side` that a token stands in, as a bool (N,)."""
    row, column = np.indices(grid) // side
    same = (row == row.flat[token]) & (column == column.flat[token])
    return same.ravel()


def window(model, size=(64, 96)):
    """LSA: a token depends on its window, all of it and nothing else (lesson 03). One token a layer is asked."""
    # Small tokens: softmax is then soft, and no dependence is too weak to be seen.
    for where, block, tokens, grid in _blocks(model, size, LSA, spread=0.1):
        lsa, token = block.attn, tokens.shape[1] // 2
        found = reach(lambda x, lsa=lsa, grid=grid: lsa(x, grid), tokens, token, probes=1) > 0
        if not np.array_equal(found, _cell_of(token, grid, lsa.window)):
            return False, f"{where}: token {token} depends on {found.sum()} tokens, and they are not its window"
    return True, "in each LSA, the token asked depends on its window and on nothing else"


def shares(model, size=(64, 96)):
    """LSA and GSA: each row of the attention weights sums to one (lesson 03)."""
    for where, block, tokens, grid in _blocks(model, size):
        q, k, _ = block.attn.queries_keys_values(tokens, grid)
        sums = block.attn.attend.weights(q, k).asnumpy().sum(-1)
        if not np.abs(sums - 1).max() < 1e-4:  # written so that NaN fires too
            return False, f"{where}: rows of the weights sum to {sums.min():.2f} to {sums.max():.2f}, not to 1"
    return True, "all rows of the attention weights sum to 1"


def scale(model, size=(64, 96)):
    """LSA and GSA: the logarithm of the weights grows by 1/√d with q·k (lesson 03).

    A softmax adds a number to each row of the logarithms (along the wrong axis, to each column): the means of rows
    and columns are taken off first.
    """
    for where, block, tokens, grid in _blocks(model, size, spread=0.1):
        q, k, _ = block.attn.queries_keys_values(tokens, grid)
        logs = _centred(np.log(block.attn.attend.weights(q, k).asnumpy().astype(np.float64)))
        dots = _centred(q.asnumpy().astype(np.float64) @ k.asnumpy().astype(np.float64).swapaxes(-1, -2))
        slope, d = (logs * dots).sum() / (dots**2).sum(), q.shape[-1]
        if not abs(slope * np.sqrt(d) - 1) < 0.01:
            return False, f"{where}: q·k is multiplied by {slope:.2f} before the softmax, not by 1/√{d} = {d**-0.5:.2f}"
    return True, "q·k is divided by √d before the softmax"


def _centred(a):
    a = a - a.mean(-1, keepdims=True)
    return a - a.mean(-2, keepdims=True)


def footprint(model, size=(64, 96)):
    """GSA: a key is made of one cell of r×r tokens (lesson 04). One key a layer is asked.

    On square images swapped sides make no difference, and the check passes.
    """
    for where, block, tokens, grid in _blocks(model, size, GSA):
        gsa, r = block.attn, block.attn.sr_ratio
        rows, columns = grid[0] // r, grid[1] // r
        row, column = rows // 2, columns // 2
        key, token = row * columns + column, row * r * grid[1] + column * r  # the token is the first of its cell

        def keys(x, gsa=gsa, grid=grid):
            return merge_heads(gsa.queries_keys_values(x, grid)[1])

        found = reach(keys, tokens, key, probes=1) > 0
        if not np.array_equal(found, _cell_of(token, grid, r)):
            return False, (f"{where}: on {grid[0]}×{grid[1]} tokens, key {key} is made of tokens "
                           f"{np.flatnonzero(found).tolist()}, no cell of {r}×{r}")
    return True, "in each GSA, the key asked is made of one cell of r×r tokens"


def order(model, size=(64, 96)):
    """The first block of each stage gets what the embedding made, bit by bit: the PEG comes later (lesson 05)."""
    made, entered = [], []
    hooks = [embed.register_forward_hook(lambda _, inputs, output: made.append(output[0].asnumpy()))
             for embed in model.patch_embeds]
    hooks += [blocks[0].register_forward_hook(lambda _, inputs, output: entered.append(inputs[0].asnumpy()))
              for blocks in model.blocks]
    try:
        model.features(_draw(1, model.in_channels, *size))
    finally:
        for hook in hooks:
            hook.remove()
    for stage, (before, after) in enumerate(zip(made, entered, strict=True)):
        if not np.array_equal(before, after):
            return False, f"stage {stage + 1}, block 1: something changes the tokens before this block"
    return True, "the tokens go from the embedding into the first block as they are"


def norm(model, size=(64, 96)):
    """GSA: what keys and values are made of has mean 0 and variance 1, its scale and shift undone (lesson 04)."""
    for where, block, tokens, grid in _blocks(model, size, GSA):
        gsa, seen = block.attn, []
        if gsa.sr_ratio == 1:
            continue
        hook = gsa.kv.register_forward_hook(lambda _, inputs, output, seen=seen: seen.append(inputs[0].asnumpy()))
        try:
            gsa.queries_keys_values(tokens, grid)
        finally:
            hook.remove()
        plain = (seen[0] - gsa.norm.beta.asnumpy()) / gsa.norm.gamma.asnumpy()
        mean, variance = np.abs(plain.mean(-1)).max(), plain.var(-1)
        if not (mean < 0.01 and np.abs(variance - 1).max() < 0.01):
            return False, f"{where}: summaries have variances from {variance.min():.2f} to {variance.max():.2f}, not 1"
    return True, "the summaries that make keys have mean 0 and variance 1"


def residual(model, size=(64, 96)):
    """A block whose two branches are dropped changes nothing (lesson 05)."""
    dropped = ops.zeros((2, 1))
    for where, block, tokens, grid in _blocks(model, size):
        if not np.array_equal(block(tokens, grid, dropped).asnumpy(), tokens.asnumpy()):
            return False, f"{where}: with both branches dropped the tokens do not come through as they are"
    return True, "with both branches dropped, each block hands its tokens on"


def repeat(model, size=(64, 96)):
    """The same images twice give the same logits (lesson 05)."""
    images = _draw(4, model.in_channels, *size)
    if not np.array_equal(model(images).asnumpy(), model(images).asnumpy()):
        return False, "the same images give other logits the second time"
    return True, "the same images give the same logits again"


CHECKS = {check.__name__: check for check in (window, shares, scale, footprint, order, norm, residual, repeat)}


def examine(model, size=(64, 96)):
    """Print the verdict of all checks, a line each, and return the names of those that fired."""
    verdicts = {name: check(model, size) for name, check in CHECKS.items()}
    for name, (passed, sentence) in verdicts.items():
        print(f"{'✔' if passed else '✘'} {name:10} {sentence}")
    return [name for name, (passed, _) in verdicts.items() if not passed]
