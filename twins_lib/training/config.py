"""The settings of a run: dataclasses are the schema, a YAML file and `key=value` words fill them (lesson 10).

Every fault is one sentence: the place, the key, the rule it broke and, for a misspelt key, the nearest right one.
"""

import difflib
import os
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import Path

import yaml

from ..model import VARIANTS
from .errors import ConfigError
from .masks import MaskAugmentation
from .names import read_text
from .rules import above, at_least, location, one_of, setting, share
from .transforms import Augmentation

SHIPPED = Path(__file__).parent / "configs"


# ------------------------------------------------------------------------------------------------------ schema

@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every training run needs, whatever its task.

    Attributes:
        output: folder of the run: config.yaml, log.jsonl, curve.png, best.ckpt, checkpoints/.
        epochs: passes over the training images.
        batch_size: images of one optimizer update, over all processes and accumulation steps together.
        accumulate: forward and backward passes that an update is split into.
        peak_lr, warmup_epochs, warmup_lr, min_lr: of `recipe.learning_rates`.
        weight_decay, eps: of `recipe.AdamW`.
        clip_norm: greatest global norm of the gradients.
        ema: share of the old that an average of the weights keeps in each update; evaluation and best.ckpt then use the
            average. 0 for none, as in the official recipe.
        seed: of the weights, the order of the images and every random draw.
        device: "CPU" or "Ascend".
        precision: "O0", all float32, or "O2", float16 except norms and loss, with loss scaling.
        mode: "graph" compiles the train step, "pynative" runs it operator by operator.
        workers: processes of one rank that read images.
        keep: how many of the last checkpoints stay.
        save_steps: updates between checkpoints within an epoch; 0 saves at the end of epochs only.
    """

    output: str = location()
    epochs: int = at_least(1, 300)
    batch_size: int = at_least(1, 1024)
    accumulate: int = at_least(1, 1)
    peak_lr: float = above(0, 1e-3)
    warmup_epochs: int = at_least(0, 5)
    warmup_lr: float = at_least(0, 1e-6)
    min_lr: float = at_least(0, 1e-5)
    weight_decay: float = at_least(0, 0.05)
    eps: float = above(0, 1e-8)
    clip_norm: float = above(0, 5.0)
    ema: float = share(0.0)
    seed: int = setting(0, lambda value: 0 <= value < 2 ** 32, "must be 0 to 4294967295, a number of 32 bits")
    device: str = one_of(("CPU", "Ascend"), "Ascend")
    precision: str = one_of(("O0", "O2"), "O2")
    mode: str = one_of(("graph", "pynative"), "graph")
    workers: int = at_least(1, 8)
    keep: int = at_least(1, 2)
    save_steps: int = at_least(0, 0)

    def local_batch(self, world):
        """Images of one forward pass of one of `world` processes.

        Raises:
            ConfigError: the batch cannot be shared out evenly, in pairs (mixup and CutMix mix pairs of images).
        """
        shares = world * self.accumulate
        if self.batch_size % (2 * shares):
            raise ConfigError(f"batch_size {self.batch_size}: must be a multiple of {2 * shares}, twice the "
                              f"{world} processes times accumulate {self.accumulate}")
        return self.batch_size // shares


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Classification of an image folder.

    Attributes:
        task: "classification".
        model: a name in `twins_lib.VARIANTS`.
        drop_path: stochastic depth of the last block.
        data: folder that holds train/<class>/ and val/<class>/.
        image_size: side of the images the network sees, in pixels.
        crop_pct: share of the resized image that evaluation keeps.
        augmentation: what training does to the images.
    """

    task: str = one_of(("classification",), "classification")
    model: str = one_of(VARIANTS)
    drop_path: float = share(0.0)
    data: str = location()
    image_size: int = setting(224, lambda side: side > 0 and side % 4 == 0, "must be a multiple of 4, the patch size")
    crop_pct: float = setting(0.875, lambda value: 0 < value <= 1, "must be above 0 and at most 1")
    augmentation: Augmentation = Augmentation()


@dataclass(frozen=True, kw_only=True)
class SegmentationConfig(RunConfig):
    """A class for each pixel, learned from a folder of images and masks.

    Attributes:
        task: "segmentation".
        model: a name in `twins_lib.VARIANTS`.
        backbone: classification checkpoint that the backbone starts from; empty for fresh weights.
        drop_path: stochastic depth of the last block.
        channels, head_channels: of `segmentation.SemanticFPNHead`.
        data: folder of the layout of `masks.MaskFolder`.
        reduce_zero_label: label 0 does not count and 1 is the first class, as in ADE20K.
        image_size: side of the training crops and shorter side of the whole images of the evaluation, in pixels.
        augmentation: what training does to the images and masks.
    """

    task: str = one_of(("segmentation",))
    model: str = one_of(VARIANTS)
    backbone: str = location("")
    drop_path: float = share(0.0)
    channels: int = at_least(1, 256)
    head_channels: int = setting(128, lambda value: value > 0 and value % 4 == 0, "must be a multiple of 4")
    data: str = location()
    reduce_zero_label: bool = False
    image_size: int = at_least(1, 512)
    augmentation: MaskAugmentation = MaskAugmentation()


TASKS = {"classification": Config, "segmentation": SegmentationConfig}


# ----------------------------------------------------------------------------------------------------- reading

