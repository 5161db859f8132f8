"""ADE20K's archive in small, unpacked and checked by the script."""

import hashlib
import io
import stat
import urllib.error
import zipfile

import numpy as np
import pytest
from golden.pictures import picture
from PIL import Image
from test_data_scripts import script

from twins_lib.training.masks import MaskFolder

ROOT = "ADEChallengeData2016/"
TABLE = "Idx\tRatio\tTrain\tVal\tName\n1\t0.5\t3\t2\twall\n2\t0.5\t3\t2\tbuilding, edifice\n"


def encoded(image, kind):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def contents():
    """{name: bytes} of an archive like the official one."""
    mask = np.tile(np.array([0, 1, 2], np.uint8), (20, 8))
    files = {ROOT: b"", ROOT + "sceneCategories.txt": b"not needed", ROOT + "objectInfo150.txt": TABLE.encode()}
    for split, number in (("training", 3), ("validation", 2)):
        for i in range(1, number + 1):
            name = f"{split}/ADE_{split[:5]}_{i:08d}"
            files[f"{ROOT}images/{name}.jpg"] = encoded(picture(24, 20, i), "jpeg")
            files[f"{ROOT}annotations/{name}.png"] = encoded(Image.fromarray(mask), "png")
    return files


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return hashlib.sha1(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def prepare():
    return script("prepare_ade20k")


@pytest.fixture
def ade(tmp_path, prepare):
    """A function that runs the script on an archive of these files."""
    def run(files):
        archive = tmp_path / "small.zip"
        sha1 = write_zip(archive, files)
        prepare.main(["--archive", str(archive), "--folder", str(run.folder), "--sha1", sha1])
    run.folder = tmp_path / "ade"
    return run


def test_archive_becomes_pairs_with_names(ade, prepare, capsys):
    ade(contents())
    for split, number in (("training", 3), ("validation", 2)):
        pairs = MaskFolder(ade.folder, split, reduce_zero_label=True)
        assert len(pairs) == number and pairs.classes == ["wall", "building"]
        image, labels = pairs.load(0)
        assert image.size == (24, 20) and labels[0, :3].tolist() == [255, 0, 1]
    prepare.main(["--check", str(ade.folder)])
    assert "every image has a mask of its size" in capsys.readouterr().out


def test_a_second_run_completes_what_a_stopped_one_left(ade):
    ade(contents())
    kept, lost = ade.folder / "images/training", ade.folder / "images/validation"
    before = kept.stat().st_mtime_ns
    next(lost.iterdir()).unlink()
    lost.rename(lost.with_name(".validation.part"))
    ade(contents())
    assert len(list(lost.iterdir())) == 2 and kept.stat().st_mtime_ns == before
    assert not list(ade.folder.rglob(".*"))


@pytest.mark.parametrize("name", ["../escaped.jpg", "/tmp/escaped.jpg", ROOT + "images/training/../../../escaped.jpg",
                                  "..\\escaped.jpg"])
def test_a_member_that_would_leave_the_folder_is_refused(ade, name):
    with pytest.raises(SystemExit, match="could leave the folder; this is not the official archive"):
        ade({**contents(), name: b"x"})
    assert not ade.folder.exists()


def test_a_link_is_refused(ade):
    link = zipfile.ZipInfo(ROOT + "images/training/link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(SystemExit, match="could leave the folder"):
        ade({**contents(), link: b"/etc/passwd"})


def test_archives_that_are_not_it_are_named(ade, prepare, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="small.zip: holds no .*images/training.* give the official archive"):
        ade({ROOT + "objectInfo150.txt": TABLE})
    words = ["--archive", str(tmp_path / "small.zip"), "--folder", str(ade.folder)]
    with pytest.raises(SystemExit, match=f"small.zip: SHA-1 is .*, not {prepare.SHA1}; the download is damaged"):
        prepare.main(words)
    with pytest.raises(SystemExit, match="nowhere.zip: no such file; get it from http://data.csail.mit.edu"):
        prepare.main(["--archive", "nowhere.zip"])
    (tmp_path / "small.zip").write_bytes(b"half a file")
    with pytest.raises(SystemExit, match="small.zip: not a whole zip archive"):
        prepare.main([*words, "--sha1", hashlib.sha1(b"half a file").hexdigest()])
    monkeypatch.setattr(prepare, "SHA1", write_zip(tmp_path / "small.zip", contents()))
    with pytest.raises(SystemExit, match="3 files, not 20,210"):
        prepare.main([*words, "--sha1", prepare.SHA1])


def test_check_names_every_fault(ade, prepare):
    ade(contents())
    annotations = ade.folder / "annotations"
    Image.fromarray(np.zeros((20, 25), np.uint8)).save(annotations / "training/ADE_train_00000001.png")
    Image.fromarray(np.full((20, 24), 3, np.uint8)).save(annotations / "training/ADE_train_00000002.png")
    (ade.folder / "images/training/ADE_train_00000003.jpg").unlink()
    (annotations / "validation/ADE_valid_00000001.png").unlink()
    with pytest.raises(SystemExit) as found:
        prepare.main(["--check", str(ade.folder)])
    said = str(found.value).splitlines()
    for words in ("00000001.png: the mask is 25x20", "00000002.png: has label 3", "ADE_valid_00000001.jpg: has no mask",
                  "00000003.png: a mask without an image"):
        assert sum(words in line for line in said) == 1
    assert len(said) == 4


def test_check_tells_labels_that_masks_do_not_hold(ade, prepare, capsys):
    ade(contents())
    names = (ade.folder / "classes.txt").read_text().splitlines()
    for path in (ade.folder / "annotations").rglob("*.png"):
        Image.fromarray(np.full((20, 24), 1 + ("validation" in str(path)), np.uint8)).save(path)
    prepare.main(["--check", str(ade.folder)])
    said = capsys.readouterr().out
    assert f"so never learned, but scored: {names[1]!r} (in 2 validation masks)" in said
    assert f"so without a score: {names[0]!r} (in 3 training masks)" in said


class Answer(io.BytesIO):
    def __init__(self, content, status, start=0):
        super().__init__(content[start:])
        self.status, self.headers = status, {"Content-Length": str(len(content) - start)}


def test_a_download_goes_on_where_it_stopped(prepare, tmp_path, monkeypatch):
    content, asked = bytes(range(256)) * 10, []

    def answer(request, timeout):
        asked.append(request.headers.get("Range"))
        start = int(asked[-1][6:-1]) if asked[-1] else 0
        return Answer(content, 206 if start else 200, start)

    monkeypatch.setattr(prepare.urllib.request, "urlopen", answer)
    path = tmp_path / "new" / "file.zip"
    path.parent.mkdir()
    path.with_name("file.zip.part").write_bytes(content[:1000])
    prepare.download("http://somewhere", path)
    assert path.read_bytes() == content and asked == ["bytes=1000-"] and len(list(path.parent.iterdir())) == 1

    def fail(request, timeout):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(prepare.urllib.request, "urlopen", fail)
    prepare.download("http://somewhere", path)  # there already: nothing is asked
    with pytest.raises(ValueError, match="cannot be fetched .no network.; run this again to go on"):
        prepare.download("http://somewhere", tmp_path / "other.zip")
