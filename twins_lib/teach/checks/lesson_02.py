"""Checks of lesson 02, conditional positional encoding."""

import numpy as np

from ..check import exercise, require


@exercise
def sums_on_two_rows(sums):
    """Neighbourhood sums of ones on a grid of 2×5."""
    sums = np.asarray(sums)
    require(sums.shape == (2, 5), f"the shape is {sums.shape}; the grid has two rows and five columns")
    require(not (sums == 9).any(), "9 needs a whole 3×3 neighbourhood; with two rows there is always a border")
    require(not np.array_equal(sums, [[3, 5, 5, 5, 3]] * 2),
            "you left out the token itself: the kernel has nine places, the middle one counts too")
    require(not np.array_equal(sums, [[5, 7, 7, 7, 5]] * 2), "that is with the residual; this asks for the sum alone")
    require(np.array_equal(sums, [[4, 6, 6, 6, 4]] * 2),
            "count, for each token, itself and its neighbours that exist: corners first, then the others")


@exercise
def layers_to_know(layers):
    """PEG layers until a token with 9 others between itself and the border can differ."""
    require(layers != 9, "after 9 layers the news is at the neighbour; a border token itself needs one layer")
    require(layers not in (3, 4, 5), "the kernel is 3 wide, but it reaches only one token to each side")
    require(layers == 10, f"{layers}: the zeros are one step beyond the border, and each layer carries news one token")


def _reference(tokens, size, weight, bias, residual=True, pad=True, flip=False):
    B, N, C = tokens.shape
    H, W = size
    grid = tokens.reshape(B, H, W, C)
    padded = np.pad(grid, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="constant" if pad else "wrap")
    kernel = weight[:, 0, ::-1, ::-1] if flip else weight[:, 0]
    summed = sum(padded[:, u:u + H, v:v + W] * kernel[:, u, v] for u in range(3) for v in range(3))
    return (tokens if residual else 0) + bias + summed.reshape(B, N, C)


@exercise
def peg(function):
    """PEG in NumPy."""
    rng = np.random.default_rng(0)
    tokens, size = rng.normal(size=(2, 12, 3)), (3, 4)
    weight, bias = rng.normal(size=(3, 1, 3, 3)), rng.normal(size=3)
    found = np.asarray(function(tokens, size, weight, bias))
    require(found.shape == tokens.shape, f"the shape is {found.shape} instead of (B, N, C) = {tokens.shape}")

    def gives(**changed):
        return np.allclose(found, _reference(tokens, size, weight, bias, **changed))

    require(not gives(residual=False), "the residual is missing: PEG adds its sum to the tokens")
    require(not gives(pad=False), "your grid goes on at the other side; beyond the border there must be zeros")
    require(not gives(flip=True), "your kernel is turned by 180°: kernel[0, 0] belongs to the upper left neighbour")
    require(not np.allclose(found, _reference(tokens, size, weight, 0 * bias)), "the bias is missing")
    swapped = _reference(tokens, size[::-1], weight, bias)
    require(not np.allclose(found, swapped),
            "rows and columns are swapped: size is (H, W), and tokens are in reading order")
    shared = _reference(tokens, size, np.broadcast_to(weight[:1], weight.shape), bias)
    require(not np.allclose(found, shared), "all channels use the kernel of channel 0; each has its own")
    require(gives(), "the values differ; compare with the lesson's loop on a 3×4 grid with one channel")


@exercise
def blindness(function):
    """A test of permutation equivariance."""
    rng = np.random.default_rng(0)
    tokens, place = rng.normal(size=(12, 3)), rng.normal(size=(12, 3))

    def attention(x):
        weights = np.exp(x @ x.T)
        return weights / weights.sum(1, keepdims=True) @ x

    def neighbours(x):
        return x + np.roll(x, 1, axis=0)

    verdicts = [bool(function(part, tokens)) for part in
                (attention, np.tanh, lambda x: attention(x + place), neighbours, lambda x: x[::-1])]
    require(any(verdicts), "it calls attention without position not blind; "
                           "compare part(tokens[order]) with part(tokens)[order]")
    require(not all(verdicts), "it calls everything blind: "
                               "does your shuffle move any token, and do you compare all rows?")
    require(verdicts[1], "it calls tanh, which treats each number alone, not blind")
    require(verdicts[0], "it calls attention without position not blind; allow for rounding (np.allclose)")
    require(not verdicts[2], "it calls attention with a table of positions blind: the table must not be shuffled along")
    require(not verdicts[3], "it calls a part blind that adds to each token the one before it")
    require(not verdicts[4], "it calls a part blind that turns the order of the rows round: the same numbers must come "
                             "out in the same rows; sorting, adding up or taking a norm hides in which row they stand")
