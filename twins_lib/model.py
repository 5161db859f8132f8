"""Twins-PCPVT and Twins-SVT, the whole networks (lesson 05; paper sections 3.1 and 3.2)."""

from dataclasses import dataclass

import mindspore as ms
import numpy as np
from mindspore import nn

from .attention import GSA, LSA
from .block import Block, draw_paths
from .layers import LayerNorm, Linear, to_map, to_tokens
from .patch_embed import PatchEmbed
from .position import PEG

FLOATS = (ms.float32, ms.float16, ms.bfloat16, ms.float64)


@dataclass(frozen=True)
class Variant:
    """What tells one Twins from another, stage by stage.

    Attributes:
        dims: length of a token, C.
        heads: attention heads, h.
        mlp_ratios: hidden length of the MLP over C.
        depths: blocks.
        sr_ratios: side of the cell that one key of GSA summarises, in tokens.
        windows: window side of LSA in tokens, or None for PCPVT, where every block is global.
    """

    dims: tuple
    heads: tuple
    mlp_ratios: tuple
    depths: tuple
    sr_ratios: tuple = (8, 4, 2, 1)
    windows: tuple | None = None

    @property
    def patch_sizes(self):
        """Side of a patch, in pixels of the image and then in tokens of the stage below."""
        return (4,) + (2,) * (len(self.dims) - 1)


def _pcpvt(*depths):
    return Variant((64, 128, 320, 512), (1, 2, 5, 8), (8, 8, 4, 4), depths)


def _svt(dim, heads, *depths):
    doubled = (1, 2, 4, 8)
    return Variant(tuple(dim * n for n in doubled), tuple(heads * n for n in doubled), (4, 4, 4, 4), depths,
                   windows=(7, 7, 7, 7))


VARIANTS = {
    "twins_pcpvt_small": _pcpvt(3, 4, 6, 3),
    "twins_pcpvt_base": _pcpvt(3, 4, 18, 3),
    "twins_pcpvt_large": _pcpvt(3, 8, 27, 3),
    "twins_svt_small": _svt(64, 2, 2, 2, 10, 4),
    "twins_svt_base": _svt(96, 3, 2, 2, 18, 2),
    "twins_svt_large": _svt(128, 4, 2, 2, 18, 2),
    # For the lessons, made for 64×64 images: 16 keys a query in LSA and GSA alike; the others have 49 at 224×224.
    "twins_pcpvt_nano": Variant((16, 32, 64, 96), (1, 2, 4, 6), (8, 8, 4, 4), (2, 2, 2, 1), (4, 2, 1, 1)),
    "twins_svt_nano": Variant((16, 32, 64, 96), (1, 2, 4, 6), (4, 4, 4, 4), (2, 2, 2, 2), (4, 2, 1, 1), (4, 4, 4, 2)),
}


