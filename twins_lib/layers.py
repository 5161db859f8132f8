"""The layers that the network is made of: each in a plain form and, where it pays on a CPU, in a form that equals it.

The plain form is what the lessons build, and what a device with fused kernels wants. The CPU form has the same
parameters under the same names and gives the same numbers (`tests/test_layers.py`). `form` says which one is in use.

| Layer | Plain form | CPU form | What that avoids | Forward, ms | With gradient, ms |
|---|---|---|---|---|---|
| Linear | x + bias | BiasAdd, its gradient a product with ones | a sum that keeps four buffers | 8.2 → 5.6 | 27 → 30 |
| PatchConv of tokens | as a map | as they are | two transposes | 5.2 → 2.8 | 9.6 → 5.8 |
| LayerNorm | MindSpore's kernel | means by rows | a gradient on one core | 4.5 → 5.8 | 22 → 11 |
| GELU | gradient by MindSpore | normal density as Φ's gradient | a power for each value | 31 → 44 | 67 → 48 |
| Conv | MindSpore's kernel | neighbours side by side, one product | a slow kernel | 69 → 9.5 | 578 → 23 |
| swap | transpose | slices of one axis, stacked on the other | two buffers | 0.6 → 0.5 | 1.3 → 0.8 |

Milliseconds of two cores of an AMD EPYC in November 2026, plain → CPU form, both compiled, medians of nine calls;
the gradient is that of a sum of squares, of input and weights. For 8 · 3136 tokens of 64 as in stage 1 of
twins_svt_small (Linear 64 → 256, GELU of 256, PatchConv of 8×8 cells, the PEG's Conv, two heads of 32).
"""

import math

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, TruncatedNormal, initializer
from mindspore.ops.primitive import constexpr

FORMS = ("plain", "cpu")
_forced = []


def form():
    """The form of layers made now: "cpu" on a CPU and "plain" elsewhere, unless `use_form` says another."""
    return _forced[-1] if _forced else "cpu" if ms.get_context("device_target") == "CPU" else "plain"


class use_form:
    """Within it, layers are made in the form of that name: `with use_form("plain"): model = create_model(...)`.

    Raises:
        ValueError: a form that there is not.
    """

    def __init__(self, name):
        if name not in FORMS:
            raise ValueError(f"form {name!r}: must be one of {', '.join(FORMS)}")
        self.name = name

    def __enter__(self):
        _forced.append(self.name)

    def __exit__(self, *_):
        _forced.pop()


@constexpr
def on_cpu():
    """Is the form "cpu" where this is called, or compiled? For functions, which are not made."""
    return form() == "cpu"


def swap(x):
    """(A, b, c, D) -> (A, c, b, D), as `x.transpose(0, 2, 1, 3)`; one of b and c should be small."""
    if not on_cpu():
        return x.transpose(0, 2, 1, 3)
    short = 1 if x.shape[1] < x.shape[2] else 2
    return ops.stack(ops.unbind(x, short), 3 - short)


@constexpr
def ones(n):
    """A row of n ones: its product with rows (n, C) is their sum, the gradient of what is added to each of them."""
    return Tensor(np.ones((1, n), np.float32))


class BiasOfRows(nn.Cell):
    """x + b for rows x (n, C) and b (C,)."""

    def __init__(self):
        super().__init__()
        self.add, self.total = ops.BiasAdd(), ops.MatMul()

    def construct(self, x, bias):
        return self.add(x, bias)

    def bprop(self, x, bias, out, dout):
        return dout, self.total(ones(dout.shape[0]).astype(dout.dtype), dout).reshape(-1)


class Bias(nn.Cell):
    """x + b on the last axis, for x of any number of axes."""

    def __init__(self):
        super().__init__()
        self.on_cpu, self.of_rows = form() == "cpu", BiasOfRows()

    def construct(self, x, bias):
        return self.of_rows(x.reshape(-1, x.shape[-1]), bias).reshape(x.shape) if self.on_cpu else x + bias


class Linear(nn.Cell):
    """The affine map y = x Wᵀ + b on the last axis, as one 2-D matrix product. Same parameters as `nn.Dense`.

    Args:
        in_features (int): size of the last axis that comes in.
        out_features (int): size of the last axis that comes out.

    Inputs: x (..., in_features). Outputs: (..., out_features).
    """

    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = Parameter(initializer(TruncatedNormal(0.02), (out_features, in_features)))
        self.bias = Parameter(initializer("zeros", (out_features,)))
        self.matmul, self.add = ops.MatMul(transpose_b=True), Bias()

    def construct(self, x):
        rows = self.matmul(x.reshape(-1, x.shape[-1]), self.weight)
        return self.add(rows, self.bias).reshape(*x.shape[:-1], -1)


