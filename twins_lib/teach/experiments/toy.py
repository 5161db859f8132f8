"""Made pictures whose right answer is known: small, seeded, the same bytes on every machine.

Each function draws `n` images from `seed` and returns uint8 arrays (n, size, size, 3) with their labels.
Classes are balanced and in random order. Two seeds give two independent sets, for training and for testing.

    far_pairs   do two patches in far windows have the same colour?   needs global attention (lesson 04)
    textures    which texture fills one window?                       local attention is enough
    corners     in which quarter of the image is the square?          needs to know where (lesson 02)
    borders     does the token touch the border?                      needs to know where, at any size (lesson 02)
    sides       is orange on the right or on the left of blue?        needs to know who is a neighbour (lesson 02)
    matches     has another token of its window the same colour?      needs every single token near by (lesson 04)
    shapes      which of ten shapes, among clutter?                   a first real training run (lesson 06)
    silhouettes which of the ten, light on black?                     learned in a minute (lesson 06)
    scenes      which class is each pixel?                            segmentation (lesson 09)
    enclosures  does a closed outline run round this pixel?           needs fine and coarse at once (lesson 09)
    legends     has this shape the colour of the far stripe?          needs global attention, pixel by pixel (lesson 09)

Only whole numbers and the four exact operations on float64 are used (no sine, no library that draws),
so nothing depends on the machine. Colours are the Okabe-Ito palette, told apart by colour-blind readers too.
"""

import hashlib

import numpy as np
from scipy.ndimage import binary_erosion

from ...segmentation import IGNORE

PATCH = 4  # pixels; marks, squares and windows lie on the token grid of this patch size

COLOURS = {
    "black": (0, 0, 0), "orange": (230, 159, 0), "sky blue": (86, 180, 233), "green": (0, 158, 115),
    "yellow": (240, 228, 66), "blue": (0, 114, 178), "vermilion": (213, 94, 0), "purple": (204, 121, 167),
}
PALETTE = np.array(list(COLOURS.values()))  # (8, 3)
PAIR_COLOURS = np.array([COLOURS[name] for name in ("blue", "orange")])
WHITE = np.array((255, 255, 255))

TEXTURES = ("horizontal stripes", "vertical stripes", "diagonal stripes", "checkerboard")
CORNERS = ("top left", "top right", "bottom left", "bottom right")
SHAPES = ("disc", "ring", "square", "bar", "triangle", "plus", "star", "heart", "crescent", "hourglass")
SCENES = ("background", "disc", "square", "triangle", "plus", "star")
ENCLOSURES = ("outside", "outline", "inside")
LEGENDS = ("ground", "other", "wanted")

# (cosine, sine) of 0, ±16, ±23 and ±37 degrees: Pythagorean triples, so the rotation is exact.
TILTS = tuple((c / h, s / h) for c, s, h in
              ((1, 0, 1), (24, 7, 25), (24, -7, 25), (12, 5, 13), (12, -5, 13), (4, 3, 5), (4, -3, 5)))
# Normals of the five lines of a pentagram.
STAR = ((0.0, 1.0), (0.951, 0.309), (0.588, -0.809), (-0.588, -0.809), (-0.951, 0.309))


# ---- the tools: a generator, a check, a background, a texture, a shape ----------------------------------------------

def _start(n, seed, size, multiple, least):
    """A seeded generator, after checking what was asked for."""
    if n < 1:
        raise ValueError(f"n={n}: ask for at least 1 image")
    if size % multiple or size < least:
        raise ValueError(f"size={size}: must be a multiple of {multiple} pixels and at least {least}")
    return np.random.Generator(np.random.PCG64(seed))


def _balanced(rng, n, classes):
    """n labels in random order, each class as often as the others (give or take one)."""
    return (np.argsort(rng.random(n)) % classes).astype(np.int32)


