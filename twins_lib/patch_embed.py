"""Patch embedding: an image becomes a grid of tokens (lesson 01; paper section 3.1)."""

from mindspore import nn

from .layers import LayerNorm, PatchConv


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
        self.norm = LayerNorm(embed_dim, epsilon=1e-5)

    def construct(self, images):
        size = (images.shape[2] // self.patch_size, images.shape[3] // self.patch_size)
        return self.norm(self.proj(images)), size
