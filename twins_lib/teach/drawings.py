"""Six drawings to show to a network trained on CIFAR-10: object and background apart, so that either can move."""

import numpy as np
from PIL import Image, ImageDraw

SIDE = 256  # pixels
DARK, GLASS = (20, 20, 22), (60, 78, 98)


def drawing(name):
    """One of the drawings, named by a key of OBJECTS: PIL image, RGB, 256×256."""
    picture, layer = GROUNDS[name](), layer_of(name)
    picture.paste(layer, mask=layer.getchannel("A"))
    return picture


def layer_of(name):
    """The object alone: PIL image, RGBA, 256×256, alpha 0 where it is not."""
    layer = Image.new("RGBA", (SIDE, SIDE))
    OBJECTS[name](ImageDraw.Draw(layer))
    return layer


def as_photograph(picture, side):
    """Made half as large and enlarged again, as CIFAR-10's photographs are for training.

    Args:
        picture (PIL image): RGB, square.
        side (int): of the result, in pixels.

    Returns:
        uint8 array (side, side, 3).
    """
    few = picture.resize((side // 2, side // 2), Image.Resampling.BICUBIC)
    return np.asarray(few.resize((side, side), Image.Resampling.BICUBIC))


def _air(top, bottom, ground=None, horizon=SIDE):
    """A background: one colour turns into another from top to bottom; from `horizon` on a ground of one colour."""
    share = np.linspace(0, 1, SIDE)[:, None, None]
    rows = (1 - share) * np.array(top) + share * np.array(bottom)
    picture = Image.fromarray(np.broadcast_to(rows, (SIDE, SIDE, 3)).astype(np.uint8))
    if ground:
        ImageDraw.Draw(picture).rectangle((0, horizon, SIDE, SIDE), fill=ground)
    return picture


def _wheels(draw, *lefts):
    for x in lefts:
        draw.ellipse((x, 158, x + 46, 204), fill=DARK)
        draw.ellipse((x + 14, 172, x + 32, 190), fill=(155, 155, 160))


def _airplane(draw):
    draw.polygon([(118, 120), (60, 190), (85, 190), (160, 125)], fill=(150, 155, 165))
    draw.polygon([(118, 112), (75, 55), (97, 55), (160, 112)], fill=(185, 190, 198))
    draw.ellipse((30, 98, 232, 138), fill=(225, 228, 232))
    draw.polygon([(40, 115), (20, 70), (42, 70), (72, 108)], fill=(190, 60, 50))
    draw.ellipse((200, 106, 222, 118), fill=GLASS)


def _ship(draw):
    draw.polygon([(25, 150), (235, 150), (205, 195), (60, 195)], fill=(60, 40, 45))
    draw.rectangle((75, 115, 190, 150), fill=(235, 235, 235))
    draw.rectangle((105, 90, 165, 116), fill=(225, 225, 225))
    draw.rectangle((120, 60, 140, 90), fill=(200, 70, 50))
    for x in range(85, 185, 20):
        draw.ellipse((x, 125, x + 10, 135), fill=GLASS)
    draw.rectangle((25, 148, 235, 154), fill=(190, 50, 40))


def _automobile(draw):
    draw.rounded_rectangle((20, 120, 238, 185), 22, fill=(200, 30, 35))
    draw.polygon([(70, 122), (100, 75), (175, 75), (212, 122)], fill=(190, 25, 30))
    draw.polygon([(82, 118), (106, 84), (132, 84), (132, 118)], fill=GLASS)
    draw.polygon([(140, 118), (140, 84), (170, 84), (196, 118)], fill=GLASS)
    _wheels(draw, 48, 168)
    draw.ellipse((224, 135, 238, 149), fill=(250, 240, 180))


def _truck(draw):
    draw.rectangle((15, 60, 160, 175), fill=(235, 235, 238))
    draw.rectangle((165, 95, 235, 175), fill=(45, 85, 165))
    draw.polygon([(185, 105), (232, 105), (235, 138), (185, 138)], fill=(150, 185, 205))
    draw.rectangle((15, 172, 238, 184), fill=(45, 45, 48))
    _wheels(draw, 33, 83, 178)


def _frog(draw):
    draw.ellipse((60, 90, 215, 205), fill=(85, 140, 50))
    draw.ellipse((45, 65, 150, 150), fill=(95, 155, 55))
    for x in (60, 105):
        draw.ellipse((x, 50, x + 32, 84), fill=(110, 165, 60))
        draw.ellipse((x + 8, 58, x + 24, 74), fill=DARK)
    draw.arc((60, 95, 140, 135), 10, 170, fill=(40, 70, 25), width=5)
    draw.ellipse((150, 150, 235, 215), fill=(75, 125, 45))
    draw.ellipse((60, 185, 120, 215), fill=(75, 125, 45))


def _bird(draw):
    draw.rectangle((0, 190, SIDE, 204), fill=(95, 70, 45))
    draw.ellipse((70, 95, 195, 185), fill=(170, 95, 50))
    draw.ellipse((150, 60, 215, 125), fill=(150, 80, 45))
    draw.polygon([(205, 85), (240, 95), (207, 105)], fill=(225, 170, 40))
    draw.polygon([(90, 130), (15, 165), (30, 190), (110, 165)], fill=(110, 65, 40))
    draw.ellipse((185, 80, 197, 92), fill=DARK)
    draw.ellipse((95, 110, 165, 165), fill=(125, 70, 40))
    for x in (118, 146):
        draw.line((x, 183, x, 200), fill=(60, 45, 30), width=6)


OBJECTS = {"airplane": _airplane, "ship": _ship, "automobile": _automobile, "truck": _truck, "frog": _frog,
           "bird": _bird}
GROUNDS = {
    "airplane": lambda: _air((90, 150, 215), (170, 205, 235)),
    "ship": lambda: _air((150, 190, 225), (215, 225, 230), (40, 85, 125), 165),
    "automobile": lambda: _air((180, 200, 220), (220, 225, 225), (105, 105, 108), 170),
    "truck": lambda: _air((165, 195, 225), (225, 228, 228), (115, 112, 108), 185),
    "frog": lambda: _air((70, 95, 60), (95, 80, 55)),
    "bird": lambda: _air((150, 185, 210), (190, 205, 200)),
}
