"""The stored runs behind lesson 09: who learns where an outline is closed, and who what a far stripe says?

    python -m twins_lib.teach.experiments.dense_training networks  dense.json, about fifteen minutes on one core
    python -m twins_lib.teach.experiments.dense_training heads     dense_heads.json, about three more
    python -m twins_lib.teach.experiments.dense_training far       dense_far.json, about thirteen more

`networks` are small pyramids, whole and with parts out, that learn from nothing at 64×64 pixels and are tested there
and at 128×128. `heads` read the maps of lesson 06's network, which stays as it is. `far` are two networks on
`toy.legends`, whose answer lies outside of every window. A file is written once, at the end: stopped and started again
it begins anew, and a finished file is left alone.
"""

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn
from tqdm import tqdm

from ...attention import LSA
from ...model import Twins, Variant, create_model
from ...segmentation import LinearHead, Segmenter, SemanticFPNHead, bilinear, load_backbone
from ...training.scores import confusion, iou
from . import toy
from .runs import ASSETS, command, pixels, provenance, restart, train, training_step, write

SMALL = Variant(dims=(32, 64, 96), heads=(2, 4, 6), mlp_ratios=(2, 2, 2), depths=(2, 2, 2), sr_ratios=(4, 2, 1),
                windows=(2, 2, 2))
WINDOW = 32  # pixels that a window of the last stage covers; those of the others are 8 and 16
SIZES = (64, 128)
NETWORKS = {  # parts that are taken out of the backbone, head
    "whole": ((), "linear"),
    "without GSA": (("GSA",), "linear"),
    "without PEG": (("PEG",), "linear"),
    "without both": (("GSA", "PEG"), "linear"),
    "whole, FPN": ((), "FPN"),
}


class NoPosition(nn.Cell):
    """In the place of a PEG: tokens pass as they are."""

    def construct(self, tokens, size):
        return tokens


def network(lacking, head):
    """A fresh `Segmenter` for `toy.enclosures`.

    Args:
        lacking (sequence of str): "GSA", whose blocks then have windows as well, and "PEG".
        head (str): "linear", which reads each pixel from the maps as they are, or "FPN".
    """
    backbone = Twins(SMALL, dense=True)
    if "GSA" in lacking:
        for blocks, *sizes in zip(backbone.blocks, SMALL.dims, SMALL.heads, SMALL.windows):
            for block in blocks:
                block.attn = LSA(*sizes, mask_padding=True)
    if "PEG" in lacking:
        backbone.pos_block = nn.CellList([NoPosition() for _ in SMALL.dims])
    model = Segmenter(backbone, len(toy.ENCLOSURES), channels=32, head_channels=32)
    if head == "linear":
        model.head = LinearHead(SMALL.dims, len(toy.ENCLOSURES))
    return model


def predictions(model, images, batch=5):
    """The class of every pixel: (n, H, W)."""
    forward = ms.jit(model.construct)
    parts = [forward(Tensor(pixels(images[i:i + batch]))).asnumpy().argmax(1) for i in range(0, len(images), batch)]
    return np.concatenate(parts)