def load_config(source, overrides=(), schema=None):
    """Read a YAML file, apply `key=value` words and check the result.

    Args:
        source (str or Path): a file, or the bare name of one in twins_lib/training/configs, such as "twins_svt_small".
        overrides (sequence of str): "key=value", the value literally; keys of a section are written "section.key".
        schema (type): the dataclass to fill; None for the one of the key `task`, classification without it.

    Returns:
        A `schema`.

    Raises:
        ConfigError: no such file, or a key or value in it that cannot be.
    """
    path = _find(source)
    given = _flatten(_compose(read_text(path), path), path)
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals:
            raise ConfigError(f"{word!r} on the command line: must be key=value")
        # A word is taken as it stands: what of YAML's signs is in it, the shell has left there.
        given[key] = yaml.ScalarNode("tag:yaml.org,2002:str", text), f"{word!r} on the command line"
    return _fill(schema or _schema(given), given, path)


def as_yaml(config):
    """All settings, defaults included, as YAML that `load_config` reads back to the same."""
    plain = {key: {k: list(v) if isinstance(v, tuple) else v for k, v in value.items()} if isinstance(value, dict)
             else value for key, value in asdict(config).items()}
    return yaml.safe_dump(plain, sort_keys=False)


def changes(before, now):
    """What differs between two configs of the same kind: {"section.key": (before, now)}."""
    def values(config, prefix=""):
        for f in fields(config):
            value = getattr(config, f.name)
            yield from values(value, f"{prefix}{f.name}.") if is_dataclass(value) else [(prefix + f.name, value)]

    return {key: (old, new) for (key, old), (_, new) in zip(values(before), values(now)) if old != new}


def _schema(given):
    node, place = given.get("task", (None, ""))
    task = "classification" if node is None else node.value
    if task not in TASKS:
        raise ConfigError(f"{place}: task is {task!r}; must be one of {', '.join(TASKS)}")
    return TASKS[task]


def _find(source):
    path = Path(os.path.expanduser(source))
    if path.is_file():
        return path
    shipped = {file.stem: file for file in sorted(SHIPPED.glob("*.yaml"))}
    if str(source) in shipped:
        return shipped[str(source)]
    raise ConfigError(f"config {source}: no such file, and none of the shipped ones: {', '.join(shipped)}")


def _compose(text, place):
    """YAML text as a node, which still knows its line."""
    try:
        return yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{place}{line}: not YAML ({getattr(fault, 'problem', None) or 'unreadable'}); "
                          "write one key: value a line, and quotes around a value with a sign of YAML's in it, "
                          "such as 'a: b'") from None


def _flatten(node, path, prefix=""):
    """A mapping as {"section.key": (value node, place)}."""
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path}: must hold key: value lines")
    found = {}
    for key_node, value in node.value:
        key, place = prefix + str(key_node.value), f"{path}, line {key_node.start_mark.line + 1}"
        if key in found:
            raise ConfigError(f"{place}: {key} is given twice; remove one")
        if isinstance(value, yaml.MappingNode):
            found.update(_flatten(value, path, key + "."))
        else:
            found[key] = value, place
    return found


def _fill(schema, given, path):
    known = dict(_leaves(schema))
    for key, (_, place) in given.items():
        if key not in known:
            near = _nearest(key, known)
            raise ConfigError(f"{place}: unknown key {key!r}" + (f"; did you mean {near!r}?" if near else
                                                                 f"; there are {', '.join(known)}"))
    values = {key: _value(known[key], key, *given[key]) for key in given}
    return _build(schema, values, path)


def _nearest(key, known):
    """The known key most like `key`; one that was written without its section counts as well."""
    by_last = {name.rpartition(".")[2]: name for name in known}
    near = difflib.get_close_matches(key, known, 1) or difflib.get_close_matches(key.rpartition(".")[2], by_last, 1)
    return by_last.get(near[0], near[0]) if near else None


def _leaves(schema, prefix=""):
    for f in fields(schema):
        if is_dataclass(f.type):
            yield from _leaves(f.type, f"{prefix}{f.name}.")
        else:
            yield prefix + f.name, f


def _build(schema, values, path, prefix=""):
    arguments = {}
    for f in fields(schema):
        key = prefix + f.name
        if is_dataclass(f.type):
            arguments[f.name] = _build(f.type, values, path, key + ".")
        elif key in values:
            arguments[f.name] = values[key]
        elif f.default is MISSING:
            raise ConfigError(f"{path}: {key} is missing; add a line {key}: ...")
    return schema(**arguments)


def _value(f, key, node, place):
    value = _typed(f, node)
    if value is None:
        written = node.value if isinstance(node, yaml.ScalarNode) else "this list" if node else "nothing"
        raise ConfigError(f"{place}: {key} is {written!r}; must be {TYPES[f.type]}")
    holds = f.metadata.get("holds")
    if holds and not holds(value):
        near = difflib.get_close_matches(str(value), f.metadata["choices"], 1)
        written = list(value) if isinstance(value, tuple) else repr(value)
        raise ConfigError(f"{place}: {key} is {written}; {f.metadata['says']}"
                          + (f"; did you mean {near[0]!r}?" if near else ""))
    return value


TYPES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", tuple: "a list of two numbers"}


def _typed(f, node):
    """The value of a node in the type of its field, or None."""
    if f.type is tuple and isinstance(node, yaml.ScalarNode):  # of the command line, or in quotes
        node = _compose(node.value, f.name)
    if f.type is tuple:
        numbers = [_number(item, float) for item in node.value] if isinstance(node, yaml.SequenceNode) else [None]
        return None if None in numbers or len(numbers) != len(f.default) else tuple(numbers)
    if not isinstance(node, yaml.ScalarNode):
        return None
    if f.type is str:
        return None if node.tag.endswith(":null") else f.metadata.get("read", str)(node.value)
    if f.type is bool:
        return {"true": True, "false": False}.get(node.value.lower())
    return _number(node, f.type)


def _number(node, kind):
    """`kind` of what is written. YAML takes 1e-8 for text (it wants 1.0e-8); here it is the number it looks like."""
    try:
        value = kind(node.value)
    except (TypeError, ValueError):
        return None
    return value if abs(value) < float("inf") else None
