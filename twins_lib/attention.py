"""The two attentions of Twins: LSA in windows and GSA over a sub-sampled grid (lessons 03 and 04)."""

from mindspore import nn, ops

from .layers import LayerNorm, Linear, PatchConv, swap


def split_heads(tokens, parts, heads):
    """Cut packed projections into their parts and heads.

    Args:
        tokens (Tensor): (B, N, parts·C), the parts (q, k, v) one after the other, each of heads·d.
        parts (int): how many projections are packed.
        heads (int): h.

    Returns:
        `parts` tensors (B, h, N, d), d = C / h.
    """
    B, N, width = tokens.shape
    packed = tokens.reshape(B, N, parts, heads, width // (parts * heads))
    return [swap(part) for part in ops.unbind(packed, 2)]


def merge_heads(values):
    """Lay the heads (B, h, N, d) side by side again: (B, N, C)."""
    B, heads, N, d = values.shape
    return swap(values).reshape(B, N, heads * d)


class ScaledDotProduct(nn.Cell):
    """softmax(q kᵀ / √d) v, head by head (arXiv 1706.03762, equation 1).

    Inputs: q (B, h, N, d), k and v (B, h, M, d) and, to leave keys out, what is added to the scores (B, 1, 1, M).
    Outputs: (B, h, N, d).
    """

    def __init__(self):
        super().__init__()
        self.scores = ops.BatchMatMul(transpose_b=True)
        self.mix = ops.BatchMatMul()

    def weights(self, q, k, bias=None):
        """The attention weights (B, h, N, M): row n says how much token n takes from each key; rows sum to 1."""
        scores = self.scores(q * q.shape[-1] ** -0.5, k)
        if bias is not None:
            scores = scores + bias
        return ops.softmax(scores, axis=-1)

    def construct(self, q, k, v, bias=None):
        return self.mix(self.weights(q, k, bias), v)


def to_windows(tokens, size, side):
    """Group the tokens of a grid by window.

    A grid that is no multiple of the window is padded with zeros on the right and at the bottom.

    Args:
        tokens (Tensor): (B, N, C), N = H·W.
        size (tuple): (H, W).
        side (int): window side w in tokens.

    Returns:
        Tensor (B·n, w·w, C): n windows an image, in reading order, each in reading order.
    """
    B, _, C = tokens.shape
    H, W = size
    grid = tokens.reshape(B, H, W, C)
    bottom, right = -H % side, -W % side
    if bottom or right:
        # Not ops.pad: compiled on a CPU (2.8.0 and 2.10.0), its gradient is right in the first call only.
        grid = ops.Pad(((0, 0), (0, bottom), (0, right), (0, 0)))(grid)
    rows, columns = (H + bottom) // side, (W + right) // side
    strips = grid.reshape(B * rows, side, columns, side * C)  # a strip is a row of windows
    return swap(strips).reshape(B * rows * columns, side * side, C)


def from_windows(windows, size, side):
    """Undo `to_windows`: (B·n, w·w, C) becomes (B, N, C) again, padding left out."""
    H, W = size
    C = windows.shape[-1]
    rows, columns = -(-H // side), -(-W // side)
    strips = windows.reshape(-1, columns, side, side * C)
    grid = swap(strips).reshape(-1, rows * side, columns * side, C)
    if (H, W) != (rows * side, columns * side):
        grid = grid[:, :H, :W]
    return grid.reshape(-1, H * W, C)


class LSA(nn.Cell):
    """Locally-grouped self-attention: each window attends to itself (paper section 3.2).

    In a padded window the zeros become keys like any other (their k and v are the biases),
    as in the reference for classification and detection; or they are masked, as in that for segmentation.
    (There the mask stays empty if the grid hangs over on one side only: `mask[:, -0:]` is all of it. Here it does not.)

    Args:
        dim (int): length of a token, C, a multiple of `heads`.
        heads (int): h.
        window (int): window side w in tokens.
        mask_padding (bool): no token attends to padding.

    Inputs: tokens (B, N, dim) and the size (H, W) of their grid. Outputs: (B, N, dim).
    """

    def __init__(self, dim, heads, window, mask_padding=False):
        super().__init__()
        self.heads, self.window, self.mask_padding = heads, window, mask_padding
        self.qkv = Linear(dim, 3 * dim)
        self.attend = ScaledDotProduct()
        self.proj = Linear(dim, dim)

    def queries_keys_values(self, tokens, size):
        """q, k and v, each (B·n, h, w·w, d), window by window."""
        return split_heads(self.qkv(to_windows(tokens, size, self.window)), 3, self.heads)

    def padding_bias(self, tokens, size):
        """What is added to the scores (B·n, 1, 1, w·w): 0 for a token, -1000 for padding; None if nothing is masked."""
        if not self.mask_padding or not (size[0] % self.window or size[1] % self.window):
            return None
        real = to_windows(ops.ones_like(tokens[..., :1]), size, self.window)  # padding is 0
        return 1000 * (real.reshape(-1, 1, 1, self.window ** 2) - 1)  # exp(-1000) is 0, in every precision

    def construct(self, tokens, size):
        q, k, v = self.queries_keys_values(tokens, size)
        windows = merge_heads(self.attend(q, k, v, self.padding_bias(tokens, size)))
        return self.proj(from_windows(windows, size, self.window))


class GSA(nn.Cell):
    """Global sub-sampled attention: every token attends to one key per cell of r×r tokens (paper section 3.2).

    The same code is PVT's spatial-reduction attention, which Twins-PCPVT uses in every block.

    Args:
        dim (int): length of a token, C, a multiple of `heads`.
        heads (int): h.
        sr_ratio (int): side r of the cell that one key summarises, in tokens; 1 keeps all keys.

    Inputs: tokens (B, N, dim) and the size (H, W) of their grid. Outputs: (B, N, dim).
    """

    def __init__(self, dim, heads, sr_ratio):
        super().__init__()
        self.heads, self.sr_ratio = heads, sr_ratio
        self.q = Linear(dim, dim)
        self.kv = Linear(dim, 2 * dim)
        if sr_ratio > 1:
            self.sr = PatchConv(dim, dim, sr_ratio)
            self.norm = LayerNorm(dim, epsilon=1e-5)
        self.attend = ScaledDotProduct()
        self.proj = Linear(dim, dim)

    def queries_keys_values(self, tokens, size):
        """q (B, h, N, d), k and v (B, h, M, d), M = (H // r)·(W // r)."""
        (q,) = split_heads(self.q(tokens), 1, self.heads)
        if self.sr_ratio > 1:
            tokens = self.norm(self.sr(tokens, size))
        k, v = split_heads(self.kv(tokens), 2, self.heads)
        return q, k, v

    def construct(self, tokens, size):
        q, k, v = self.queries_keys_values(tokens, size)
        return self.proj(merge_heads(self.attend(q, k, v)))