def errors_by_distance(wrong, period=WINDOW, margin=WINDOW // 2):
    """Share of wrong pixels at each distance from the nearest line between windows, nearest first.

    Args:
        wrong (array): bool (n, H, W).
        period (int): pixels from line to line.
        margin (int): pixels at the border of the pictures that are left out: shapes do not come as close to it.

    Returns:
        list of period / 2 numbers.
    """
    places = np.arange(wrong.shape[1]) % period
    distance = np.minimum(places, period - 1 - places)
    distance = np.minimum(distance[:, None], distance)[margin:-margin, margin:-margin]
    inner = wrong[:, margin:-margin, margin:-margin]
    return [float(inner[:, distance == d].mean()) for d in range(period // 2)]


def table(path, networks=NETWORKS, seeds=(0, 1, 2), n=400, epochs=10, batch=16, peak=3e-3, n_test=(100, 40)):
    """Train each network with each seed; write its IoUs and its errors beside the lines between windows, as JSON."""
    sets = {seed: toy.enclosures(n, seed) for seed in seeds}
    tests = {size: toy.enclosures(count, 1000, size) for size, count in zip(SIZES, n_test)}
    ious = {name: {size: [] for size in SIZES} for name in networks}
    errors = {name: [] for name in networks}
    with tqdm(total=len(networks) * len(seeds) * epochs * (n // batch), unit="step") as bar:
        for name, parts in networks.items():
            model = network(*parts)
            step, optimizer = training_step(model)
            for seed in seeds:
                bar.set_description(f"{name}, seed {seed}")
                ms.set_seed(seed)
                restart(model, optimizer, network(*parts))
                images, masks = sets[seed]
                train(step, (pixels(images),), masks.astype(np.int32), seed, epochs, batch, peak, bar)
                for size, (test_images, test_masks) in tests.items():
                    said = predictions(model, test_images)
                    found = iou(confusion(said, test_masks, len(toy.ENCLOSURES)))
                    ious[name][size].append([round(float(one), 4) for one in found])
                errors[name].append([round(one, 4) for one in errors_by_distance(said != test_masks)])
    write(path, {**about("networks", seeds, n, epochs, batch, peak), "test_images": list(n_test),
                 "data": {size: toy.checksum(*test) for size, test in tests.items()}, "iou": ious, "errors": errors})


FAR = Variant(dims=(32, 64), heads=(2, 4), mlp_ratios=(2, 2), depths=(2, 2), sr_ratios=(4, 2), windows=(2, 2))


def far_network(kind):
    """A fresh `Segmenter` of two stages for `toy.legends`, "with GSA" or "windows only", with the linear read-out."""
    backbone = Twins(FAR, dense=True)
    if kind == "windows only":
        for blocks, *sizes in zip(backbone.blocks, FAR.dims, FAR.heads, FAR.windows):
            for block in blocks:
                block.attn = LSA(*sizes, mask_padding=True)
    model = Segmenter(backbone, len(toy.LEGENDS), channels=32, head_channels=32)
    model.head = LinearHead(FAR.dims, len(toy.LEGENDS))
    return model


def far(path, seeds=(0, 1, 2), n=600, epochs=12, batch=16, peak=3e-3, n_test=60, shown=4):
    """Train both networks on `toy.legends` with each seed; write IoUs, and masks of the best seed of each, as JSON."""
    sets = {seed: toy.legends(n, seed) for seed in seeds}
    test_images, test_masks = toy.legends(n_test, 1000)
    ious, masks, kinds = {}, {}, ("with GSA", "windows only")
    with tqdm(total=len(kinds) * len(seeds) * epochs * (n // batch), unit="step") as bar:
        for kind in kinds:
            model, best = far_network(kind), -1
            step, optimizer = training_step(model)
            ious[kind] = []
            for seed in seeds:
                bar.set_description(f"{kind}, seed {seed}")
                ms.set_seed(seed)
                restart(model, optimizer, far_network(kind))
                images, truth = sets[seed]
                train(step, (pixels(images),), truth.astype(np.int32), seed, epochs, batch, peak, bar)
                said = predictions(model, test_images)
                ious[kind].append([round(float(one), 4) for one in iou(confusion(said, test_masks, 3))])
                if np.mean(ious[kind][-1]) > best:
                    best = np.mean(ious[kind][-1])
                    masks[kind] = [["".join(map(str, row)) for row in mask] for mask in said[:shown]]
    write(path, {**about("far", seeds, n, epochs, batch, peak), "size": test_images.shape[1], "test_images": n_test,
                 "data": toy.checksum(test_images, test_masks), "iou": ious, "masks": masks})


class OnMaps(nn.Cell):
    """A head on given maps, its logits enlarged to the image: maps (B, C, H, W), finest first -> (B, K, 4·H, 4·W)."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def construct(self, *maps):
        logits = self.head(maps)
        return bilinear(logits, (4 * logits.shape[2], 4 * logits.shape[3]))


def maps_of(images, batch=20):
    """The four maps of each image in lesson 06's network, finest first: arrays (n, C, H, W)."""
    backbone = create_model("twins_svt_nano", dense=True)
    load_backbone(backbone, ASSETS / "twins_svt_nano_shapes.ckpt")
    parts = [backbone.features(Tensor(pixels(images[i:i + batch]))) for i in range(0, len(images), batch)]
    return [np.concatenate([part[level].asnumpy() for part in parts]) for level in range(4)]


def heads(path, seeds=(0, 1, 2), n=400, epochs=14, batch=16, peak=3e-3, n_test=80):
    """Train both heads on the same frozen maps with each seed; write their IoUs as JSON."""
    dims, K = create_model("twins_svt_nano").variant.dims, len(toy.ENCLOSURES)
    sets = {seed: toy.enclosures(n, seed) for seed in seeds}
    given = {seed: maps_of(images) for seed, (images, _) in sets.items()}
    test_images, test_masks = toy.enclosures(n_test, 1000)
    test_maps = maps_of(test_images)
    kinds = {"linear": lambda: LinearHead(dims, K), "Semantic FPN": lambda: SemanticFPNHead(dims, K, 32, 32)}
    ious = {name: [] for name in kinds}
    with tqdm(total=len(kinds) * len(seeds) * epochs * (n // batch), unit="step") as bar:
        for name, make in kinds.items():
            model = OnMaps(make())
            step, optimizer = training_step(model)
            for seed in seeds:
                bar.set_description(f"{name}, seed {seed}")
                ms.set_seed(seed)
                restart(model, optimizer, OnMaps(make()))
                train(step, given[seed], sets[seed][1].astype(np.int32), seed, epochs, batch, peak, bar)
                said = np.concatenate([model(*(Tensor(level[i:i + 20]) for level in test_maps)).asnumpy().argmax(1)
                                       for i in range(0, n_test, 20)])
                ious[name].append([round(float(one), 4) for one in iou(confusion(said, test_masks, K))])
    write(path, {**about("heads", seeds, n, epochs, batch, peak), "test_images": n_test,
                 "data": toy.checksum(test_images, test_masks), "iou": ious})


def about(what, seeds, n, epochs, batch, peak):
    """What both files say about how they came to be."""
    return {**provenance(f"dense_training {what}"), "seeds": list(seeds),
            "images": n, "epochs": epochs, "batch": batch, "peak_lr": peak, "size": SIZES[0]}


def main(arguments=None):
    """Parse the command line and make one of the three files."""
    command("dense_training", __doc__,
            {"networks": (table, "dense.json"), "heads": (heads, "dense_heads.json"), "far": (far, "dense_far.json")},
            arguments)


if __name__ == "__main__":
    main()
