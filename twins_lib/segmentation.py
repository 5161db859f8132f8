"""Semantic segmentation: a Semantic FPN head on the pyramid, and its loss (lesson 09).

The head is that of arXiv 1901.02446, section 3, in the sizes of the original's ADE20K configuration: a feature pyramid
of 256 channels, scale heads of 128. Three things differ from that configuration. GroupNorm, which is the head's own
paper's choice, stands in the place of synchronised BatchNorm: it has no running statistics, so training and evaluation
compute the same, and a batch may be shared out over any number of processes. There is no dropout before the classifier.
And images are padded to a multiple of 32, so that each map has exactly twice the side of the next; the original
leaves out the rows and columns that do not fill a patch.
"""

import mindspore as ms
from mindspore import nn, ops
from mindspore.common.initializer import HeNormal, Normal, XavierUniform

from .layers import Conv, to_map, to_tokens
from .weights import load_weights

IGNORE = 255  # the label of pixels that do not count


# --------------------------------------------------------------------------------------------------------- network

class MapConv(Conv):
    """A `Conv` of maps: (B, in_channels, H, W) -> (B, out_channels, H, W)."""

    def construct(self, maps):
        if self.on_cpu:
            size = maps.shape[2:]
            return to_map(super().construct(to_tokens(maps), size), size)
        moved = self.conv2d(maps, self.weight)
        return self.bias_add(moved, self.bias) if self.has_bias else moved


def nearest(maps, factor):
    """Each value of (B, C, H, W) as a square of factor × factor: (B, C, factor·H, factor·W)."""
    B, C, H, W = maps.shape
    wide = ops.broadcast_to(maps.reshape(B, C, H, 1, W, 1), (B, C, H, factor, W, factor))
    return wide.reshape(B, C, factor * H, factor * W)


def bilinear(maps, size):
    """Resize (B, C, H, W) to the height and width `size`, linear between the centres of pixels."""
    return ops.interpolate(maps, size=size, mode="bilinear", align_corners=False)


