"""The stored run behind lesson 04: which pair of attentions can look far, which can look closely, and at what price.

    python -m twins_lib.teach.experiments.near_far      near_far.json, about eight minutes on one core

It writes its file into notebooks/assets once, at the end: stopped and started again it begins anew, and a finished
file is left alone.
"""

import mindspore as ms
import numpy as np
from tqdm import tqdm

from ...attention import GSA, LSA
from . import toy
from .ablation import Small
from .runs import accuracy, command, pixels, provenance, restart, train, training_step, write

SIDE, WINDOW = 24, 8      # pixels of an image and of a window: 6×6 tokens in windows of 2×2
DIM, HEADS, CELL = 64, 4, 2
TASKS = {"far": toy.far_pairs, "fine": toy.matches}


def full(dim, heads, side):
    """Attention of every token to every token: GSA with a cell of one token, whatever `side` is."""
    return GSA(dim, heads, 1)


NETWORKS = {"LSA + LSA": (LSA, LSA), "GSA + GSA": (GSA, GSA), "LSA + GSA": (LSA, GSA), "full + full": (full, full)}


def data(task, n, seed):
    """Pictures of a task as arrays for `Small`: (images, at), labels, checksum."""
    images, labels, marks = TASKS[task](n, seed, size=SIDE, window=WINDOW)
    side = SIDE // toy.PATCH
    at = np.eye(side * side, dtype=np.float32)[marks[:, 0] * side + marks[:, 1]][..., None]
    return (pixels(images), at), labels, toy.checksum(images, labels, marks)


def product_macs(parts):
    """Multiply-adds of q kᵀ and of weights times v in both layers: 2 N C for each key."""
    N = (SIDE // toy.PATCH) ** 2
    keys = {LSA: CELL ** 2, GSA: N // CELL ** 2, full: N}
    return sum(2 * N * DIM * keys[part] for part in parts)


def table(path, seeds=(0, 1, 2), n=1600, epochs=5, batch=32, peak=3e-3, n_test=500):
    """Train four networks on two tasks with three seeds. All have a PEG between their two blocks, as Twins has."""
    tests = {task: data(task, n_test, 1000) for task in TASKS}
    scores = {task: {network: [] for network in NETWORKS} for task in TASKS}
    steps = epochs * (n // batch)
    with tqdm(total=len(NETWORKS) * len(TASKS) * len(seeds) * steps, unit="step") as bar:
        for network, (first, second) in NETWORKS.items():
            model = Small(first, True, second, DIM, HEADS, CELL)
            step, optimizer = training_step(model)
            for task in TASKS:
                for seed in seeds:
                    bar.set_description(f"{task}, {network}, seed {seed}")
                    ms.set_seed(seed)
                    restart(model, optimizer, Small(first, True, second, DIM, HEADS, CELL))
                    arrays, labels, _ = data(task, n, seed)
                    train(step, arrays, labels, seed, epochs, batch, peak, bar)
                    scores[task][network].append(round(accuracy(model, *tests[task][:2]), 3))
    write(path, provenance("near_far", seeds=list(seeds), images=n, epochs=epochs, batch=batch, peak_lr=peak, side=SIDE,
                           test_images=n_test, data={task: tests[task][2] for task in TASKS},
                           macs={name: product_macs(parts) for name, parts in NETWORKS.items()}, scores=scores))


def main(arguments=None):
    """Parse the command line and make the file."""
    command("near_far", __doc__, {"table": (table, "near_far.json")}, arguments)


if __name__ == "__main__":
    main()
