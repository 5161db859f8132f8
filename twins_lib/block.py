"""One Transformer block: attention and MLP, each behind a LayerNorm and beside a residual (lesson 05)."""

import numpy as np
from mindspore import Tensor, nn

from .layers import GELU, LayerNorm, Linear


class MLP(nn.Cell):
    """Two linear maps with a GELU between, on each token alone.

    Args:
        dim (int): length of a token, C.
        hidden (int): length of the layer between.

    Inputs: tokens (B, N, dim). Outputs: (B, N, dim).
    """

    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1 = Linear(dim, hidden)
        self.fc2 = Linear(hidden, dim)
        self.gelu = GELU()

    def construct(self, tokens):
        return self.fc2(self.gelu(self.fc1(tokens)))


class Block(nn.Cell):
    """x + attention(norm(x)), then x + MLP(norm(x)) (paper section 3.2).

    Args:
        dim (int): length of a token, C.
        mlp_ratio (int): hidden length of the MLP over `dim`.
        attention (Cell): an `LSA` or a `GSA` of the same `dim`.

    Inputs: tokens (B, N, dim), the size (H, W) of their grid and, while training with
    stochastic depth, `keep` (2, B): what each image's attention and MLP branch is multiplied with.
    Outputs: (B, N, dim).
    """

    def __init__(self, dim, mlp_ratio, attention):
        super().__init__()
        self.norm1 = LayerNorm(dim, epsilon=1e-6)
        self.attn = attention
        self.norm2 = LayerNorm(dim, epsilon=1e-6)
        self.mlp = MLP(dim, mlp_ratio * dim)

    def construct(self, tokens, size, keep=None):
        attended = self.attn(self.norm1(tokens), size)
        if keep is not None:
            attended = attended * keep[0].reshape(-1, 1, 1)
        tokens = tokens + attended
        changed = self.mlp(self.norm2(tokens))
        if keep is not None:
            changed = changed * keep[1].reshape(-1, 1, 1)
        return tokens + changed


def draw_paths(rates, batch_size, rng):
    """Draw which residual branches survive a training step (stochastic depth).

    The draw is an argument of the network, not a state inside it: the same on every device,
    in PyNative and in graph mode, and after a resumed run.

    Args:
        rates (sequence of float): probability of dropping a branch, block by block, in [0, 1).
        batch_size (int): B.
        rng (numpy.random.Generator): where the draw comes from.

    Returns:
        Tensor (blocks, 2, B), float32: 0 where a branch is dropped, 1 / (1 - rate) where it is kept,
        so that its mean stays the same.
    """
    keep = 1 - np.asarray(rates, np.float32)[:, None, None]
    kept = rng.random((len(keep), 2, batch_size), np.float32) < keep
    return Tensor((kept / keep).astype(np.float32))
