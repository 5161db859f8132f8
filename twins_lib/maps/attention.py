"""Where a token looks: the attention weights of LSA and GSA, laid on the token grid (lesson 07).

Stages and blocks are counted from 0, as in `model.blocks[stage][block]`; tokens in reading order, so the token in
row i and column j of a grid of H rows and W columns has the number i·W + j.

A map holds one row of weights for each token asked for, as long as its softmax: w·w keys for LSA, M for GSA.
Of N tokens and h heads that is h·N·w² or h·N·M numbers; the N×N matrix is only laid out by `AttentionMap.weights`.
"""

from dataclasses import dataclass, replace

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops
from scipy.sparse import csr_array

from ..attention import LSA, to_windows
from ..layers import to_map

PADDING = -1


@dataclass(frozen=True)
class AttentionMap:
    """The attention of one block for some tokens of one image.

    Attributes:
        stage, block (int): which block, from 0.
        kind (str): "LSA" or "GSA".
        size (tuple): (H, W) of the token grid, N = H·W.
        stride (int): side of a token in pixels of the image.
        side (int): window side w of LSA or sub-sampling ratio r of GSA, in tokens.
        queries (ndarray): (Q,) the tokens whose rows are here.
        rows (ndarray): (h, Q, K) float32, the layer's own softmax; each row sums to one.
            K = w·w for LSA, M for GSA.
        keys (ndarray): (Q, K) which key stands in each place of a row: a token for LSA, one of the M cells for
            GSA, or `PADDING` where a window hangs over the border of the grid.
    """

    stage: int
    block: int
    kind: str
    size: tuple
    stride: int
    side: int
    queries: np.ndarray
    rows: np.ndarray
    keys: np.ndarray

    @property
    def name(self):
        """What people call the block, counted from 1 as in the paper: "Stage 1, block 2 (GSA)"."""
        return f"Stage {self.stage + 1}, block {self.block + 1} ({self.kind})"

    @property
    def cell(self):
        """Side of one key's footprint in tokens: 1 for LSA, r for GSA."""
        return 1 if self.kind == "LSA" else self.side

    @property
    def num_keys(self):
        """N for LSA, M = (H // r)·(W // r) for GSA."""
        H, W = self.size
        return (H // self.cell) * (W // self.cell)

    @property
    def footprints(self):
        """(num_keys, 4): top, bottom, left and right of the tokens each key is made of; bottom and right excluded.

        A token is its own footprint in LSA. A key of GSA is the strided convolution of r×r tokens; tokens to the
        right and at the bottom that do not fill a cell are in no key.
        """
        row, column = np.divmod(np.arange(self.num_keys), self.size[1] // self.cell)
        return np.stack([row, row + 1, column, column + 1], 1) * self.cell

    @property
    def weights(self):
        """The weights as a matrix (h, Q, num_keys): for LSA block-diagonal, once the tokens are in window order.

        It takes 4·h·Q·num_keys bytes. A row sums to one less the `padding`.
        """
        heads, queries, _ = self.rows.shape
        matrix = np.zeros((heads, queries, self.num_keys + 1), np.float32)  # PADDING = -1 is the last column
        np.put_along_axis(matrix, np.broadcast_to(self.keys, self.rows.shape), self.rows, axis=-1)
        return matrix[..., :-1]

    @property
    def padding(self):
        """(h, Q): the share of each row that goes to the zeros which fill up a window at the border.

        They are keys like any other to the softmax, and carry nothing of the image: their values are the biases.
        """
        return (self.rows * (self.keys == PADDING)).sum(-1)

    def weights_of(self, query):
        """The weights of one token over the keys: (h, num_keys), its row of `weights`.

        Args:
            query (int): a token, one of `queries`.

        Raises:
            ValueError: a token that this map does not hold.
        """
        found = np.flatnonzero(self.queries == query)
        if not len(found):
            raise ValueError(f"query {query}: this map has no row for it; ask for it in `queries`")
        return replace(self, rows=self.rows[:, found], keys=self.keys[found]).weights[:, 0]

    def on_grid(self, query):
        """The weights of one token over the token grid: (h, H, W), one for each head, in sum one less the `padding`.

        LSA: exact. GSA: exact for each key; within a key's footprint the weight is spread evenly, a convention,
        since the layer never says which of the r×r tokens it used. For arguments and errors see `weights_of`.
        """
        return spread(self.weights_of(query), self.size, self.cell)

    def pull_back(self, rows):
        """Weights over this layer's output, as weights over its input: rows · A, A the mean of the heads.

        Args:
            rows (ndarray): (Q, N) weights of Q tokens above over the N tokens here; this map must hold all N.

        Returns:
            ndarray (Q, N), without ever making the N×N matrix.
        """
        mean = self.rows.mean(0)
        if self.kind == "GSA":
            return spread(rows @ mean, self.size, self.cell).reshape(len(rows), -1)
        N, K = mean.shape
        columns = np.where(self.keys == PADDING, N, self.keys).ravel()
        matrix = csr_array((mean.ravel(), columns, np.arange(0, N * K + 1, K)), shape=(N, N + 1))
        return (rows @ matrix)[:, :N]


def spread(weights, size, cell):
    """Share the weight of each cell evenly among its tokens.

    Args:
        weights (ndarray): (..., M), one for each cell of a grid of H // cell rows and W // cell columns.
        size (tuple): (H, W) of the token grid.
        cell (int): side of a cell in tokens.

    Returns:
        ndarray (..., H, W) with the same sum; tokens in no cell get 0.
    """
    H, W = size
    cells = weights.reshape(*weights.shape[:-1], H // cell, W // cell) / cell**2
    grid = np.zeros((*weights.shape[:-1], H, W), weights.dtype)
    grid[..., : H // cell * cell, : W // cell * cell] = cells.repeat(cell, -2).repeat(cell, -1)
    return grid


def all_blocks(model):
    """Every block of a Twins as a pair (stage, block), in the order of the forward pass."""
    return [(stage, block) for stage, blocks in enumerate(model.blocks) for block in range(len(blocks))]


def block_inputs(model, images):
    """Walk through a network and show what each block is given. Nothing is kept, and nothing is written on the model.

    Args:
        model (Twins): any of them.
        images (Tensor): (B, in_channels, H, W), as the model takes them.

    Yields:
        stage, block, tokens (B, N, C), size (H, W) of their grid. The walk goes only as far as it is asked to.
    """
    feature_map = images
    for stage, (embed, blocks, peg) in enumerate(zip(model.patch_embeds, model.blocks, model.pos_block)):
        tokens, size = embed(feature_map)
        for i, block in enumerate(blocks):
            yield stage, i, tokens, size
            tokens = block(tokens, size)
            if i == 0:
                tokens = peg(tokens, size)
        if model.stage_norms:
            tokens = model.norm_list[stage](tokens)
        feature_map = to_map(tokens, size)


def attention_maps(model, image, blocks=None, queries=None):
    """The attention of several blocks in one walk through the network, one map at a time.

    Args:
        model (Twins): any of them.
        image (Tensor): (1, in_channels, H, W), prepared as the model takes it.
        blocks (sequence): pairs (stage, block); None for all.
        queries (sequence of int): tokens to have rows for, the same numbers in each block; None for all.

    Yields:
        An `AttentionMap` for each block, in the order of the forward pass.

    Raises:
        ValueError: a block or a token that does not exist, more than one image, or one the network does not take.
    """
    wanted = all_blocks(model) if blocks is None else [tuple(block) for block in blocks]
    if not wanted:
        raise ValueError("no block asked for: name at least one as (stage, block)")
    for block in wanted:
        _check_block(model, *block)
    _check_image(model, image)
    last = max(wanted)
    strides = np.cumprod(model.variant.patch_sizes)
    for stage, i, tokens, size in block_inputs(model, image):
        if (stage, i) in wanted:
            block = model.blocks[stage][i]
            kind, side, *rows = _rows(block.attn, block.norm1(tokens), size, _check_queries(queries, size))
            yield AttentionMap(stage, i, kind, size, int(strides[stage]), side, *rows)
        if (stage, i) == last:
            return


def attention(model, image, stage, block, queries=None):
    """The attention of one block; see `attention_maps`.

    Memory: 4·h·Q·K bytes for Q queries of K keys, and what the network itself needs up to this block.

    Returns:
        An `AttentionMap`.
    """
    return next(attention_maps(model, image, [(stage, block)], queries))


def _rows(layer, tokens, size, queries):
    q, k, _ = layer.queries_keys_values(tokens, size)
    if isinstance(layer, LSA):
        order = window_order(size, layer.window)
        slots = np.empty(size[0] * size[1], np.int64)  # where each token stands in that order
        slots[order[order != PADDING]] = np.flatnonzero(order != PADDING)
        window, slot = np.divmod(slots[queries], order.shape[1])
        asked, place = np.unique(window, return_inverse=True)
        bias = layer.padding_bias(tokens, size)
        bias = None if bias is None else _take(bias, asked, 0)
        weights = layer.attend.weights(_take(q, asked, 0), _take(k, asked, 0), bias).asnumpy()
        return "LSA", layer.window, queries, weights[place, :, slot].transpose(1, 0, 2), order[window]
    weights = layer.attend.weights(_take(q, queries, 2), k).asnumpy()[0]
    return "GSA", layer.sr_ratio, queries, weights, np.broadcast_to(np.arange(weights.shape[-1]), weights.shape[1:])


def _take(tensor, indices, axis):
    if len(indices) == tensor.shape[axis]:
        return tensor
    return ops.gather(tensor, Tensor(indices, ms.int32), axis)


def window_order(size, side):
    """The tokens window by window, as LSA has them: (windows, w·w), `PADDING` where a window hangs over the border."""
    numbers = np.arange(1, size[0] * size[1] + 1, dtype=np.int32)  # from 1: the padding is 0
    return to_windows(Tensor(numbers.reshape(1, -1, 1)), size, side).asnumpy()[..., 0].astype(np.int64) - 1


def compose(maps, queries=None, residual=0.0):
    """Follow the attention of several layers down to the first: the product of their matrices.

    Each layer's matrix is the mean of its heads, A; with a residual it is s·I + (1-s)·A. A key of GSA is spread
    evenly over its footprint, and a token of a stage evenly over the 2×2 tokens of the stage below: both conventions
    (see `AttentionMap.on_grid`). MLP, PEG and the sizes of the values are left out, so this tells where
    attention could bring something from, not what it brought. Nothing larger than (Q, N) is made.

    Args:
        maps (iterable of AttentionMap): in the order of the forward pass, each with a row for all tokens.
        queries (sequence of int): tokens of the last layer; None for all.
        residual (float): s in [0, 1), the part that stays with the token itself.

    Returns:
        ndarray (Q, N), N tokens of the first layer. Each row sums to one, less what was lost to padded windows.

    Raises:
        ValueError: no map, a map that lacks tokens, or a token that does not exist.
    """
    maps = list(maps)
    if not maps:
        raise ValueError("no attention map to compose: give at least one")
    for m in maps:
        if len(m.queries) != m.size[0] * m.size[1]:
            raise ValueError(f"the map of stage {m.stage}, block {m.block} has rows for {len(m.queries)} of "
                             f"{m.size[0] * m.size[1]} tokens: make it with queries=None")
    size = maps[-1].size
    queries = _check_queries(queries, size)
    rows = np.zeros((len(queries), size[0] * size[1]), np.float32)
    rows[np.arange(len(queries)), queries] = 1
    for above, m in zip([maps[-1], *reversed(maps)], reversed(maps)):
        if above.stride != m.stride:
            rows = spread(rows, m.size, above.stride // m.stride).reshape(len(rows), -1)
        rows = residual * rows + (1 - residual) * m.pull_back(rows)
    return rows


def rollout(model, image, stage=-1, queries=None, residual=0.5):
    """Attention rollout (Abnar and Zuidema, arXiv 2005.00928): all layers up to the end of a stage, with residual.

    Args:
        model (Twins): any of them.
        image (Tensor): (1, in_channels, H, W).
        stage (int): the stage whose tokens ask; -1 for the last.
        queries (sequence of int): its tokens; None for all.
        residual (float): what stays with the token in each layer; one half in the paper.

    Returns:
        ndarray (Q, N), N tokens of stage 0; see `compose`. The rows of all heads of all layers are held
        at a time: 4·Σ h·N·K bytes.
    """
    stage = range(len(model.blocks))[stage] if stage < 0 else stage
    _check_block(model, stage, 0)
    maps = attention_maps(model, image, [block for block in all_blocks(model) if block[0] <= stage])
    return compose(maps, queries, residual)


def reach(part, inputs, query, probes=8, seed=0):
    """What an output token depends on, measured by gradients: an upper road to compare the maps with.

    The size of the Jacobian ∂(token)/∂(input), place by place: √ Σ (∂ token_c / ∂ input_k)² over the C channels of
    the token and those of the input. It is estimated from random directions u in the token's space (the mean of
    |uᵀJ|² is |J|²), with a relative error of about √(2/probes) or less; a place that cannot matter is exactly 0.

    Args:
        part (callable): from inputs to tokens (1, N, C). One block: `lambda t: model.blocks[0][1](t, size)`;
            the network up to stage 2: `lambda x: to_tokens(model.features(x)[2])`.
        inputs (Tensor): tokens (1, N, C), or an image (1, channels, H, W).
        query (int): the token, in the output of `part`.
        probes (int): number of random directions, at least 1.
        seed (int): of these directions.

    Returns:
        ndarray, (N,) for tokens, (H, W) for an image.
    """
    tokens = part(inputs)
    _check_queries([query], (1, tokens.shape[1]))
    direction = np.zeros(tokens.shape, np.float32)
    gradient = ms.grad(lambda x, u: (part(x) * u).sum())
    rng = np.random.default_rng(seed)
    channels = 0 if len(inputs.shape) == 4 else 1  # the axis, once the batch axis is gone
    squares = []
    for _ in range(probes):
        direction[0, query] = rng.standard_normal(tokens.shape[-1])
        squares.append((gradient(inputs, Tensor(direction)).asnumpy()[0] ** 2).sum(channels))
    return np.sqrt(np.mean(squares, 0))


def entropy(attention_map):
    """(h, Q): entropy of each row in nats, 0 for one key, log K for K keys alike; its exponential is the number of
    keys that would be used if all were used alike. Padding counts as keys, as it does in the layer."""
    p = attention_map.rows
    return -(p * np.log(np.maximum(p, np.finfo(p.dtype).tiny))).sum(-1)


def mean_distance(attention_map):
    """(h, Q): mean distance from a token to what it attends to, in pixels of the image, weighted by attention.

    From centre to centre of token and key footprint; the padding is left out of the mean.
    """
    m = attention_map
    top, bottom, left, right = np.append(m.footprints, [[0, 0, 0, 0]], 0).T  # the last is for the padding
    rows, columns = (top + bottom) / 2, (left + right) / 2
    row, column = np.divmod(m.queries, m.size[1])
    distance = np.hypot(rows[m.keys] - row[:, None] - 0.5, columns[m.keys] - column[:, None] - 0.5)
    real = m.rows * (m.keys != PADDING)
    return m.stride * (real * distance).sum(-1) / real.sum(-1)


def _check_image(model, image):
    model._check(image)
    if image.shape[0] != 1:
        raise ValueError(f"a batch of {image.shape[0]} images: a map is of one; pass images[i:i + 1]")


def _check_block(model, stage, block):
    if not 0 <= stage < len(model.blocks):
        raise ValueError(f"stage {stage} does not exist: this network has stages 0 to {len(model.blocks) - 1}")
    depth = len(model.blocks[stage])
    if not 0 <= block < depth:
        raise ValueError(f"block {block} of stage {stage} does not exist: the stage has blocks 0 to {depth - 1}")


def _check_queries(queries, size):
    N = size[0] * size[1]
    queries = np.arange(N) if queries is None else np.asarray(queries, np.int64)
    for query in queries[(queries < 0) | (queries >= N)]:
        raise ValueError(f"query {query} does not exist: the grid of {size[0]}x{size[1]} has tokens 0 to {N - 1}")
    return queries
