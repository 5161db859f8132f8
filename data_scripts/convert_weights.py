#!/usr/bin/env python3
"""Turn a released PyTorch checkpoint of Twins into a MindSpore checkpoint.

FILE is timm's .safetensors (PyTorch is not needed), a checkpoint of a run here (epoch-*.safetensors) or what PyTorch
wrote, .pth, .pt, .bin or .pth.tar (PyTorch is needed; it reads tensors and plain values only, so a file that carries
code is refused). Tensors are also found under state_dict_ema, model_ema, state_dict or model, in this order, and with
"module." before their names. All must fit or nothing is written. Beside the checkpoint comes a card, .json: what was
converted from what, and how every renamed tensor was called.

    python data_scripts/convert_weights.py model.safetensors twins_svt_small.ckpt

Released files:
    model               timm, huggingface.co   timm, GitHub release v0.1-vt3p-weights   official, Google Drive
    twins_pcpvt_small   timm/{model}.in1k      twins_pcpvt_small-e70e7e7a.pth           pcpvt_small.pth
    twins_pcpvt_base    timm/{model}.in1k      twins_pcpvt_base-e5ecb09b.pth            pcpvt_base.pth
    twins_pcpvt_large   timm/{model}.in1k      twins_pcpvt_large-d273f802.pth           pcpvt_large.pth
    twins_svt_small     timm/{model}.in1k      twins_svt_small-42e5f78c.pth             alt_gvt_small.pth
    twins_svt_base      timm/{model}.in1k      twins_svt_base-c2265010.pth              alt_gvt_base.pth
    twins_svt_large     timm/{model}.in1k      twins_svt_large-90f6aaa9.pth             alt_gvt_large.pth
The official links stand in the README of https://github.com/Meituan-AutoML/Twins, the releases at
https://github.com/huggingface/pytorch-image-models. This script was tried on files that timm's networks and the
tests wrote, in the same names and shapes; the released files themselves have not been downloaded for it.
"""

import argparse
import hashlib
import pathlib
import pickle
import re
import shlex
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from twins_lib import VARIANTS, create_model, load_torch_state, save_weights  # noqa: E402
from twins_lib.training.errors import run  # noqa: E402
from twins_lib.training.names import names_kept_with  # noqa: E402
from twins_lib.weights import CannotWrite, kind_of, place, read_safetensors, torch_name, unwrapped, writing  # noqa: E402

PLACES = ("state_dict_ema", "model_ema", "state_dict", "model")  # where trainings put weights; averages come first


def read(path):
    """The tensors of a file, name to NumPy array, and where in the file they are, "" for at its top.

    Raises:
        ValueError: the file cannot be read, is no checkpoint of PyTorch's tensors, or carries code.
    """
    kind = kind_of(path)
    if kind == "safetensors":
        return unwrapped(read_safetensors(path)), ""
    if kind == "MindSpore":
        raise ValueError("neither .safetensors nor a file of PyTorch; a MindSpore .ckpt needs no conversion")
    return read_pth(path)


