"""Checkpoints: PyTorch's tensors in, MindSpore's in and out. Files that load are data, never code."""

import argparse
import contextlib
import json
import os
from pathlib import Path

import mindspore as ms
import numpy as np

TORCH_NAMES = {"gamma": "weight", "beta": "bias"}
ELSEWHERE = "make room, or choose another place"
UNTOUCHED = f"what was there before is untouched: {ELSEWHERE}"
AVERAGE = "average."  # how the names of averaged weights begin, in a checkpoint of a run
STATE = ("adam_", "scale_value", "counter", AVERAGE)  # and those of all that is not a weight
WRAPPERS = ("module", "_orig_mod", "model")  # what PyTorch's DataParallel, compile and Lightning put before each name
STRANGERS = {  # how files begin that are kept under a checkpoint's name and are none
    b"version https://git-lfs": "a Git LFS pointer, which stands for the file; run: git lfs pull",
    b"<!doctype html": "a web page and no weights; get the file itself, by its download address",
    b"<html": "a web page and no weights; get the file itself, by its download address",
}
MISFIT = "these are not the weights of this network"


class CannotWrite(OSError):
    """A file or a folder that cannot be written, told in one sentence."""


def place(text):
    """A path of a command line: `~` is the home also where no shell has put it (--folder=~/data), never a folder."""
    if (path := os.path.expanduser(text)).startswith("~") or not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} names no place; ~ is your home, ./~ is a folder called so")
    return Path(path)


@contextlib.contextmanager
def writing(path, way_out=ELSEWHERE):
    """Within it, whatever the system says against writing becomes one sentence. All programs that write use it.

    Args:
        path (str or Path): the file or folder that the sentence names.
        way_out (str): how the sentence ends.

    Raises:
        CannotWrite: for every OSError; one that already is such a sentence stays as it is.
    """
    try:
        yield
    except CannotWrite:
        raise
    except OSError as fault:
        raise CannotWrite(f"{path}: cannot be written ({fault.strerror or fault}); {way_out}") from None


def write_whole(path, content, way_out=UNTOUCHED):
    """Replace a file by `content` (bytes) such that after any failure it is the old one or the new one, whole.

    Raises:
        CannotWrite: the place is read-only, full or no folder.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.part")
    with writing(path, way_out):
        try:
            unfinished.write_bytes(content)
            publish(unfinished, path)
        except OSError:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise


def torch_name(name):
    """The official name of a parameter: LayerNorm's gamma and beta are PyTorch's weight and bias."""
    stem, _, last = name.rpartition(".")
    return f"{stem}.{TORCH_NAMES.get(last, last)}".removeprefix(".")


def load_torch_state(model, state, leave_out=()):
    """Fill a network with the tensors of a released Twins checkpoint, all of them or none.

    Args:
        model (Cell): a `Twins`.
        state (dict): official (timm) parameter name to NumPy array, of the same shapes.
        leave_out (tuple of str): as for `load_weights`.

    Raises:
        ValueError: names missing, unexpected or of another shape: of each how many and the first three; the model
            is unchanged.
    """
    parameters = _all_but(leave_out, {torch_name(p.name): p for p in model.get_parameters()})
    _check_fit(parameters, _all_but(leave_out, state))
    for name in parameters:
        if np.issubdtype(state[name].dtype, np.integer):
            raise ValueError(f"{name} is of whole numbers ({state[name].dtype}), as quantised weights are; "
                             "get the weights as they were trained")
    for name, parameter in parameters.items():
        parameter.set_data(ms.Tensor(np.asarray(state[name], np.float32)))


def unwrapped(state):
    """The same tensors by their official names.

    What wrappers put before all names is taken away (WRAPPERS), MindSpore's names are translated. Of a checkpoint of
    a run only the weights are left, the averaged ones where the run keeps an average.
    """
    if any(name.startswith(STATE) for name in state):
        averages = {name.removeprefix(AVERAGE): array for name, array in state.items() if name.startswith(AVERAGE)}
        state = {name: array for name, array in state.items() if not name.startswith(STATE)} | averages
    while len(first := {name.partition(".")[0] for name in state}) == 1 and first <= set(WRAPPERS):
        state = {name.partition(".")[2]: array for name, array in state.items()}
    return {torch_name(name): array for name, array in state.items()}


def save_weights(model, path, card=None, way_out=UNTOUCHED):
    """Write a network's weights, and beside them a card that says what they are; each file whole or not at all.

    Args:
        model (Cell): any network.
        path (str or Path): where, ending in .ckpt; the card goes to the same name ending in .json.
        card (dict): what to keep with the weights: command, seed, data, score. "classes", the names of the classes in
            the order of their labels, goes into the file of the weights as well.
        way_out (str): how the sentence ends where they cannot be written.

    Raises:
        CannotWrite: the place is read-only, full or no folder.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.part.ckpt")
    with writing(path, way_out):
        try:
            unfinished.touch()  # MindSpore would log a place that cannot be written, under this name
            names = {"classes": json.dumps(card["classes"])} if card and "classes" in card else None
            ms.save_checkpoint(model, str(unfinished), append_dict=names)
            unfinished.chmod(0o644)  # MindSpore makes it read-only
            publish(unfinished, path)
        finally:
            for left in (unfinished, unfinished.with_suffix(".tmp")):  # the second is MindSpore's, when a disk is full
                with contextlib.suppress(OSError):
                    left.unlink()
    if card is not None:
        write_whole(path.with_suffix(".json"), (json.dumps(card, indent=2) + "\n").encode(), way_out)


