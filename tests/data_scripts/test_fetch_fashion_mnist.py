"""Fashion-MNIST comes from a folder or from Debian, is checked by what is inside, and says what to do without."""

import gzip
import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from twins_lib.teach.experiments import fashion_mnist

spec = importlib.util.spec_from_file_location(
    "fetch", Path(__file__).parents[2] / "data_scripts" / "fetch_fashion_mnist.py")
fetch = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fetch)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A folder with four small files of the official format, taken for the official ones; no Debian, no network."""
    source, files = tmp_path / "source", {}
    source.mkdir()
    for name, (shape, _) in fashion_mnist.FILES.items():
        shape = (3, *shape[1:])
        content = (b"\0\0\x08" + bytes([len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
                   + bytes(i % 10 for i in range(int(np.prod(shape)))))
        (source / name).write_bytes(gzip.compress(content))
        files[name] = (shape, hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(fashion_mnist, "FILES", files)
    monkeypatch.setattr(fetch, "FILES", files)
    monkeypatch.setattr(fetch, "DEBIAN", tmp_path / "no-debian")
    monkeypatch.setattr(fetch, "ADDRESS", (tmp_path / "no-server").as_uri() + "/")
    return source


def test_from_a_folder_then_there_and_right(small, tmp_path, capsys):
    kept = tmp_path / "kept"
    assert fashion_mnist.load(kept) is None
    fetch.main(["--folder", str(kept), "--source", str(small)])
    (images, labels), test = fashion_mnist.load(kept)
    assert images.shape == (3, 28, 28) and images.dtype == np.uint8 and labels.tolist() == [0, 1, 2]
    assert images[0, 0, :12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1] and len(test) == 2
    capsys.readouterr()
    fetch.main(["--folder", str(kept)])  # no source any more, and none needed
    assert capsys.readouterr().out.count("there and right") == 4


def test_debians_folder_and_an_address_serve_as_well(small, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "DEBIAN", small)
    fetch.main(["--folder", str(tmp_path / "a")])
    assert fashion_mnist.load(tmp_path / "a") is not None
    monkeypatch.setattr(fetch, "DEBIAN", tmp_path / "no-debian")
    monkeypatch.setattr(fetch, "ADDRESS", small.as_uri() + "/")
    fetch.main(["--folder", str(tmp_path / "b")])
    assert fashion_mnist.load(tmp_path / "b") is not None


def test_a_damaged_file_is_named_and_mended(small, tmp_path):
    kept = tmp_path / "kept"
    fetch.main(["--folder", str(kept), "--source", str(small)])
    damaged = kept / "t10k-labels-idx1-ubyte.gz"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte.gz: is not the official file.*fetch it anew"):
        fashion_mnist.load(kept)
    fetch.main(["--folder", str(kept), "--source", str(small)])
    assert fashion_mnist.load(kept) is not None


def test_other_contents_are_refused_and_not_kept(small, tmp_path):
    (small / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"something else"))
    with pytest.raises(SystemExit, match="train-labels-idx1-ubyte.gz: is not the official file"):
        fetch.main(["--folder", str(tmp_path / "kept"), "--source", str(small)])
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == ["train-images-idx3-ubyte.gz"]


def test_without_any_place_one_sentence_tells_the_way_out(small, tmp_path):
    with pytest.raises(SystemExit, match="cannot be downloaded.*apt-get install.*--source FOLDER"):
        fetch.main(["--folder", str(tmp_path / "kept")])
    with pytest.raises(SystemExit, match="--source .*nowhere: no such folder"):
        fetch.main(["--source", str(tmp_path / "nowhere")])


@pytest.mark.skipif(not fetch.DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_debians_package_is_the_official_data_set(tmp_path):
    fetch.main(["--folder", str(tmp_path)])
    (images, labels), (test_images, test_labels) = fashion_mnist.load(tmp_path)
    assert np.bincount(labels).tolist() == [6000] * 10 and np.bincount(test_labels).tolist() == [1000] * 10
    assert images.shape == (60000, 28, 28) and test_images.shape == (10000, 28, 28)
    assert round(float(images.mean() / 255), 4) == 0.2860  # the mean that every Fashion-MNIST recipe uses
