"""Checkpoints of a run: everything that changes in training, in one .safetensors file each, whole or not at all."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mindspore import Tensor
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..weights import STATE, write_whole, writing
from .errors import RunError

WAY_OUT = "what was saved before is untouched: make room, or choose another output=..., and go on with --resume"


@dataclass
class Progress:
    """Where a run stands: `step` updates of `epoch` are done, and what they have summed up to."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    history: list = field(default_factory=list)


def write_atomically(path, content):
    """Replace a file of a run by `content` (bytes) such that after any failure it is the old one or the new one, whole.

    Raises:
        CannotWrite: a folder that cannot be made or is read-only, a full disk.
    """
    with writing(path, WAY_OUT):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content, WAY_OUT)


class Checkpoints:
    """The last `keep` checkpoints of a run, one .safetensors file each, named by epoch and step.

    Args:
        folder (Path): where they are.
        parameters (sequence of Parameter): everything that changes in training.
        keep (int): how many stay.
    """

    def __init__(self, folder, parameters, keep=2):
        self.folder, self.keep = Path(folder), keep
        self.parameters = {p.name: p for p in parameters}

    def all(self):
        """Paths, oldest first."""
        return sorted(self.folder.glob("epoch-*.safetensors"))

    def save(self, progress, extra, instead_of=None):
        """Write one, and delete those that are too old, or that it stands for.

        Args:
            progress (Progress): where the run stands.
            extra (dict): what `load` hands back.
            instead_of (Path): an earlier one of the same weights.

        Returns:
            its path.

        Raises:
            CannotWrite: as `write_atomically`.
        """
        about = {"progress": json.dumps(asdict(progress)), "extra": json.dumps(extra)}
        content = save({name: p.asnumpy() for name, p in self.parameters.items()}, about)
        path = self.folder / f"epoch-{progress.epoch:04d}-step-{progress.step:06d}.safetensors"
        write_atomically(path, content)
        with writing(path, WAY_OUT):
            for old in [instead_of] if instead_of else self.all()[:-self.keep]:
                old.unlink()
        return path

    def load(self, path):
        """Fill the parameters from a checkpoint, all or none.

        Returns:
            Progress, and the `extra` it was saved with.

        Raises:
            RunError: the file is damaged, belongs to another network or is no checkpoint of a run.
        """
        arrays, about = read_checkpoint(path)
        try:
            progress, extra = Progress(**json.loads(about["progress"])), json.loads(about["extra"])
        except (KeyError, TypeError, ValueError):
            raise RunError(f"{path}: holds no place in a run, so no training saved it; take it out of the folder") \
                from None
        _fill(self.parameters, arrays, path)
        return progress, extra


def _fill(parameters, arrays, path):
    found = {name: array.shape for name, array in arrays.items()}
    wanted = {name: tuple(p.shape) for name, p in parameters.items()}
    if found != wanted:
        differ = [name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)]
        name = min(differ, key=lambda name: (name.startswith(STATE), name))
        raise RunError(f"{path}: belongs to another network or recipe ({name} is {found.get(name, 'missing')} there "
                       f"and {wanted.get(name, 'missing')} here); give the config it was made with")
    for name, parameter in parameters.items():
        parameter.set_data(Tensor(arrays[name]))


def read_checkpoint(path):
    """Arrays by parameter name, and the notes, of one training checkpoint; RunError if it is damaged."""
    try:
        with safe_open(path, "numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    except (SafetensorError, OSError) as fault:
        raise RunError(f"{path}: not a whole checkpoint ({fault}); remove it to go on from the one before") from None
