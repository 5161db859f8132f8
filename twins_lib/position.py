"""Conditional positional encoding: where a token is, read from its neighbours (lesson 02)."""

import math

from mindspore import nn
from mindspore.common.initializer import Normal

from .layers import Conv


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
        self.proj = nn.CellList([Conv(dim, dim, 3, Normal(math.sqrt(2 / 9)), depthwise=True)])

    def construct(self, tokens, size):
        return tokens + self.proj[0](tokens, size)