def read_pth(path):
    """As `read`, for a file that PyTorch wrote (.pth, .pt, .bin, .pth.tar).

    Raises:
        ValueError: PyTorch is missing, or the file is damaged, carries code or holds something else.
    """
    try:
        import torch
    except ImportError:
        raise ValueError("reading a .pth needs PyTorch: pip install torch, or take timm's .safetensors") from None
    try:
        with torch.serialization.safe_globals(values()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as fault:
        code = re.search(r"GLOBAL (\S+)", str(fault))
        raise ValueError(f"refused, it carries code ({code[1]}) beside or instead of tensors; where you trust it, save "
                         "the tensors alone: torch.save(model.state_dict(), ...)" if code else
                         "not a whole file of PyTorch; get it again") from None
    except (RuntimeError, EOFError, OSError, KeyError, ValueError):
        raise ValueError("not a readable .pth file; get it again") from None
    place, state = tensors_in(content, torch.Tensor)
    numbers = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    return unwrapped({name: tensor.numpy() for name, tensor in numbers.items()}), place


def values():
    """What trainings keep beside the tensors, all of them values and nothing that acts: arguments, NumPy's numbers."""
    scalar = np.core.multiarray.scalar
    kinds = {type(np.dtype(kind)) for kind in np.sctypeDict.values() if kind is not np.object_}
    return [argparse.Namespace, pathlib.PosixPath, np.dtype, *kinds,
            (scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar")]


def tensors_in(content, kind, place=""):
    """Where in a file the tensors are, and they, by name; averaged ones, if the training kept an average.

    Raises:
        ValueError: there is no dict of tensors at the top or under a name that trainings give it (PLACES).
    """
    if isinstance(content, dict):
        if content and all(isinstance(value, kind) for value in content.values()):
            return place, content
        for name in PLACES:
            if isinstance(content.get(name), dict):
                return tensors_in(content[name], kind, f"{place}/{name}".strip("/"))
    raise ValueError(f"holds no dict of tensors, neither at the top nor under {', '.join(PLACES)}; "
                     "is it a Twins checkpoint?")


def recognise(state):
    """The name of the Twins variant that tensors belong to.

    Args:
        state (dict): official tensor name to array.

    Raises:
        ValueError: the tensors are those of no variant.
    """
    dims = tuple(state[f"patch_embeds.{k}.proj.weight"].shape[0] for k in range(4)
                 if f"patch_embeds.{k}.proj.weight" in state)
    blocks = {match.groups() for name in state if (match := re.match(r"blocks\.(\d+)\.(\d+)\.", name))}
    depths = tuple(sum(stage == str(k) for stage, _ in blocks) for k in range(4))
    windowed = "blocks.0.0.attn.qkv.weight" in state
    for name, variant in VARIANTS.items():
        if (dims, depths, windowed) == (variant.dims, variant.depths, variant.windows is not None):
            return name
    raise ValueError(f"no Twins has tokens of length {dims} and {depths} blocks; name it with --model if it is one")


def convert(source, output, name=None):
    """Write the MindSpore checkpoint and its card.

    Args:
        source (Path): a file of PyTorch's tensors, or a checkpoint of a run; its content decides, not its name.
        output (Path): the .ckpt to write; what is there is replaced.
        name (str): a key of `VARIANTS`; by default recognised.

    Returns:
        The card, a dict.

    Raises:
        ValueError: the file is refused, or is not the checkpoint of this Twins; nothing is written.
        CannotWrite: the place is read-only, full or below a file.
    """
    state, place = read(source)
    name = name or recognise(state)
    head, pixels = state.get("head.weight"), state.get("patch_embeds.0.proj.weight")
    model = create_model(name, 1000 if head is None else head.shape[0], 3 if pixels is None else pixels.shape[1])
    load_torch_state(model, state)
    parameters = list(model.get_parameters())
    card = {
        "model": name,
        "num_classes": model.head.weight.shape[0],
        "in_channels": model.in_channels,
        "tensors": len(parameters),
        "parameters": sum(p.size for p in parameters),
        "source": source.name,
        "taken_from": place,
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "command": shlex.join(["python", "data_scripts/convert_weights.py", source.name, output.name, "--model", name]),
        "renamed": {torch_name(p.name): p.name for p in parameters if torch_name(p.name) != p.name},
    }
    if names := names_kept_with(source):  # of a run
        card["classes"] = names
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
    save_weights(model, output, card)
    return card


def main(arguments=None):
    """Parse the command line, convert, and say what was mapped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=place, help="checkpoint with PyTorch's tensors, or of a run")
    parser.add_argument("output", type=place, nargs="?",
                        help="MindSpore checkpoint to write (default: FILE with .ckpt)")
    parser.add_argument("--model", choices=VARIANTS, help="which Twins it is (default: recognised by its tensors)")
    parser.add_argument("--force", action="store_true", help="replace an output that exists")
    args = parser.parse_args(arguments)
    source, output = args.file, args.output or Path(str(args.file).removesuffix(".tar")).with_suffix(".ckpt")
    if not source.is_file():
        sys.exit(f"{source}: no such file; --help lists the released ones")
    if output.suffix != ".ckpt":
        sys.exit(f"{output}: the output's name must end in .ckpt")
    if output == source:
        sys.exit(f"{source}: give the output another name")
    for path in (output, output.with_suffix(".json")):
        if path.exists() and not args.force:
            sys.exit(f"{path}: exists; give another output, or --force to replace it")
    try:
        card = convert(source, output, args.model)
    except CannotWrite as error:
        sys.exit(str(error))
    except ValueError as error:
        sys.exit(f"{source}: {error}")
    print(f"{source}: {card['model']}, {card['tensors']} tensors, {card['parameters']:,} parameters, "
          f"{card['num_classes']} classes")
    if card["taken_from"]:
        print(f"  taken from {card['taken_from']!r} in the file")
    renamed = card["renamed"]
    old, new = next(iter(renamed.items()))
    print(f"  {card['tensors'] - len(renamed)} tensors keep their name, {len(renamed)} of LayerNorms are renamed: "
          f"weight -> gamma, bias -> beta ({old} -> {new}, ...)")
    print(f"  sha256 {card['source_sha256']}")
    print(f"{output}: written, with its card {output.with_suffix('.json').name}")


if __name__ == "__main__":
    run(main)
