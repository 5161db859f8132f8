"""Checks of lesson 04, global sub-sampled attention."""

import numpy as np

from ..check import exercise, require


@exercise
def twice_the_side(lsa_times, gsa_times):
    """How the products of LSA and GSA grow when the grid has twice the side and w and r stay."""
    require(lsa_times != 1, "LSA: each query keeps its 49 keys, but there are more queries")
    require(lsa_times != 2, "LSA: twice the rows and twice the columns make four times the queries")
    require(lsa_times != 16, "LSA: the queries grow, the keys of a query do not: its window stays 7×7")
    require(lsa_times == 4, f"{lsa_times} for LSA: count the queries, then the keys of each, before and after")
    require(gsa_times != 4, "GSA: the queries are four times as many, and so are the cells: r stays 8")
    require(gsa_times != 8, "GSA: 8 is for the pair if w and r grow with the image; here they stay")
    require(gsa_times == 16, f"{gsa_times} for GSA: count the queries, then the keys of each, before and after")


@exercise
def tokens_in_no_cell(tokens):
    """Tokens of a grid of 3×5 that no key summarises with r = 2."""
    found = {int(token) for token in tokens}
    row, column = set(range(10, 15)), {4, 9, 14}
    require(found, "that is MindSpore's default, which pads; GSA's convolution does not, so some tokens are left over")
    require(found != row, "the last row is right; the last column fills no cell either")
    require(found != column, "the last column is right; the last row fills no cell either")
    require(found != set(range(15)) - row - column, "these are the tokens that two cells hold; which are left over?")
    require(found != {token + 1 for token in row | column}, "tokens are numbered from 0")
    require(found == row | column,
            f"{sorted(found)}: 2×2 cells fit once into 3 rows and twice into 5 columns; mark them, and name the rest")


def _summaries(tokens, size, weight, bias, r, order=(0, 1, 3, 5, 2, 4)):
    (B, _, C), (H, W) = tokens.shape, size
    rows, columns = H // r, W // r
    whole = tokens.reshape(B, H, W, C)[:, :rows * r, :columns * r]
    cells = whole.reshape(B, rows, r, columns, r, C).transpose(order).reshape(B, rows * columns, C * r * r)
    return cells @ weight.reshape(len(weight), -1).T + bias


@exercise
def summaries(function):
    """The strided convolution over tokens, any grid."""
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(5, 3, 2, 2)), rng.normal(size=5)
    for size in ((4, 6), (5, 7)):
        tokens = rng.normal(size=(2, size[0] * size[1], 3))
        try:
            found = np.asarray(function(tokens, size, weight, bias, 2))
        except ValueError as error:
            require(size == (4, 6), f"a grid of 5×7 stops it ({error}); cut off the row and column that fill no cell")
            raise
        shape = (2, 6, 5)
        require(found.shape == shape, f"the shape is {found.shape} for a grid of {size[0]}×{size[1]}, "
                                      f"instead of (B, M, C_out) = {shape}")
        require(not np.allclose(found, _summaries(tokens, size, weight, 0 * bias, 2)), "the bias is missing")
        mixed = _summaries(tokens, size, weight, bias, 2, (0, 1, 3, 2, 4, 5))
        require(not np.allclose(found, mixed),
                "inside a cell the weights run (channel, row, column), yours (row, column, channel)")
        turned = _summaries(tokens, size, weight, bias, 2, (0, 1, 3, 5, 4, 2))
        require(not np.allclose(found, turned), "the rows and columns inside each cell are swapped")
        require(np.allclose(found, _summaries(tokens, size, weight, bias, 2)),
                "the shape is right, the values are not; try weights that are 1 at one place and 0 elsewhere")


@exercise
def best_window(function):
    """The cheapest window side for LSA and GSA together."""
    for height, width in ((56, 56), (64, 96), (28, 28), (200, 30)):
        def macs(w, height=height, width=width):
            padded = (-(-height // w) * w) * (-(-width // w) * w)
            return padded * w * w + height * width * (height // w) * (width // w)

        found = function(height, width)
        require(found == int(found), f"{found}: a window has a whole number of tokens on a side")
        require(2 <= found <= min(height, width),
                f"{found} for {height}×{width}: must be between 2 and the shorter side")
        best = min(range(2, min(height, width) + 1), key=macs)
        require(macs(int(found)) <= macs(best),
                f"{found} for {height}×{width}: w = {best} needs fewer multiply-adds; the rule w² = √N is only near, "
                "because of padding and of cells that do not fill")
