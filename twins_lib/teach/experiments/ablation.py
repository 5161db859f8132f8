"""Stored runs behind lesson 06: what each part of Twins is needed for, the checkpoint of later lessons, its own minute.

    python -m twins_lib.teach.experiments.ablation table       ablation.json, about five minutes on one core
    python -m twins_lib.teach.experiments.ablation checkpoint  twins_svt_nano_shapes.ckpt, about five more
    python -m twins_lib.teach.experiments.ablation minute      cifar10_minute.json, about three; needs CIFAR-10

Each writes its file into notebooks/assets once, at the end: stopped and started again it begins anew, and a finished
file is left alone.
"""

import mindspore as ms
import numpy as np
from mindspore import nn
from tqdm import tqdm

from ...attention import GSA, LSA
from ...block import Block
from ...layers import Linear
from ...model import create_model
from ...patch_embed import PatchEmbed
from ...position import PEG
from ...weights import save_weights
from . import cifar10, toy
from .runs import accuracy, command, pixels, provenance, restart, train, training_step, write

SIDE = 24  # pixels of an image of the table's two tasks
NETWORKS = {  # attention of the first block, is there a PEG, attention of the second block
    "full": (LSA, True, GSA),
    "without PEG": (LSA, False, GSA),
    "without GSA": (LSA, True, LSA),
    "without LSA": (GSA, True, GSA),
}


class Small(nn.Cell):
    """One stage of Twins-SVT on 4-pixel patches, its answer read at one token.

    Args:
        first, second (type): LSA or GSA, of the two blocks.
        peg (bool): is there a PEG between them?

    Inputs: images (B, 3, H, W) and `at` (B, N, 1), 1 at the token to read and 0 elsewhere. Outputs: logits (B, 2).
    """

    def __init__(self, first, peg, second, dim=64, heads=4, side=2):
        super().__init__()
        self.embed = PatchEmbed(3, dim, 4)
        self.first = Block(dim, 2, first(dim, heads, side))
        self.peg = PEG(dim) if peg else None
        self.second = Block(dim, 2, second(dim, heads, side))
        self.norm = nn.LayerNorm((dim,), epsilon=1e-6)
        self.head = Linear(dim, 2)

    def construct(self, images, at):
        tokens, size = self.embed(images)
        tokens = self.first(tokens, size)
        if self.peg is not None:
            tokens = self.peg(tokens, size)
        tokens = self.second(tokens, size)
        return self.head(self.norm((tokens * at).sum(1)))


def task(name, n, seed):
    """A made task of `twins_lib.teach.experiments.toy` as arrays for `Small`: (images, at), labels, checksum."""
    options = {"window": 8} if name == "far_pairs" else {}
    images, labels, marks = getattr(toy, name)(n, seed, size=SIDE, **options)
    side = SIDE // toy.PATCH
    at = np.eye(side * side, dtype=np.float32)[marks[:, 0] * side + marks[:, 1]][..., None]
    return (pixels(images), at), labels, toy.checksum(images, labels, marks)


def table(path, seeds=(0, 1, 2), n=1600, epochs=2, batch=32, peak=3e-3, n_test=500):
    """Train four networks on two tasks whose right answer is known, with three seeds."""
    tasks = ("borders", "far_pairs")
    tests = {name: task(name, n_test, 1000) for name in tasks}
    data = {name: [task(name, n, seed) for seed in seeds] for name in tasks}
    scores = {name: {network: [] for network in NETWORKS} for name in tasks}
    steps = epochs * (n // batch)
    with tqdm(total=len(NETWORKS) * len(tasks) * len(seeds) * steps, unit="step") as bar:
        for network, parts in NETWORKS.items():
            model = Small(*parts)
            step, optimizer = training_step(model)
            for name in tasks:
                for seed in seeds:
                    bar.set_description(f"{name}, {network}, seed {seed}")
                    ms.set_seed(seed)
                    restart(model, optimizer, Small(*parts))
                    arrays, labels, _ = data[name][seeds.index(seed)]
                    train(step, arrays, labels, seed, epochs, batch, peak, bar)
                    scores[name][network].append(round(accuracy(model, *tests[name][:2]), 3))
    card = provenance("ablation table", seeds=list(seeds), images=n, epochs=epochs, batch=batch, peak_lr=peak,
                      side=SIDE, test_images=n_test, data={name: tests[name][2] for name in tasks}, scores=scores)
    write(path, card)


def checkpoint(path, seed=0, n=4000, size=64, epochs=2, batch=50, peak=2e-3, n_test=1000):
    """Train twins_svt_nano on `toy.silhouettes` with the short recipe: smoothing 0.1, no mixing, no drop path."""
    images, labels = toy.silhouettes(n, seed, size)
    test_images, test_labels = toy.silhouettes(n_test, 1000, size)
    ms.set_seed(seed)
    model = create_model("twins_svt_nano", len(toy.SHAPES))
    step, _ = training_step(model, smoothing=0.1)
    with tqdm(total=epochs * (n // batch), unit="step") as bar:
        losses = train(step, (pixels(images),), labels, seed, epochs, batch, peak, bar)
    score = accuracy(model, (pixels(test_images),), test_labels)
    save_weights(model, path, provenance(
        "ablation checkpoint", model="twins_svt_nano", classes=list(toy.SHAPES), input="RGB, bytes / 127.5 - 1",
        seed=seed, data={"set": "toy.silhouettes", "images": n, "size": size, "sha256": toy.checksum(images, labels)},
        epochs=epochs, steps=epochs * (n // batch), batch=batch, peak_lr=peak, smoothing=0.1,
        loss=[round(float(x), 3) for x in losses],
        score={"accuracy": round(score, 3), "images": n_test, "seed": 1000,
               "sha256": toy.checksum(test_images, test_labels)}))


def minute(path, seeds=(0, 1, 2), n=2000, epochs=3, batch=50, peak=2e-3, n_test=10000):
    """Train twins_svt_nano on the first photographs of CIFAR-10 as lesson 06 does, with three seeds.

    Raises:
        FileNotFoundError: CIFAR-10 has not been fetched.
    """
    photographs = cifar10.load("train", n)
    if photographs is None:
        raise FileNotFoundError("CIFAR-10 is not there; python data_scripts/fetch_cifar10.py brings it")
    (images, labels), (test_images, test_labels) = photographs, cifar10.load("test", n_test)
    model = create_model("twins_svt_nano", len(cifar10.CLASSES))
    step, optimizer = training_step(model, smoothing=0.1)
    scores = []
    with tqdm(total=len(seeds) * epochs * (n // batch), unit="step") as bar:
        for seed in seeds:
            bar.set_description(f"seed {seed}")
            ms.set_seed(seed)
            restart(model, optimizer, create_model("twins_svt_nano", len(cifar10.CLASSES)))
            train(step, (pixels(images),), labels, seed, epochs, batch, peak, bar)
            scores.append(round(accuracy(model, (pixels(test_images),), test_labels), 4))
    write(path, provenance(
        "ablation minute", model="twins_svt_nano", data=cifar10.origin(), seeds=list(seeds), images=n, epochs=epochs,
        batch=batch, peak_lr=peak, smoothing=0.1, test_images=n_test, scores=scores,
        sha256=toy.checksum(images, labels)))


def main(arguments=None):
    """Parse the command line and make one of the three files."""
    command("ablation", __doc__, {"table": (table, "ablation.json"),
                                  "checkpoint": (checkpoint, "twins_svt_nano_shapes.ckpt"),
                                  "minute": (minute, "cifar10_minute.json")}, arguments)


if __name__ == "__main__":
    main()
