"""Conditional positional encoding: where a token is, read from its neighbours (lesson 02)."""

import math

from mindspore import nn
from mindspore.common.initializer import Normal


def to_map(tokens, size):
    """Tokens (B, N, C) on a grid of `size` (H, W) as a feature map (B, C, H, W)."""
    B, _, C = tokens.shape
    return tokens.transpose(0, 2, 1).reshape(B, C, *size)


def to_tokens(feature_map):
    """A feature map (B, C, H, W) as tokens (B, H·W, C), in reading order."""
    B, C, H, W = feature_map.shape
    return feature_map.reshape(B, C, H * W).transpose(0, 2, 1)


class PEG(nn.Cell):
    """Positional encoding generator: tokens plus a 3×3 depthwise convolution of them (paper section 3.1).

    The zero padding is what tells border from middle, and so position.
    One PEG stands after the first block of each stage.

    Args:
        dim (int): length of a token, C.

    Inputs: tokens (B, N, dim) and the size (H, W) of their grid. Outputs: (B, N, dim).
    """

    def __init__(self, dim):
        super().__init__()
        he = Normal(math.sqrt(2 / 9))
        conv = nn.Conv2d(dim, dim, 3, pad_mode="pad", padding=1, group=dim, has_bias=True,
                         weight_init=he, bias_init="zeros")
        self.proj = nn.SequentialCell(conv)

    def construct(self, tokens, size):
        return tokens + to_tokens(self.proj(to_map(tokens, size)))
