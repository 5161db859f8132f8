"""Dense prediction: masked windows, the head, the loss, the mean IoU, and training on a folder of masks."""

import importlib.util
import json
import math
import os
import signal
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor
from PIL import Image
from small_images import TINY

from twins_lib import LSA, VARIANTS, Twins, create_model, save_weights
from twins_lib.teach.experiments import toy
from twins_lib.training import distributed
from twins_lib.maps import attention as maps_module
from twins_lib import eval as eval_program
from twins_lib import train as train_program
from twins_lib.training import tasks
from twins_lib.training.config import load_config
from twins_lib.training.errors import ConfigError, RunError
from twins_lib.cost import count
from twins_lib.training.checkpoints import read_checkpoint
from twins_lib.training.engine import draw_curve, TrainStep
from twins_lib.training.recipe import AdamW, parameter_groups
from twins_lib.segmentation import (
    bilinear,
    LinearHead,
    load_backbone,
    nearest,
    pixel_loss,
    Segmenter,
    SemanticFPNHead,
)
from twins_lib.training.scores import confusion, evaluate_masks, iou, sum_counts
from twins_lib.training.labels import count_labels
from twins_lib.training.masks import eval_masks, MaskFolder, train_masks
from twins_lib.training.errors import run

RNG = np.random.default_rng


