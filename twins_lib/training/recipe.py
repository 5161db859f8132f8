"""The official training recipe: learning rate, AdamW, clipping, mixed images and soft targets (lesson 10).

All randomness comes from NumPy generators that the caller hands in, so a run can be stopped and repeated.
"""

import math
from functools import partial

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

# A loop over 300 tensors takes a minute to compile, this a second. (A sum written `total += ...` would even be
# wrong: in a compiled function MindSpore 2.8 and 2.10 keep the total from one call to the next.)
over_all = ops.HyperMap()

def learning_rates(peak, epochs=300, warmup_epochs=5, warmup_lr=1e-6, min_lr=1e-5):
    """The learning rate of every epoch: a linear warm-up, then half a cosine.

    As in the official training, the scheduler is stepped after an epoch, so epochs 0 and 1 both run at
    `warmup_lr`, and the cosine counts from epoch 1, not from the end of the warm-up.

    Args:
        peak (float): the value the warm-up climbs to; officially 5e-4 · images a step / 512.
        epochs (int): length of the run.
        warmup_epochs (int): length of the climb.
        warmup_lr (float): where the climb begins.
        min_lr (float): where the cosine would end.

    Returns:
        float64 array (epochs,).
    """
    time = np.maximum(np.arange(epochs) - 1, 0)
    climb = warmup_lr + time * (peak - warmup_lr) / max(warmup_epochs, 1)
    cosine = min_lr + (peak - min_lr) / 2 * (1 + np.cos(np.pi * time / epochs))
    return np.where(time < warmup_epochs, climb, cosine)


def parameter_groups(model, weight_decay=0.05):
    """Split the parameters of a model into those that decay and those that do not.

    The official rule: the PEG (`pos_block`), every bias and every other 1-D tensor (the norms) do not.

    Args:
        model (nn.Cell): a Twins network or a cell that holds one.
        weight_decay (float): for the first group; the second has 0.

    Returns:
        Two dicts {"params": list of Parameter, "weight_decay": float}, as `AdamW` takes them.
    """
    decayed, spared = [], []
    for p in model.trainable_params():
        keeps = p.ndim <= 1 or p.name.endswith(".bias") or "pos_block." in p.name
        (spared if keeps else decayed).append(p)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]


NOISE = 1e-15  # gradients no larger than this are 0 to AdamW: a ten-millionth of its epsilon


class AdamW(nn.Cell):
    """Adam with bias correction and decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2).

        m ← β₁m + (1-β₁)g      v ← β₂v + (1-β₂)g²      t ← t + 1
        p ← p - lr · ( m/(1-β₁ᵗ) / (√(v/(1-β₂ᵗ)) + ε) + weight_decay · p )

    MindSpore's fused kernel lacks the two corrections. With k = √(1-β₂ᵗ) / (1-β₁ᵗ) the last line is
    p ← p - lr·k · ( m / (√v + ε·√(1-β₂ᵗ)) + weight_decay/k · p ), which is what the kernel does with the
    learning rate lr·k, the epsilon ε·√(1-β₂ᵗ) and the decay weight_decay/k.

    Args:
        groups (list of dict): as `parameter_groups` gives them.
        beta1, beta2 (float): memory of the two moments, in [0, 1).
        eps (float): ε.

    Inputs: gradients, float32, in the order of `self.parameters` (hand that to `ms.value_and_grad`; what is no larger
    than 1e-15 counts as 0), and lr, a float32 Tensor without axes: another value needs no new compilation.
    Outputs: the step count t, int32 Tensor (1,).

    All state is Parameters: `get_parameters()` gives `adam_step`, `adam_m.*`, `adam_v.*` and the weights themselves.
    """

    def __init__(self, groups, beta1=0.9, beta2=0.999, eps=1e-8):
        super().__init__(auto_prefix=False)
        self.parameters = ParameterTuple(p for group in groups for p in group["params"])
        self.decays = tuple(float(group["weight_decay"]) for group in groups for _ in group["params"])
        self.moments1 = self.parameters.clone(prefix="adam_m", init="zeros")
        self.moments2 = self.parameters.clone(prefix="adam_v", init="zeros")
        self.step = Parameter(Tensor([0], ms.int32), name="adam_step", requires_grad=False)
        self.betas = Tensor([beta1], ms.float32), Tensor([beta2], ms.float32)
        # Logarithms of the betas as the kernel sees them, rounded to float32.
        self.log_betas = tuple(math.log(np.float32(beta)) for beta in (beta1, beta2))
        self.eps = eps
        self.kernel = ops.AdamWeightDecay()

    def construct(self, gradients, lr):
        ops.assign_add(self.step, Tensor([1], ms.int32))
        t = self.step.astype(ms.float32)
        # expm1: in float32, 1 - β₂ᵗ would lose four of its seven digits in the first steps.
        correction1 = -ops.expm1(t * self.log_betas[0])
        root2 = ops.sqrt(-ops.expm1(t * self.log_betas[1]))
        k = root2 / correction1
        one = partial(self.update_one, lr * k, self.eps * root2, 1 / k)
        over_all(one, self.parameters, self.moments1, self.moments2, gradients, self.decays)
        return self.step

    def update_one(self, lr, eps, per_k, parameter, moment1, moment2, gradient, decay):
        beta1, beta2 = self.betas
        # Rounding noise, as on the biases of keys, whose true gradient is 0. Its square would be a subnormal number, of
        # which MindSpore's threads keep some and flush others to 0: two equal runs would then differ in v.
        gradient = gradient * (ops.abs(gradient) > NOISE)
        return self.kernel(parameter, moment1, moment2, lr, beta1, beta2, eps, decay * per_k, gradient)


