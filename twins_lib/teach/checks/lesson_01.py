"""Checks of lesson 01, patch embedding. Each knows the usual wrong answers and says what probably happened."""

import numpy as np

from ..check import exercise, require

_TOKENS, _PATCH, _LEARNED = 28 * 28, 2 * 2 * 64, 128 * (2 * 2 * 64) + 128 + 2 * 128


@exercise
def second_stage(token_count, parameter_count):
    """Tokens and parameters of the second stage's patch embedding."""
    require(token_count != 56 * 56 // 2, "p = 2 halves the rows and the columns, so the tokens are a quarter")
    require(token_count != 112 * 112, "the second stage cuts the map of the first, 56×56, not the image")
    require(token_count == _TOKENS, f"{token_count} tokens: divide each side of the 56×56 map by 2, then multiply")
    require(parameter_count != 128 * 4 * 3 + 128 + 256, "a patch has as many channels as the map below it, 64, not 3")
    require(parameter_count != _LEARNED - 256, "the LayerNorm's scale and shift are learned too")
    require(parameter_count not in (_LEARNED - 128, _LEARNED - 384), "the projection's bias is learned too")
    require(parameter_count == _LEARNED,
            f"{parameter_count} parameters: (numbers in a patch) × 128 for the matrix, then bias, scale and shift")


@exercise
def draw_patch_4(pixels):
    """The pixels of patch 4 of a 4×6 image numbered in reading order."""
    pixels = list(pixels)
    require(pixels != [16, 17, 18, 19], "these are four pixels in a row: a patch is two rows of two")
    require(pixels != [12, 13, 18, 19], "that is patch 3: numbering starts with 0")
    require(pixels != [8, 9, 14, 15], "you counted down the columns; reading order goes along the rows first")
    require(sorted(pixels) != [14, 15, 20, 21] or pixels == [14, 15, 20, 21],
            "the right pixels; put them in reading order")
    require(pixels == [14, 15, 20, 21], f"{pixels} is not patch 4: three patches fit in a row of 6 pixels, "
                                        "so patch 4 is in the second row of patches, in the middle")


@exercise
def way_back(to_images):
    """Patches to images, not square, several channels, several images."""
    images = np.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6)
    split = images.reshape(2, 3, 2, 2, 3, 2)
    patches = split.transpose(0, 2, 4, 1, 3, 5).reshape(2, 6, 12)
    found = np.asarray(to_images(patches, 3, 4, 6, 2))
    require(found.shape == images.shape, f"the shape is {found.shape} instead of (B, C, H, W) = {images.shape}")
    require(not np.array_equal(found, patches.reshape(2, 3, 4, 6)),
            "a reshape alone leaves the numbers in the order of the patches; "
            "split into (rows, columns, C, p, p), transpose, then merge")
    no_channels = patches.reshape(2, 2, 3, 2, 2, 3).transpose(0, 5, 1, 3, 2, 4).reshape(2, 3, 4, 6)
    require(not np.array_equal(found, no_channels), "inside a patch the channels come first: (C, p, p), not (p, p, C)")
    turned = patches.reshape(2, 2, 3, 3, 2, 2).transpose(0, 3, 1, 5, 2, 4).reshape(2, 3, 4, 6)
    require(not np.array_equal(found, turned), "each patch is turned over its diagonal: "
                                               "pixel rows belong to patch rows, pixel columns to patch columns")
    swapped = patches.reshape(2, 3, 2, 3, 2, 2).transpose(0, 3, 1, 4, 2, 5).reshape(2, 3, 6, 4)
    require(not np.array_equal(found, swapped.reshape(2, 3, 4, 6)), "rows and columns are mixed up: H // p comes first")
    require(np.array_equal(found, images), "the shape is right, but pixels are in wrong places; "
                                           "try a 4×6 image of numbers 0 to 23 and see which")


@exercise
def larger_patches(larger_weight):
    """The projection for patches of 8 that equals a 2×2 average and a projection for patches of 4."""
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(5, 3, 4, 4))
    found = np.asarray(larger_weight(weight))
    require(found.shape == (5, 3, 8, 8), f"the shape is {found.shape} instead of (C_out, C, 8, 8) = (5, 3, 8, 8)")
    patch = rng.normal(size=(3, 8, 8))
    wanted = np.einsum("ochw,chw->o", weight, patch.reshape(3, 4, 2, 4, 2).mean((2, 4)))
    got = np.einsum("ochw,chw->o", found, patch)
    require(not np.allclose(got, 4 * wanted), "four times too large: each weight is now used for four pixels, "
                                              "and an average divides by four")
    tiled = np.tile(weight, (1, 1, 2, 2))
    require(not any(np.allclose(found, tiled / n) for n in (1, 4)),
            "you put whole copies of the kernel side by side; each single weight must become a 2×2 square")
    require(np.allclose(got, wanted), "the tokens differ from those of the shrunk image; "
                                      "write the average of 2×2 pixels as a sum and see which weight each pixel gets")
