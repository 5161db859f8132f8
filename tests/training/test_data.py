"""The pipeline against what torchvision and timm make of the same pictures and draws (golden/transforms.npz),
against the statistics its draws must have, and against the files that real folders contain."""

import io
import os
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
from golden.pictures import CROP_SIZES, EVAL_SIZES, SEEDS, SIDE, picture
from PIL import Image
from scipy import stats

from twins_lib.training import batches as batch_module
from twins_lib.training import transforms
from twins_lib.training import images as images_module
from twins_lib.training.batches import eval_batches, train_batches
from twins_lib.training.images import ImageFolder
from twins_lib.training.transforms import Augmentation
from twins_lib.training.recipe import smooth_labels

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "transforms.npz")
PLAIN = Augmentation(crop_scale=(0.5, 1.0), randaugment="", erasing=0, mixup=0, cutmix=0, smoothing=0)
NAMES = {"PosterizeIncreasing": "Posterize", "SolarizeIncreasing": "Solarize", "ColorIncreasing": "Color",
         "ContrastIncreasing": "Contrast", "BrightnessIncreasing": "Brightness", "SharpnessIncreasing": "Sharpness",
         "TranslateXRel": "TranslateX", "TranslateYRel": "TranslateY"}  # timm's: ours


# ---------------------------------------------------------------------------- the same bytes as torchvision and timm

@pytest.mark.parametrize("W, H", EVAL_SIZES)
def test_evaluation_is_torchvisions_to_the_byte(W, H):
    found = np.asarray(transforms.eval_transform(picture(W, H), SIDE))
    np.testing.assert_array_equal(found, GOLDEN[f"eval/{W}x{H}"])


def test_evaluation_resizes_without_aliasing():
    stripes = Image.fromarray(np.tile(np.uint8([0, 255]), (256, 128)), "L").convert("RGB")
    assert np.ptp(np.asarray(transforms.eval_transform(stripes, 56))) <= 2  # all stripes merge into grey


@pytest.mark.parametrize("W, H", CROP_SIZES)
def test_random_crop_is_timms_for_the_same_draws(W, H):
    for seed in SEEDS:
        found = transforms.random_resized_crop(picture(W, H), SIDE, np.random.default_rng(seed))
        np.testing.assert_array_equal(np.asarray(found), GOLDEN[f"crop/{W}x{H}/{seed}"])


@pytest.mark.parametrize("timms", [key.split("/")[1] for key in GOLDEN if key.endswith("False")])
def test_operation_of_rand_augment_is_timms(timms):
    operation, at_10, signed = transforms.OPERATIONS[NAMES.get(timms, timms)]
    for negative in (False, True):
        strength = 8.6 / 10 * at_10 * (-1 if signed and negative else 1)
        found = np.asarray(operation(picture(32, 24), strength))
        np.testing.assert_array_equal(found, GOLDEN[f"augment/{timms}/{negative}"])


def test_all_fifteen_operations_are_compared():
    assert {NAMES.get(key.split("/")[1], key.split("/")[1]) for key in GOLDEN if key.startswith("augment")} \
        == set(transforms.OPERATIONS) and len(transforms.OPERATIONS) == 15


def test_normalise_is_torchvisions_to_the_bit():
    np.testing.assert_array_equal(transforms.normalise(picture(24, 16)), GOLDEN["normalise"])
    batch = np.zeros((2, 3, 16, 24), np.float32)
    transforms.normalise(picture(24, 16), batch[1])
    np.testing.assert_array_equal(batch, [np.zeros_like(batch[0]), GOLDEN["normalise"]])


def test_erasing_is_timms_for_the_same_draws():
    for seed in SEEDS:
        found = transforms.random_erasing(np.zeros((3, 24, 32), np.float32), np.random.default_rng(seed), prob=1)
        np.testing.assert_array_equal(found, GOLDEN[f"erase/{seed}"])