class ScaleHead(nn.Cell):
    """Bring one level of the pyramid to the size of the first: 3×3 convolution, GroupNorm, ReLU and ×2, repeated.

    Args:
        in_channels (int): channels that come in.
        channels (int): channels that come out, a multiple of 4 (the channels of a group of GroupNorm).
        doublings (int): how often the side is doubled; for 0 there is one convolution and no upsampling.

    Inputs: (B, in_channels, H, W). Outputs: (B, channels, H·2^doublings, W·2^doublings).
    """

    def __init__(self, in_channels, channels, doublings):
        super().__init__()
        self.doublings = doublings
        widths = [in_channels] + [channels] * max(doublings, 1)
        self.convs = nn.CellList([MapConv(a, b, 3, HeNormal(), bias=False) for a, b in zip(widths, widths[1:])])
        self.norms = nn.CellList([nn.GroupNorm(channels // 4, channels) for _ in self.convs])

    def construct(self, x):
        for convolve, norm in zip(self.convs, self.norms):
            x = ops.relu(norm(convolve(x)))
            if self.doublings:
                x = bilinear(x, (2 * x.shape[2], 2 * x.shape[3]))
        return x


class SemanticFPNHead(nn.Cell):
    """From the maps of a pyramid to the logits of each pixel of its first map.

    Args:
        dims (sequence of int): channels of the maps, finest first.
        classes (int): K.
        channels (int): channels of the feature pyramid.
        head_channels (int): channels of the scale heads, a multiple of 4.

    Inputs: maps (B, dims[i], H/2^i, W/2^i). Outputs: logits (B, K, H, W).

    Raises:
        ValueError: head_channels that cannot be grouped.
    """

    def __init__(self, dims, classes, channels=256, head_channels=128):
        super().__init__()
        if head_channels % 4 or head_channels < 4:
            raise ValueError(f"head_channels {head_channels}: must be a multiple of 4, the channels of a group")
        self.lateral = nn.CellList([MapConv(dim, channels, 1, XavierUniform()) for dim in dims])
        self.smooth = nn.CellList([MapConv(channels, channels, 3, XavierUniform()) for _ in dims])
        self.scale = nn.CellList([ScaleHead(channels, head_channels, level) for level in range(len(dims))])
        self.classifier = MapConv(head_channels, classes, 1, Normal(0.01))

    def pyramid(self, maps):
        """Every level, with what all coarser levels know added to it: (B, channels, H/2^i, W/2^i)."""
        laterals = [lateral(one) for lateral, one in zip(self.lateral, maps)]
        coarser = laterals[-1]
        levels = [coarser]
        for finer in laterals[-2::-1]:  # of the list of maps: to slice a CellList would rename its parameters
            coarser = finer + nearest(coarser, 2)
            levels.append(coarser)
        return [smooth(level) for smooth, level in zip(self.smooth, levels[::-1])]

    def construct(self, maps):
        first, *others = [scale(level) for scale, level in zip(self.scale, self.pyramid(maps))]
        for other in others:
            first = first + other
        return self.classifier(first)


class LinearHead(nn.Cell):
    """The plainest read-out of a pyramid, to compare heads with: one matrix for each pixel, over all maps at once.

    Args:
        dims (sequence of int): channels of the maps, finest first.
        classes (int): K.

    Inputs: maps (B, dims[i], H/2^i, W/2^i). Outputs: logits (B, K, H, W).
    """

    def __init__(self, dims, classes):
        super().__init__()
        self.classifier = MapConv(sum(dims), classes, 1, Normal(0.01))

    def construct(self, maps):
        finest = maps[0]
        others = [bilinear(one, finest.shape[2:]) for one in maps[1:]]
        return self.classifier(ops.concat([finest] + others, axis=1))


class Segmenter(nn.Cell):
    """A class for each pixel of an image of any size.

    Right and bottom are padded with zeros, the mean colour, to a multiple of `backbone.smallest_side` (32 pixels in
    all released variants): every stage and every sub-sampling then comes out even. The logits are cropped again.
    Windows that hang over the grid of tokens are another matter: LSA pads these itself, and masks the padding in a
    backbone made with dense=True.

    Args:
        backbone (Twins): best made with dense=True.
        classes (int): K.
        channels, head_channels (int): of `SemanticFPNHead`.

    Inputs: images (B, 3, H, W), float; and, while training with stochastic depth, `keep` from backbone.draw_paths.
    Outputs: logits (B, K, H, W).
    """

    def __init__(self, backbone, classes, channels=256, head_channels=128):
        super().__init__()
        self.in_channels = backbone.in_channels
        self.backbone = backbone
        self.head = SemanticFPNHead(backbone.variant.dims, classes, channels, head_channels)

    def construct(self, images, keep=None):
        *front, H, W = images.shape
        bottom, right = -H % self.backbone.smallest_side, -W % self.backbone.smallest_side
        if bottom or right:
            images = ops.Pad(((0, 0),) * len(front) + ((0, bottom), (0, right)))(images)
        logits = self.head(self.backbone.features(images, keep))
        return bilinear(logits, (H + bottom, W + right))[:, :, :H, :W]


def load_backbone(backbone, path):
    """Fill a backbone from a classification checkpoint: all but its last norm and head. `norm_list` stays as it is.

    Args:
        backbone (Twins): made with dense=True; not yet part of a `Segmenter`, which changes the parameters' names.
        path (str or Path): as for `twins_lib.load_weights`, which also says what is raised.
    """
    load_weights(backbone, path, leave_out=("norm.", "head.", "norm_list."))


# ------------------------------------------------------------------------------------------------------------ loss

def pixel_loss(logits, masks, ignore=IGNORE):
    """Cross-entropy of every pixel that counts, summed and divided by the number of all pixels.

    Dividing by all, as the original does, makes the mean over processes and over accumulated batches the loss of the
    whole batch, wherever the pixels to ignore are.

    Args:
        logits (Tensor): (B, K, H, W), float; the sum is taken in float32.
        masks (Tensor): (B, H, W), int32, each a class below K or `ignore`.
        ignore (int): the label of pixels that do not count.

    Returns:
        Tensor without axes, float32.
    """
    rows = logits.astype(ms.float32).transpose(0, 2, 3, 1).reshape(-1, logits.shape[1])
    return ops.cross_entropy(rows, masks.reshape(-1), ignore_index=ignore, reduction="sum") / masks.size
