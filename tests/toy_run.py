"""A training run of a second that can be cut off anywhere, for test_engine.py; also a program that is killed."""

import argparse
import os
import signal
from pathlib import Path

import numpy as np

import twins_lib  # noqa: F401  before MindSpore
import mindspore as ms
from mindspore import nn, ops

from twins_lib.training import checkpoints, engine
from twins_lib.training.config import RunConfig
from twins_lib.training.recipe import soft_cross_entropy
from twins_lib.training.scores import evaluate

STEPS = 5


class Net(nn.Cell):
    def __init__(self, hidden, rng):
        super().__init__()
        self.first = ms.Parameter(rng.normal(size=(hidden, 4)).astype(np.float32), name="first")
        self.last = ms.Parameter(rng.normal(size=(3, hidden)).astype(np.float32), name="last")

    def construct(self, x):
        return ops.matmul(ops.tanh(ops.matmul(x, self.first.T)), self.last.T)


def make_config(output, **changes):
    return RunConfig(**{"output": str(output), "epochs": 3, "batch_size": 4, "peak_lr": 0.05, "device": "CPU",
                        "precision": "O0", "mode": "pynative", **changes})


def make_task(seed=0, hidden=7, at=None, poison=None):
    """Points in three classes. `at` maps (epoch, step) to what is called before that batch; `poison`, where nan is."""
    at, model = at or {}, Net(hidden, np.random.default_rng(seed))
    epoch_now = [0]

    def batches(epoch, first):
        epoch_now[0] = epoch
        for step in range(first, STEPS):
            at.get((epoch, step), lambda: None)()
            rng = np.random.default_rng([epoch, step])
            x, label = rng.normal(size=(4, 4)).astype(np.float32), rng.integers(3, size=4)
            x[np.arange(4), label] += np.nan if (epoch, step) == poison else 2
            yield x, np.eye(3, dtype=np.float32)[label]

    def validate(stopped):
        at.get((epoch_now[0], "validate"), lambda: None)()
        rng = np.random.default_rng(9)
        label = rng.integers(3, size=20)
        x = (rng.normal(size=(20, 4)) + 2 * np.eye(4)[label]).astype(np.float32)
        return evaluate(model, [(x, label, np.ones(20, bool))], stopped=stopped)

    def loss(x, targets):
        return soft_cross_entropy(model(x), targets)

    return engine.Task(model, loss, STEPS, batches, validate, np.full(3, 0.05))


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("--kill-at", type=int, nargs=2, help="epoch and step")
    parser.add_argument("--kill-in-write", type=int, help="die half-way through this checkpoint")
    parser.add_argument("--kill-before-rename", type=int, help="die when this checkpoint is written but not yet named")
    options = parser.parse_args()
    written = [0]

    def whole_then_kill(path, content, write=checkpoints.write_atomically):
        written[0] += path.name.startswith("epoch-")
        if written[0] == options.kill_in_write:
            os.fsync = lambda number: (os.ftruncate(number, len(content) // 2), kill())
        if written[0] == options.kill_before_rename:
            os.replace = lambda *paths: kill()
        write(path, content)

    checkpoints.write_atomically = whole_then_kill
    ms.set_device("CPU")
    fit_at = {tuple(options.kill_at): kill} if options.kill_at else None
    engine.fit(make_task(at=fit_at), make_config(options.output, save_steps=2))


if __name__ == "__main__":
    main()
