"""Fashion-MNIST from the folder where data_scripts/fetch_fashion_mnist.py keeps it (lesson 06).

By Zalando Research (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747), MIT licence, © 2017 Zalando SE.
"""

import gzip
import hashlib
import zlib
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parents[3] / "data" / "fashion_mnist"
CLASSES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")

# File name: shape of the array in it, SHA-256 of the file unpacked. Debian packs the same bytes with another gzip
# header; with the official header put back, its four files have the MD5 sums of the data set's README.
FILES = {
    "train-images-idx3-ubyte.gz":
        ((60000, 28, 28), "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    "train-labels-idx1-ubyte.gz":
        ((60000,), "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    "t10k-images-idx3-ubyte.gz":
        ((10000, 28, 28), "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    "t10k-labels-idx1-ubyte.gz":
        ((10000,), "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
}


def unpack(packed, name):
    """The array in the bytes of one of the four files.

    Args:
        packed (bytes): the gzip file.
        name (str): a key of FILES.

    Returns:
        uint8 array of the shape in FILES.

    Raises:
        ValueError: what is inside is not what the official file holds.
    """
    shape, right = FILES[name]
    try:
        content = gzip.decompress(packed)
    except (OSError, EOFError, zlib.error):
        content = b""
    if hashlib.sha256(content).hexdigest() != right:
        raise ValueError(f"{name}: is not the official file (its contents have another SHA-256)")
    header = 4 + 4 * len(shape)  # magic number and one length an axis, four bytes each
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def load(folder=FOLDER):
    """Fashion-MNIST, or None where it has not been fetched yet.

    Args:
        folder (str or Path): holds the four files.

    Returns:
        ((images, labels), (images, labels)) to train and to test: uint8 (60000 or 10000, 28, 28), 0 black to 255,
        and uint8 (60000 or 10000,), an index into CLASSES. None if a file is missing;
        `python data_scripts/fetch_fashion_mnist.py` brings it.

    Raises:
        ValueError: a file is there, but not the official one.
    """
    paths = [Path(folder) / name for name in FILES]
    if not all(path.is_file() for path in paths):
        return None
    try:
        arrays = [unpack(path.read_bytes(), path.name) for path in paths]
    except ValueError as error:
        raise ValueError(f"{folder}/{error}; run data_scripts/fetch_fashion_mnist.py to fetch it anew") from error
    return (arrays[0], arrays[1]), (arrays[2], arrays[3])
