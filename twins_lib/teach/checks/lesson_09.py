"""Checks of lesson 09, dense prediction. Each knows the usual wrong answers and says what happened."""

import numpy as np

from ..check import exercise, require


@exercise
def shifted_by_one(square, line):
    """IoU of a 6×6 square and of a line of 2×20 pixels, each found one pixel off, the line across its length."""
    require(abs(square - 30 / 36) > 1e-3, "30 of 36 pixels are found; but the 6 that are too many count as well")
    require(abs(square - 25 / 47) > 1e-3, "that is a shift along the diagonal; here the square moves sideways")
    require(abs(square - 5 / 7) < 1e-3, f"{square:.3g} for the square: draw both, count the pixels in both of them, "
                                        "then those in at least one")
    require(abs(line - 1 / 2) > 1e-3, "half of the line is found; but as many pixels again are marked wrongly")
    require(abs(line - 38 / 42) > 1e-3, "that is a shift along the line; it moves across: one of its two rows is lost")
    require(abs(line - 1 / 3) < 1e-3, f"{line:.3g} for the line: 20 pixels are in both; how many are in at least one?")


def _real(size, window):
    (H, W), w = size, window
    rows, columns = np.arange(-(-H // w) * w) < H, np.arange(-(-W // w) * w) < W
    return rows[:, None] & columns


def _one_sided(size, window):
    """The reference's slip: a slice that begins at -0 is the whole axis."""
    (H, W), w = size, window
    bottom, right = -H % w, -W % w
    real = np.ones((H + bottom, W + right), bool)
    real[-bottom:] = False
    real[:, -right:] = False
    return real


@exercise
def real_tokens(function):
    """Which tokens of a padded grid are real."""
    for size in ((6, 7), (8, 7), (6, 8), (8, 8)):
        found, right = np.asarray(function(size, 4)), _real(size, 4)
        name = f"a grid of {size[0]}×{size[1]} with windows of 4"
        require(found.shape == right.shape, f"{name}: the shape is {found.shape} instead of {right.shape}, the sides "
                                            "rounded up to multiples of 4")
        found = found.astype(bool)
        require(not np.array_equal(found, ~right), f"{name}: True and False are exchanged; real tokens are True")
        require(not (right.any() and not found.any()) or size == (6, 7),
                f"{name}: nothing is left. A side with no padding is cut by [-0:], which is all of it: compare the row "
                "and column numbers with H and W instead")
        require(np.array_equal(found, right), f"{name}: {int((found != right).sum())} tokens are marked wrongly; "
                                              "padding is on the right and at the bottom")


@exercise
def mean_iou(function):
    """Mean IoU from a confusion matrix, an absent class left out."""
    counts = np.array([[50, 5, 0, 1], [10, 20, 3, 4], [0, 0, 0, 0], [2, 0, 0, 8]])  # class 2 is said, but never true
    found = float(function(counts.copy()))
    hits, truth, said = np.diag(counts), counts.sum(1), counts.sum(0)
    each = hits / np.maximum(truth + said - hits, 1)
    there = truth > 0
    require(not np.isnan(found), "the answer is nan: a class without a pixel in the truth has no IoU; leave it out")
    require(not np.isclose(found, each.mean()),
            "a class that no mask holds was counted as 0; it has no IoU and does not belong in the mean")
    require(not np.isclose(found, hits.sum() / counts.sum()), "that is the share of right pixels")
    require(not np.isclose(found, (hits / np.maximum(truth, 1))[there].mean()),
            "divided by the truth alone, pixels that are marked too much cost nothing; divide by the union")
    require(not np.isclose(found, (hits / np.maximum(said, 1))[there].mean()),
            "divided by the prediction alone, pixels that are missed cost nothing; divide by the union")
    require(not np.isclose(found, (hits / np.maximum(truth + said, 1))[there].mean()),
            "truth plus prediction counts the pixels in both twice; take them off once")
    require(not np.isclose(found, hits.sum() / (truth + said - hits).sum()),
            "first an IoU for each class, then the mean: so a rare class weighs as much as a common one")
    require(np.isclose(found, each[there].mean()), f"{found:.4g}: rows are the truth, columns the prediction; "
                                                   "a union is row plus column minus what lies in both")


def _head_macs(dims, height, width, channels, head_channels, classes, smooth=9, scale=9, late=False, convs=None):
    """Multiply-adds of `SemanticFPNHead`; the last four arguments make the usual slips."""
    total = 0
    for level, dim in enumerate(dims):
        rows, columns = height // 4 // 2 ** level, width // 4 // 2 ** level
        total += rows * columns * channels * (dim + smooth * channels)
        wide = channels
        for k in range(convs or max(level, 1)):
            doubled = 2 ** (k + late) if level else 1
            total += doubled ** 2 * rows * columns * scale * wide * head_channels
            wide = head_channels
    return total + height // 4 * (width // 4) * head_channels * classes


@exercise
def head_macs(function):
    """Multiply-adds of the head for any image."""
    for case in (((16, 32, 64, 96), 64, 64, 32, 32, 3), ((64, 128, 256, 512), 512, 672, 256, 128, 150)):
        found, right = function(*case), _head_macs(*case)
        dims, height, width, channels, head_channels, classes = case
        pixels = height // 4 * (width // 4)
        require(found != _head_macs(*case, smooth=1, scale=1),
                "a 3×3 convolution has 9 products for each pair of channels")
        require(found != _head_macs(*case, late=True),
                "each scale head convolves first and enlarges afterwards, so its convolutions run on the smaller map")
        require(found != _head_macs(*case, convs=1), "a level that is enlarged three times has three convolutions")
        require(found != right - pixels * head_channels * classes, "the classifier is missing")
        require(found != 16 * right, "the finest map has a quarter of the image's height and width")
        require(found == right, f"{found:,} for dims {dims} and {height}×{width}: count lateral, smoothing and scale "
                                "head of each level on its own, then the classifier once, and compare with "
                                "the table of the lesson")
