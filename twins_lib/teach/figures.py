"""One look for all figures: colours that colour-blind readers can tell apart, and alt text on every one."""

import base64
import io

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from IPython.display import display
from matplotlib.cbook import get_sample_data
from PIL import Image

# Okabe and Ito's palette, told apart in all common forms of colour blindness.
COLOURS = {
    "blue": "#0072B2", "orange": "#E69F00", "green": "#009E73", "vermillion": "#D55E00",
    "purple": "#CC79A7", "sky": "#56B4E9", "yellow": "#F0E442", "black": "#000000",
}


def style():
    """Set matplotlib's defaults for the course."""
    plt.rcParams.update({
        "axes.prop_cycle": cycler(color=list(COLOURS.values())[:6]),
        "axes.spines.top": False, "axes.spines.right": False,
        "axes.titlesize": 11, "axes.titlelocation": "left", "axes.labelsize": 10,
        "figure.dpi": 100, "figure.constrained_layout.use": True, "figure.facecolor": "white",
        "font.size": 10, "image.cmap": "cividis", "image.interpolation": "nearest",
        "legend.frameon": False,
    })


def show(figure, alt):
    """Show a figure in a notebook as a picture that carries a text for readers who cannot see it.

    Args:
        figure (matplotlib.figure.Figure): the figure; it is closed afterwards.
        alt (str): what it shows, its numbers included. Comparing outputs compares this text, so make it from
            the arrays behind the figure, rounded to what does not depend on the machine.
    """
    if not alt.strip():
        raise ValueError("a figure needs an alt text: say in a sentence what it shows")
    png = io.BytesIO()
    figure.savefig(png, format="png", bbox_inches="tight", pad_inches=0.05)
    plt.close(figure)
    # A palette of 256 colours makes the notebooks several times smaller.
    small = io.BytesIO()
    Image.open(png).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    display({"image/png": base64.b64encode(small.getvalue()).decode(), "text/plain": alt},
            metadata={"image/png": {"alt": alt}}, raw=True)


def photo(size=224):
    """The photograph of the lessons: Grace Hopper, who wrote one of the first compilers.

    It travels with matplotlib (public domain, United States Navy).

    Args:
        size (int): side of the square it is cropped and resized to, in pixels.

    Returns:
        uint8 array (size, size, 3).
    """
    with get_sample_data("grace_hopper.jpg") as file:
        image = Image.open(file).convert("RGB")
    side = min(image.size)
    left = (image.width - side) // 2
    face = image.crop((left, 0, left + side, side))
    return np.asarray(face.resize((size, size), Image.Resampling.BICUBIC))
