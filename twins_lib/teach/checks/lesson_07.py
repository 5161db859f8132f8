"""Checks of lesson 07, attention maps."""

import warnings

import numpy as np

from ..check import exercise, require


@exercise
def equal_tokens(tokens):
    """Tokens that share a GSA key with token 19 on a grid of 6×8, r = 2."""
    found = sorted(int(token) for token in np.ravel(tokens))
    require(found != [18, 26, 27], "token 19 itself belongs to its cell too")
    require(found != [19, 20, 27, 28],
            "cells do not start at the token that you look at: they start at even rows and columns")
    require(found != [12, 13, 18, 19], "that is for rows of 6 tokens; the grid has 6 rows and 8 columns")
    require(found != [18, 19, 20, 21], "a cell is a square of r×r tokens, not a piece of a row")
    require(len(found) == 4, f"{len(found)} tokens; a key of r = 2 is made of 2×2")
    require(19 in found, "token 19 is not among them; which row and column is it in?")
    require(found == [18, 19, 26, 27],
            "token 19 is in row 2 and column 3: which even row and even column does its cell start at?")


def _spread(weights, size, cell, divide=True, tile=False):
    rows, columns = size[0] // cell, size[1] // cell
    grid = np.zeros((len(weights), *size))
    cells = weights.reshape(-1, rows, columns) / (cell**2 if divide else 1)
    fine = np.tile(cells, (1, cell, cell)) if tile else cells.repeat(cell, 1).repeat(cell, 2)
    grid[:, :rows * cell, :columns * cell] = fine
    return grid


@exercise
def on_grid(function):
    """Weights of GSA's keys on the token grid."""
    rng = np.random.default_rng(0)
    for size, cell in (((4, 6), 2), ((9, 6), 3), ((5, 7), 2)):
        weights = rng.dirichlet(np.ones(size[0] // cell * (size[1] // cell)), size=3)
        left_over = size[0] % cell or size[1] % cell
        try:
            found = np.asarray(function(weights, size, cell))
        except ValueError:
            require(not left_over,
                    f"it fails for a grid of {size} in cells of {cell}: rows and columns are left over there")
            raise
        require(found.shape == (3, *size), f"the shape is {found.shape} instead of (h, H, W) = {(3, *size)}")
        require(not np.allclose(found, _spread(weights, size, cell, divide=False)),
                f"each map sums to {cell**2}: a key's weight must be shared by its {cell}×{cell} tokens")
        require(not np.allclose(found, _spread(weights, size, cell, tile=True)),
                "you laid copies of the whole grid of keys side by side (np.tile); repeat each key in its place")
        swapped = weights.reshape(3, size[1] // cell, size[0] // cell).swapaxes(1, 2).reshape(3, -1)
        require(not np.allclose(found, _spread(swapped, size, cell)),
                "rows and columns of the keys are swapped")
        require(np.allclose(found, _spread(weights, size, cell)),
                f"the values differ on a grid of {size} in cells of {cell}: the keys come in reading order")


def _product(layers, residual):
    total = np.eye(len(layers[0]))
    for layer in layers:
        total = (residual * np.eye(len(layer)) + (1 - residual) * layer) @ total
    return total


@exercise
def rollout(function):
    """The product of several layers' maps, with a residual."""
    layers = list(np.random.default_rng(0).dirichlet(np.ones(6) / 2, size=(3, 6)))
    for residual in (0.0, 0.3):
        found = np.asarray(function([layer.copy() for layer in layers], residual))
        require(found.shape == (6, 6), f"the shape is {found.shape} instead of (N, N) = (6, 6)")

        def gives(layers, residual, found=found):
            return np.allclose(found, _product(layers, residual))

        require(not gives(layers[::-1], residual),
                "the order is swapped: the last layer stands on the left, next to the token that asks "
                "(the rows sum to one in both orders)")
        require(not gives([layer.T for layer in layers], residual),
                "your matrices are transposed: row n belongs to the asking token n")
        require(residual == 0 or not gives(layers, 0), "the residual is missing: each layer is s·I + (1-s)·A")
        require(residual == 0 or not gives(layers, 1 - residual),
                "s and 1-s are swapped: s is the share that stays")
        require(not np.allclose(found, np.prod([residual * np.eye(6) + (1 - residual) * a for a in layers], axis=0)),
                "you multiplied entry by entry (*); layers follow one another by the matrix product (@)")
        require(not np.allclose(found, np.mean(layers, axis=0)),
                "that is the mean of the layers, not one after the other")
        require(np.allclose(found.sum(1), 1),
                f"the rows sum to {found.sum(1).round(2)}; every factor's rows sum to one")
        require(gives(layers, residual),
                "the values differ; try it with two layers and compare with the lesson's product")


def stray_maps():
    """Two maps of one row each on an 8×8 grid, by a GSA with r = 2 and an LSA with windows of 4."""
    rng = np.random.default_rng(4)
    gsa = _spread(rng.dirichlet(np.full(16, 2.0), size=1), (8, 8), 2)[0]
    lsa = np.zeros((8, 8))
    lsa[4:, :4] = rng.dirichlet(np.full(16, 2.0)).reshape(4, 4)
    return gsa, lsa


@exercise
def makers(first, second):
    """Which layers made the two stray maps."""
    (kind, side), (other_kind, other_side) = first, second
    require((kind, other_kind) != ("LSA", "GSA"),
            "the other way round: which of the two has zeros for whole regions?")
    require(kind == "GSA", "first: LSA would leave zeros outside of one window, and this map has none")
    require(other_kind == "LSA",
            "second: a key of GSA covers r×r tokens with one and the same number; these all differ")
    require(side != 4,
            "first: 4 is the number of keys in a row of cells; how many neighbours share a number?")
    require(side == 2, f"first: {side}; look for the largest squares that hold a single number")
    require(other_side not in (2, 8), f"second: {other_side}; count the rows that are not zero")
    require(other_side == 4, f"second: {other_side}; the window is all that is not zero")


@exercise
def entropy(function):
    """Entropy of each row, in nats."""
    rows = np.random.default_rng(0).dirichlet(np.ones(5), size=(2, 4))
    rows[0, 0] = [1, 0, 0, 0, 0]
    rows[1, 3] = [0.5, 0, 0.5, 0, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the reader's log(0): the diagnosis below says it in words
        found = np.asarray(function(rows.copy()))
    require(found.shape == (2, 4),
            f"the shape is {found.shape}; one number a row is (h, Q) = (2, 4): sum over the keys, the last axis")
    require(not np.isnan(found).any(),
            "a weight of exactly 0 gives NaN: 0 times log 0; it must count for nothing")
    right = -(rows * np.log(np.where(rows > 0, rows, 1))).sum(-1)
    require(not np.allclose(found, -right, atol=1e-4),
            "the sign is wrong: logarithms of weights are negative, entropy is not")
    require(not np.allclose(found, right / np.log(2), atol=1e-4),
            "those are bits (log2); nats take the natural logarithm")
    require(not np.allclose(found, right / 5, atol=1e-4),
            "you took the mean over the keys; entropy is the sum")
    require(not np.allclose(found, np.exp(right), atol=1e-4),
            "that is its exponential, the number of keys in use")
    require(np.allclose(found, right, atol=1e-4), "the values differ: minus the sum of a·log a over the keys")
