"""Parameters and multiply-adds of a Twins, counted in the network and predicted from its table (lesson 05)."""

from dataclasses import dataclass

import mindspore as ms
import numpy as np
from mindspore import nn

from .attention import ScaledDotProduct
from .layers import Linear, PatchConv
from .model import VARIANTS


@dataclass(frozen=True)
class Cost:
    """What one image costs.

    Attributes:
        parameters (int): numbers that are learned.
        layer_macs (int): multiply-adds in linear maps and convolutions.
        attention_macs (int): multiply-adds in q kᵀ and in weights times v.
    """

    parameters: int
    layer_macs: int
    attention_macs: int

    @property
    def macs(self):
        """All multiply-adds. (Published "FLOPs" are often these, with or without the attention part.)"""
        return self.layer_macs + self.attention_macs


def count(model, height=224, width=224):
    """Run one empty image through a network and count what each layer does.

    Args:
        model (Twins or Segmenter): the network; its upsampling is not counted.
        height (int), width (int): size of the image in pixels.

    Returns:
        A `Cost`.
    """
    layers, attention = [], []

    def on_layer(cell, inputs, output):
        weight = cell.weight.size
        positions = output.size // cell.weight.shape[0]
        layers.append(weight * positions)

    def on_attention(cell, inputs, output):
        q, k, v = inputs[:3]
        attention.append(q.size * k.shape[-2] + output.size * v.shape[-2])

    hooks = [cell.register_forward_hook(on_attention if isinstance(cell, ScaledDotProduct) else on_layer)
             for _, cell in model.cells_and_names()
             if isinstance(cell, (Linear, PatchConv, nn.Conv2d, ScaledDotProduct))]
    try:
        model(ms.Tensor(np.zeros((1, model.in_channels, height, width), np.float32)))
    finally:
        for hook in hooks:
            hook.remove()
    return Cost(sum(p.size for p in model.get_parameters()), sum(layers), sum(attention))


def predict(name, height=224, width=224, num_classes=1000, in_channels=3):
    """The same numbers by arithmetic, from the variant's table alone.

    Args:
        name (str): a key of `VARIANTS`.
        height (int), width (int): size of the image in pixels.
        num_classes (int), in_channels (int): as for `create_model`.

    Returns:
        A `Cost`.
    """
    v = VARIANTS[name]
    parameters = layer_macs = attention_macs = 0
    H, W, below = height, width, in_channels
    for C, ratio, depth, r, w, p in zip(v.dims, v.mlp_ratios, v.depths, v.sr_ratios,
                                        v.windows or (None,) * len(v.dims), v.patch_sizes):
        H, W = H // p, W // p
        N, M = H * W, (H // r) * (W // r)
        padded = None if w is None else (-(-H // w) * w) * (-(-W // w) * w)
        parameters += below * p * p * C + 3 * C  # patch projection, its bias, its norm
        parameters += 9 * C + C  # PEG
        layer_macs += N * below * p * p * C + 9 * N * C
        below = C
        for i in range(depth):
            parameters += 4 * C + (4 * C * C + 4 * C) + (2 * ratio * C * C + ratio * C + C)  # norms, q k v proj, MLP
            layer_macs += 2 * N * ratio * C * C
            if w and i % 2 == 0:
                layer_macs += 3 * padded * C * C + N * C * C
                attention_macs += 2 * padded * w * w * C
            else:
                layer_macs += 2 * N * C * C + 2 * M * C * C
                attention_macs += 2 * N * M * C
                if r > 1:
                    parameters += r * r * C * C + 3 * C  # sub-sampling, its bias, its norm
                    layer_macs += M * r * r * C * C
    parameters += 2 * below + (below + 1) * num_classes
    layer_macs += below * num_classes
    return Cost(parameters, layer_macs, attention_macs)