def to_patches(images, side):
    """Cut images into non-overlapping square patches, one row of numbers per patch.

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

    Inputs: images (B, in_channels, H, W); or tokens (B, N', in_channels) and the size (H, W) of their grid.
    Outputs: tokens (B, N, out_channels).
    """

    def __init__(self, in_channels, out_channels, side):
        super().__init__()
        self.on_cpu, self.side = form() == "cpu", side
        he = Normal(math.sqrt(2 / (side * side * out_channels)))
        self.weight = Parameter(initializer(he, (out_channels, in_channels, side, side)))
        self.bias = Parameter(initializer("zeros", (out_channels,)))
        self.matmul, self.add = ops.MatMul(transpose_b=True), Bias()

    def construct(self, images, size=None):
        weight = self.weight.reshape(*self.weight.shape[:2], -1)
        if size is None:
            patches = to_patches(images, self.side)
        elif not self.on_cpu:
            patches = to_patches(to_map(images, size), self.side)
        else:
            patches, weight = to_cells(images, size, self.side), weight.transpose(0, 2, 1)
        B, N, length = patches.shape
        rows = self.matmul(patches.reshape(B * N, length), weight.reshape(-1, length))
        return self.add(rows, self.bias).reshape(B, N, -1)


def to_cells(tokens, size, side):
    """As `to_patches` of the map that tokens (B, N, C) on a grid of `size` (H, W) are, but with C as the last axis."""
    B, _, C = tokens.shape
    rows, columns = size[0] // side, size[1] // side
    grid = tokens.reshape(B, *size, C)
    if size != (rows * side, columns * side):
        grid = grid[:, : rows * side, : columns * side]
    return swap(grid.reshape(B * rows, side, columns, side * C)).reshape(B, rows * columns, side * side * C)


# ------------------------------------------------------------------------------------------------------- LayerNorm

class Standardise(nn.Cell):
    """Each row minus its mean, over its standard deviation: (n, C) -> (n, C).

    With y = (x - mean) / σ the gradient of x is (dy - mean(dy) - y · mean(dy · y)) / σ.
    """

    def __init__(self, epsilon):
        super().__init__()
        self.epsilon = epsilon
        self.mean, self.tile, self.rsqrt = ops.ReduceMean(keep_dims=True), ops.Tile(), ops.Rsqrt()

    def rows(self, column, x):
        return self.tile(column, (1, x.shape[-1]))

    def parts(self, x):
        """x - mean, and 1 / σ."""
        centred = x - self.rows(self.mean(x, -1), x)
        return centred, self.rows(self.rsqrt(self.mean(centred * centred, -1) + self.epsilon), x)

    def construct(self, x):
        centred, scale = self.parts(x)
        return centred * scale

    def bprop(self, x, out, dout):
        _, scale = self.parts(x)
        along = out * self.rows(self.mean(dout * out, -1), x)
        return (scale * (dout - self.rows(self.mean(dout, -1), x) - along),)


class LayerNorm(nn.LayerNorm):
    """Normalise the last axis: mean 0, variance 1, times gamma, plus beta (arXiv 1607.06450).

    Args:
        dim (int): size of the last axis, C.
        epsilon (float): added to the variance.

    Inputs: x (..., C). Outputs: the same shape.
    """

    def __init__(self, dim, epsilon):
        super().__init__((dim,), epsilon=epsilon)
        self.on_cpu = form() == "cpu"
        self.standardise, self.add = Standardise(epsilon), Bias()

    def construct(self, x):
        if not self.on_cpu:
            return super().construct(x)
        rows = self.standardise(x.reshape(-1, x.shape[-1]))
        return self.add(rows * ops.broadcast_to(self.gamma, rows.shape), self.beta).reshape(x.shape)


# ------------------------------------------------------------------------------------------------------------ GELU

class NormalCDF(nn.Cell):
    """Φ(x), the distribution function of the normal distribution; its derivative is the normal density."""

    def construct(self, x):
        return 0.5 + 0.5 * ops.erf(x * math.sqrt(0.5))

    def bprop(self, x, out, dout):
        return (dout * ops.exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi)),)


