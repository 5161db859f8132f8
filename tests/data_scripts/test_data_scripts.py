"""ImageNet's archives in small, unpacked and checked by the script, and the mini ImageNet."""

import hashlib
import importlib.util
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from golden.pictures import picture
from scipy.io import savemat

from twins_lib.training.config import as_yaml, load_config
from twins_lib.training.images import ImageFolder, load_image

# Classes in the order of the devkit's numbers, which is not the order of their names.
WNIDS = ("n02119789", "n02100735", "n01440764")
TRUTH = (3, 1, 1, 2)  # class number of each validation image


def script(name):
    path = Path(__file__).parents[2] / "data_scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def jpeg(seed):
    file = io.BytesIO()
    picture(24, 24, seed).save(file, format="JPEG")
    return file.getvalue()


def tar_of(files, mode="w"):
    """Bytes of an archive that holds {name: bytes}."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode=mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def devkit():
    table = np.array([(i + 1, wnid, 0) for i, wnid in enumerate(WNIDS)] + [(4, "n00001740", 2)],
                     dtype=[("ILSVRC2012_ID", object), ("WNID", object), ("num_children", object)])
    mat = io.BytesIO()
    savemat(mat, {"synsets": table[:, None]})
    root = "ILSVRC2012_devkit_t12/data/"
    return tar_of({root + "meta.mat": mat.getvalue(), root + "ILSVRC2012_validation_ground_truth.txt":
                   "\n".join(map(str, TRUTH)).encode()}, "w:gz")


@pytest.fixture(scope="module")
def prepare_imagenet():
    return script("prepare_imagenet")


@pytest.fixture
def imagenet(tmp_path, prepare_imagenet):
    """A function that runs the script on archives of the official layout; contents can be exchanged."""
    archives, folder = tmp_path / "archives", tmp_path / "imagenet"
    archives.mkdir()
    contents = {
        "train": tar_of({f"{wnid}.tar": tar_of({f"{wnid}_{i}.JPEG": jpeg(i) for i in range(3)}) for wnid in WNIDS}),
        "val": tar_of({f"ILSVRC2012_val_{i:08d}.JPEG": jpeg(i) for i in range(1, 5)}),
        "devkit": devkit(),
    }

    def run(**exchanged):
        arguments = ["--archives", str(archives), "--folder", str(folder)]
        for kind, content in (contents | exchanged).items():
            (archives / prepare_imagenet.OFFICIAL[kind][0]).write_bytes(content)
            arguments += [f"--{kind}-md5", hashlib.md5(content).hexdigest()]
        prepare_imagenet.main(arguments)

    run.folder, run.archives = folder, archives
    return run


def test_archives_become_folders_of_classes(imagenet, capsys):
    imagenet()
    train, val = ImageFolder(imagenet.folder / "train"), ImageFolder(imagenet.folder / "val")
    assert train.classes == val.classes == sorted(WNIDS)
    assert np.bincount(train.labels).tolist() == [3, 3, 3]
    found = {Path(path).name: Path(path).parent.name for path in val.paths}
    assert found == {f"ILSVRC2012_val_{i:08d}.JPEG": WNIDS[n - 1] for i, n in enumerate(TRUTH, start=1)}
    assert (imagenet.folder / "val" / WNIDS[2] / "ILSVRC2012_val_00000001.JPEG").read_bytes() == jpeg(1)
    assert "train: 9 images" in capsys.readouterr().out


def test_a_second_run_completes_what_a_stopped_one_left(imagenet):
    imagenet()
    complete, lost = imagenet.folder / "train" / WNIDS[0], imagenet.folder / "train" / WNIDS[1]
    before = complete.stat().st_mtime_ns
    for image in lost.iterdir():
        image.unlink()
    lost.rename(lost.with_name(f".{lost.name}.part"))
    imagenet()
    assert len(list(lost.iterdir())) == 3 and complete.stat().st_mtime_ns == before
    assert not list(imagenet.folder.rglob(".*"))


def test_a_damaged_archive_is_refused_before_anything_is_unpacked(imagenet, prepare_imagenet):
    imagenet.archives.joinpath("ILSVRC2012_img_train.tar").write_bytes(b"not what was promised")
    with pytest.raises(SystemExit, match="img_train.tar: MD5 is .*, not 1d675b47d978889d74fa0da5fadfb00e"):
        prepare_imagenet.main(["--archives", str(imagenet.archives), "--folder", str(imagenet.folder)])
    assert not imagenet.folder.exists()


def test_a_missing_archive_is_named(tmp_path, prepare_imagenet):
    with pytest.raises(SystemExit, match="ILSVRC2012_img_train.tar: no such file; download it"):
        prepare_imagenet.main(["--archives", str(tmp_path), "--folder", str(tmp_path)])


@pytest.mark.parametrize("name", ["../escaped.JPEG", "/tmp/escaped.JPEG", "inner/../../escaped.JPEG", ".."])
def test_a_member_that_would_leave_the_folder_is_refused(imagenet, name):
    with pytest.raises(SystemExit, match="is not a file with a plain name and could leave the folder"):
        imagenet(train=tar_of({f"{WNIDS[0]}.tar": tar_of({name: jpeg(0)})}))
    with pytest.raises(SystemExit, match="could leave the folder"):
        imagenet(train=tar_of({name: tar_of({"n1_1.JPEG": jpeg(0)})}))
    assert not list(imagenet.folder.parent.rglob("escaped.JPEG"))
    assert not list((imagenet.folder / "train").glob("n*"))


def test_a_link_in_an_archive_is_refused(imagenet):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        link = tarfile.TarInfo("ILSVRC2012_val_00000001.JPEG")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(SystemExit, match="could leave the folder"):
        imagenet(val=archive.getvalue())


def test_an_archive_of_another_kind_is_named(imagenet):
    with pytest.raises(SystemExit, match="img_val.tar: member 'cat.JPEG' is no image that the devkit knows"):
        imagenet(val=tar_of({"cat.JPEG": jpeg(0)}))
    with pytest.raises(SystemExit, match="devkit_t12.tar.gz: .*meta.mat.* give the official devkit"):
        imagenet(devkit=tar_of({"readme.txt": b""}, "w:gz"))


@pytest.mark.parametrize("content", [devkit()[:200], b"", b"no archive at all"])
def test_a_damaged_devkit_is_named(imagenet, content):
    with pytest.raises(SystemExit, match=r"devkit_t12.tar.gz: damaged \(.*\); get it anew"):
        imagenet(devkit=content)
    with pytest.raises(SystemExit, match=r"img_train.tar: damaged \(.*\); get it anew"):
        imagenet(train=tar_of({f"{WNIDS[0]}.tar": tar_of({"a.JPEG": jpeg(0)})})[:2000])


def test_a_devkit_whose_parts_do_not_fit_is_named(imagenet):
    root = "ILSVRC2012_devkit_t12/data/"
    truth = {root + "ILSVRC2012_validation_ground_truth.txt": b"77"}
    empty = io.BytesIO()
    savemat(empty, {"synsets": np.zeros(0)})
    for table in (b"no table", empty.getvalue()):
        with pytest.raises(SystemExit, match="devkit_t12.tar.gz: its table of classes and its ground truth do not fit"):
            imagenet(devkit=tar_of({root + "meta.mat": table, **truth}, "w:gz"))


def test_ctrl_c_while_checking_is_a_sentence(prepare_imagenet, monkeypatch, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare_imagenet, "check", interrupt)
    with pytest.raises(SystemExit, match="stopped; nothing was changed"):
        prepare_imagenet.main(["--check", str(tmp_path)])


def test_official_archives_must_hold_the_official_number(imagenet, prepare_imagenet, monkeypatch):
    content = tar_of({f"{wnid}.tar": tar_of({f"{wnid}_0.JPEG": jpeg(0)}) for wnid in WNIDS})
    monkeypatch.setitem(prepare_imagenet.OFFICIAL, "train",
                        ("ILSVRC2012_img_train.tar", hashlib.md5(content).hexdigest()))
    with pytest.raises(SystemExit, match="train: 3 images, not 1,281,167"):
        imagenet(train=content)


def test_check_reports_what_is_missing_empty_and_unreadable(imagenet, prepare_imagenet, capsys):
    imagenet()
    prepare_imagenet.main(["--check", str(imagenet.folder)])
    assert "nothing is missing, empty or unreadable" in capsys.readouterr().out
    damaged = imagenet.folder / "train" / WNIDS[0] / f"{WNIDS[0]}_1.JPEG"
    damaged.write_bytes(damaged.read_bytes()[:300])
    (imagenet.folder / "train" / "n00000001").mkdir()
    with pytest.raises(SystemExit) as found:
        prepare_imagenet.main(["--check", str(imagenet.folder)])
    complaints = str(found.value).splitlines()
    assert len(complaints) == 3
    for end in ("train/n00000001: holds no image (.jpg, .jpeg, .jpe, .jfif, .png ...)",
                "val/n00000001: missing, train has this class", "_1.JPEG: cannot be read"):
        assert sum(end in complaint for complaint in complaints) == 1


def test_a_flat_val_is_sorted_by_kaggles_table(prepare_imagenet, tmp_path):
    val, table = tmp_path / "val", tmp_path / "LOC_val_solution.csv"
    val.mkdir()
    for i in range(1, 4):
        (val / f"ILSVRC2012_val_{i:08d}.JPEG").write_bytes(jpeg(i))
    with pytest.raises(ValueError, match=r"val: holds no class folder but 3 images.*prepare_imagenet.py --sort"):
        ImageFolder(val)
    lines = ["ImageId,PredictionString"] + [f"ILSVRC2012_val_{i:08d},{wnid} 1 2 3 4 {WNIDS[0]} 5 6 7 8 "
                                            for i, wnid in enumerate(WNIDS, 1)]
    table.write_text("\n".join(lines[:-1]) + "\n")
    words = ["--sort", str(val), "--truth", str(table)]
    with pytest.raises(SystemExit, match="ILSVRC2012_val_00000003.JPEG: has no class in .*LOC_val_solution.csv"):
        prepare_imagenet.main(words)
    assert len(list(val.iterdir())) == 3  # nothing was moved
    table.write_text("\n".join(lines) + "\n")
    prepare_imagenet.main(words)
    folder = ImageFolder(val)
    assert [Path(path).relative_to(val) for path in folder.paths] == [
        Path(wnid, f"ILSVRC2012_val_{1 + WNIDS.index(wnid):08d}.JPEG") for wnid in sorted(WNIDS)]
    prepare_imagenet.main(words)  # nothing is left to do


def test_check_reads_a_single_folder_of_classes_too(imagenet, prepare_imagenet, tmp_path):
    imagenet()
    prepare_imagenet.main(["--check", str(imagenet.folder / "val")])
    with pytest.raises(SystemExit, match="nowhere: no such folder"):
        prepare_imagenet.main(["--check", str(tmp_path / "nowhere")])


# ------------------------------------------------------------------------------------------------------ mini ImageNet

def mini(folder, *arguments):
    script("make_mini_imagenet").main(["--folder", str(folder), "--train", "4", "--val", "2", *arguments])


def test_mini_imagenet_has_the_layout_and_the_same_bytes_each_time(tmp_path):
    mini(tmp_path / "one")
    mini(tmp_path / "two")
    train, val = ImageFolder(tmp_path / "one" / "train"), ImageFolder(tmp_path / "one" / "val")
    assert train.classes == val.classes and len(train.classes) == 8
    assert (len(train), len(val)) == (32, 16)
    assert load_image(train.paths[0]).size == (96, 96)
    content = {split: {Path(p).relative_to(tmp_path / split): Path(p).read_bytes()
                       for s in ("train", "val") for p in ImageFolder(tmp_path / split / s).paths}
               for split in ("one", "two")}
    assert content["one"] == content["two"]
    assert len(set(content["one"].values())) == 48  # no picture twice, none of train in val


def test_mini_imagenet_keeps_what_is_there_and_refuses_what_does_not_fit(tmp_path):
    mini(tmp_path)
    kept = next((tmp_path / "train").glob("*/*.JPEG"))
    before = kept.stat().st_mtime_ns
    mini(tmp_path)
    assert kept.stat().st_mtime_ns == before
    with pytest.raises(SystemExit, match="is there, but not with 5 images"):
        mini(tmp_path, "--train", "5")
    with pytest.raises(SystemExit, match="--classes 99"):
        mini(tmp_path, "--classes", "99")


def test_mini_imagenet_says_where_it_cannot_write_and_that_it_was_stopped(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match=r"file/train/.*: cannot be written \(Not a directory\); make room, or"):
        mini(tmp_path / "file")
    mini_imagenet = script("make_mini_imagenet")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(mini_imagenet, "write_class", interrupt)
    with pytest.raises(SystemExit, match="stopped; run this again, classes that are complete stay"):
        mini_imagenet.main(["--folder", str(tmp_path / "new")])


def test_the_stored_runs_are_of_these_pictures_and_settings(tmp_path):
    card = json.loads((Path(__file__).parents[2] / "notebooks" / "assets" / "mini_imagenet.json").read_text())
    mini(tmp_path, "--train", "1", "--val", "1")
    first = b"".join(path.read_bytes() for path in sorted(tmp_path.rglob("*_00000.JPEG")))
    assert hashlib.sha256(first).hexdigest() == card["data"]["sha256_of_first_images"]
    assert card["runs"].keys() == {"twins_svt_nano", "twins_pcpvt_nano"}
    for name, run in card["runs"].items():
        now = yaml.safe_load(as_yaml(load_config(name)))
        assert run["command"].endswith(f"--config {name}")
        assert run["settings"] == {key: now[key] for key in run["settings"]}
        assert [line["epoch"] for line in run["log"]] == list(range(now["epochs"]))


def test_mean_colour_does_not_tell_the_classes_apart(tmp_path):
    mini(tmp_path, "--train", "40", "--val", "10", "--size", "32")
    train, val = ImageFolder(tmp_path / "train"), ImageFolder(tmp_path / "val")
    means = [np.array([np.asarray(load_image(p)).mean((0, 1)) for p in f.paths]) for f in (train, val)]
    nearest = ((means[1][:, None] - means[0]) ** 2).sum(-1).argsort(1)[:, :9]
    votes = [np.bincount(train.labels[row], minlength=8).argmax() for row in nearest]
    assert (np.array(votes) == val.labels).mean() < 0.3  # chance is 0.125
