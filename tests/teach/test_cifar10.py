"""The photographs of lesson 06, from a small folder of the layout that data_scripts/fetch_cifar10.py writes."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from twins_lib.teach.experiments import cifar10


@pytest.fixture
def folder(tmp_path):
    """Three pictures of each class in train/, filled with their class and their number; one is grey, one a JPEG."""
    for label, name in enumerate(cifar10.CLASSES):
        home = tmp_path / "cifar10" / "train" / name
        home.mkdir(parents=True)
        for i in range(3):
            pixels = np.full((32, 32, 3), 10 * label + i, np.uint8)
            Image.fromarray(pixels if i else pixels[..., 0]).save(home / f"{i:04}.{'jpg' if label == 9 else 'png'}")
    return tmp_path / "cifar10"


def test_the_first_of_each_class_with_their_labels(folder):
    images, labels = cifar10.load("train", 20, folder)
    assert images.shape == (20, 32, 32, 3) and images.dtype == np.uint8
    assert labels.dtype == np.int32 and labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert images[:, 0, 0, 0].tolist() == [10 * label + i for label in range(10) for i in range(2)]
    assert (images == images[:, :1, :1, :1]).all()


def test_classes_are_those_that_the_script_writes():
    spec = importlib.util.spec_from_file_location(
        "fetch_cifar10", Path(__file__).parents[2] / "data_scripts" / "fetch_cifar10.py")
    fetch = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fetch)
    assert fetch.CLASSES == cifar10.CLASSES == tuple(sorted(cifar10.CLASSES))


def test_what_was_not_fetched_is_none(tmp_path):
    assert cifar10.load("train", 20, tmp_path / "cifar10") is None


def without_a_class(folder):
    (folder / "train" / "frog").rename(folder / "frog")


@pytest.mark.parametrize("plant, split, count, told", [
    (lambda folder: None, "val", 10, "val: no such folder"),
    (lambda folder: None, "train", 40, "train: holds 3 of the 4 pictures of 'airplane' asked for"),
    (without_a_class, "train", 10, "its class folders are not those of CIFAR-10, airplane to truck"),
    (lambda folder: Image.new("RGB", (64, 48)).save(folder / "train/cat/0000.png"), "train", 10,
     "cat/0000.png: has 64×48 pixels, CIFAR-10's have 32×32"),
    (lambda folder: (folder / "train/cat/0000.png").write_bytes(b""), "train", 10,
     "cat/0000.png: cannot be read as an image"),
])
def test_a_folder_that_is_not_right_is_told_in_a_sentence(folder, plant, split, count, told):
    plant(folder)
    with pytest.raises(ValueError, match=told) as fault:
        cifar10.load(split, count, folder)
    said = str(fault.value)
    assert said.startswith(str(folder)) and said.endswith(cifar10.ANEW) and "\n" not in said


@pytest.mark.parametrize("name, options, told", [
    ("a.png", {}, "CIFAR-10 as PNGs"), ("a.jpg", {"quality": 75}, "CIFAR-10 as JPEGs of quality 75"),
    ("a.jpg", {"quality": 90}, "CIFAR-10 as JPEGs of quality 90"),
    ("a.jpg", {"qtables": [list(range(1, 65))]}, "CIFAR-10 as JPEGs"),
])
def test_a_card_says_how_the_photographs_are_stored(tmp_path, name, options, told):
    home = tmp_path / "train" / "cat"
    home.mkdir(parents=True)
    Image.new("RGB", (32, 32)).save(home / name, **options)
    assert cifar10.origin(tmp_path) == told