# -------------------------------------------------------------------------------------------------------- statistics

def test_crops_cover_the_areas_and_ratios_they_should():
    rng = np.random.default_rng(0)
    boxes = np.array([transforms.crop_box((500, 500), rng, (0.08, 1.0), (3 / 4, 4 / 3)) for _ in range(3000)])
    left, top, width, height = boxes.T
    assert (left >= 0).all() and (top >= 0).all() and (left + width <= 500).all() and (top + height <= 500).all()
    areas, ratios = width * height / 500**2, width / height
    assert 0.079 < areas.min() and ratios.min() > 0.74 and ratios.max() < 1.35
    small = areas < 0.5  # larger ones may not fit and are drawn anew
    assert stats.kstest(areas[small], stats.uniform(0.08, 0.42).cdf).pvalue > 0.01
    logs = np.log(ratios[small])
    assert stats.kstest(logs, stats.uniform(np.log(3 / 4), np.log(16 / 9)).cdf).pvalue > 0.01


def test_half_the_images_are_mirrored():
    image, rng = picture(8, 8), np.random.default_rng(0)
    mirrored = np.asarray(image)[:, ::-1]
    flips = sum(np.array_equal(transforms.hflip(image, rng), mirrored) for _ in range(1000))
    assert 436 < flips < 564  # four standard deviations


def test_rand_augment_draws_operations_strengths_and_signs_as_it_should(monkeypatch):
    called = []

    def record(name):
        return (lambda image, strength: called.append((name, strength)) or image), 10, name.startswith("s")

    monkeypatch.setattr(transforms, "OPERATIONS", {name: record(name) for name in ("a", "b", "c", "s")})
    rng = np.random.default_rng(0)
    for _ in range(2000):
        assert transforms.rand_augment(None, rng) is None
    counts = Counter(name for name, _ in called)
    assert abs(len(called) - 2000) < 126  # of 4000 draws a half is applied; four standard deviations
    assert len(counts) == 4 and stats.chisquare(list(counts.values())).pvalue > 0.01
    strengths = np.array([abs(strength) for _, strength in called])
    assert 0.02 < (strengths == 10).mean() < 0.03  # normal(9, 0.5) is above 10 in 2.3 % of draws
    assert abs(strengths.mean() - 9) < 0.05 and abs(strengths.std() - 0.5) < 0.05
    negative = np.mean([strength < 0 for name, strength in called if name == "s"])
    assert 0.4 < negative < 0.6 and all(strength > 0 for name, strength in called if name != "s")


@pytest.mark.parametrize("text", ["rand-m9-mstd0.5", "rand-m9-mstd0.5-inc0", "auto", "rand-m9-x3-inc1"])
def test_another_notation_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="must look like"):
        Augmentation(randaugment=text)


def test_strongest_posterize_is_black():
    operation, at_10, _ = transforms.OPERATIONS["Posterize"]
    assert not np.asarray(operation(picture(8, 8), at_10)).any()


def test_a_quarter_of_the_images_lose_a_box_to_normal_noise():
    rng = np.random.default_rng(0)
    areas, noise = [], []
    for _ in range(2000):
        pixels = transforms.random_erasing(np.zeros((3, 40, 40), np.float32), rng)
        areas.append((pixels[0] != 0).mean())
        noise.append(pixels[pixels != 0])
    areas = np.array(areas)
    assert 0.21 < (areas > 0).mean() < 0.29  # four standard deviations
    assert 0.015 < areas[areas > 0].min() and areas.max() < 0.35
    assert abs(areas[areas > 0].mean() - (0.02 + 1 / 3) / 2) < 0.02
    assert stats.kstest(np.concatenate(noise)[:5000], "norm").pvalue > 0.01


# ------------------------------------------------------------------------------------------------------------- folders

