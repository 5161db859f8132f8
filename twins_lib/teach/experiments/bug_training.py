"""The stored run behind lesson 08: a small Twins-SVT trained from nothing, right and with each bug.

    python -m twins_lib.teach.experiments.bug_training     notebooks/assets/bug_lab.json, about ten minutes on one core

Two bugs are left out because their training is that of the right network, number for number: "footprint" on square
images, and "repeat", whose drawing of paths is what training does anyway. The file is written once, at the end: stopped
and started again it begins anew, and a finished file is left alone.
"""

import mindspore as ms
from tqdm import tqdm

from ...model import Twins, Variant
from . import bugs, toy
from .runs import accuracy, command, pixels, provenance, restart, train, training_step, write

SMALL = Variant(dims=(32, 64), heads=(2, 4), mlp_ratios=(2, 2), depths=(2, 2), sr_ratios=(2, 2), windows=(4, 2))
TRAINED = ("none", "window", "shares", "scale", "order", "norm", "residual")


def small(bug):
    """A fresh network of two stages for images of 32×32 pixels, with one bug or "none"."""
    model = Twins(SMALL, len(toy.SHAPES))
    return model if bug == "none" else bugs.plant(model, bug)


def table(path, names=TRAINED, seeds=(0, 1), n=1000, epochs=5, batch=50, peak=3e-3, n_test=500):
    """Train a network for each bug and seed on `toy.silhouettes`; write losses and accuracies as JSON."""
    test_images, test_labels = toy.silhouettes(n_test, seed=1000)
    sets = {seed: toy.silhouettes(n, seed) for seed in seeds}
    losses, scores = {name: [] for name in names}, {name: [] for name in names}
    with tqdm(total=len(names) * len(seeds) * epochs * (n // batch), unit="step") as bar:
        for name in names:
            model = small(name)
            step, optimizer = training_step(model)
            for seed in seeds:
                bar.set_description(f"{name}, seed {seed}")
                ms.set_seed(seed)
                restart(model, optimizer, small(name))
                images, labels = sets[seed]
                loss = train(step, (pixels(images),), labels, seed, epochs, batch, peak, bar)
                losses[name].append([round(float(x), 3) for x in loss])
                scores[name].append(round(accuracy(model, (pixels(test_images),), test_labels), 3))
    card = {**provenance("bug_training"), "seeds": list(seeds), "images": n,
            "epochs": epochs, "batch": batch, "peak_lr": peak, "size": 32, "test_images": n_test,
            "data": toy.checksum(test_images, test_labels), "loss": losses, "accuracy": scores}
    write(path, card)


def main(arguments=None):
    """Parse the command line and make the file."""
    command("bug_training", __doc__, {"table": (table, "bug_lab.json")}, arguments)


if __name__ == "__main__":
    main()
