"""What all stored runs share: a step of training, its loop, a score, and a command that writes a file at its end."""

import argparse
import json
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops

from ...training.recipe import AdamW, clip_by_global_norm, parameter_groups
from ...weights import CannotWrite, place, write_whole, writing

ASSETS = Path(__file__).resolve().parents[3] / "notebooks" / "assets"


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


def restart(model, optimizer, fresh):
    """Give a model the weights of a fresh one and forget what the optimizer remembers.

    In place: a compiled step does not see what `Parameter.set_data` puts in afterwards.
    """
    weights = {p.name: p for p in fresh.get_parameters()}
    for p in model.get_parameters():
        ops.assign(p, weights[p.name].copy())
    for p in (*optimizer.moments1, *optimizer.moments2, optimizer.step):
        ops.assign(p, ops.zeros_like(p))


def provenance(command, **settings):
    """What a stored result says about how it came to be; `command` is what follows `twins_lib.teach.experiments.`"""
    return {"command": f"python -m twins_lib.teach.experiments.{command}".strip(), **settings,
            "versions": {"python": platform.python_version(), "mindspore": version("mindspore"),
                         "numpy": version("numpy")},
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU only"}


def write(path, card):
    """Write a card, whole or not at all."""
    write_whole(path, (json.dumps(card, indent=2) + "\n").encode())


def command(module, about, makers, arguments=None):
    """Parse the command line of a module of stored runs and make one of its files.

    Stopped and started again, a run begins anew, and a finished file is left alone.

    Args:
        module (str): its name after `twins_lib.teach.experiments.`
        about (str): its docstring.
        makers (dict): name of a run to (function of the path to write, file name in notebooks/assets). Where there is
            one, it need not be named.
        arguments (list of str): instead of those of the command line.
    """
    parser = argparse.ArgumentParser(prog=f"python -m twins_lib.teach.experiments.{module}", description=about,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    if len(makers) > 1:
        parser.add_argument("what", choices=makers)
    else:
        parser.set_defaults(what=next(iter(makers)))
    parser.add_argument("--output", type=place, metavar="FILE", help="instead of the file in notebooks/assets")
    parser.add_argument("--again", action="store_true", help="make it anew although it is there")
    options = parser.parse_args(arguments)
    make, name = makers[options.what]
    path = options.output or ASSETS / name
    if path.exists() and not options.again:
        sys.exit(f"{path} is already there; --again makes it anew")
    ms.set_device("CPU")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=path.parent).close()  # before hours are spent
        make(path)
    except KeyboardInterrupt:
        sys.exit(f"stopped; {path} was not written")
    except (FileNotFoundError, CannotWrite) as error:
        sys.exit(f"error: {error}")
    print(path)