def _mosaic(rng, size):
    """A background of pale grey tokens (size, size, 3), each drawn on its own: no place differs from another."""
    grey = rng.integers(190, 246, (size // PATCH, size // PATCH, 1))
    return np.repeat(grey.repeat(PATCH, 0).repeat(PATCH, 1), 3, axis=2)


def _texture(kind, rows, columns):
    """Where a texture of TEXTURES shows the second of its two colours: bool, period 8 pixels."""
    return (rows // 4 % 2 == 1, columns // 4 % 2 == 1, (rows + columns) // 4 % 2 == 1,
            (rows // 4 + columns // 4) % 2 == 1)[kind]


def _inside(name, u, v):
    """Which points (u to the right, v downwards, shape radius 1) lie in the shape `name`."""
    a, b = abs(u), abs(v)
    if name == "disc":
        return u * u + v * v <= 0.9
    if name == "ring":
        return (u * u + v * v <= 1) & (u * u + v * v >= 0.36)
    if name == "square":
        return np.maximum(a, b) <= 0.8
    if name == "bar":
        return (a <= 1) & (b <= 0.36)
    if name == "triangle":
        return (v <= 0.65) & (a <= 0.6 * (v + 1))
    if name == "plus":
        return (np.minimum(a, b) <= 0.32) & (np.maximum(a, b) <= 0.95)
    if name == "star":  # inside at least four of the five lines
        return sum((x * u + y * v <= 0.35).astype(int) for x, y in STAR) >= 4
    if name == "heart":
        x, y = 1.3 * u, 0.1 - 1.3 * v
        disc = x * x + y * y - 1
        return disc * disc * disc <= x * x * y * y * y
    if name == "crescent":
        return (u * u + v * v <= 1) & ((u - 0.45) * (u - 0.45) + v * v >= 0.6)
    if name == "hourglass":
        return (a <= b + 0.12) & (b <= 0.85)
    raise ValueError(f"shape {name!r}: must be one of {', '.join(SHAPES)}")


def _draw(image, name, row, column, radius, tilt, colour):
    """Paint a shape over `image` (size, size, 3) in place, its edge smoothed.

    Args:
        name (str): one of SHAPES.
        row, column, radius (int): centre and half side of the shape, in pixels.
        tilt (tuple): one of TILTS.
        colour: (3,), or an image of colours as large as `image`.

    Returns:
        The box it lies in, as two slices, and how many of the four sample points of each of its pixels
        lie in the shape: int (rows, columns), 0 to 4.
    """
    size = len(image)
    top, left = max(row - radius - 1, 0), max(column - radius - 1, 0)
    bottom, right = min(row + radius + 2, size), min(column + radius + 2, size)
    y = (np.arange(2 * top, 2 * bottom)[:, None] - 2 * row + 0.5) / (2 * radius)
    x = (np.arange(2 * left, 2 * right)[None, :] - 2 * column + 0.5) / (2 * radius)
    cosine, sine = tilt
    points = _inside(name, cosine * x + sine * y, cosine * y - sine * x)
    cover = points.reshape(bottom - top, 2, right - left, 2).sum((1, 3))
    box = slice(top, bottom), slice(left, right)
    thick = cover[..., None]
    colour = colour[box] if np.ndim(colour) == 3 else colour
    image[box] = (image[box] * (4 - thick) + colour * thick) // 4
    return box, cover


def _two_colours(rng, colours=PALETTE[1:]):
    """Two different ones of `colours` (of the palette without black)."""
    first, step = rng.integers(len(colours)), 1 + rng.integers(len(colours) - 1)
    return colours[first], colours[(first + step) % len(colours)]


def _pale(rng, size):
    """A soft two-tone textured background (size, size, 3) with a little noise in each pixel."""
    first, second = ((c + 3 * WHITE) // 4 for c in _two_colours(rng))
    rows, columns = np.indices((size, size)) + rng.integers(8, size=(2, 1, 1))
    pattern = _texture(rng.integers(4), rows // 2, columns // 2)
    noise = rng.integers(-10, 11, (size, size, 1))
    return np.clip(np.where(pattern[..., None], first, second) + noise, 0, 255)


def _square(image, row, column, side, colour):
    """A flat square whose upper left corner is at token (row, column), `side` tokens wide; changes `image`."""
    image[row * PATCH:(row + side) * PATCH, column * PATCH:(column + side) * PATCH] = colour


# ---- attention and position: one thing to know, nothing else to learn from ------------------------------------------

def far_pairs(n, seed, size=64, window=16):
    """Two patches, blue or orange, in far windows: have they the same colour?

    One patch, with a white dot, asks; the other, at least one whole window away, holds the answer. What any one
    window shows does not depend on the label: a token that sees its own window only (LSA, at one resolution) is
    right half the time whatever it has learned. So read the answer out at the asking token: a mean over all tokens
    adds the windows up, and that alone could reach 3/4.

    Args:
        n (int): images.
        seed (int): of the generator.
        size (int): side of the images in pixels, a multiple of `window`, three windows or more.
        window (int): side of a window in pixels, a multiple of 4, at least 8.

    Returns:
        images uint8 (n, size, size, 3); labels int32 (n,), 1 for the same colour and 0 for another;
        marks int32 (n, 2), row and column of the asking token on the grid of 4×4-pixel patches.

    Raises:
        ValueError: n, size or window outside their ranges.
    """
    if window % PATCH or window < 2 * PATCH:
        raise ValueError(f"window={window}: must be a multiple of {PATCH} pixels and at least {2 * PATCH}")
    rng = _start(n, seed, size, window, 3 * window)
    labels = _balanced(rng, n, 2)
    windows = [(r, c) for r in range(size // window) for c in range(size // window)]
    far = [(a, b) for a in windows for b in windows if max(abs(a[0] - b[0]), abs(a[1] - b[1])) > 1]
    w = window // PATCH
    images, marks = [], []
    for label in labels:
        image = _mosaic(rng, size)
        pair = np.array(far[rng.integers(len(far))]) * w + rng.integers(w - 1, size=(2, 2))
        first, other = _two_colours(rng, PAIR_COLOURS)
        for (row, column), colour in zip(pair, (first, first if label else other), strict=True):
            _square(image, row, column, 2, colour)
        middle = (pair[0] + 1) * PATCH
        image[middle[0] - 2:middle[0] + 2, middle[1] - 2:middle[1] + 2] = 255
        images.append(image)
        marks.append(pair[0])
    return np.array(images, np.uint8), labels, np.array(marks, np.int32)


def textures(n, seed, size=64, window=16):
    """One textured window on grey: which texture is it? Local attention is enough.

    The four textures show their two colours equally often, so colours alone do not tell.

    Args:
        n (int): images.
        seed (int): of the generator.
        size (int): side of the images in pixels, a multiple of `window`.
        window (int): side of a window in pixels, a multiple of 8, the period of the textures.

    Returns:
        images uint8 (n, size, size, 3); labels int32 (n,), an index into TEXTURES.

    Raises:
        ValueError: n, size or window outside their ranges.
    """
    if window % 8 or window < 8:
        raise ValueError(f"window={window}: must be a multiple of 8 pixels, the period of the textures")
    rng = _start(n, seed, size, window, window)
    labels = _balanced(rng, n, len(TEXTURES))
    images = []
    for label in labels:
        image = _mosaic(rng, size)
        top, left = rng.integers(size // window, size=2) * window
        rows, columns = np.indices((window, window)) + rng.integers(8, size=(2, 1, 1))
        second = _texture(label, rows, columns)[..., None]
        one, two = _two_colours(rng)
        image[top:top + window, left:left + window] = np.where(second, two, one)
        images.append(image)
    return np.array(images, np.uint8), labels


def corners(n, seed, size=64):
    """A coloured square on grey: in which quarter of the image does it lie? Needs to know where.

    Args:
        n (int): images.
        seed (int): of the generator.
        size (int): side of the images in pixels, a multiple of 8, at least 16.

    Returns:
        images uint8 (n, size, size, 3); labels int32 (n,), an index into CORNERS.

    Raises:
        ValueError: n or size outside their ranges.
    """
    rng = _start(n, seed, size, 2 * PATCH, 4 * PATCH)
    labels = _balanced(rng, n, len(CORNERS))
    half = size // PATCH // 2
    images = []
    for label in labels:
        image = _mosaic(rng, size)
        row, column = rng.integers(half - 1, size=2) + half * np.array((label // 2, label % 2))
        _square(image, row, column, 2, _two_colours(rng)[0])
        images.append(image)
    return np.array(images, np.uint8), labels


def borders(n, seed, size=32):
    """A coloured token on grey: does it touch the border of the image, or is there one token between?

    The question means the same at every size. The tokens of a picture of one class, shuffled, could as well be
    those of the other: without position no network can be right more often than half the time.

    Args:
        n (int): images.
        seed (int): of the generator.
        size (int): side of the images in pixels, a multiple of 4, at least 20.

    Returns:
        images uint8 (n, size, size, 3); labels int32 (n,), 1 when it touches the border, else 0;
        marks int32 (n, 2), row and column of the coloured token on the grid of 4×4-pixel patches.

    Raises:
        ValueError: n or size outside their ranges.
    """
    rng = _start(n, seed, size, PATCH, 5 * PATCH)
    labels = _balanced(rng, n, 2)
    last = size // PATCH - 1
    images, marks = [], []
    for label in labels:
        image = _mosaic(rng, size)
        near = 0 if label else 1  # tokens between it and the border
        along, side = near + rng.integers(last - 2 * near), rng.integers(4)
        row, column = ((near, along), (along, last - near), (last - near, last - along), (last - along, near))[side]
        _square(image, row, column, 1, _two_colours(rng)[0])
        images.append(image)
        marks.append((row, column))
    return np.array(images, np.uint8), labels, np.array(marks, np.int32)


def sides(n, seed, size=32):
    """A blue and an orange token side by side on grey: is the orange one on the right of the blue one?

    The blue token lies anywhere but in the first or the last column, so its place says nothing. The tokens of a
    picture of one class, shuffled, could as well be those of the other: without position no network can be right more
    often than half the time.

    Args:
        n (int): images.
        seed (int): of the generator.
        size (int): side of the images in pixels, a multiple of 4, at least 20.

    Returns:
        images uint8 (n, size, size, 3); labels int32 (n,), 1 when orange is on the right, else 0;
        marks int32 (n, 2), row and column of the blue token on the grid of 4×4-pixel patches.

    Raises:
        ValueError: n or size outside their ranges.
    """
    rng = _start(n, seed, size, PATCH, 5 * PATCH)
    labels = _balanced(rng, n, 2)
    side = size // PATCH
    images, marks = [], []
    for label in labels:
        image = _mosaic(rng, size)
        row, blue = rng.integers(side), 1 + rng.integers(side - 2)
        orange = blue + 1 if label else blue - 1
        for column, colour in zip((blue, orange), PAIR_COLOURS, strict=True):
            _square(image, row, column, 1, colour)
        images.append(image)
        marks.append((row, blue))
    return np.array(images, np.uint8), labels, np.array(marks, np.int32)


def matches(n, seed, size=48, window=16):
    """One window of coloured tokens on grey: has another one the colour of the token with the white dot?

    If so, exactly one has it. The colours of the others are drawn at random, so how often a colour other than
    that of the dotted token appears says nothing.

    Args:
        n (int): images.
        seed (int): of the generator.
        size (int): side of the images in pixels, a multiple of `window`.
        window (int): side of a window in pixels, a multiple of 4, at least 8.

    Returns:
        images uint8 (n, size, size, 3); labels int32 (n,), 1 when another one has its colour, else 0;
        marks int32 (n, 2), row and column of the dotted token on the grid of 4×4-pixel patches.

    Raises:
        ValueError: n, size or window outside their ranges.
    """
    if window % PATCH or window < 2 * PATCH:
        raise ValueError(f"window={window}: must be a multiple of {PATCH} pixels and at least {2 * PATCH}")
    rng = _start(n, seed, size, window, window)
    labels = _balanced(rng, n, 2)
    w, palette = window // PATCH, PALETTE[1:]
    images, marks = [], []
    for label in labels:
        image = _mosaic(rng, size)
        places = rng.integers(size // window, size=2) * w + np.stack(divmod(rng.permutation(w * w), w), 1)
        mine = rng.integers(len(palette))
        colours = (mine + 1 + rng.integers(len(palette) - 1, size=w * w)) % len(palette)
        colours[:1 + label] = mine
        for (row, column), colour in zip(places, colours, strict=True):
            _square(image, row, column, 1, palette[colour])
        row, column = places[0]
        image[row * PATCH + 1:row * PATCH + 3, column * PATCH + 1:column * PATCH + 3] = 255
        images.append(image)
        marks.append((row, column))
    return np.array(images, np.uint8), labels, np.array(marks, np.int32)


# ---- pictures to train on -------------------------------------------------------------------------------------------

def shapes(n, seed, size=64, progress=iter):
    """One of ten shapes, of any colour, size, tilt and place, on a textured ground among clutter.

    Args:
        n (int): images.
        seed (int): of the generator.
        size (int): side of the images in pixels, a multiple of 4, at least 32.
        progress (callable): wraps the loop over the images, as tqdm does.

    Returns:
        images uint8 (n, size, size, 3); labels int32 (n,), an index into SHAPES.

    Raises:
        ValueError: n or size outside their ranges.
    """
    rng = _start(n, seed, size, PATCH, 32)
    labels = _balanced(rng, n, len(SHAPES))
    images = []
    for label in progress(labels):
        image = _pale(rng, size)
        for _ in range(rng.integers(3, 8)):  # clutter: small discs and bars
            small = ("disc", "bar")[rng.integers(2)]
            _draw(image, small, *rng.integers(size, size=2), rng.integers(2, 5), TILTS[rng.integers(7)],
                  PALETTE[rng.integers(1, 8)])
        radius = rng.integers(size // 7, size // 4 + 1)
        _draw(image, SHAPES[label], *rng.integers(radius, size - radius, size=2), radius, TILTS[rng.integers(7)],
              PALETTE[rng.integers(8)])
        images.append(np.clip(image + rng.integers(-12, 13, image.shape), 0, 255))
    return np.array(images, np.uint8), labels


def silhouettes(n, seed, size=32):
    """One of ten shapes, light on black and near the middle.

    Args:
        n (int): images.
        seed (int): of the generator.
        size (int): side of the images in pixels, a multiple of 4, at least 32.

    Returns:
        images uint8 (n, size, size, 3); labels int32 (n,), an index into SHAPES.

    Raises:
        ValueError: n or size outside their ranges.
    """
    rng = _start(n, seed, size, PATCH, 32)
    labels = _balanced(rng, n, len(SHAPES))
    images = np.zeros((n, size, size, 3), np.int64)
    for image, label in zip(images, labels):
        place = size // 2 + rng.integers(-3, 4, size=2)
        radius = rng.integers(size // 4, size * 3 // 8 + 1)
        _draw(image, SHAPES[label], *place, radius, TILTS[rng.integers(3)], np.full(3, rng.integers(120, 256)))
        image += rng.integers(0, 40, (size, size, 1))
    return np.clip(images, 0, 255).astype(np.uint8), labels


def scenes(n, seed, size=64, outlines=False, progress=iter):
    """Several textured shapes that hide one another on a textured ground, and the class of each pixel.

    Colours and textures say nothing about the class; only the outline does.

    Args:
        n (int): images.
        seed (int): of the generator.
        size (int): side of the images in pixels, a multiple of 4, at least 32.
        outlines (bool): give the pixels that an outline cuts the label IGNORE (255) instead of a class.
        progress (callable): wraps the loop over the images, as tqdm does.

    Returns:
        images uint8 (n, size, size, 3); masks uint8 (n, size, size), an index into SCENES or IGNORE.

    Raises:
        ValueError: n or size outside their ranges.
    """
    rng = _start(n, seed, size, PATCH, 32)
    images, masks = [], []
    for _ in progress(range(n)):
        image, mask = _pale(rng, size), np.zeros((size, size), np.uint8)
        for _ in range(rng.integers(4, 7)):
            label = rng.integers(1, len(SCENES))
            radius = rng.integers(size // 7, size // 4 + 1)
            place = rng.integers(radius // 2, size - radius // 2, size=2)
            one, two = _two_colours(rng)
            kind = rng.integers(len(TEXTURES) + 1)  # the last: one colour alone
            colour = one
            if kind < len(TEXTURES):
                second = _texture(kind, *np.indices((size, size)))[..., None]
                colour = np.where(second, (2 * one + two) // 3, one)
            box, cover = _draw(image, SCENES[label], *place, radius, TILTS[rng.integers(7)], colour)
            mask[box][cover >= 2] = label
            if outlines:
                mask[box][(cover > 0) & (cover < 4)] = IGNORE
        images.append(np.clip(image + rng.integers(-12, 13, image.shape), 0, 255))
        masks.append(mask)
    return np.array(images, np.uint8), np.array(masks, np.uint8)


def enclosures(n, seed, size=64, progress=iter):
    """Closed outlines of discs, squares and triangles on grey: which pixels lie outside, on and inside of one?

    The ground is drawn alike inside and outside, so a pixel of it does not tell where it lies: only an outline does,
    two pixels thick and as much as 19 away. Up to three outlines, blue or orange, for each area of 64×64; they do not
    touch one another, nor the border.

    Args:
        n (int): images.
        seed (int): of the generator.
        size (int): side of the images in pixels, a multiple of 4, at least 64.
        progress (callable): wraps the loop over the images, as tqdm does.

    Returns:
        images uint8 (n, size, size, 3); masks uint8 (n, size, size), an index into ENCLOSURES.

    Raises:
        ValueError: n or size outside their ranges.
    """
    rng = _start(n, seed, size, PATCH, 64)
    places = 3 * size * size // 64 ** 2
    images, masks = [], []
    for _ in progress(range(n)):
        image, mask = _mosaic(rng, size), np.zeros((size, size), np.uint8)
        drawn = 0
        for _ in range(13 * places):  # tries; a large one may leave no room for others
            if drawn == places:
                break
            drawn += _enclose(rng, image, mask)
        images.append(np.clip(image + rng.integers(-8, 9, image.shape), 0, 255))
        masks.append(mask)
    return np.array(images, np.uint8), np.array(masks, np.uint8)


def _enclose(rng, image, mask):
    """Try to draw one outline into an image and its mask; False if another one is in the way."""
    radius = rng.integers(7, 20)
    row, column = rng.integers(radius + 2, len(mask) - radius - 2, size=2)
    around = slice(row - radius - 2, row + radius + 3), slice(column - radius - 2, column + radius + 3)
    if mask[around].any():
        return False
    name, tilt = ("disc", "square", "triangle")[rng.integers(3)], TILTS[rng.integers(7)]
    box, cover = _draw(image.copy(), name, row, column, radius, tilt, WHITE)  # for its place alone
    shape = cover >= 2
    inside = binary_erosion(shape, iterations=2)
    image[box][shape & ~inside] = PAIR_COLOURS[rng.integers(2)]
    mask[box] = shape + inside.astype(np.uint8)
    return True


def legends(n, seed, size=96, progress=iter):
    """A stripe at the left border says which colour is wanted; which pixels belong to a shape of that colour?

    Everything else of a picture is drawn without regard to the stripe. The stripe fills the first 8 columns, the
    shapes lie in the right half of the picture: at size 96 there are at least 40 pixels between them.

    Args:
        n (int): images.
        seed (int): of the generator.
        size (int): side of the images in pixels, a multiple of 4, at least 96.
        progress (callable): wraps the loop over the images, as tqdm does.

    Returns:
        images uint8 (n, size, size, 3); masks uint8 (n, size, size), an index into LEGENDS; the stripe is ground.

    Raises:
        ValueError: n or size outside their ranges.
    """
    rng = _start(n, seed, size, PATCH, 96)
    images, masks = [], []
    for wanted in progress(_balanced(rng, n, len(PAIR_COLOURS))):
        image, mask = _mosaic(rng, size), np.zeros((size, size), np.uint8)
        image[:, :8] = PAIR_COLOURS[wanted]
        for row in np.arange(3) * (size // 3) + size // 6:  # one above the other
            radius, colour = rng.integers(8, 14), rng.integers(2)
            column = rng.integers(size // 2 + radius + 1, size - radius)
            name, tilt = ("disc", "square", "triangle")[rng.integers(3)], TILTS[rng.integers(7)]
            box, cover = _draw(image, name, row, column, radius, tilt, PAIR_COLOURS[colour])
            mask[box][cover >= 2] = 2 if colour == wanted else 1
        images.append(np.clip(image + rng.integers(-8, 9, image.shape), 0, 255))
        masks.append(mask)
    return np.array(images, np.uint8), np.array(masks, np.uint8)


def checksum(*arrays):
    """One name for exactly these arrays: the SHA-256 of their shapes, types and bytes, in hexadecimal."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
