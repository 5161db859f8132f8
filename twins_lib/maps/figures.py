"""Attention maps for print: heads, stages, depth, and LSA against GSA (lesson 07).

Every function returns a matplotlib Figure whose title says what the numbers show. Titles count as all lessons do:
stages and blocks from 1, as the paper; heads, tokens, rows and columns from 0, as their arrays. A picture is the uint8
array (H, W, 3) that the network saw.
"""

import numpy as np

from .attention import compose, entropy, mean_distance

try:
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
except ModuleNotFoundError:
    raise ImportError("figures of attention need matplotlib; run: pip install matplotlib") from None

STYLE = {"LSA": ("#0072B2", "o"), "GSA": ("#D55E00", "s")}
LUMINANCE = np.array([0.299, 0.587, 0.114])


def as_picture(image):
    """A network's input (1, channels, H, W) as something to look at, uint8 (H, W, 3): darkest 0, brightest 255."""
    pixels = image.asnumpy()[0].transpose(1, 2, 0).astype(np.float64)
    pixels = (pixels - pixels.min()) / max(np.ptp(pixels), 1e-12)
    if pixels.shape[2] != 3:
        pixels = pixels.mean(2, keepdims=True).repeat(3, 2)
    return np.rint(255 * pixels).astype(np.uint8)


def overlay(picture, grid):
    """Lay a map over a picture, dimmed and grey, in the colours of cividis.

    Args:
        picture (ndarray): uint8 (H, W, 3).
        grid (ndarray): weights (rows, columns) of the token grid. The highest is brightest; 0 leaves the picture bare.

    Returns:
        uint8 (H, W, 3).
    """
    stride = picture.shape[0] // grid.shape[0]
    tokens = grid.repeat(stride, 0).repeat(stride, 1) / max(grid.max(), 1e-12)
    share = np.zeros(picture.shape[:2])
    share[: len(tokens), : tokens.shape[1]] = tokens
    colours = 255 * colormaps["cividis"](share)[..., :3]
    alpha = np.where(share > 0, 0.3 + 0.6 * share, 0)[..., None]
    return np.rint(alpha * colours + (1 - alpha) * 0.6 * (picture @ LUMINANCE)[..., None]).astype(np.uint8)


def heads_figure(attention_map, picture, queries):
    """Where each head looks: one row a query, one column a head.

    Args:
        attention_map (AttentionMap): of one block, with rows for the queries.
        picture (ndarray): uint8 (H, W, 3).
        queries (sequence of int): tokens.

    Returns:
        Figure.
    """
    m = attention_map
    finding = (f"no head looks outside the query's {m.side}×{m.side} window" if m.kind == "LSA"
               else f"every head reaches all {m.num_keys} keys ({m.cell}×{m.cell} tokens each)")
    figure, panels = _panels(len(queries), len(m.rows), picture, f"{m.name}:\n{finding}")
    for row, query in zip(panels, queries):
        for head, (axes, grid, weights) in enumerate(zip(row, m.on_grid(query), m.weights_of(query))):
            _draw(axes, m, picture, grid, query)
            axes.set_title(f"head {head}: {_scale(weights)}", fontsize=8, loc="center")
        row[0].set_ylabel(_place(query, m), fontsize=8)
    return figure


def stages_figure(maps, picture, pixel):
    """One place in the image, block by block through the stages (mean of the heads).

    Args:
        maps (iterable of AttentionMap): of one image; `attention_maps` makes them.
        picture (ndarray): uint8 (H, W, 3).
        pixel (tuple): (row, column) in the image; in each stage the token that holds it asks.

    Returns:
        Figure, one row a stage.
    """
    stages = {}
    for m in maps:
        stages.setdefault(m.stage, []).append(m)
    windows = [m.side * m.stride for row in stages.values() for m in row if m.kind == "LSA"]
    local = f"LSA stays in windows of {min(windows)} to {max(windows)} pixels, " if windows else ""
    figure, panels = _panels(len(stages), max(map(len, stages.values())), picture,
                             f"One place, block by block:\n{local}GSA spans the image")
    for row, stage in zip(panels, stages.values()):
        for axes, m in zip(row, stage):
            query = pixel[0] // m.stride * m.size[1] + pixel[1] // m.stride
            _draw(axes, m, picture, m.on_grid(query).mean(0), query)
            scale = _scale(m.weights_of(query).mean(0))
            axes.set_title(f"{m.stage + 1}.{m.block + 1} ({m.kind})\n{scale}", fontsize=8, loc="center")
        for axes in row[len(stage):]:
            axes.set_visible(False)
        row[0].set_ylabel("Stage {}\n{}×{} tokens".format(stage[0].stage + 1, *stage[0].size), fontsize=8)
    return figure