def publish(unfinished, path):
    """Give a finished file its name, once its bytes are on the disk and not only on their way there."""
    with open(unfinished, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def load_weights(model, path, leave_out=()):
    """Fill a network from a MindSpore .ckpt or a .safetensors file, all tensors or none.

    A .safetensors file holds PyTorch's tensors, or it is a checkpoint of a run (`unwrapped`).

    Args:
        model (Cell): a `Twins` of the same variant and number of classes.
        path (str or Path): the file; what is in it decides how it is read, not its name.
        leave_out (tuple of str): what is not asked of the file, nor taken from it: tensors whose names begin so.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that cannot be read, or holds the weights of another network.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: {'a folder; give a file in it' if path.is_dir() else 'no such checkpoint'}")
    try:
        kind = kind_of(path)
        if kind == "PyTorch":
            raise ValueError("a PyTorch file: convert it with data_scripts/convert_weights.py")
        if kind == "safetensors":
            load_torch_state(model, unwrapped(read_safetensors(path)), leave_out)
        else:
            _load_mindspore(model, path, leave_out)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def kind_of(path):
    """What a file of weights is, by its first bytes: "safetensors", "PyTorch" or else "MindSpore".

    Raises:
        ValueError: it is empty, a web page, a Git LFS pointer, or may not be read.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(512)
    except OSError as fault:
        raise ValueError(f"cannot be read ({fault.strerror})") from None
    if not start:
        raise ValueError("empty; get it again")
    for beginning, told in STRANGERS.items():
        if start.lstrip(b"\xef\xbb\xbf \r\n\t").lower().startswith(beginning):
            raise ValueError(told)
    if start[8:9] == b"{":
        return "safetensors"
    return "PyTorch" if start.startswith((b"PK\x03\x04", b"\x80")) else "MindSpore"


def read_safetensors(path):
    """The tensors of a .safetensors file, name to NumPy array. PyTorch is not needed."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"not a readable .safetensors file ({error}); get it again") from None


def _load_mindspore(model, path, leave_out):
    try:
        saved = ms.load_checkpoint(str(path))
        saved.pop("classes", None)  # names, not weights
    except Exception:  # MindSpore raises a different type for each way a file can be broken
        raise ValueError("not a readable MindSpore checkpoint" + ("; get it or save it again" if path.suffix == ".ckpt"
                         else ", whose name would have to end in .ckpt, nor a .safetensors file")) from None
    parameters = _all_but(leave_out, {p.name: p for p in model.get_parameters()})
    _check_fit(parameters, _all_but(leave_out, saved))
    for name, parameter in parameters.items():
        parameter.set_data(ms.Tensor(saved[name].asnumpy()))


def _all_but(leave_out, named):
    return {name: tensor for name, tensor in named.items() if not name.startswith(leave_out)}


def _check_fit(wanted, found):
    faults = {
        "missing": sorted(wanted.keys() - found.keys()),
        "unexpected": sorted(found.keys() - wanted.keys()),
        "of another shape": [f"{name} {tuple(found[name].shape)} instead of {tuple(wanted[name].shape)}"
                             for name in sorted(wanted.keys() & found.keys())
                             if tuple(found[name].shape) != tuple(wanted[name].shape)],
    }
    told = [f"{len(names)} {fault}: {', '.join(names[:3])}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            for fault, names in faults.items() if names]
    if told and all(name.startswith("head.") for names in faults.values() for name in names):
        told.insert(0, "all but the head fits, which has another number of classes")
    if told:
        raise ValueError(f"{MISFIT}; " + "; ".join(told))