def write(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


@pytest.fixture
def root(tmp_path):
    """Three classes, 9 + 8 + 5 images."""
    for name, number in (("ant", 9), ("bee", 8), ("cat", 5)):
        for i in range(number):
            write(tmp_path / name / f"{i}.png", picture(40 + i, 36, seed=i))
    return tmp_path


def test_folder_lists_classes_and_images_in_order(tmp_path):
    for name in ("b/2.JPEG", "b/1.jpg", "a/x.PNG", "a/notes.txt", ".hidden/1.png"):
        write(tmp_path / name, picture(4, 4), format="PNG")
    folder = ImageFolder(tmp_path)
    assert folder.classes == ["a", "b"] and folder.labels.tolist() == [0, 1, 1] and len(folder) == 3
    assert [Path(path).name for path in folder.paths] == ["x.PNG", "1.jpg", "2.JPEG"]


def test_a_missing_or_empty_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        ImageFolder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no class folder"):
        ImageFolder(tmp_path)
    write(tmp_path / "ant" / "1.png", picture(4, 4))
    (tmp_path / "bee").mkdir()
    with pytest.raises(ValueError, match="bee: holds no image"):
        ImageFolder(tmp_path)


def test_classes_that_differ_are_named(tmp_path):
    for name in ("train/ant", "train/bee", "val/ant", "val/cat"):
        write(tmp_path / name / "1.png", picture(4, 4))
    train, val = ImageFolder(tmp_path / "train"), ImageFolder(tmp_path / "val")
    with pytest.raises(ValueError, match="train: 'bee'; only in .*val: 'cat'"):
        images_module.check_same_classes(train, val)
    images_module.check_same_classes(train, train)


# --------------------------------------------------------------------------------------------------------- odd images

def test_composed_and_decomposed_names_are_one_class_in_one_order(tmp_path):
    names = {"train": ("cafz", "caf\u00e9", "caff"), "val": ("cafz", "cafe\u0301", "caff")}
    for split, classes in names.items():
        for name in classes:
            write(tmp_path / split / name / "1.png", Image.new("RGB", (4, 4)))
    train, val = ImageFolder(tmp_path / "train"), ImageFolder(tmp_path / "val")
    images_module.check_same_classes(train, val)
    assert train.classes == val.classes == ["caff", "cafz", "caf\u00e9"]
    assert Path(val.paths[2]).parent.name == "cafe\u0301"  # the folder keeps its own name
    write(tmp_path / "val" / "caf\u00e9" / "1.png", Image.new("RGB", (4, 4)))
    with pytest.raises(ValueError, match="val: holds two folders 'caf\u00e9', with composed and with separate accents"):
        ImageFolder(tmp_path / "val")


def test_white_space_around_a_class_is_seen(tmp_path):
    for name in ("train/red", "val/red "):
        write(tmp_path / name / "1.png", Image.new("RGB", (4, 4)))
    with pytest.raises(ValueError, match="only in .*train: 'red'; only in .*val: 'red '"):
        images_module.check_same_classes(ImageFolder(tmp_path / "train"), ImageFolder(tmp_path / "val"))


def test_grey_palette_transparent_and_cmyk_images_become_rgb(tmp_path):
    image = picture(24, 16)
    for mode, suffix in (("L", "jpg"), ("CMYK", "jpg"), ("P", "png"), ("RGBA", "png"), ("LA", "png"), ("1", "png")):
        found = images_module.load_image(write(tmp_path / f"{mode}.{suffix}", image.convert(mode)))
        assert (found.mode, found.size) == ("RGB", (24, 16))
    grey = np.asarray(images_module.load_image(tmp_path / "LA.png"))
    np.testing.assert_array_equal(grey, np.asarray(image.convert("L"))[..., None].repeat(3, 2))
    cmyk = np.asarray(images_module.load_image(tmp_path / "CMYK.jpg")).astype(int)
    assert np.abs(cmyk - np.asarray(image)).mean() < 12  # the same picture, not its negative


def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path):
    values = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    found = images_module.load_image(write(tmp_path / "deep.png", Image.fromarray(values)))
    np.testing.assert_array_equal(np.asarray(found)[..., 0].ravel(), np.arange(256))


