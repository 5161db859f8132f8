"""Click a patch and see where it looks: a view of the attention maps that needs no kernel and no internet (lesson 07).

    python -m twins_lib.explorer photo.jpg --model twins_svt_small --checkpoint svt_small.safetensors --size 224
"""

import base64
import hashlib
import html
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ..weights import write_whole
from .attention import attention_maps
from .figures import as_picture, overlay

HERE = Path(__file__).parent
SCRIPT = (HERE / "explorer.js").read_text(encoding="utf-8")
TEMPLATE = (HERE / "explorer.html").read_text(encoding="utf-8").replace("{{script}}", SCRIPT)
DIGITS = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8)
LARGEST = 8_000_000  # characters: beyond this a browser gets slow
SMALL_PICTURE = 128  # pixels: up to here exact (PNG), above it JPEG
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as in the official training
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>:root {{ color-scheme: light dark; }} body {{ margin: 1.5rem auto; max-width: 62rem; padding: 0 1rem; }}</style>
</head>
<body><main>
{body}</main></body>
</html>
"""


STILL = """<p class="twx-title"><strong>{title}</strong></p>
<div class="twx-stills">
{figures}
</div>
<p class="twx-quiet">Scripts are blocked here, so these are still pictures.
In a notebook, run the cell to explore them; elsewhere, allow scripts.</p>"""


class Explorer:
    """A view made by `explorer`: the last line of a notebook cell shows it, `save` writes it as a page."""

    def __init__(self, title, fragment):
        self.title, self.fragment = title, fragment

    def _repr_html_(self):
        return self.fragment

    def __repr__(self):
        return f"Explorer: {self.title}"

    def save(self, path):
        """Write a page that holds everything it needs, whole or not at all.

        Args:
            path (str or Path): of the .html file.

        Raises:
            CannotWrite: the place is read-only, full or no folder.
        """
        write_whole(path, PAGE.format(title=html.escape(self.title), body=self.fragment).encode())


def explorer(model, image, blocks=None, picture=None, title="Where does a patch look?", head=None):
    """Make the view for one image: click a patch, or move it with the arrow keys, and choose block and head.

    Each weight is kept as one of 64 shares of the highest of its row, one character each, so a block takes
    h·N·K characters: for a 28×28 grid of 49 keys 38 kB a head. Without scripts it is a still picture with alt text.

    Args:
        model (Twins): any of them.
        image (Tensor): (1, in_channels, H, W), prepared as the model takes it.
        blocks (sequence): pairs (stage, block) from 0, to choose among; None for all.
        picture (ndarray): uint8 (H, W, 3) to show; None makes it from `image`.
        title (str): what the view is called.
        head (int): shown first, from 0; None for the mean of the heads.

    Returns:
        An `Explorer`.

    Raises:
        ValueError: a block or head that does not exist, a picture of another size than the image,
            a network gone to NaN, or a view too large for a browser.
    """
    picture = as_picture(image) if picture is None else np.asarray(picture)
    if picture.shape != (*image.shape[2:], 3) or picture.dtype != np.uint8:
        raise ValueError(f"picture of shape {picture.shape}, {picture.dtype}: must be uint8 of shape "
                         f"({image.shape[2]}, {image.shape[3]}, 3), as the image")
    kept, stills = _kept(attention_maps(model, image, blocks), picture, head)
    data = {"title": title, "picture": _data_url(picture, _is_small(picture)),
            "height": picture.shape[0], "width": picture.shape[1],
            "head": -1 if head is None else head, "blocks": kept}
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")  # no "</script>" in a title
    still = STILL.format(title=html.escape(title), figures="\n".join(stills.values()))
    identity = "twx-" + hashlib.sha1((text + still).encode()).hexdigest()[:10]
    return Explorer(title, TEMPLATE.replace("{{id}}", identity).replace("{{still}}", still).replace("{{data}}", text))


def _kept(maps, picture, head):
    """Every map as the page keeps it, and a still picture of each kind; ValueError for what cannot be shown."""
    kept, stills, length = [], {}, 0
    for m in maps:
        if not kept and head is not None and not 0 <= head < len(m.rows):
            raise ValueError(f"head {head} does not exist: {m.name} has heads 0 to {len(m.rows) - 1}")
        if not np.isfinite(m.rows).all():
            raise ValueError(f"{m.name}: weights that are not numbers; the training of this network has diverged")
        length += m.rows.size
        if length > LARGEST:
            raise ValueError(f"the view would be larger than {LARGEST // 10**6} MB: "
                             "choose fewer blocks, such as the two of a stage, or a smaller image")
        kept.append(_packed(m))
        stills.setdefault(m.kind, _still(m, picture, head))
    return kept, stills


def _packed(m):
    """A map as the page keeps it: for each head and row its highest weight (two digits), then all as 64ths of it."""
    peaks = m.rows.max(-1, keepdims=True)
    levels = np.rint(63 * m.rows / peaks).astype(int)
    peaks = np.rint(4095 * peaks).astype(int)
    return {"name": m.name, "stage": m.stage + 1, "number": m.block + 1, "kind": m.kind, "rows": m.size[0],
            "columns": m.size[1], "side": m.side, "stride": m.stride, "keys": m.rows.shape[2],
            "levels": [_digits(head) for head in levels],
            "peaks": [_digits(np.concatenate([head // 64, head % 64], -1)) for head in peaks]}


def _digits(numbers):
    return DIGITS[numbers].tobytes().decode()


def _still(m, picture, head):
    """The map of the patch in the middle, as a figure in HTML with alt text."""
    row, column = m.size[0] // 2, m.size[1] // 2
    query = row * m.size[1] + column
    grid, weights = m.on_grid(query), m.weights_of(query)
    grid, weights = (grid.mean(0), weights.mean(0)) if head is None else (grid[head], weights[head])
    top, bottom, left, right = m.footprints[weights.argmax()]
    seen = (f"row {top}, column {left}" if m.cell == 1
            else f"rows {top} to {bottom - 1}, columns {left} to {right - 1}")
    who = "mean of the heads" if head is None else f"head {head}"
    alt = (f"{m.name}, {who}: the patch in row {row}, column {column} of {m.size[0]}×{m.size[1]} "
           f"looks most at {seen} ({weights.max():.0%}).")
    enlarged = max(1, 256 // picture.shape[1])
    shown = Image.fromarray(overlay(picture, grid).repeat(enlarged, 0).repeat(enlarged, 1))
    side = m.stride * enlarged
    ImageDraw.Draw(shown).rectangle((column * side, row * side, (column + 1) * side - 1, (row + 1) * side - 1),
                                    outline="white", width=2)
    url = _data_url(np.asarray(shown), _is_small(picture))
    return f'<figure><img src="{url}" width="272" alt="{alt}"><figcaption>{alt}</figcaption></figure>'


def _is_small(picture):
    return max(picture.shape[:2]) <= SMALL_PICTURE


def _data_url(pixels, exact):
    file, image = io.BytesIO(), Image.fromarray(pixels)
    if exact:
        kind = "png"
        image.save(file, "PNG", optimize=True)
    else:
        kind = "jpeg"
        image.save(file, "JPEG", quality=88)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