@pytest.fixture(scope="module", autouse=True)
def tiny():
    """A network that is known here only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(VARIANTS, "twins_svt_tiny", TINY)
        yield


def normal(*shape, seed=0):
    return RNG(seed).standard_normal(shape).astype(np.float32)


def randomised(cell, seed=0):
    """A cell whose every parameter is random, biases and norms too."""
    for i, p in enumerate(cell.get_parameters()):
        p.set_data(Tensor(0.3 * normal(*p.shape, seed=[seed, i]) + (p.name.endswith("gamma"))))
    return cell


# --------------------------------------------------------------------------------------------- masked windows

def attention_over_real_tokens(layer, tokens, size):
    """LSA with its padding masked, token by token: softmax over the real tokens of the same window and nothing else."""
    (H, W), w, heads = size, layer.window, layer.heads
    C = tokens.shape[-1]
    weight, bias = layer.qkv.weight.asnumpy().astype(float), layer.qkv.bias.asnumpy().astype(float)
    q, k, v = np.split(tokens[0] @ weight.T + bias, 3, axis=1)
    out = np.zeros((H * W, C))
    for row in range(H):
        for column in range(W):
            mates = [r * W + c for r in range(H) for c in range(W) if (r // w, c // w) == (row // w, column // w)]
            for h in range(heads):
                part = slice(h * C // heads, (h + 1) * C // heads)
                scores = np.exp(k[mates, part] @ q[row * W + column, part] / math.sqrt(C // heads))
                out[row * W + column, part] = scores / scores.sum() @ v[mates, part]
    return out @ layer.proj.weight.asnumpy().astype(float).T + layer.proj.bias.asnumpy()


# The last two hang over on one side only: there the reference's own mask stays empty.
@pytest.mark.parametrize("size", [(6, 6), (5, 4), (6, 4), (5, 6)])
def test_masked_window_is_attention_over_its_real_tokens(size):
    layer = randomised(LSA(8, 2, 3, mask_padding=True))
    tokens = normal(1, size[0] * size[1], 8)
    found = layer(Tensor(tokens), size).asnumpy()[0]
    np.testing.assert_allclose(found, attention_over_real_tokens(layer, tokens, size), atol=2e-6)


@pytest.mark.parametrize("size", [(5, 4), (6, 4), (5, 6)])
def test_without_the_mask_padding_joins_and_with_it_it_does_not(size):
    tokens = Tensor(normal(1, size[0] * size[1], 8))
    plain, masked = randomised(LSA(8, 2, 3)), randomised(LSA(8, 2, 3, mask_padding=True))
    assert np.abs(plain(tokens, size).asnumpy() - masked(tokens, size).asnumpy()).max() > 1e-2
    assert plain.padding_bias(tokens, size) is None and masked.padding_bias(tokens[:, :9], (3, 3)) is None
    # In a masked window more padding changes nothing: the same tokens in a window of 4 that only they fill in part.
    corner = Tensor(normal(1, 4, 8))
    three, four = (randomised(LSA(8, 2, side, mask_padding=True)) for side in (3, 4))
    np.testing.assert_allclose(three(corner, (2, 2)).asnumpy(), four(corner, (2, 2)).asnumpy(), atol=1e-6)


def reference_mask(size, side):
    """Which tokens the reference takes for padding, as its slices do: `[-0:]` is everything."""
    bottom, right = -size[0] % side, -size[1] % side
    mask = np.zeros((size[0] + bottom, size[1] + right), bool)
    mask[-bottom:], mask[:, -right:] = True, True
    return mask


def test_the_one_sided_fault_of_the_reference_is_not_ours():
    layer = LSA(8, 2, 3, mask_padding=True)
    for size, same in (((5, 4), True), ((6, 4), False), ((5, 6), False)):
        tokens = Tensor(normal(1, size[0] * size[1], 8))
        rows, columns = -(-size[0] // 3), -(-size[1] // 3)
        ours = layer.padding_bias(tokens, size).asnumpy().reshape(rows, columns, 3, 3).transpose(0, 2, 1, 3) < 0
        ours = ours.reshape(3 * rows, 3 * columns)
        assert not ours[:size[0], :size[1]].any() and ours.sum() == ours.size - size[0] * size[1]
        theirs = reference_mask(size, 3)
        assert np.array_equal(ours, theirs) == same
        if not same:  # all is "padding", so nothing is masked between one token and another
            assert theirs.all()


def test_attention_maps_of_a_dense_backbone_give_padding_nothing():
    model = Twins(TINY, dense=True)
    image = Tensor(normal(1, 3, 32, 32))  # 8×8 tokens in windows of 3
    for one in maps_module.attention_maps(model, image):
        if one.kind == "LSA":
            np.testing.assert_allclose(one.weights.sum(-1), 1, atol=1e-5)  # over the real tokens alone


# ------------------------------------------------------------------------------------------------ the backbone

def test_dense_backbone_normalises_each_stage_and_passes_that_on():
    plain, dense = Twins(TINY), Twins(TINY, dense=True)
    names = {p.name for p in dense.get_parameters()}
    assert not any(name.startswith(("norm.", "head.")) for name in names)
    assert {f"norm_list.{i}.{part}" for i in range(2) for part in ("gamma", "beta")} <= names
    assert dense.norm_list[0].epsilon == 1e-6
    for p in dense.get_parameters():
        if p.name in (named := {p.name: p for p in plain.get_parameters()}):
            p.set_data(named[p.name])
    image = Tensor(normal(1, 3, 24, 24))  # 6×6 and 3×3 tokens: only the second grid is padded, and only there masked
    first = plain.features(image)[0].asnumpy()[0]
    normalised = (first - first.mean(0)) / np.sqrt(first.var(0) + 1e-6)
    maps = dense.features(image)
    np.testing.assert_allclose(maps[0].asnumpy()[0], normalised, atol=1e-4)
    for one in maps:
        np.testing.assert_allclose(one.asnumpy().mean(1), 0, atol=1e-5)
    pcpvt = create_model("twins_pcpvt_nano", dense=True)
    assert not any("norm_list" in p.name for p in pcpvt.get_parameters())  # as in the original


def test_backbone_starts_from_a_classification_checkpoint(tmp_path):
    donor, backbone = Twins(TINY, num_classes=5), Twins(TINY, dense=True)
    save_weights(donor, tmp_path / "donor.ckpt")
    load_backbone(backbone, tmp_path / "donor.ckpt")
    given = {p.name: p.asnumpy() for p in donor.get_parameters()}
    for p in backbone.get_parameters():
        assert p.name.startswith("norm_list.") or np.array_equal(p.asnumpy(), given[p.name]), p.name
    save_weights(create_model("twins_svt_nano"), tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="other.ckpt: these are not the weights of this network"):
        load_backbone(backbone, tmp_path / "other.ckpt")


# ---------------------------------------------------------------------------------------------------- the head

def convolve(x, weight, bias=None):
    """(C, H, W) with (K, C, k, k), zero padding k // 2: loops over the kernel."""
    k = weight.shape[-1]
    padded = np.pad(x, ((0, 0), (k // 2,) * 2, (k // 2,) * 2))
    out = sum(np.einsum("kc,chw->khw", weight[:, :, i, j], padded[:, i:i + x.shape[1], j:j + x.shape[2]])
              for i in range(k) for j in range(k))
    return out if bias is None else out + bias[:, None, None]


def group_norm(x, gamma, beta):
    groups = x.reshape(-1, 4, *x.shape[1:])
    mean, variance = (f(groups, axis=(1, 2, 3), keepdims=True) for f in (np.mean, np.var))
    return ((groups - mean) / np.sqrt(variance + 1e-5)).reshape(x.shape) * gamma[:, None, None] + beta[:, None, None]


def resize(x, size):
    """Bilinear between the centres of pixels, the border repeated: (C, H, W) -> (C, *size)."""
    def matrix(old, new):
        m = np.zeros((new, old))
        for i in range(new):
            place = max((i + 0.5) * old / new - 0.5, 0)
            low = int(place)
            m[i, low] += 1 - (place - low)
            m[i, min(low + 1, old - 1)] += place - low
        return m
    return np.einsum("ah,bw,chw->cab", matrix(x.shape[1], size[0]), matrix(x.shape[2], size[1]), x)


@pytest.mark.parametrize("size", [(6, 10), (7, 9), (12, 20)])
def test_upsampling_and_its_gradient_at_every_call(size):
    x, weight = normal(2, 4, 3, 5), normal(2, 4, *size, seed=1)
    np.testing.assert_allclose(bilinear(Tensor(x), size).asnumpy()[1], resize(x[1], size), atol=2e-6)
    weights = Tensor(weight)

    def weighted(maps):
        return (bilinear(maps, size) * weights).sum() + nearest(maps, 2).sum()

    gradient = ms.jit(ms.value_and_grad(weighted))
    wanted = np.stack([[resize(np.eye(15)[i].reshape(1, 3, 5), size)[0] for i in range(15)]])[0]
    wanted = np.einsum("iab,ncab->nci", wanted, weight).reshape(x.shape) + 4
    for _ in range(2):
        np.testing.assert_allclose(gradient(Tensor(x))[1].asnumpy(), wanted, atol=1e-4)


def test_head_equals_loops():
    dims, sides = (3, 5, 6), (8, 4, 2)
    head = randomised(SemanticFPNHead(dims, classes=4, channels=6, head_channels=8))
    w = {p.name: p.asnumpy().astype(float) for p in head.get_parameters()}
    maps = [normal(1, c, side, side + 4 * side // 8, seed=c) for c, side in zip(dims, sides)]
    laterals = [convolve(m[0], w[f"lateral.{i}.weight"], w[f"lateral.{i}.bias"]) for i, m in enumerate(maps)]
    for i in (1, 0):
        laterals[i] = laterals[i] + laterals[i + 1].repeat(2, 1).repeat(2, 2)
    total = 0
    for i, x in enumerate(laterals):
        x = convolve(x, w[f"smooth.{i}.weight"], w[f"smooth.{i}.bias"])
        for k in range(max(i, 1)):
            x = convolve(x, w[f"scale.{i}.convs.{k}.weight"])
            x = np.maximum(group_norm(x, w[f"scale.{i}.norms.{k}.gamma"], w[f"scale.{i}.norms.{k}.beta"]), 0)
            x = resize(x, (2 * x.shape[1], 2 * x.shape[2])) if i else x
        total = total + x
    wanted = convolve(total, w["classifier.weight"], w["classifier.bias"])
    np.testing.assert_allclose(head([Tensor(m) for m in maps]).asnumpy()[0], wanted, atol=2e-4)
    with pytest.raises(ValueError, match="head_channels 6: must be a multiple of 4"):
        SemanticFPNHead(dims, 4, 6, head_channels=6)


def test_linear_head_is_one_matrix_over_all_maps_at_one_size():
    head = randomised(LinearHead((3, 5), classes=4))
    fine, coarse = normal(2, 3, 6, 10), normal(2, 5, 3, 5)
    both = np.concatenate([fine, np.stack([resize(one, (6, 10)) for one in coarse])], axis=1)
    weight, bias = head.classifier.weight.asnumpy()[:, :, 0, 0], head.classifier.bias.asnumpy()
    wanted = np.einsum("kc,bchw->bkhw", weight, both) + bias[:, None, None]
    np.testing.assert_allclose(head([Tensor(fine), Tensor(coarse)]).asnumpy(), wanted, atol=1e-5)


def test_original_sizes_and_cost():
    """The original's FPN and head on SVT-S for 150 classes, counted by hand; BatchNorm has as many as GroupNorm."""
    head = SemanticFPNHead((64, 128, 256, 512), 150)
    fpn = sum(c * 256 + 256 for c in (64, 128, 256, 512)) + 4 * (9 * 256 * 256 + 256)
    scale = sum(9 * a * 128 + 2 * 128 for a in (256, 256, 256, 128, 256, 128, 128))
    assert sum(p.size for p in head.get_parameters()) == fpn + scale + 128 * 150 + 150
    segmenter = Segmenter(Twins(TINY, dense=True), 3, 8, 4)
    lateral, smooth = 8 * 8 * 64 + 16 * 8 * 16, 9 * 8 * 8 * (64 + 16)
    scaled = 9 * 8 * 4 * (64 + 16) + 4 * 3 * 64
    alone = count(segmenter, 32, 32).macs - count(Twins(TINY, 1), 32, 32).macs + 16  # the classifier of one class
    assert alone == lateral + smooth + scaled


@pytest.mark.parametrize("height, width", [(32, 32), (33, 47), (5, 21)])
def test_any_size_gives_that_size_and_equals_padding_by_hand(height, width):
    ms.set_seed(0)
    model = Segmenter(Twins(TINY, dense=True), 3, 8, 8)
    images = normal(2, 3, height, width)
    logits = model(Tensor(images)).asnumpy()
    assert logits.shape == (2, 3, height, width)
    padded = np.pad(images, ((0, 0), (0, 0), (0, -height % 8), (0, -width % 8)))
    np.testing.assert_allclose(logits, model(Tensor(padded)).asnumpy()[:, :, :height, :width], atol=1e-6)


@pytest.mark.parametrize("images, fault, words", [
    (np.zeros((3, 32, 32), np.float32), ValueError, "must have 4 axes"),
    (np.zeros((1, 4, 32, 32), np.float32), ValueError, "4 channels"),
    (np.zeros((1, 3, 32, 32), np.uint8), TypeError, "must be floating point"),
])
def test_wrong_images_are_named(images, fault, words):
    with pytest.raises(fault, match=words):
        Segmenter(Twins(TINY, dense=True), 3, 8, 8)(Tensor(images))


# ------------------------------------------------------------------------------------------- loss and mean IoU

def test_loss_counts_what_counts():
    logits, masks = normal(2, 4, 3, 5), RNG(1).integers(0, 4, (2, 3, 5)).astype(np.int32)
    masks[0, 1:] = 255
    wanted, slope = 0.0, np.zeros(logits.shape)
    for b, i, j in np.argwhere(masks != 255):
        p = np.exp(logits[b, :, i, j].astype(float))
        p /= p.sum()
        wanted -= np.log(p[masks[b, i, j]]) / masks.size
        slope[b, :, i, j] = (p - np.eye(4)[masks[b, i, j]]) / masks.size
    step = ms.jit(ms.value_and_grad(pixel_loss))
    for _ in range(2):
        value, gradient = step(Tensor(logits), Tensor(masks))
        assert float(value.asnumpy()) == pytest.approx(wanted, rel=1e-5)
        np.testing.assert_allclose(gradient.asnumpy(), slope, atol=1e-7)
    halves = [float(pixel_loss(Tensor(logits[i:i + 1]), Tensor(masks[i:i + 1])).asnumpy()) for i in range(2)]
    assert np.mean(halves) == pytest.approx(wanted, rel=1e-5)  # the mean over processes is the loss of all


def test_iou_equals_sets_of_pixels():
    rng = RNG(0)
    truth, predicted = rng.integers(0, 5, (3, 9, 9)), rng.integers(0, 5, (3, 9, 9))
    truth[truth == 3] = 255  # class 3 is in no mask, though it is predicted
    counts = sum(confusion(p, t, 5) for p, t in zip(predicted, truth))
    assert np.array_equal(counts, confusion(predicted, truth, 5)) and counts.dtype == np.int64
    counted = {tuple(place) for place in np.argwhere(truth != 255)}
    for k, found in enumerate(iou(counts)):
        there = {tuple(place) for place in np.argwhere(truth == k)}
        said = {tuple(place) for place in np.argwhere(predicted == k)} & counted
        assert math.isnan(found) if k == 3 else found == len(there & said) / len(there | said)


def test_counts_of_two_processes_add_up_exactly(monkeypatch):
    mine, theirs = RNG(0).integers(0, 2 ** 40, (2, 4, 4))

    class AllReduce:  # the other process, whose sums are made in float32 as well
        def __call__(self, values):
            digits = np.stack([theirs // 4096 ** place % 4096 for place in range(4)]).astype(np.float32)
            return Tensor(values.asnumpy() + digits)

    monkeypatch.setattr(distributed.ops, "AllReduce", AllReduce)
    assert np.array_equal(sum_counts(mine, 2), mine + theirs)
    assert np.array_equal(sum_counts(mine, 1), mine)


def test_evaluation_at_the_size_of_the_masks(monkeypatch):
    """Padding is cropped, logits are resized to the mask, every pixel that counts is counted once."""
    logits, mask = normal(1, 3, 8, 8), RNG(0).integers(0, 3, (9, 12)).astype(np.uint8)
    mask[:2] = 255
    samples = [(np.zeros((3, 8, 8), np.float32), np.array([6, 8]), mask)]
    found = evaluate_masks(lambda images: Tensor(logits), samples, 3)
    big = resize(logits[0, :, :6], (9, 12))
    wanted = 100 * iou(confusion(big.argmax(0), mask, 3))
    np.testing.assert_allclose(found["test_iou"], wanted)
    assert found["test_miou"] == pytest.approx(wanted.mean()) and found["test_images"] == 1
    p = np.exp(big) / np.exp(big).sum(0)
    losses = [-np.log(p[mask[i, j], i, j]) for i, j in np.argwhere(mask != 255)]
    assert found["test_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert evaluate_masks(None, samples, 3, stopped=lambda: True) is None
    with pytest.raises(RunError, match="no pixel"):
        evaluate_masks(lambda images: Tensor(logits), [(*samples[0][:2], np.full_like(mask, 255))], 3)


# ------------------------------------------------------------------------------------------------------ folders

def write_scenes(root, train=8, val=3, size=(32, 40)):
    """Images of two halves whose colours are their classes; the third class is in no validation mask."""
    rng = RNG(0)
    for split, number in (("training", train), ("validation", val)):
        for kind in ("images", "annotations"):
            Path(root, kind, split).mkdir(parents=True)
        for i in range(number):
            mask = np.zeros(size, np.uint8)
            mask[:, rng.integers(10, 30):] = 1
            if split == "training" and i == 0:
                mask[:4] = 2
            colours = np.array([[200, 40, 40], [40, 40, 200], [40, 200, 40]])[mask] + rng.integers(-30, 30, (*size, 3))
            Image.fromarray(colours.astype(np.uint8)).save(Path(root, "images", split, f"{i}.png"))
            Image.fromarray(mask).save(Path(root, "annotations", split, f"{i}.png"))
    Path(root, "classes.txt").write_text("left\nright\ntop\n")


def write_settings(root, **changes):
    settings = {"task": "segmentation", "model": "twins_svt_tiny", "data": root / "data", "output": root / "run",
                "image_size": 32, "channels": 8, "head_channels": 8, "drop_path": 0.2, "epochs": 2, "batch_size": 4,
                "peak_lr": 3e-3, "warmup_epochs": 0, "warmup_lr": 3e-3, "eps": 1e-3, "device": "CPU",
                "precision": "O0", "mode": "pynative", "workers": 1, **changes}
    path = Path(root, "config.yaml")
    path.write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
    return str(path)


@pytest.fixture
def data(tmp_path):
    write_scenes(tmp_path / "data")
    return tmp_path / "data"


def replace_mask(data, array, name="annotations/training/1.png"):
    Image.fromarray(array).save(data / name)


def all_pairs(data, **options):
    for split in ("training", "validation"):
        folder = MaskFolder(data, split, **options)
        for i in range(len(folder)):
            folder.load(i)


@pytest.mark.parametrize("spoil, words", [
    (lambda data: replace_mask(data, np.zeros((32, 41), np.uint8)),
     r"annotations/training/1.png: the mask is 41x32 pixels, its image .*images/training/1.png is 40x32; make them"),
    (lambda data: replace_mask(data, np.full((32, 40), 3, np.uint8)),
     r"1.png: has label 3, but the 3 classes of .*classes.txt are 0 to 2 \(and 255 does not count\); correct"),
    (lambda data: replace_mask(data, np.zeros((32, 40, 3), np.uint8)), "1.png: has colours or fractions; a mask must"),
    (lambda data: (data / "annotations/training/1.png").unlink(),
     r"images/training/1.png: has no mask; add .*annotations/training/1.png or remove the image"),
    (lambda data: (data / "annotations/training/1.png").write_bytes(b"no"), "1.png: cannot be read as an image"),
    (lambda data: (data / "images/training/1.png").write_bytes(b"no"), "1.png: cannot be read as an image"),
    (lambda data: (data / "classes.txt").unlink(), "classes.txt: no such file; write the name of a class a line"),
    (lambda data: (data / "classes.txt").write_text("one\n"), "classes.txt: 1 classes; there must be 2 to 255"),
    (lambda data: (data / "annotations/validation").rename(data / "gone"), "annotations/validation: no such folder"),
    (lambda data: [path.unlink() for path in (data / "images/training").iterdir()], "images/training: holds no image"),
])
def test_faults_of_a_folder_are_one_sentence(data, spoil, words):
    all_pairs(data)
    spoil(data)
    with pytest.raises(ValueError, match=words) as fault:
        all_pairs(data)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("content", [
    b"\xef\xbb\xbfleft\r\nrue\xcc\x81 \r\n\ttop\r\n\r\n", b"left\nru\xc3\xa9\ntop"])
def test_names_of_classes_are_the_same_however_they_are_written(data, content):
    (data / "classes.txt").write_bytes(content)
    assert MaskFolder(data, "training").classes == ["left", "ru\u00e9", "top"]


@pytest.mark.parametrize("content, words", [
    ("天空\n树木\n房子\n".encode("gbk"), "classes.txt: not UTF-8 but probably GBK"),
    ("café\nrue\n".encode("cp1252"), "classes.txt: not UTF-8 but probably CP1252"),
    ("left\nright\n".encode("utf-16"), "classes.txt: not UTF-8 but probably UTF-16"),
    (b"left\n\nright\n", "classes.txt: line 2 is empty, so it is not clear which class label 1 is"),
])
def test_names_of_classes_that_cannot_be_told_are_refused(data, content, words):
    (data / "classes.txt").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        MaskFolder(data, "training")


def test_zero_label_of_ade20k_does_not_count(data):
    mask = np.tile(np.array([0, 1, 2, 3, 255], np.uint8), (32, 8))
    replace_mask(data, mask)
    labels = MaskFolder(data, "training", reduce_zero_label=True).load(1)[1]
    assert labels[0, :5].tolist() == [255, 0, 1, 2, 255]
    replace_mask(data, mask + (mask == 3))
    with pytest.raises(ValueError, match="has label 4, but the 3 classes of .* are 1 to 3"):
        MaskFolder(data, "training", reduce_zero_label=True).load(1)


def spoil_labels(data):
    """A class in validation alone, one in no mask, one in training alone, and pixels that do not count in one mask."""
    (data / "classes.txt").write_text("left\nright\ntop\nroof\nmoon\n")
    for i in range(2):
        replace_mask(data, np.full((32, 40), 3, np.uint8), f"annotations/validation/{i}.png")
    mask = np.zeros((32, 40), np.uint8)
    mask[:8] = 255
    replace_mask(data, mask)


TOLD = ["in none of the 8 training masks, so never learned, but scored: 'roof' (in 2 validation masks)",
        "in none of the 8 training masks and of the 3 validation masks: 'moon'",
        "learned, but in none of the 3 validation masks, so without a score: 'top' (in 1 training masks)",
        "3.12 % of the pixels of the 8 training masks do not count"]


def test_labels_that_masks_do_not_hold_are_told_before_a_training(data, tmp_path, caplog):
    spoil_labels(data)
    run(train_program.main, ["--config", write_settings(tmp_path), "epochs=1"])
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == [*TOLD, "test_miou is the mean of 3 of 5 classes; in no validation mask, so without an IoU: top, "
                    "moon"]


def test_labels_that_do_not_count_at_all_are_refused(data, tmp_path, capfd):
    config = write_settings(tmp_path, reduce_zero_label="true")
    for i in range(8):
        replace_mask(data, np.zeros((32, 40), np.uint8), f"annotations/training/{i}.png")
    assert "no pixel counts in any of the 8 training masks" in fails(capfd, train_program, "--config", config)


def test_a_label_in_a_validation_mask_that_no_class_has_is_told_before_a_training(data, tmp_path, capfd):
    replace_mask(data, np.full((32, 40), 9, np.uint8), "annotations/validation/2.png")
    assert "validation/2.png: has label 9" in fails(capfd, train_program, "--config", write_settings(tmp_path))
    assert not (tmp_path / "run").exists()


def test_of_many_masks_some_are_looked_at_and_it_is_said_so(data):
    train, val = (count_labels(MaskFolder(data, split), 3) for split in ("training", "validation"))
    assert (train.looked, train.masks.tolist()) == (3, [3, 3, 1])  # the first is looked at, and holds the third class
    assert str(train) == "3 training masks that were looked at, of 8" and str(val) == "3 validation masks"


def test_classes_that_are_not_those_of_the_training_are_refused(data, tmp_path, capfd):
    config = write_settings(tmp_path)
    run(train_program.main, ["--config", config, "epochs=1"])
    (data / "classes.txt").write_text("right\nleft\ntop\n")
    last = next((tmp_path / "run/checkpoints").iterdir())
    for words in ((eval_program, "--checkpoint", tmp_path / "run/best.ckpt"), (eval_program, "--checkpoint", last),
                  (train_program, "--resume")):
        line = fails(capfd, words[0], "--config", config, *words[1:])
        assert "label 0 does not mean the same ('left' there, 'right' here)" in line


def test_training_pairs_stay_together_and_do_not_depend_on_the_ranks(data):
    folder = MaskFolder(data, "training")

    def epoch(batch, **place):
        return list(train_masks(folder, batch_size=batch, image_size=24, seed=1, epoch=2, workers=1, **place))

    whole = epoch(4)
    assert len(whole) == 2 and whole[0][0].shape == (4, 3, 24, 24) and whole[0][1].dtype == np.int32
    parts = [epoch(2, rank=rank, world=2) for rank in range(2)]
    again = epoch(4, start_step=1)
    for kind in range(2):
        for step in range(2):
            assert np.array_equal(np.concatenate([part[step][kind] for part in parts]), whole[step][kind])
        assert np.array_equal(again[0][kind], whole[1][kind])
    seen = set()
    for images, masks in whole:
        red_over_blue = images[:, 0] > images[:, 2]
        inside = (masks < 2) & (images != 0).any(1)
        edges = np.pad(masks, ((0, 0), (1, 1), (1, 1)), mode="edge")  # colours mix where two classes meet
        calm = np.all([edges[:, 1 + i:25 + i, 1 + j:25 + j] == masks for i in (-1, 0, 1) for j in (-1, 0, 1)], axis=0)
        assert (red_over_blue == (masks == 0))[inside & calm].mean() > 0.995
        assert ((images == 0).all(1) == (masks == 255)).mean() > 0.999  # beyond the picture, nothing counts
        seen |= set(np.unique(masks))
    assert {0, 1, 255} <= seen


def test_evaluation_sees_every_image_once_whole_and_padded(data):
    folder = MaskFolder(data, "validation")
    samples = list(eval_masks(folder, image_size=24, multiple=8, workers=1))
    assert [image.shape for image, _, _ in samples] == [(3, 24, 32)] * 3
    assert all(size.tolist() == [24, 30] and not image[:, :, 30:].any() for image, size, _ in samples)
    shared = [list(eval_masks(folder, image_size=24, rank=rank, world=2, workers=1)) for rank in range(2)]
    masks = [shared[0][0][2], shared[1][0][2], shared[0][1][2]]
    assert all(np.array_equal(a, b[2]) for a, b in zip(masks, samples)) and samples[0][2].shape == (32, 40)


def test_training_learns_a_batch(data):
    ms.set_seed(0)
    model = Segmenter(Twins(TINY, dense=True), 3, 8, 8)
    step = TrainStep(lambda images, masks: pixel_loss(model(images), masks), AdamW(parameter_groups(model)),
                     mode="pynative")
    batch = next(iter(train_masks(MaskFolder(data, "training"), batch_size=4, image_size=16, seed=0, epoch=0,
                                  workers=1)))
    losses = [step([batch], 0.01)[0] for _ in range(12)]
    assert losses[-1] < 0.7 * losses[0]


# ----------------------------------------------------------------------------------------------- the programs

def arrays_of(run_folder):
    return read_checkpoint(sorted((run_folder / "checkpoints").iterdir())[-1])[0]


def fails(capfd, program, *words):
    with pytest.raises(SystemExit) as end:
        run(program.main, [str(word) for word in words])
    told = capfd.readouterr().err
    assert "Traceback" not in told and end.value.code == 2
    return told.strip().splitlines()[-1]


def test_a_run_resumes_exactly_and_is_evaluated(data, tmp_path, monkeypatch, capfd):
    config, backbone = write_settings(tmp_path), tmp_path / "backbone.ckpt"
    save_weights(Twins(TINY, num_classes=7), backbone)

    def stop_in_the_second_epoch(*key, original=tasks.keyed):
        if key == (tasks.PATHS, 0, 1, 0):
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*key)

    words = ["--config", config, f"backbone={backbone}"]
    monkeypatch.setattr("twins_lib.training.tasks.keyed", stop_in_the_second_epoch)
    run(train_program.main, words)
    monkeypatch.undo()
    assert sorted((tmp_path / "run/checkpoints").iterdir())[-1].name == "epoch-0001-step-000001.safetensors"
    run(train_program.main, ["--resume", *words])
    interrupted = arrays_of(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "first")
    run(train_program.main, words)
    whole = arrays_of(tmp_path / "run")
    assert all(np.array_equal(whole[name], interrupted[name]) for name in whole)
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert lines[1]["test_iou"][2] is None and lines[1]["test_miou"] == pytest.approx(np.mean(lines[1]["test_iou"][:2]))
    assert (tmp_path / "run/curve.png").stat().st_size > 1000
    capfd.readouterr()
    best = max(lines, key=lambda line: line["test_miou"])
    for mode in ("pynative", "graph"):
        run(eval_program.main, ["--config", config, "--checkpoint", str(tmp_path / "run/best.ckpt"), f"mode={mode}"])
        said = capfd.readouterr().out
        assert "top    not a number: in no validation mask" in said
        assert f"mean IoU {best['test_miou']:.3f} over 2 of 3 classes" in said and "on 3 images" in said
    line = fails(capfd, eval_program, "--config", config, "--checkpoint", tmp_path / "run/best.ckpt", "channels=16")
    assert "these are not the weights of this network" in line


def test_faults_of_a_run(data, tmp_path, capfd):
    config = write_settings(tmp_path)
    replace_mask(data, np.full((32, 40), 9, np.uint8))
    assert "1.png: has label 9" in fails(capfd, train_program, "--config", config)
    assert "nowhere.ckpt: no such checkpoint" in fails(
        capfd, train_program, "--config", config, "backbone=nowhere.ckpt")
    assert "8 training images do not fill one batch of 64" in fails(
        capfd, train_program, "--config", config, "batch_size=64", f"output={tmp_path / 'x'}")
    with pytest.raises(ConfigError, match="task is 'detection'; must be one of classification, segmentation"):
        load_config(config, ["task=detection"])
    with pytest.raises(ConfigError, match="head_channels is 6; must be a multiple of 4"):
        load_config(config, ["head_channels=6"])


def test_the_shipped_config_is_of_this_task():
    config = load_config("segmentation_mini")
    assert config.task == "segmentation" and config.reduce_zero_label is False
    assert load_config("twins_svt_nano").task == "classification"


def test_curve_of_a_segmentation_is_drawn(tmp_path):
    draw_curve([{"epoch": 0, "train_loss": 1.0, "test_loss": 1.0, "test_miou": 3.0}], tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


# -------------------------------------------------------------------------------------------------- made scenes

def test_made_scenes_are_those_of_toy_and_stay(tmp_path, capsys):
    path = Path(__file__).parents[1] / "data_scripts" / "make_scenes.py"
    spec = importlib.util.spec_from_file_location("make_scenes", path)
    script = importlib.util.module_from_spec(spec)
    sys.modules["make_scenes"] = script
    spec.loader.exec_module(script)
    words = ["--folder", str(tmp_path), "--train", "3", "--val", "2", "--size", "32"]
    script.main(words)
    folder = MaskFolder(tmp_path, "validation")
    images, masks = toy.scenes(2, 1, 32)
    for i in range(2):
        image, labels = folder.load(i)
        assert np.array_equal(np.asarray(image), images[i]) and np.array_equal(labels, masks[i])
    assert folder.classes == list(toy.SCENES)
    script.main(words)
    assert "there already" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="is there, but not with 4 scenes of 32x32"):
        script.main([*words[:3], "4", *words[4:]])
    for image in (tmp_path / "images" / "training").iterdir():
        image.unlink()
    with pytest.raises(SystemExit, match="is there, but not with 3 scenes of 32x32"):
        script.main(words)
