"""The site's page in which a network runs: the one trained on photographs, and the drawings of the lessons."""

from PIL import Image

from ... import create_model, load_weights
from ...maps.live import live_page
from ...training.names import names_kept_with
from ..drawings import OBJECTS, drawing
from ..figures import photo

NETWORK = "twins_svt_nano"
WEIGHTS = "cifar10_svt_nano.safetensors"   # of it, among the assets


def page(weights):
    """The page's text.

    Args:
        weights (Path): of the network trained on CIFAR-10.
    """
    classes = names_kept_with(weights)
    model = create_model(NETWORK, len(classes))
    load_weights(model, weights)
    pictures = {name: drawing(name) for name in OBJECTS} | {"Grace Hopper": Image.fromarray(photo(256))}
    return live_page(model, classes, pictures, "A vision transformer that runs in this page", home="index.html")
