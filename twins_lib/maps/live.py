"""A page in which a small Twins itself runs: choose or draw a picture, see its classes and exact maps (lesson 07).

    python -m twins_lib.explorer --live cat.png ship.png --model twins_svt_nano --checkpoint best.ckpt
"""

import base64
import html
import json
import re

import numpy as np
from PIL import Image

from ..weights import torch_name
from .explorer import HERE, MEAN, SCRIPT, STD, _data_url

LARGEST = 1_500_000  # weights: 3 MB as halves, and a third more in the page
STYLE = re.search(r"<style>\n(.*?)</style>", (HERE / "explorer.html").read_text(encoding="utf-8"), re.S)[1]
LEAD = ("A {model} of {weights:,} weights runs in this page: nothing you show it leaves your machine. It was trained "
        "on pictures of {grain}×{grain} pixels, so yours is made as small. It knows {count} classes and calls "
        "everything one of them.")


def live_page(model, classes, pictures, title="A vision transformer, alive", size=64, grain=32, mean=MEAN, std=STD,
              home=""):
    """Write a network, its weights and some pictures into one page that needs no server.

    The page holds the weights as float16; `network.js` computes in float32 and double precision.

    Args:
        model (Twins): with a head, of at most 1.5 million weights.
        classes (sequence of str): names of the logits.
        pictures (dict): name to PIL image, to choose among; the first is shown at once.
        title (str): of the page.
        size (int): side of what the network takes, in pixels.
        grain (int): side of the pictures it was trained on, in pixels, before they were enlarged to `size`.
        mean, std (sequence of 3): what the training took off colours in 0..1, and then divided them by.
        home (str): address of a page that this one leads back to; empty for none.

    Returns:
        str, the page.

    Raises:
        ValueError: a network too large or without a head, windows or cells that do not fill the grid at this size,
            another number of classes, no picture, a grain out of its range.
    """
    _check(model, classes, pictures, size, grain)
    samples = [{"name": name, "url": _data_url(np.asarray(small(picture, grain)), True)}
               for name, picture in pictures.items()]
    facts = _facts(model, size, samples=samples, classes=list(classes), grain=grain, mean=list(mean), std=list(std))
    count, v = sum(length for _, length in facts["shapes"]), model.variant
    family = "Twins-SVT" if v.windows else "Twins-PCPVT"
    lead = LEAD.format(model=family, weights=count, grain=grain, count=len(classes))
    home = home and f'<p><a href="{html.escape(home)}">The course: how vision transformers work</a></p>'
    parts = {"home": home, "title": html.escape(title), "lead": lead, "style": STYLE,
             "description": html.escape(f"{title}. {lead}"),
             "facts": json.dumps(facts, ensure_ascii=False).replace("<", "\\u003c"),
             "script": "\n".join([SCRIPT, *(read(name) for name in ("network.js", "live.js"))])}
    return re.sub(r"\{\{(\w+)\}\}", lambda slot: parts[slot[1]], read("live.html"))


def _facts(model, size, **more):
    """What the page's scripts are told: the network's sizes and weights, and more."""
    parameters, v = {torch_name(p.name): p.asnumpy() for p in model.get_parameters()}, model.variant
    halves = np.concatenate([array.astype("<f2").ravel() for array in parameters.values()])
    return {"size": size, "shapes": [[name, array.size] for name, array in parameters.items()],
            "variant": {"dims": v.dims, "heads": v.heads, "depths": v.depths, "sr_ratios": v.sr_ratios,
                        "windows": v.windows, "patch_sizes": v.patch_sizes},
            "weights": base64.b64encode(halves.tobytes()).decode(), **more}


def read(name):
    return (HERE / name).read_text(encoding="utf-8")


def small(picture, side):
    """The middle square of a PIL image, side × side pixels, RGB."""
    middle = min(picture.size)
    left, top = (picture.width - middle) // 2, (picture.height - middle) // 2
    box = (left, top, left + middle, top + middle)
    return picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC, box=box)


def _check(model, classes, pictures, size, grain):
    count = sum(p.size for p in model.get_parameters())
    if model.dense or count > LARGEST:
        raise ValueError(f"a network of {count:,} weights{', without a head' * model.dense}: a page holds one with a "
                         f"head and up to {LARGEST:,}, such as twins_svt_nano")
    if len(classes) != model.head.bias.size:
        raise ValueError(f"{len(classes)} names of classes for a head of {model.head.bias.size}; give one for each")
    if not 1 <= grain <= size:
        raise ValueError(f"grain {grain}: must be 1 to {size}, the side that the network takes")
    if not pictures:
        raise ValueError("no picture; give at least one, which is shown first")
    v = model.variant
    for stage, stride in enumerate(np.cumprod(v.patch_sizes)):
        sides = [v.sr_ratios[stage]] + ([v.windows[stage]] if v.windows else [])
        if size % stride or any(size // stride % side for side in sides):
            raise ValueError(f"size {size}: stage {stage + 1} has no whole number of windows and cells there; "
                             "the page needs a size that all stages divide evenly")