def global_norm(gradients):
    """Euclidean norm of all gradients taken as one vector: tuple of float32 Tensors -> Tensor without axes."""
    return ops.sqrt(2 * ops.addn(over_all(ops.L2Loss(), gradients)))  # L2Loss is half the sum of squares, in one kernel


def clip_by_global_norm(gradients, max_norm=5.0):
    """Scale all gradients by one factor so that their global norm is at most `max_norm`.

    The factor is min(1, max_norm / (norm + 1e-6)), as `torch.nn.utils.clip_grad_norm_` has it.
    In a run on several devices, call it on the averaged gradients.

    Args:
        gradients (tuple of Tensor): float32.
        max_norm (float): 5 in the official recipe.

    Returns:
        Tuple of Tensors of the same shapes. A gradient that is not finite makes all of them so.
    """
    factor = ops.minimum(max_norm / (global_norm(gradients) + 1e-6), Tensor(1.0, ms.float32))
    return over_all(partial(ops.mul, factor), gradients)


def soft_cross_entropy(logits, targets):
    """Cross-entropy with a distribution for a target, averaged over the batch.

    Args:
        logits (Tensor): (B, K), float; the sum is taken in float32.
        targets (Tensor): (B, K), each row sums to 1.

    Returns:
        Tensor without axes, float32: -Σ targets · log softmax(logits) / B.
    """
    return -(targets * ops.log_softmax(logits.astype(ms.float32), -1)).sum(-1).mean()


def smooth_labels(labels, num_classes, smoothing=0.1):
    """Turn class indices into distributions that leave `smoothing` to all classes alike.

    Args:
        labels (array): (B,), integers in [0, num_classes).
        num_classes (int): K.
        smoothing (float): in [0, 1).

    Returns:
        float32 array (B, K): smoothing / K everywhere, and 1 - smoothing more at the label.
    """
    targets = np.full((len(labels), num_classes), smoothing / num_classes, np.float32)
    targets[np.arange(len(labels)), labels] = 1 - smoothing + smoothing / num_classes
    return targets


def mixup_cutmix(images, labels, num_classes, rng, mixup=0.8, cutmix=1.0, prob=1.0, switch_prob=0.5, smoothing=0.1):
    """Mix a batch with itself in reverse order: one draw for all, as timm's `Mixup` does in its mode "batch".

    Mixup (arXiv 1710.09412) blends image i with image B-1-i; CutMix (arXiv 1905.04899) pastes one box of it.
    The targets are mixed in the same proportion, for CutMix the one the box really has inside the image.

    Args:
        images (array): (B, C, H, W), float32; left as they are.
        labels (array): (B,), integers.
        num_classes (int): K.
        rng (numpy.random.Generator): where the draws come from.
        mixup (float): α of the Beta(α, α) that the proportion of mixup is drawn from; 0 switches mixup off.
        cutmix (float): the same for CutMix.
        prob (float): probability that the batch is mixed at all.
        switch_prob (float): probability of CutMix where both are on.
        smoothing (float): of the labels, before they are mixed.

    Returns:
        images (B, C, H, W) and targets (B, num_classes), float32.
    """
    targets = smooth_labels(labels, num_classes, smoothing)
    if not (mixup or cutmix) or rng.random() >= prob:
        return images, targets
    boxed = cutmix > 0 and (mixup == 0 or rng.random() < switch_prob)
    share = rng.beta(cutmix, cutmix) if boxed else rng.beta(mixup, mixup)
    if boxed:
        top, bottom, left, right = _box(images.shape[2:], share, rng)
        share = 1 - (bottom - top) * (right - left) / (images.shape[2] * images.shape[3])
        mixed = images.copy()
        mixed[:, :, top:bottom, left:right] = images[::-1, :, top:bottom, left:right]
    else:
        mixed = np.empty_like(images)
        for place, image, partner in zip(mixed, images, images[::-1]):  # one by one, each fits a core's cache
            place[:] = image * np.float32(share) + partner * np.float32(1 - share)
    return mixed, targets * np.float32(share) + targets[::-1] * np.float32(1 - share)


def _box(size, share, rng):
    """A box with 1 - share of the area around a random centre, cut off at the border: top, bottom, left, right."""
    edges = []
    for length in size:
        side = int(length * math.sqrt(1 - share))
        centre = rng.integers(length)
        edges += [max(centre - side // 2, 0), min(centre + (side + 1) // 2, length)]
    return edges
