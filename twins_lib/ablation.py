"""Stored runs behind lesson 06: what each part of Twins is needed for, the checkpoint of later lessons, Fashion-MNIST.

    python -m twins_lib.ablation table         notebooks/assets/ablation.json, about five minutes on one core
    python -m twins_lib.ablation checkpoint    notebooks/assets/twins_svt_nano_shapes.ckpt, about five more
    python -m twins_lib.ablation fashion       notebooks/assets/fashion_mnist.json, about three; needs Fashion-MNIST

Each writes its file once, at the end: stopped and started again it begins anew, and a finished file is left alone.
"""

import argparse
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from tqdm import tqdm

from . import fashion_mnist, toy
from .attention import GSA, LSA
from .block import Block
from .model import create_model
from .patch_embed import Linear, PatchEmbed
from .position import PEG
from .recipe import AdamW, clip_by_global_norm, parameter_groups
from .weights import save_weights

ASSETS = Path(__file__).resolve().parents[1] / "notebooks" / "assets"
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


def pixels(images):
    """uint8 (n, H, W, 3) to float32 (n, 3, H, W) in -1 to 1."""
    return (images.transpose(0, 3, 1, 2) / 127.5 - 1).astype(np.float32)


def rates(peak, steps):
    """A warm-up of a tenth of the run, then half a cosine: a learning rate a step, float32 (steps,)."""
    step = np.arange(steps)
    climb = np.minimum(1, (step + 1) / (0.1 * steps))
    return (peak * climb * (1 + np.cos(np.pi * step / steps)) / 2).astype(np.float32)


def training_step(model, smoothing=0.0, weight_decay=0.05):
    """Compile one step of training: loss, gradients, clipping at 5, AdamW.

    Args:
        model (nn.Cell): its inputs are those of the step after the first two.
        smoothing (float): of the labels.
        weight_decay (float): of AdamW.

    Returns:
        The function `step(labels, lr, *inputs)`, which gives the loss, and its `AdamW`.
    """
    optimizer = AdamW(parameter_groups(model, weight_decay))

    def loss_of(labels, *inputs):
        return ops.cross_entropy(model(*inputs), labels, label_smoothing=smoothing)

    gradient = ms.value_and_grad(loss_of, None, optimizer.parameters)

    @ms.jit
    def step(labels, lr, *inputs):
        loss, gradients = gradient(labels, *inputs)
        optimizer(clip_by_global_norm(gradients), lr)
        return loss

    return step, optimizer


def train(step, arrays, labels, seed, epochs, batch, peak, bar):
    """Run the compiled step over shuffled batches; returns the mean loss of each epoch."""
    per_epoch = len(labels) // batch
    lr = iter(rates(peak, epochs * per_epoch))
    losses = np.zeros((epochs, per_epoch))
    for epoch in range(epochs):
        order = np.random.default_rng((seed, epoch)).permutation(len(labels))
        for i in range(per_epoch):
            part = order[i * batch:(i + 1) * batch]
            losses[epoch, i] = step(Tensor(labels[part]), Tensor(next(lr)), *(Tensor(a[part]) for a in arrays))
            bar.update()
        bar.set_postfix(loss=f"{losses[epoch].mean():.2f}")
    return losses.mean(1)


def accuracy(model, arrays, labels, batch=250):
    """Share of right answers."""
    parts = [slice(i, i + batch) for i in range(0, len(labels), batch)]
    answers = [model(*(Tensor(a[part]) for a in arrays)).asnumpy().argmax(1) for part in parts]
    return float(np.mean(np.concatenate(answers) == labels))


def task(name, n, seed):
    """A made task of `twins_lib.toy` as arrays for `Small`: (images, at), labels, checksum."""
    options = {"window": 8} if name == "far_pairs" else {}
    images, labels, marks = getattr(toy, name)(n, seed, size=SIDE, **options)
    side = SIDE // toy.PATCH
    at = np.eye(side * side, dtype=np.float32)[marks[:, 0] * side + marks[:, 1]][..., None]
    return (pixels(images), at), labels, toy.checksum(images, labels, marks)


