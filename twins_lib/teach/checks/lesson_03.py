"""Checks of lesson 03, locally-grouped attention. Each knows the usual wrong answers and says what happened."""

import numpy as np

from ..check import exercise, require

_N, _C, _KEYS = 28 * 28, 128, 7 * 7
_FULL, _LSA = 2 * _N * _N * _C, 2 * _N * _KEYS * _C


@exercise
def find_my_colour(matrix):
    """Queries by which red finds red and blue finds blue; keys are (1, 0) for red and (0, 1) for blue."""
    matrix = np.asarray(matrix, float)
    require(matrix.shape == (2, 2), f"the shape is {matrix.shape}; W has two rows of two numbers")
    shares = np.exp(matrix - matrix.max(1, keepdims=True)) * (3, 5)  # three red tokens, five blue ones
    red, blue = (shares / shares.sum(1, keepdims=True)).diagonal()
    right, wrong = matrix.diagonal(), matrix[:, ::-1].diagonal()
    require((right != wrong).any(), "red and blue get equal scores, so every token looks everywhere")
    require((right > wrong).any(), "red finds blue and blue finds red: exchange the two columns")
    require(right[0] > wrong[0], "blue finds blue, red does not find red yet: look at the first row")
    require(right[1] > wrong[1], "red finds red, blue does not find blue yet: look at the second row")
    require(min(red, blue) > 0.9, f"the right direction: red spends {red:.0%} of its attention on red "
                                  f"and blue {blue:.0%} on blue; larger numbers make it more than 90 %")


find_my_colour.counts = False   # the lesson itself answers it


@exercise
def second_stage(full_macs, lsa_macs):
    """Multiply-adds of the attention products in stage 2 of Twins-SVT-S, full and in windows."""
    require(full_macs != _FULL // 2, "full attention: there are two products, scores and weights times v")
    require(full_macs != 2 * 28 * 28 * _C,
            "full attention: N is the number of tokens, 28·28, not the side of the grid")
    require(full_macs != _FULL + 4 * _N * _C**2, "full attention: leave the linear maps out")
    require(full_macs not in (4 * _FULL, _FULL // 4),
            "full attention: more heads are shorter heads; their number drops out")
    require(full_macs == _FULL, f"{full_macs:,} for full attention: 2 · N · N · C with N = 28·28 and C = 128")
    require(lsa_macs != _LSA // 2, "LSA: there are two products, scores and weights times v")
    require(lsa_macs != 2 * _KEYS * _KEYS * _C, "LSA: that is one window; the grid has 16 of them")
    require(lsa_macs != 2 * _N * 7 * _C, "LSA: a window has 7·7 = 49 keys, not 7")
    require(lsa_macs == _LSA, f"{lsa_macs:,} for LSA: each of the N = 28·28 tokens has w·w keys instead of N")


@exercise
def reach_through_peg(tokens):
    """The input tokens that token 1 of the 4×4 toy depends on after LSA with w = 2 and a 3×3 convolution."""
    found = {int(token) for token in tokens}
    require(found != {0, 1, 4, 5},
            "that is LSA alone: the convolution also takes tokens 2 and 6, from the next window")
    require(found != {0, 1, 2, 4, 5, 6},
            "that is the convolution alone: each of these six tokens has seen its whole window")
    require(found != set(range(16)),
            "not everything: the convolution takes rows 0 and 1 only, and their windows end at row 1")
    require(found <= set(range(16)), "the tokens of the toy are numbered 0 to 15")
    require(found == set(range(8)),
            f"{sorted(found)} is not the reach: find the tokens under the 3×3 kernel at token 1 "
            "(outside the grid there are none), and add the windows of each")


@exercise
def spread_groups(group):
    """Tokens grouped at equal distances over the grid, not square, several images, several channels."""
    toy = np.asarray(group(np.arange(16).reshape(1, 16, 1), (4, 4), 2))
    require(toy.shape == (4, 4, 1),
            f"on the toy the shape is {toy.shape} instead of (B·n, w·w, C) = (4, 4, 1)")
    first, second = toy[:2, :, 0].tolist()
    require(first != [0, 1, 4, 5], "these are the windows of LSA: now the *inner* index says which group, "
                                   "and the outer one which member")
    require(first != [0, 1, 2, 3], "a reshape alone: the groups are rows of the grid")
    require(first != [0, 4, 8, 12], "these groups are columns of the grid")
    require(sorted(first) == [0, 2, 8, 10], f"group 0 of the toy is {first}, not 0, 2, 8, 10")
    require(first == [0, 2, 8, 10], "the right members of group 0; put them in reading order")
    require(second == [1, 3, 9, 11], "the groups stand in another order: group 1 is 1, 3, 9, 11")

    B, (H, W), side, C = 2, (4, 6), 2, 3
    tokens = np.arange(B * H * W * C).reshape(B, H * W, C)
    found = np.asarray(group(tokens, (H, W), side))
    wanted = np.stack([image.reshape(H, W, C)[top::H // side, left::W // side].reshape(-1, C)
                       for image in tokens for top in range(H // side) for left in range(W // side)])
    require(found.shape == wanted.shape,
            f"two grids of 4×6 give the shape {found.shape} instead of {wanted.shape}")
    require(np.array_equal(found, wanted),
            "right on the toy, wrong on two grids of 4×6 with w = 2: the distance is H/w down "
            "and W/w to the right, which the toy cannot tell from w")


@exercise
def pads(mark):
    """Where the pads of a padded grid stand, for every size."""
    for H, W, side in ((64, 64, 7), (4, 4, 3), (56, 60, 7), (60, 56, 7), (56, 56, 7), (5, 9, 4)):
        bottom, right = -H % side, -W % side
        found = np.asarray(mark((H, W), side))
        where = f"on a grid of {H}×{W} with windows of {side}"
        require(found.shape == (H + bottom, W + right),
                f"{where} the shape is {found.shape} instead of {(H + bottom, W + right)}")
        require(found.dtype == bool, f"the marks are {found.dtype}, not bool")
        wanted = np.ones((H + bottom, W + right), bool)
        wanted[:H, :W] = False
        require(not found.all(), f"{where} every token is marked: with nothing to pad, "
                                 "-0 is 0, and mask[0:] is the whole mask")
        require(not np.array_equal(found, ~wanted),
                f"{where} the marks are turned round: True stands where a pad is")
        require(found.sum() == wanted.sum(),
                f"{where} {found.sum()} tokens are marked instead of {wanted.sum()}")
        require(np.array_equal(found, wanted), f"{where} the count is right, but other tokens are marked: "
                                               "pads stand on the right and at the bottom")
