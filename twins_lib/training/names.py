"""Names of classes: read whatever wrote them, kept with weights, compared before a label counts (lesson 10)."""

import contextlib
import hashlib
import json
import re
import unicodedata

import mindspore as ms
from safetensors import SafetensorError, safe_open

from .errors import ConfigError, RunError

# Of the 1000 wnids of ImageNet's classes, sorted and joined by blanks: the order that the released weights have.
IMAGENET = "791ce0333040dd249d13133f90d28ef0263ffc01e5de0afd85b3e32048d7d456"


def read_text(path):
    """A text file in UTF-8, with or without a byte order mark.

    Raises:
        ConfigError: it is in another encoding, which is named where it can be told, or no text at all.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
        if "\0" not in text:
            return text
    except UnicodeDecodeError:
        pass
    likely = _encoding(content)
    raise ConfigError(f"{path}: " + (
        f"not UTF-8 but probably {likely}; save it as UTF-8 (iconv -f {likely} -t UTF-8 OLD > NEW)" if likely else
        "not a text file; give one in UTF-8"))


def _encoding(content):
    """What bytes that are not UTF-8 look like, as iconv calls it, or None.

    In GBK most Chinese characters are two high bytes; in CP1252 high bytes are accented letters, which stand alone.
    """
    if content.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content and b"\0\0" not in content:
        return "UTF-16"
    pairs = re.findall(rb"[\x81-\xfe][\x40-\xfe]", content)
    for name, likely in (("GBK", 2 * sum(pair[1] > 0xa0 for pair in pairs) > len(pairs)), ("CP1252", True)):
        with contextlib.suppress(UnicodeDecodeError):
            if content.decode(name).replace("\r\n", "\n").replace("\n", "").replace("\t", "").isprintable() and likely:
                return name


def composed(name):
    """The name with its accents composed (NFC): some systems store "é" as one sign, some as "e" and an accent."""
    return unicodedata.normalize("NFC", name)


def names_kept_with(path):
    """The class names in a checkpoint of a run, last or best, in the order of their labels; None if it has none."""
    try:
        with safe_open(path, "numpy") as file:
            return json.loads((file.metadata() or {}).get("extra", "{}")).get("classes")
    except (SafetensorError, OSError, ValueError):
        pass
    try:
        return json.loads(ms.load_checkpoint(str(path)).get("classes", "null"))
    except Exception:  # what cannot be read is told by whoever loads the weights
        return None


def check_names(path, names, folder):
    """Whether the classes of a checkpoint are those of a folder, in this order.

    Args:
        path (str or Path): the checkpoint.
        names (list of str): the classes of the folder, in the order of their labels.
        folder (str or Path): where they were read.

    Returns:
        What must be told: "" where the names are the same.

    Raises:
        RunError: the names differ, so labels would be exchanged.
    """
    kept = names_kept_with(path)
    if kept is None:
        return _unchecked(path, names, folder)
    if kept == names:
        return ""
    there, here = ([one for one in a if one not in b] for a, b in ((kept, names), (names, kept)))
    label = next((k for k, (one, other) in enumerate(zip(kept, names)) if one != other), min(len(kept), len(names)))
    differ = [f"only {where}: {some(ones)}" for where, ones in (("there", there), (f"in {folder}", here)) if ones]
    raise RunError(f"{path}: was trained for {len(kept)} classes and {folder} has {len(names)}, and label {label} does "
                   f"not mean the same ({'; '.join(differ) or f'{kept[label]!r} there, {names[label]!r} here'}); give "
                   "the classes of the training, under its names and in its order")


def _unchecked(path, names, folder):
    told = f"{path}: holds no class names, so whether its labels mean the classes of {folder} could not be checked"
    if len(names) == 1000:
        if hashlib.sha256(" ".join(names).encode("utf-8", "surrogateescape")).hexdigest() == IMAGENET:
            return ""
        told += ("; the labels of the released weights are ImageNet's wnids, sorted (n01440764, n01443537, ...), but "
                 f"the classes here are others ({some(names)}): with released weights every score would be wrong")
    return told


def some(names, most=5):
    """A list of names for a sentence."""
    return ", ".join(map(repr, names[:most])) + f" and {len(names) - most} more" * (len(names) > most)