class Twins(nn.Cell):
    """The pyramid: four stages of patch embedding, blocks and one PEG, then norm, mean and head.

    In Twins-SVT the blocks of a stage alternate LSA, GSA, LSA, ...; in Twins-PCPVT all are GSA.

    Args:
        variant (Variant): the sizes.
        num_classes (int): length of the logits.
        in_channels (int): channels of the image.
        drop_path_rate (float): stochastic depth of the last block, in [0, 1); it grows linearly from 0 at the first.
        dense (bool): a backbone as in the original's segmentation: only `features`, LSA masks its padding, and each
            stage of Twins-SVT ends with a LayerNorm (`norm_list`). There is no last norm and no head.

    Inputs: images (B, in_channels, H, W), float, H and W multiples of 4; and, while training with
    stochastic depth, `keep` from `draw_paths`.
    Outputs: logits (B, num_classes).

    Raises:
        ValueError: images of another rank, number of channels or size than the rule it names.
        TypeError: images that are not floating point.
    """

    def __init__(self, variant, num_classes=1000, in_channels=3, drop_path_rate=0.0, dense=False):
        super().__init__()
        if not 0 <= drop_path_rate < 1:
            raise ValueError(f"drop_path_rate {drop_path_rate}: must be at least 0 and below 1")
        self.variant = variant
        self.in_channels = in_channels
        self.dense = dense
        strides = np.cumprod(variant.patch_sizes)
        self.smallest_side = int(max(strides * variant.sr_ratios))
        self.drop_path_rates = tuple(np.linspace(0, drop_path_rate, sum(variant.depths)).tolist())
        below = (in_channels,) + variant.dims[:-1]
        self.patch_embeds = nn.CellList(
            [PatchEmbed(c, dim, side) for c, dim, side in zip(below, variant.dims, variant.patch_sizes)])
        self.blocks = nn.CellList([nn.CellList(list(self._blocks_of(stage))) for stage in range(len(variant.dims))])
        self.pos_block = nn.CellList([PEG(dim) for dim in variant.dims])
        self.stage_norms = dense and variant.windows is not None
        if self.stage_norms:
            self.norm_list = nn.CellList([LayerNorm(dim, epsilon=1e-6) for dim in variant.dims])
        if not dense:
            self.norm = LayerNorm(variant.dims[-1], epsilon=1e-6)
            self.head = Linear(variant.dims[-1], num_classes)

    def _blocks_of(self, stage):
        v = self.variant
        dim, heads = v.dims[stage], v.heads[stage]
        for i in range(v.depths[stage]):
            local = v.windows is not None and i % 2 == 0
            attention = LSA(dim, heads, v.windows[stage], self.dense) if local else GSA(dim, heads, v.sr_ratios[stage])
            yield Block(dim, v.mlp_ratios[stage], attention)

    def draw_paths(self, batch_size, rng):
        """One draw of stochastic depth for a step: `keep` (blocks, 2, B); see `twins_lib.block.draw_paths`."""
        return draw_paths(self.drop_path_rates, batch_size, rng)

    def features(self, images, keep=None):
        """The pyramid's maps, for dense prediction.

        Args:
            images (Tensor): (B, in_channels, H, W).
            keep (Tensor): a draw of stochastic depth, or None.

        Returns:
            Four tensors (B, C, H/s, W/s) at strides s = 4, 8, 16, 32.
        """
        self._check(images)
        maps, x, done = [], images, 0
        for stage, (embed, blocks, peg) in enumerate(zip(self.patch_embeds, self.blocks, self.pos_block)):
            tokens, size = embed(x)
            for i, block in enumerate(blocks):
                tokens = block(tokens, size, None if keep is None else keep[done + i])
                if i == 0:
                    tokens = peg(tokens, size)
            done += len(blocks)
            if self.stage_norms:
                tokens = self.norm_list[stage](tokens)
            x = to_map(tokens, size)
            maps.append(x)
        return maps

    def construct(self, images, keep=None):
        tokens = to_tokens(self.features(images, keep)[-1])
        return self.head(self.norm(tokens).mean(1))

    def _check(self, images):
        shape = tuple(images.shape)
        if len(shape) != 4:
            raise ValueError(f"images of shape {shape}: must have 4 axes (batch, channels, height, width)")
        if images.dtype not in FLOATS:
            raise TypeError(f"images of {images.dtype}: must be floating point; "
                            "scale bytes to 0..1 and normalise them first")
        if shape[1] != self.in_channels:
            raise ValueError(f"images with {shape[1]} channels: this network takes {self.in_channels}, "
                             "on the second axis")
        for side, length in (("height", shape[2]), ("width", shape[3])):
            if length % 4:
                raise ValueError(f"image {shape[2]}x{shape[3]}: {side} must be a multiple of 4 (the patch size); "
                                 "resize or pad")
            if length < self.smallest_side:
                raise ValueError(f"image {shape[2]}x{shape[3]}: {side} must be at least {self.smallest_side}, "
                                 "so that no stage runs out of tokens; enlarge it")


def create_model(name, num_classes=1000, in_channels=3, drop_path_rate=0.0, dense=False):
    """Build a Twins by its name, with fresh weights.

    Args:
        name (str): a key of `VARIANTS`, for example "twins_svt_small".
        num_classes (int): length of the logits.
        in_channels (int): channels of the image.
        drop_path_rate (float): stochastic depth of the last block, in [0, 1).
        dense (bool): a backbone for segmentation, without a head; see `Twins`.

    Returns:
        A `Twins`.

    Raises:
        ValueError: a name that is not known; the known ones are listed.
    """
    if name not in VARIANTS:
        raise ValueError(f"no Twins is called {name!r}; there are {', '.join(VARIANTS)}")
    return Twins(VARIANTS[name], num_classes, in_channels, drop_path_rate, dense)
