"""How good a network is: top-1 and top-5 of classes, mean IoU of masks, each image of all processes counted once."""

import math

import numpy as np
from mindspore import Tensor

from ..segmentation import IGNORE, bilinear, pixel_loss
from .distributed import sum_over_processes
from .errors import RunError

DIGIT = 4096  # counts go through float32 sums in digits to this base, so that they stay exact


def evaluate(forward, batches, world=1, stopped=lambda: False):
    """Top-1, top-5 and loss over all images of all processes, each counted once.

    Args:
        forward (callable): images (B, 3, H, W), a Tensor -> logits (B, K).
        batches (iterable): of images, labels (B,) and valid (B,), arrays; rows that are not valid do not count.
        world (int): processes that share the images.
        stopped (callable): asked before every batch; when true the evaluation is given up.

    Returns:
        {"test_loss", "test_acc1", "test_acc5"}, percent, and "test_images"; or None if given up.
    """
    sums = np.zeros(4)
    for images, labels, valid in batches:
        if stopped():
            return None
        logits = forward(Tensor(images)).asnumpy().astype(np.float64)[valid]
        labels = labels[valid]
        top = np.argsort(-logits, axis=1, kind="stable")[:, :5] == labels[:, None]
        highest = logits.max(1, initial=-np.inf)
        losses = np.log(np.exp(logits - highest[:, None]).sum(1)) + highest - logits[np.arange(len(labels)), labels]
        sums += losses.sum(), top[:, :1].sum(), top.sum(), len(labels)
    loss, top1, top5, images = sum_over_processes(sums, world)
    if not images:
        raise RunError("no image could be evaluated; see the complaints about them")
    return {"test_loss": loss / images, "test_acc1": 100 * top1 / images, "test_acc5": 100 * top5 / images,
            "test_images": int(images)}


def confusion(predicted, truth, classes, ignore=IGNORE):
    """How often each class was taken for each: int64 array (K, K), rows the truth, columns the prediction.

    Matrices of several images or processes add up to that of all. Pixels whose truth is `ignore` are not in it.

    Args:
        predicted, truth (array): integers of the same shape, predictions below K.
        classes (int): K.
        ignore (int): the label of pixels that do not count.
    """
    counts = truth != ignore
    pairs = classes * truth[counts].astype(np.int64) + predicted[counts]
    return np.bincount(pairs, minlength=classes ** 2).reshape(classes, classes)


def iou(counts):
    """Intersection over union of every class: float64 array (K,), from a confusion matrix (K, K).

    A class that the truth does not hold is nan and does not belong in the mean, so that is `np.nanmean(iou(counts))`.
    (Where such a class was predicted, others say 0. The pixels count against the classes they were taken from.)
    """
    right, there, said = np.diag(counts), counts.sum(1), counts.sum(0)
    return np.where(there > 0, right / np.maximum(there + said - right, 1), np.nan)


def sum_counts(counts, world):
    """Add up an array of counts over all processes, exactly: int64, below 2^48."""
    digits = np.stack([counts // DIGIT ** place % DIGIT for place in range(4)])
    digits = sum_over_processes(digits, world).astype(np.int64)
    return sum(DIGIT ** place * digit for place, digit in enumerate(digits))


def evaluate_masks(forward, samples, classes, world=1, stopped=lambda: False):
    """Mean IoU, share of right pixels and loss over all images of all processes, at the size of the masks.

    Args:
        forward (callable): images (1, 3, H, W), a Tensor -> logits (1, K, H, W).
        samples (iterable): of arrays image (3, H, W), size (2,), the part of it that is not padding, and mask (h, w).
            The logits are resized from that part to the mask.
        classes (int): K.
        world (int): processes that share the images.
        stopped (callable): asked before every image; when true the evaluation is given up.

    Returns:
        {"test_loss", "test_miou" and "test_pixel_acc", percent, "test_iou", a list with None for classes that are not
        in any mask, "test_classes", how many are and so make the mean, "test_uncounted", percent of the pixels,
        "test_images"}; or None if given up.

    Raises:
        RunError: no pixel counts.
    """
    counts, loss, images, pixels = np.zeros((classes, classes), np.int64), 0.0, 0, np.zeros(1, np.int64)
    for image, (height, width), mask in samples:
        if stopped():
            return None
        logits = forward(Tensor(image[None]))[:, :, :int(height), :int(width)]
        if logits.shape[2:] != mask.shape:
            logits = bilinear(logits, mask.shape)
        loss += float(pixel_loss(logits, Tensor(mask[None].astype(np.int32))).asnumpy()) * mask.size
        counts += confusion(logits.asnumpy()[0].argmax(0), mask, classes)
        images += 1
        pixels += mask.size
    counts, pixels = sum_counts(counts, world), sum_counts(pixels, world)[0]
    loss, images = sum_over_processes([loss, images], world)
    if not counts.any():
        raise RunError("no pixel of the validation masks counts; are all of them labelled 255?")
    percent, there = 100 * iou(counts), counts.any(1).sum()
    return {"test_loss": loss / counts.sum(), "test_miou": float(np.nanmean(percent)),
            "test_pixel_acc": 100 * np.trace(counts) / counts.sum(),
            "test_iou": [None if math.isnan(one) else one for one in percent.tolist()],
            "test_classes": int(there), "test_uncounted": 100 - 100 * counts.sum() / pixels, "test_images": int(images)}


def absent_classes(names, figures):
    """Names of the classes that no validation mask holds."""
    return [name for name, one in zip(names, figures["test_iou"]) if one is None]
