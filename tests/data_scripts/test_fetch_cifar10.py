"""CIFAR-10 from a small archive of the official layout: unpacked, resumed, checked, and told where it is not right."""

import hashlib
import http.server
import importlib.util
import io
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from twins_lib.training.images import ImageFolder

spec = importlib.util.spec_from_file_location(
    "fetch_cifar10", Path(__file__).parents[2] / "data_scripts" / "fetch_cifar10.py")
fetch = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fetch)


def record(label, number):
    """A picture whose red is its number, and whose blue grows along each row."""
    planes = np.zeros((3, 32, 32), np.uint8)
    planes[0], planes[2] = number, np.arange(32)
    return bytes([label]) + planes.tobytes()


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Two pictures of each class in every training batch, one in the test batch; one is for validation."""
    path = tmp_path / "small.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        for b, name in enumerate(fetch.BATCHES):
            content = b"".join(record(label, 10 * b + i) for i in range(1 if "test" in name else 2)
                               for label in reversed(range(10)))
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    monkeypatch.setattr(fetch, "MD5", hashlib.md5(path.read_bytes()).hexdigest())
    monkeypatch.setattr(fetch, "VAL", 1)
    return path


@pytest.fixture
def server(archive, monkeypatch):
    """A web server that gives ranges of the archive, and a list of what was asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content, wanted = archive.read_bytes(), self.headers.get("Range")
            asked.append(wanted)
            first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            self.send_response((206 if first < len(content) else 416) if wanted else 200)
            self.send_header("Content-Length", str(len(content) - first))
            self.end_headers()
            self.wfile.write(content[first:])

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setattr(fetch, "ADDRESS", f"http://127.0.0.1:{running.server_address[1]}/small.tar.gz")
        yield asked
        running.shutdown()


def test_from_a_file_into_folders_that_the_engine_reads(archive, tmp_path, capsys):
    kept = tmp_path / "data" / "cifar10"
    fetch.main(["--folder", str(kept), "--source", str(archive)])
    assert "90 pictures in train/, 10 pictures in val/, 10 pictures in test/" in capsys.readouterr().out
    train, val, test = (ImageFolder(kept / split) for split in ("train", "val", "test"))
    assert train.classes == val.classes == test.classes == list(fetch.CLASSES)
    assert (len(train), len(val), len(test)) == (90, 10, 10)
    pixels = np.asarray(Image.open(kept / "train" / "dog" / "0002.png"))
    assert pixels.shape == (32, 32, 3) and (pixels[..., 0] == 10).all()  # the first of the second batch
    assert (pixels[..., 2] == np.arange(32)).all() and not pixels[..., 1].any()
    assert np.asarray(Image.open(kept / "val" / "cat" / "0000.png"))[0, 0, 0] == 41  # the last of the fifth
    assert np.asarray(Image.open(kept / "test" / "cat" / "0000.png"))[0, 0, 0] == 50
    assert archive.exists()
    fetch.main(["--folder", str(kept)])
    assert "is there already" in capsys.readouterr().out


def test_a_download_goes_on_where_it_ended(archive, server, tmp_path):
    part = tmp_path / "data" / "cifar-10-binary.tar.gz"
    part.parent.mkdir()
    part.write_bytes(archive.read_bytes()[:100])
    fetch.main(["--folder", str(tmp_path / "data" / "cifar10")])
    assert server == ["bytes=100-"] and not part.exists()
    assert len(ImageFolder(tmp_path / "data" / "cifar10" / "test")) == 10


def test_a_whole_download_is_not_fetched_again(archive, server, tmp_path):
    part = tmp_path / "cifar-10-binary.tar.gz"
    part.write_bytes(archive.read_bytes())
    fetch.main(["--folder", str(tmp_path / "cifar10")])
    assert len(ImageFolder(tmp_path / "cifar10" / "train")) == 90


def test_an_altered_download_is_removed_and_an_own_file_is_not(archive, server, tmp_path):
    part = tmp_path / "cifar-10-binary.tar.gz"
    part.write_bytes(b"x" + archive.read_bytes()[1:])
    with pytest.raises(SystemExit, match="cut short or altered.*it is removed, run this again"):
        fetch.main(["--folder", str(tmp_path / "cifar10")])
    assert not part.exists() and not (tmp_path / "cifar10").exists()
    archive.write_bytes(archive.read_bytes()[:-20])
    with pytest.raises(SystemExit, match="small.tar.gz: cut short or altered.*get it anew from http"):
        fetch.main(["--folder", str(tmp_path / "cifar10"), "--source", str(archive)])
    assert archive.exists()


def test_another_archive_with_the_right_sum_is_told(tmp_path, monkeypatch):
    for content in (b"no archive", b""):
        strange = tmp_path / "strange.tar.gz"
        strange.write_bytes(content)
        monkeypatch.setattr(fetch, "MD5", hashlib.md5(content).hexdigest())
        with pytest.raises(SystemExit, match="strange.tar.gz: not CIFAR-10's binary version"):
            fetch.main(["--folder", str(tmp_path / "cifar10"), "--source", str(strange)])
    assert not (tmp_path / "cifar10").exists()


def test_no_network_and_no_file_are_each_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "ADDRESS", "http://127.0.0.1:9/nothing.tar.gz")
    with pytest.raises(SystemExit, match="cannot be downloaded.*--source FILE"):
        fetch.main(["--folder", str(tmp_path / "cifar10")])
    with pytest.raises(SystemExit, match="--source .*missing.tar.gz: no such file"):
        fetch.main(["--folder", str(tmp_path / "cifar10"), "--source", str(tmp_path / "missing.tar.gz")])


def test_a_full_disk_leaves_no_half_folder(archive, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", full)
        with pytest.raises(SystemExit, match="cifar10: cannot be written .No space left on device.; make room"):
            fetch.main(["--folder", str(tmp_path / "cifar10"), "--source", str(archive)])
    assert not (tmp_path / "cifar10").exists()
    fetch.main(["--folder", str(tmp_path / "cifar10"), "--source", str(archive)])
    assert len(ImageFolder(tmp_path / "cifar10" / "train")) == 90