class GELU(nn.Cell):
    """x Φ(x) with the exact Φ, as in the reference (not the tanh form) (arXiv 1606.08415)."""

    def __init__(self):
        super().__init__()
        self.on_cpu = form() == "cpu"
        self.cdf = NormalCDF()

    def construct(self, x):
        return x * self.cdf(x) if self.on_cpu else 0.5 * x * (1 + ops.erf(x * math.sqrt(0.5)))


# ---------------------------------------------------------------------------------------------- 3×3 convolution

def to_map(tokens, size):
    """Tokens (B, N, C) on a grid of `size` (H, W) as a feature map (B, C, H, W)."""
    B, _, C = tokens.shape
    return tokens.transpose(0, 2, 1).reshape(B, C, *size)


def to_tokens(feature_map):
    """A feature map (B, C, H, W) as tokens (B, H·W, C), in reading order."""
    B, C, H, W = feature_map.shape
    return feature_map.reshape(B, C, H * W).transpose(0, 2, 1)


@constexpr
def neighbours(size, side):
    """Which tokens stand in the side × side cells around each token: indices (N, side²); N stands for the outside."""
    (H, W), edge = size, side // 2
    grid = np.full((H + 2 * edge, W + 2 * edge), H * W, np.int32)
    grid[edge:edge + H, edge:edge + W] = np.arange(H * W).reshape(H, W)
    return Tensor(np.stack([grid[i:i + H, j:j + W].ravel() for i in range(side) for j in range(side)], 1))


class Convolve(nn.Cell):
    """Convolution as one matrix product: the neighbours of each token side by side, times their matrices below another.

    The gradient of the tokens is a convolution too, of what comes back, with neighbours in reverse order and matrices
    transposed.

    Inputs: tokens (B, N, C), matrices (k, C, C') and indices (N, k) from `neighbours`. Outputs: (B, N, C').
    """

    def __init__(self):
        super().__init__()
        self.gather, self.outside = ops.Gather(), ops.Concat(1)
        self.matmul, self.product = ops.MatMul(), ops.MatMul(transpose_a=True)
        self.turn, self.reverse = ops.Transpose(), ops.ReverseV2([1])

    def around(self, tokens, index):
        B, N, C = tokens.shape
        padded = self.outside((tokens, ops.zeros((B, 1, C), tokens.dtype)))
        return self.gather(padded, index, 1).reshape(B * N, -1)

    def construct(self, tokens, matrices, index):
        B, N, _ = tokens.shape
        k, C, out = matrices.shape
        return self.matmul(self.around(tokens, index), matrices.reshape(k * C, out)).reshape(B, N, out)

    def bprop(self, tokens, matrices, index, out, dout):
        rows = dout.reshape(-1, dout.shape[2])
        dmatrices = self.product(self.around(tokens, index), rows).reshape(matrices.shape)
        return self.construct(dout, self.turn(matrices, (0, 2, 1)), self.reverse(index)), dmatrices, index


class Conv(nn.Conv2d):
    """A convolution that keeps the size of its grid, with zeros around it. Same parameters as `nn.Conv2d`.

    Args:
        in_channels (int): channels that come in, C.
        out_channels (int): channels that come out, C'.
        side (int): of the kernel, odd, in tokens.
        weight_init (Initializer): of the weights; the bias begins with zeros.
        bias (bool): is there one?
        depthwise (bool): each channel alone; C' = C.

    Inputs: tokens (B, N, C) and the size (H, W) of their grid. Outputs: (B, N, C').
    """

    def __init__(self, in_channels, out_channels, side, weight_init, bias=True, depthwise=False):
        super().__init__(in_channels, out_channels, side, pad_mode="pad", padding=side // 2, has_bias=bias,
                         group=in_channels if depthwise else 1, weight_init=weight_init, bias_init="zeros")
        self.on_cpu, self.side = form() == "cpu", side
        self.identity = Tensor(np.eye(out_channels, dtype=np.float32)) if depthwise else None
        self.convolve, self.add = Convolve(), Bias()

    def construct(self, tokens, size):
        if not self.on_cpu:
            return to_tokens(super().construct(to_map(tokens, size)))
        C, inner, *_ = self.weight.shape
        matrices = self.weight.reshape(C, inner, -1).transpose(2, 1, 0)
        if self.identity is not None:
            matrices = matrices * self.identity.astype(matrices.dtype)  # (k, 1, C) -> diagonal matrices (k, C, C)
        moved = self.convolve(tokens, matrices, neighbours(size, self.side))
        return self.add(moved, self.bias) if self.has_bias else moved
