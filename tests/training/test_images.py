"""Pictures as people have them: one reader for all, whatever the kind, the size and what lies beside them."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from golden.pictures import picture
from PIL import Image, ImageFile

from twins_lib import create_model, explorer, save_weights
from twins_lib import eval as eval_command
from twins_lib.training import images, masks, tasks, transforms
from twins_lib.training.config import load_config
from twins_lib.training.errors import RunError
from twins_lib.training.images import ImageFolder, load_image, told_left_out
from twins_lib.training.masks import MaskFolder

ORIENTATION = 0x112  # of EXIF; 6: the picture lies on its side


def write(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


# -------------------------------------------------------------------------------------------------- kinds of pictures

@pytest.mark.parametrize("suffix", images.EXTENSIONS)
def test_every_kind_in_the_list_is_read(tmp_path, suffix):
    path = write(tmp_path / f"a{suffix.upper()}", picture(24, 16).convert("1" if suffix == ".pbm" else "RGB"))
    found = load_image(path)
    assert (found.mode, found.size) == ("RGB", (24, 16))
    if suffix != ".pbm":
        assert np.abs(np.asarray(found).astype(int) - np.asarray(picture(24, 16))).mean() < 30


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif", "mpo"])
def test_the_first_picture_of_several_is_read(tmp_path, suffix):
    first, second = (Image.new("RGB", (24, 16), colour) for colour in ("red", "blue"))
    path = write(tmp_path / f"a.{suffix}", first, save_all=True, append_images=[second])
    assert np.abs(np.asarray(load_image(path)).astype(int) - (255, 0, 0)).max() < 5


def test_transparency_is_dropped_in_the_same_way_from_every_kind(tmp_path):
    image, see_through = picture(24, 16), Image.new("L", (24, 16), 0)
    colours = image.quantize(16)
    for name, stored in (("LA", Image.merge("LA", (image.convert("L"), see_through))), ("P", colours)):
        options = {"transparency": bytes(range(16))} if name == "P" else {}
        path = write(tmp_path / f"{name}.png", stored, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = load_image(path)
        np.testing.assert_array_equal(np.asarray(found), np.asarray(stored.convert("RGB")))


def test_16_bits_of_either_byte_order_and_no_wrong_brightness(tmp_path):
    deep = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    big = Image.frombytes("I;16B", (16, 16), deep.astype(">u2").tobytes())
    for name, image in (("little.tif", Image.fromarray(deep)), ("big.tif", big),
                        ("whole.tif", Image.fromarray(deep.astype(np.int32)))):
        found = np.asarray(load_image(write(tmp_path / name, image)))
        np.testing.assert_array_equal(found[..., 1].ravel(), np.arange(256))
    for name, values in (("f.tif", np.float32(deep / 65535)), ("i.tif", deep.astype(np.int32) * 1000)):
        with pytest.raises(ValueError, match=rf"{name}: cannot be read as an image \(its numbers are no colours of 8"):
            load_image(write(tmp_path / name, Image.fromarray(values)))


def test_orientation_is_applied_for_display_and_not_for_training(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    path = write(tmp_path / "a.png", picture(24, 16), exif=exif)
    np.testing.assert_array_equal(np.asarray(load_image(path)), np.asarray(picture(24, 16)))
    turned = np.asarray(picture(24, 16).transpose(Image.Transpose.ROTATE_270))
    np.testing.assert_array_equal(np.asarray(load_image(path, upright=True)), turned)
    np.testing.assert_array_equal(explorer._read(path, None), turned)


def test_damaged_exif_does_no_harm(tmp_path):
    path = write(tmp_path / "a.jpg", picture(24, 16), exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x09\x01\x12\x00")
    np.testing.assert_array_equal(np.asarray(load_image(path, upright=True)), np.asarray(load_image(path)))


# ----------------------------------------------------------------------------------------------------------- refusals

def header(width, height):
    """The beginning of a PNG of any size."""
    import struct
    import zlib

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + \
        chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


ODD = {
    "empty.jpg": (lambda path: path.write_bytes(b""), "the file is empty"),
    "text.png": (lambda path: path.write_text("<html>"), "not a picture of a kind that Pillow knows"),
    "folder.jpg": (lambda path: path.mkdir(), "Is a directory"),
    "link.jpg": (lambda path: path.symlink_to("nowhere"), "No such file or directory"),
    "loop.jpg": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    "bomb.png": (lambda path: path.write_bytes(header(20000, 20000)), "more than 178,956,970 pixels"),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("reader", [load_image, lambda path: explorer._read(path, None)])
def test_what_is_no_picture_is_one_sentence_from_every_reader(tmp_path, name, reader):
    make, why = ODD[name]
    make(tmp_path / name)
    with pytest.raises(ValueError) as fault:
        reader(tmp_path / name)
    assert str(fault.value) == f"{tmp_path / name}: cannot be read as an image ({why}); replace or remove the file"


def test_a_large_photograph_costs_no_warning(tmp_path):
    (tmp_path / "large.png").write_bytes(header(10000, 10000))
    told = subprocess.run([sys.executable, "-c", "import sys; from twins_lib.training.images import load_image\n"
                           "try: load_image(sys.argv[1])\nexcept ValueError as fault: print(fault)",
                           tmp_path / "large.png"], capture_output=True, text=True)
    assert told.stderr == "" and "large.png: cannot be read as an image (" in told.stdout  # it ends at once
    assert "178,956,970" not in told.stdout


# ---------------------------------------------------------------------------------------------------- very long images

@pytest.fixture
def sizes(monkeypatch):
    """The (width, height) of everything that is resized."""
    seen, resize = [], Image.Image.resize

    def watched(image, size, *arguments, **options):
        seen.append(tuple(size))
        assert size[0] * size[1] < 5_000_000, f"resized to {size}"  # 15 MB
        return resize(image, size, *arguments, **options)

    monkeypatch.setattr(Image.Image, "resize", watched)
    return seen


@pytest.mark.parametrize("size", [(1, 20000), (20000, 1), (3, 30001), (40000, 7)])
def test_a_very_long_image_stays_small(size, sizes):
    image = Image.new("RGB", size, (10, 20, 30))
    for found in (transforms.eval_transform(image, 224),
                  transforms.random_resized_crop(image, 224, np.random.default_rng(0))):
        assert found.size == (224, 224) and found.getpixel((100, 100)) == (10, 20, 30)
    pixels, mask = masks.train_pair(image, np.ones(size[::-1], np.uint8), 64, np.random.default_rng(0))
    assert pixels.shape == (3, 64, 64) and 1 in mask
    assert max(masks.resized(image, 64).size) == 1024
    assert len(sizes) >= 5


@pytest.mark.parametrize("size", [(1, 801), (1, 800), (900, 2), (5, 301)])
def test_the_middle_of_a_very_long_image_is_that_of_the_whole_resized(size):
    """Against both steps of the original on the whole image: resize, then cut."""
    image = picture(*size)
    W, H = size
    width, height = (32, int(32 * H / W)) if W <= H else (int(32 * W / H), 32)
    left, top = round((width - 28) / 2), round((height - 28) / 2)
    whole = image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + 28, top + 28))
    found = transforms.eval_transform(image, 28)
    assert np.abs(np.asarray(found).astype(int) - np.asarray(whole)).max() <= 1


# --------------------------------------------------------------------------------------------------------- left out

def test_what_lies_beside_the_images_is_told_in_one_line(tmp_path):
    for name in ("cat/a.webp", "cat/b.BMP", "dog/c.tiff", "dog/inner/d.jpg"):
        write(tmp_path / name, picture(8, 8))
    for name in ("cat/notes.txt", "dog/photo.heic", "index.csv", "cat/.DS_Store", "cat/Thumbs.db", "dog/desktop.ini"):
        (tmp_path / name).write_text("")
    folder = ImageFolder(tmp_path)
    assert [os.path.relpath(path, tmp_path) for path in folder.paths] == ["cat/a.webp", "cat/b.BMP", "dog/c.tiff"]
    assert told_left_out(folder) == (
        f"{tmp_path}: left out 3 that are no images of a kind or in a place that is read: 'index.csv', "
        "'cat/notes.txt', 'dog/photo.heic'; 1 that are folders within a folder of images: 'dog/inner/'")


def test_training_evaluation_and_check_tell_it(tmp_path, caplog, capsys):
    for name in ("train/cat/a.png", "train/dog/a.png", "val/cat/a.png", "val/dog/a.png"):
        write(tmp_path / name, picture(40, 36))
    (tmp_path / "train" / "cat" / "left.heic").write_text("")
    (tmp_path / "val" / "cat" / "right.heic").write_text("")
    config = load_config("twins_svt_nano", [f"data={tmp_path}", "batch_size=2"])
    tasks.classification(config)
    assert [("'cat/left.heic'" in told, "'cat/right.heic'" in told) for told in caplog.messages
            if "left out" in told] == [(True, False), (False, True)]
    weights = tmp_path / "nano.ckpt"
    save_weights(create_model("twins_svt_nano", 2), weights)
    eval_command.main(["--config", "twins_svt_nano", "--checkpoint", str(weights), f"data={tmp_path}", "workers=1"])
    assert f"{tmp_path / 'val'}: left out 1 that are no images" in capsys.readouterr().out
    save_weights(create_model("twins_svt_nano", 5), weights)
    with pytest.raises(RunError, match=rf"head.weight .*5, 96.* names twins_svt_nano, and {tmp_path}/val holds 2 cl"):
        eval_command.main(["--config", "twins_svt_nano", "--checkpoint", str(weights), f"data={tmp_path}"])
    capsys.readouterr()
    sys.path.insert(0, str(Path(__file__).parents[2] / "data_scripts"))
    import prepare_imagenet

    prepare_imagenet.main(["--check", str(tmp_path)])
    told = capsys.readouterr().out
    assert f"{tmp_path / 'train'}: left out 1" in told and f"{tmp_path / 'val'}: left out 1" in told


def test_nothing_is_told_of_a_tidy_folder(tmp_path):
    write(tmp_path / "cat" / "a.png", picture(8, 8))
    (tmp_path / "cat" / ".DS_Store").write_text("")
    assert told_left_out(ImageFolder(tmp_path)) == ""


def test_a_class_that_holds_only_folders_names_them(tmp_path):
    write(tmp_path / "cat" / "images" / "a.png", picture(8, 8))
    with pytest.raises(ValueError, match=r"cat: holds no image \(.jpg, .*\), only 'images/'; fill or remove the class"):
        ImageFolder(tmp_path)


@pytest.fixture
def pairs(tmp_path):
    for split in ("training", "validation"):
        write(tmp_path / "images" / split / "a.webp", picture(24, 16), lossless=True)
        write(tmp_path / "annotations" / split / "a.png", Image.new("L", (24, 16)))
    (tmp_path / "classes.txt").write_text("one\ntwo\n")
    return tmp_path


def test_masks_of_other_kinds_of_images(pairs):
    write(pairs / "images" / "training" / "inner" / "b.jpg", picture(8, 8))
    folder = MaskFolder(pairs, "training")
    image, labels = folder.load(0)
    assert image.size == (24, 16) and labels.shape == (16, 24)
    assert told_left_out(folder).endswith("folders within a folder of images: 'images/training/inner/'")


def test_two_images_with_one_mask_are_named(pairs):
    write(pairs / "images" / "training" / "a.jpg", picture(24, 16))
    with pytest.raises(ValueError, match=r"training/a.jpg', .*training/a.webp': would share the mask .*training/a.png"):
        MaskFolder(pairs, "training")


def test_an_image_is_turned_to_fit_its_mask(pairs):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    write(pairs / "images" / "training" / "a.webp", picture(16, 24), exif=exif)
    assert MaskFolder(pairs, "training").load(0)[0].size == (24, 16)


def test_a_mask_of_fractions_is_refused(pairs):
    path = pairs / "annotations" / "training" / "a.png"
    write(path, Image.new("F", (24, 16), 0.5), format="TIFF")
    with pytest.raises(ValueError, match="a.png: has colours or fractions; a mask must be"):
        MaskFolder(pairs, "training").load(0)


def test_pillow_is_not_told_to_accept_half_a_file():
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
