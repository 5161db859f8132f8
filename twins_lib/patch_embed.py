"""Patch embedding: an image becomes a grid of tokens (lesson 01; paper section 3.1)."""

import math

from mindspore import Parameter, nn, ops
from mindspore.common.initializer import Normal, TruncatedNormal, initializer


class Linear(nn.Cell):
    """The affine map y = x Wᵀ + b on the last axis.

    Same parameters as `nn.Dense`. One 2-D matrix product and one addition run
    faster on a CPU, forward and backward, than Dense with its BiasAdd.

    Args:
        in_features (int): size of the last axis that comes in.
        out_features (int): size of the last axis that comes out.

    Inputs: x (..., in_features). Outputs: (..., out_features).
    """

    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = Parameter(initializer(TruncatedNormal(0.02), (out_features, in_features)))
        self.bias = Parameter(initializer("zeros", (out_features,)))
        self.matmul = ops.MatMul(transpose_b=True)

    def construct(self, x):
        rows = x.reshape(-1, x.shape[-1])
        return (self.matmul(rows, self.weight) + self.bias).reshape(*x.shape[:-1], -1)


def to_patches(images, side):
    """Cut images into non-overlapping square patches, one row of numbers a patch.

    Rows and columns that do not fill a patch are left out, as in a convolution without padding.

    Args:
        images (Tensor): (B, C, H, W).
        side (int): patch side in pixels.

    Returns:
        Tensor (B, N, C·side·side), N = (H // side)·(W // side), patches in reading order.
    """
    B, C, H, W = images.shape
    rows, columns = H // side, W // side
    if (H, W) != (rows * side, columns * side):
        images = images[:, :, : rows * side, : columns * side]
    grid = images.reshape(B, C, rows, side, columns, side)
    return grid.transpose(0, 2, 4, 1, 3, 5).reshape(B, rows * columns, C * side * side)


class PatchConv(nn.Cell):
    """A convolution whose stride equals its kernel, as one matrix product over patches.

    Weights have the shape of the convolution, so PyTorch's tensors fit as they are.

    Args:
        in_channels (int): channels that come in.
        out_channels (int): channels that come out, the length of a token.
        side (int): kernel and stride, in pixels.

    Inputs: images (B, in_channels, H, W). Outputs: tokens (B, N, out_channels).
    """

    def __init__(self, in_channels, out_channels, side):
        super().__init__()
        self.side = side
        he = Normal(math.sqrt(2 / (side * side * out_channels)))
        self.weight = Parameter(initializer(he, (out_channels, in_channels, side, side)))
        self.bias = Parameter(initializer("zeros", (out_channels,)))
        self.matmul = ops.MatMul(transpose_b=True)

    def construct(self, images):
        patches = to_patches(images, self.side)
        B, N, length = patches.shape
        tokens = self.matmul(patches.reshape(B * N, length), self.weight.reshape(-1, length)) + self.bias
        return tokens.reshape(B, N, -1)


class PatchEmbed(nn.Cell):
    """Patches, projected and normalised (paper section 3.1).

    Args:
        in_channels (int): channels of the image or of the map below.
        embed_dim (int): length of a token, C.
        patch_size (int): side of a patch in pixels, 4 in the first stage and 2 in the others.

    Inputs: images (B, in_channels, H, W).
    Outputs: tokens (B, N, embed_dim) and the size (H // patch_size, W // patch_size) of their grid.
    """

    def __init__(self, in_channels, embed_dim, patch_size):
        super().__init__()
        self.patch_size = patch_size
        self.proj = PatchConv(in_channels, embed_dim, patch_size)
        self.norm = nn.LayerNorm((embed_dim,), epsilon=1e-5)

    def construct(self, images):
        size = (images.shape[2] // self.patch_size, images.shape[3] // self.patch_size)
        return self.norm(self.proj(images)), size
