"""The company that `compare` trains beside twins_svt_nano: a linear classifier, a CNN, and Twins with parts changed."""

import math
from dataclasses import replace

from mindspore import nn
from mindspore.common.initializer import Normal

from ...attention import LSA
from ...block import Block, draw_paths
from ...layers import GELU, Conv, LayerNorm, Linear, to_map, to_tokens
from ...model import VARIANTS, Twins
from ...patch_embed import PatchEmbed

NANO = VARIANTS["twins_svt_nano"]


class Guest(nn.Cell):
    """What the engine wants of a network that has no stochastic depth: `draw_paths`, and a `keep` that is not used."""

    in_channels = 3

    def draw_paths(self, batch_size, rng):
        return draw_paths((0.0,), batch_size, rng)


class LinearClassifier(Guest):
    """One affine map from all pixels to the logits.

    Inputs: images (B, 3, side, side). Outputs: logits (B, classes).
    """

    def __init__(self, classes, side=64):
        super().__init__()
        self.head = Linear(3 * side * side, classes)

    def construct(self, images, keep=None):
        return self.head(images.reshape(images.shape[0], -1))


class Residual(nn.Cell):
    """x plus two 3×3 convolutions, each behind a norm and a GELU (arXiv 1603.05027, with LayerNorm for BatchNorm).

    Inputs: tokens (B, N, dim) and the size (H, W) of their grid. Outputs: (B, N, dim).
    """

    def __init__(self, dim):
        super().__init__()
        he = Normal(math.sqrt(2 / (9 * dim)))
        self.norms = nn.CellList([LayerNorm(dim, epsilon=1e-6) for _ in range(2)])
        self.convolutions = nn.CellList([Conv(dim, dim, 3, he) for _ in range(2)])
        self.gelu = GELU()

    def construct(self, tokens, size):
        change = tokens
        for norm, convolution in zip(self.norms, self.convolutions):
            change = convolution(self.gelu(norm(change)), size)
        return tokens + change


class CNN(Guest):
    """A small residual network with as many parameters as twins_svt_nano: one block on each of four grids.

    Args:
        classes (int): length of the logits.
        dims (tuple): channels of the four grids, whose strides are 2, 4, 8 and 16 pixels.

    Inputs: images (B, 3, H, W), H and W multiples of 16. Outputs: logits (B, classes).
    """

    def __init__(self, classes, dims=(16, 32, 64, 120)):
        super().__init__()
        self.embeds = nn.CellList([PatchEmbed(below, dim, 2) for below, dim in zip((3, *dims), dims)])
        self.blocks = nn.CellList([Residual(dim) for dim in dims])
        self.norm, self.head = LayerNorm(dims[-1], epsilon=1e-6), Linear(dims[-1], classes)

    def construct(self, images, keep=None):
        x = images
        for embed, block in zip(self.embeds, self.blocks):
            tokens, size = embed(x)
            x = to_map(block(tokens, size), size)
        return self.head(self.norm(to_tokens(x)).mean(1))


class WithoutGSA(Twins):
    """Twins whose blocks are all LSA: no token sees another window, but for the PEG and the next patch embedding."""

    def _blocks_of(self, stage):
        v = self.variant
        for _ in range(v.depths[stage]):
            yield Block(v.dims[stage], v.mlp_ratios[stage], LSA(v.dims[stage], v.heads[stage], v.windows[stage]))


class NoPosition(nn.Cell):
    """In the place of a PEG: the tokens as they are."""

    def construct(self, tokens, size):
        return tokens


class WithoutPEG(Twins):
    """Twins that is told no position."""

    def __init__(self, variant, num_classes):
        super().__init__(variant, num_classes)
        self.pos_block = nn.CellList([NoPosition() for _ in variant.dims])


NETWORKS = {
    "linear": LinearClassifier,
    "CNN": CNN,
    "full attention": lambda classes: Twins(replace(NANO, windows=None, sr_ratios=(1, 1, 1, 1)), classes),
    "Twins-SVT nano": lambda classes: Twins(NANO, classes),
    "without PEG": lambda classes: WithoutPEG(NANO, classes),
    "without GSA": lambda classes: WithoutGSA(NANO, classes),
    "without LSA": lambda classes: Twins(replace(NANO, windows=None), classes),
}