def truncate(path):
    path.write_bytes(path.read_bytes()[:len(path.read_bytes()) // 2])


@pytest.fixture
def broken(root):
    """The folder with a JPEG that ends in its middle, and that file."""
    path = write(root / "ant" / "broken.jpg", picture(80, 80))
    truncate(path)
    return root, path


def test_a_truncated_jpeg_is_named(broken):
    with pytest.raises(ValueError, match="broken.jpg: cannot be read as an image .*truncated") as fault:
        images_module.load_image(broken[1])
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_training_stops_at_an_unreadable_image_and_names_it(broken, workers):
    write(broken[0] / "ant" / "24th.png", picture(40, 36))  # so that batches of 12 leave no image out
    with pytest.raises(ValueError, match="broken.jpg: cannot be read"):
        list(train_batches(ImageFolder(broken[0]), batch_size=12, image_size=16, seed=0, epoch=0, workers=workers))
    assert not psutil.Process().children()


def test_evaluation_leaves_an_unreadable_image_out_and_says_so(broken):
    folder = ImageFolder(broken[0])
    batches = eval_batches(folder, batch_size=10, image_size=16, workers=0)
    assert sum(valid.sum() for _, _, valid in batches) == len(folder) - 1 == 22
    assert len(batches.unreadable) == 1 and "broken.jpg" in batches.unreadable[0]
    with pytest.raises(ValueError, match="broken.jpg"):
        list(eval_batches(folder, batch_size=10, image_size=16, workers=0, strict=True))


# -------------------------------------------------------------------------------------------------------------- batches

def epoch_of(root, **options):
    options = {"batch_size": 4, "image_size": 16, "seed": 3, "epoch": 1, "workers": 0} | options
    batches = train_batches(ImageFolder(root), **options)
    found = list(batches)
    assert len(found) == len(batches)
    return found


def assert_same(one, other):
    assert len(one) == len(other)
    for (images, targets), (images2, targets2) in zip(one, other):
        np.testing.assert_array_equal(images, images2)
        np.testing.assert_array_equal(targets, targets2)


def test_batches_have_their_shapes_and_an_epoch_shows_no_image_twice(root):
    found = epoch_of(root, augmentation=PLAIN)
    assert len(found) == 22 // 4
    images, targets = found[0]
    assert (images.shape, targets.shape) == ((4, 3, 16, 16), (4, 3)) and images.dtype == targets.dtype == np.float32
    order = train_batches(ImageFolder(root), batch_size=4, image_size=16, seed=3, epoch=1).source.order.ravel()
    assert len(set(order)) == 20
    labels = ImageFolder(root).labels[order]
    np.testing.assert_array_equal(np.concatenate([t for _, t in found]), smooth_labels(labels, 3, 0))


def test_epochs_and_seeds_differ(root):
    assert not np.array_equal(epoch_of(root)[0][0], epoch_of(root, epoch=2)[0][0])
    assert not np.array_equal(epoch_of(root)[0][0], epoch_of(root, seed=4)[0][0])


def test_workers_change_no_byte_and_leave_no_process(root):
    assert_same(epoch_of(root), epoch_of(root, workers=2))
    batches = iter(train_batches(ImageFolder(root), batch_size=4, image_size=16, seed=0, epoch=0, workers=2))
    next(batches)
    batches.close()  # as when training stops in the middle of an epoch
    assert not psutil.Process().children()


def test_a_full_shared_memory_changes_nothing(root, monkeypatch):
    whole = epoch_of(root)
    monkeypatch.setattr(batch_module, "free_shared_memory", lambda: 2 * batch_module.LEAST)
    assert_same(whole, epoch_of(root, workers=2))


def test_without_shared_memory_a_thread_reads_and_it_is_said_once(root, monkeypatch, caplog):
    whole = epoch_of(root)
    monkeypatch.setattr(batch_module, "free_shared_memory", lambda: 0)
    batch_module.warn_once.cache_clear()
    children = {child.pid for child in psutil.Process().children()}
    batches = iter(train_batches(ImageFolder(root), batch_size=4, image_size=16, seed=0, epoch=0, workers=2))
    next(batches)
    assert {child.pid for child in psutil.Process().children()} == children
    assert_same(whole, epoch_of(root, workers=2))
    assert [record.getMessage() for record in caplog.records] == [
        "/dev/shm is missing, full or read-only, so images are read in one thread and not by workers; give a container "
        "--shm-size=1g, say"]


def test_a_restart_in_the_middle_changes_no_byte(root):
    assert_same(epoch_of(root)[3:], epoch_of(root, start_step=3))


def test_two_ranks_train_on_what_one_would(root):
    for (images, targets), first, second in zip(
            epoch_of(root), *(epoch_of(root, batch_size=2, rank=rank, world=2) for rank in (0, 1))):
        # the outer pair of the batch and the inner one, because these are the pairs that are mixed
        for rows, (images2, targets2) in (([0, 3], first), ([1, 2], second)):
            np.testing.assert_array_equal(images[rows], images2)
            np.testing.assert_array_equal(targets[rows], targets2)


def test_impossible_batches_are_refused(root):
    with pytest.raises(ValueError, match="batch_size 3: must be even"):
        epoch_of(root, batch_size=3)
    with pytest.raises(ValueError, match="22 images do not fill one batch of 24"):
        epoch_of(root, batch_size=12, world=2)


@pytest.mark.parametrize("world", [1, 3])
def test_evaluation_counts_every_image_once_over_all_ranks(root, world):
    folder, seen = ImageFolder(root), Counter()
    for rank in range(world):
        batches = eval_batches(folder, batch_size=4, image_size=16, rank=rank, world=world, workers=0)
        assert len(batches) == -(-22 // (4 * world))  # every rank makes as many steps
        for images, labels, valid in batches:
            assert images.shape == (4, 3, 16, 16) and labels.shape == valid.shape == (4,)
            assert not images[~valid].any()
            seen.update((image.tobytes(), int(label)) for image, label in zip(images[valid], labels[valid]))
    small = (transforms.eval_transform(images_module.load_image(path), 16) for path in folder.paths)
    expected = Counter((transforms.normalise(one).tobytes(), int(label)) for one, label in zip(small, folder.labels))
    assert seen == expected


def test_throughput_measures(root):
    assert batch_module.throughput(ImageFolder(root), image_size=16, batch_size=4, workers=0, seconds=0.1) > 0


def test_loading_reads_a_jpeg_as_pillow_does(tmp_path):
    path = write(tmp_path / "a.jpg", picture(33, 21), quality=80)
    expected = np.asarray(Image.open(io.BytesIO(path.read_bytes())))
    np.testing.assert_array_equal(np.asarray(images_module.load_image(path)), expected)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_image_whose_name_is_not_utf8_or_has_two_lines_is_named(root, workers):
    for name in (b"caf\xe9.jpg", b"two\nlines.jpg"):
        Path(os.fsdecode(os.path.join(os.fsencode(root), b"ant", name))).write_bytes(b"no image")
    loader = eval_batches(ImageFolder(root), batch_size=4, image_size=16, workers=workers)
    list(loader)
    assert len(loader.unreadable) == 2
    assert "caf\\udce9.jpg: cannot be read" in loader.unreadable[0] and "two\\nlines.jpg:" in loader.unreadable[1]
    with pytest.raises(ValueError, match=r"caf\\udce9.jpg|two\\nlines.jpg"):
        list(train_batches(ImageFolder(root), batch_size=10, image_size=16, seed=0, epoch=0, workers=workers))