def provenance(command, **settings):
    """What a stored result says about how it came to be."""
    return {"command": f"python -m twins_lib.ablation {command}", **settings,
            "versions": {"python": platform.python_version(), "mindspore": version("mindspore"),
                         "numpy": version("numpy")},
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU only"}


def restart(model, optimizer, fresh):
    """Give a model the weights of a fresh one and forget what the optimizer remembers.

    In place: a compiled step does not see what `Parameter.set_data` puts in afterwards.
    """
    weights = {p.name: p for p in fresh.get_parameters()}
    for p in model.get_parameters():
        ops.assign(p, weights[p.name].copy())
    for p in (*optimizer.moments1, *optimizer.moments2, optimizer.step):
        ops.assign(p, ops.zeros_like(p))


def write(path, card):
    """Write a card, whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    os.replace(part, path)


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
    card = provenance("table", seeds=list(seeds), images=n, epochs=epochs, batch=batch, peak_lr=peak, side=SIDE,
                      test_images=n_test, data={name: tests[name][2] for name in tasks}, scores=scores)
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
        "checkpoint", model="twins_svt_nano", classes=list(toy.SHAPES), input="RGB, bytes / 127.5 - 1", seed=seed,
        data={"set": "toy.silhouettes", "images": n, "size": size, "sha256": toy.checksum(images, labels)},
        epochs=epochs, steps=epochs * (n // batch), batch=batch, peak_lr=peak, smoothing=0.1,
        loss=[round(float(x), 3) for x in losses],
        score={"accuracy": round(score, 3), "images": n_test, "seed": 1000,
               "sha256": toy.checksum(test_images, test_labels)}))


def fashion(path, seeds=(0, 1, 2), n=2000, epochs=3, batch=50, peak=2e-3, n_test=10000):
    """Train twins_svt_nano on the first pictures of Fashion-MNIST as lesson 06 does, with three seeds.

    Raises:
        FileNotFoundError: Fashion-MNIST has not been fetched.
    """
    clothes = fashion_mnist.load()
    if clothes is None:
        raise FileNotFoundError("Fashion-MNIST is not there; python data_scripts/fetch_fashion_mnist.py brings it")
    (images, labels), (test_images, test_labels) = clothes
    images, test_images = pixels(frame(images[:n])), pixels(frame(test_images[:n_test]))
    labels, test_labels = labels[:n].astype(np.int32), test_labels[:n_test]
    model = create_model("twins_svt_nano", len(fashion_mnist.CLASSES))
    step, optimizer = training_step(model, smoothing=0.1)
    scores = []
    with tqdm(total=len(seeds) * epochs * (n // batch), unit="step") as bar:
        for seed in seeds:
            bar.set_description(f"seed {seed}")
            ms.set_seed(seed)
            restart(model, optimizer, create_model("twins_svt_nano", len(fashion_mnist.CLASSES)))
            train(step, (images,), labels, seed, epochs, batch, peak, bar)
            scores.append(round(accuracy(model, (test_images,), test_labels), 3))
    write(path, provenance(
        "fashion", model="twins_svt_nano", seeds=list(seeds), images=n, epochs=epochs, batch=batch, peak_lr=peak,
        smoothing=0.1, test_images=n_test, data={name: digest for name, (_, digest) in fashion_mnist.FILES.items()},
        scores=scores))


def frame(grey):
    """Fashion-MNIST's uint8 (n, 28, 28) with two black pixels around, in three equal channels: (n, 32, 32, 3)."""
    return np.repeat(np.pad(grey, ((0, 0), (2, 2), (2, 2)))[..., None], 3, axis=3)


def main(arguments=None):
    """Parse the command line and make one of the three files."""
    parser = argparse.ArgumentParser(prog="python -m twins_lib.ablation", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("table", "checkpoint", "fashion"))
    parser.add_argument("--output", type=Path, metavar="FILE", help="instead of the file in notebooks/assets")
    parser.add_argument("--again", action="store_true", help="make it anew although it is there")
    options = parser.parse_args(arguments)
    make, name = {"table": (table, "ablation.json"),
                  "checkpoint": (checkpoint, "twins_svt_nano_shapes.ckpt"),
                  "fashion": (fashion, "fashion_mnist.json")}[options.what]
    path = options.output or ASSETS / name
    if path.exists() and not options.again:
        sys.exit(f"{path} is already there; --again makes it anew")
    path.parent.mkdir(parents=True, exist_ok=True)
    ms.set_device("CPU")
    try:
        make(path)
    except KeyboardInterrupt:
        sys.exit(f"stopped; {path} was not written")
    except FileNotFoundError as error:
        sys.exit(f"error: {error}")
    print(path)


if __name__ == "__main__":
    main()