def depth_figure(maps):
    """How widely and how far the heads look, by depth.

    Args:
        maps (iterable of AttentionMap): of one image; `attention_maps` makes them.

    Returns:
        Figure with two panels: the number of keys in use (the exponential of the entropy, as a share of all
        keys of the row) and the mean distance in pixels. One mark is one head, its mean over the queries.
        The title tells how many blocks are close to a mean of their keys, and which block chooses most.
    """
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    axes_used, axes_far = figure.subplots(1, 2)
    names, least, labelled = [], [], set()
    for x, m in enumerate(maps):
        names.append(f"{m.stage + 1}.{m.block + 1}")
        used = np.exp(entropy(m)).mean(1) / m.rows.shape[2]
        distance = mean_distance(m).mean(1)
        colour, marker = STYLE[m.kind]
        label = None if m.kind in labelled else m.kind
        labelled.add(m.kind)
        least.append(used.min())
        for axes, values in ((axes_used, used), (axes_far, distance)):
            axes.plot(np.full(len(values), x), values, marker, color=colour, alpha=0.6, markeredgewidth=0, label=label)
    axes_used.set(ylim=(0, 1.05), ylabel="keys in use, share of all")
    axes_far.set(ylim=(0, None), ylabel="mean distance, pixels")
    for axes in (axes_used, axes_far):
        axes.set_xticks(range(len(names)), names, rotation=90 if len(names) > 10 else 0)
        axes.set_xlabel("stage.block")
        axes.spines[["top", "right"]].set_visible(False)
    axes_far.legend(frameon=False)
    even = sum(share > 0.9 for share in least)
    figure.suptitle(f"{even} of {len(least)} blocks use over 90% of their keys in every head: close to a mean.\n"
                    f"Block {names[np.argmin(least)]} chooses most: a head uses {min(least):.0%}",
                    x=0.01, ha="left", fontsize=11)
    return figure


def pair_figure(lsa, gsa, picture, query):
    """LSA, the GSA after it, and the two together, for one token (mean of the heads).

    Args:
        lsa, gsa (AttentionMap): of two blocks of one stage, with rows for all tokens.
        picture (ndarray): uint8 (H, W, 3).
        query (int): the token.

    Returns:
        Figure with three panels.
    """
    both = compose([lsa, gsa], [query])[0]
    N = both.size
    figure, ((left, middle, right),) = _panels(
        1, 3, picture, f"LSA sees {(lsa.weights_of(query) > 0).any(0).sum()} of {N} tokens, GSA {gsa.num_keys} keys;\n"
        f"one after the other they reach {(both > 0).sum()} of {N} tokens", inches=2.4)
    _draw(left, lsa, picture, lsa.on_grid(query).mean(0), query)
    _draw(middle, gsa, picture, gsa.on_grid(query).mean(0), query)
    _draw(right, gsa, picture, both.reshape(gsa.size), query)
    left.set_title(f"LSA: one window\n{_scale(lsa.weights_of(query).mean(0))}", fontsize=9, loc="center")
    middle.set_title(f"GSA: keys of {gsa.cell}×{gsa.cell} tokens\n{_scale(gsa.weights_of(query).mean(0))}",
                     fontsize=9, loc="center")
    right.set_title(f"GSA · LSA, keys spread evenly\n{_scale(both)}", fontsize=9, loc="center")
    left.set_ylabel(_place(query, lsa), fontsize=8)
    return figure


def _scale(weights):
    """What the colours of a panel mean: its highest weight, beside that of an even share among the keys it sees."""
    highest, even = (f"{100 * share:.{0 if share > 0.095 else 1}f}%" for share in
                     (weights.max(), 1 / np.count_nonzero(weights)))
    return f"highest {highest}, even {even}"


def _panels(rows, columns, picture, title, inches=1.6):
    """A figure of panels shaped like the picture, under a title: the figure and its axes (rows, columns)."""
    width = max(inches * columns, 5)
    height = width / columns * rows * picture.shape[0] / picture.shape[1]
    figure = Figure(figsize=(width, height + 0.25 * rows + 0.5), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _draw(axes, m, picture, grid, query):
    axes.imshow(overlay(picture, grid), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    row, column = divmod(query, m.size[1])
    if m.kind == "LSA":
        w = m.side * m.stride
        top, left = row // m.side * w, column // m.side * w
        bottom, right = min(top + w, m.size[0] * m.stride), min(left + w, m.size[1] * m.stride)
        _outline(axes, top, bottom, left, right, linestyle="--", linewidth=1)
    elif m.cell > 1:
        for footprint in m.footprints * m.stride:
            _outline(axes, *footprint, linewidth=0.3, alpha=0.5)
    for colour, width in (("black", 3), ("white", 1.5)):
        _outline(axes, row * m.stride, (row + 1) * m.stride, column * m.stride, (column + 1) * m.stride,
                 edgecolor=colour, linewidth=width)


def _outline(axes, top, bottom, left, right, edgecolor="white", **style):
    corner = left - 0.5, top - 0.5
    axes.add_patch(Rectangle(corner, right - left, bottom - top, fill=False, edgecolor=edgecolor, **style))


def _place(query, m):
    row, column = divmod(query, m.size[1])
    return f"query: row {row},\ncolumn {column}"
