"""Checks of lesson 04, global sub-sampled attention."""

import numpy as np

from ..check import exercise, require


@exercise
def keys_of_a_query(lsa_keys, gsa_keys):
    """Keys of a query on a grid of 32×48 with w = 8 and r = 4."""
    require(lsa_keys != 8, "8 is the side of the window; it has 8×8 tokens")
    require(lsa_keys != 24, "24 is the number of windows; a query sees only its own")
    require(lsa_keys == 64, f"{lsa_keys}: in LSA a query sees the tokens of its own window, and no others")
    require(gsa_keys != 16, "16 tokens make one summary; how many summaries are there?")
    require(gsa_keys != 32 * 48, "that is full attention; GSA has one key for each cell of 4×4 tokens")
    require(gsa_keys == 96, f"{gsa_keys}: divide both sides of the grid by r, then multiply")


@exercise
def footprint_of_key_4(tokens):
    """Tokens under key 4 on a grid of 4×6 with r = 2."""
    tokens = list(tokens)
    require(tokens != [12, 13, 18, 19], "that is key 3: keys are numbered from 0")
    require(tokens != [16, 17, 18, 19], "four tokens in a row; a cell is two rows of two")
    require(tokens != [8, 9, 14, 15], "you counted down the columns; keys are in reading order")
    require(sorted(tokens) == [14, 15, 20, 21],
            f"{tokens}: three cells fit in a row of 6 tokens, so key 4 is the middle of the second row of cells")


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
