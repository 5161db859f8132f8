"""The made data: the same everywhere, balanced, and each with the right answer it promises."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from twins_lib.teach.experiments import toy

spec = importlib.util.spec_from_file_location(
    "make_toy_data", Path(__file__).parents[2] / "data_scripts" / "make_toy_data.py")
make_toy_data = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_toy_data)
CHECKSUMS = {
    "far_pairs": "08f72244b45b0751afcc8981beefcc7f11ca2cee487a9edb147b0ad74cdbb688",
    "textures": "2f61ddb6b54c167b9feb815057b12d5ad9e5401637bac024bccf3fa80000aac0",
    "corners": "628c2ce19db9a93654e245ee9851e1819fe1e1864891e99c85bd3e2e64193bbd",
    "borders": "e9a34125af663fe50f4d60fe912f3d94bf67dce1599bf33ea5d694ce4209ece6",
    "sides": "b527a0dcc8cbcf16f0b14ebae4aaffaf18ae1b1d66bd76c534fdca00dc694376",
    "matches": "8128d152d5b8d5214499c60591a761a63f4e3017880e0fa43290b224bb73a2a4",
    "shapes": "0c296b3585824104728e0bcd18ce86ab9242a5fa8f553dc7489331925c6500d1",
    "silhouettes": "9fee979964165d03221e7bfc063adcbf0e7abeef1f947d7e717e5f092a22f421",
    "scenes": "d4c6d75313e1eef8fc97afc0f0fba8579ce932c89ea3af9ba90f2f4fb14b0c08",
    "enclosures": "ff2d3a8166f97123cbe371e3170a2c93f94c69ff13b1bb03fb3a7da925f6d401",
    "legends": "38c1d7783582c6e767d56f1de75b3ccba9832064d4faa879a19dbcf6909ac1cd",
}


@pytest.mark.parametrize("name", CHECKSUMS)
def test_the_same_bytes_on_every_machine(name):
    made = getattr(toy, name)(20, 7)
    assert toy.checksum(*made) == CHECKSUMS[name]
    assert made[0].shape == (20, *made[0].shape[1:3], 3) and made[0].dtype == np.uint8


@pytest.mark.parametrize("name", ["far_pairs", "textures", "corners", "borders", "sides", "matches", "shapes",
                                  "silhouettes"])
def test_classes_are_balanced_in_random_order_and_seeds_differ(name):
    draw = getattr(toy, name)
    images, labels = draw(60, 1)[:2]
    counts = np.bincount(labels)
    assert counts.max() - counts.min() <= 1
    assert not np.array_equal(labels, np.sort(labels))
    assert not np.array_equal(images, draw(60, 2)[0])


def coloured(images):
    """Which pixels are not grey: bool (n, size, size)."""
    return images.max(-1) != images.min(-1)


def test_far_pairs_answer_is_the_colour_of_a_window_that_does_not_touch_the_asking_one():
    images, labels, marks = toy.far_pairs(200, 3, size=32, window=8)
    for image, label, (row, column) in zip(images, labels, marks, strict=True):
        asking = image[row * 4, column * 4]
        rows, columns = np.nonzero(coloured(image[None])[0])
        windows = set(zip(rows // 8, columns // 8, strict=True))
        assert len(windows) == 2
        (other,) = windows - {(row // 2, column // 2)}
        assert max(abs(other[0] - row // 2), abs(other[1] - column // 2)) >= 2
        answer = image[other[0] * 8, other[1] * 8]
        assert np.array_equal(asking, answer) == bool(label)


def test_far_pairs_asking_window_says_nothing_about_the_label():
    images, labels, marks = toy.far_pairs(4000, 4, size=24, window=8)
    colours = images[np.arange(4000), marks[:, 0] * 4, marks[:, 1] * 4].astype(int) @ (1, 256, 65536)
    for seen in (colours, marks[:, 0], marks[:, 1]):
        for value in np.unique(seen):
            chosen = labels[seen == value]
            assert abs(chosen.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(chosen))  # four standard errors of a fair coin


def test_far_pairs_leave_a_linear_baseline_on_all_colours_in_all_places_at_chance():
    def bag(images):
        n, size = images.shape[:2]
        tokens = images[:, ::4, ::4].reshape(n, -1, 3).astype(int)
        return np.stack([(tokens == c).all(-1).reshape(n, -1) for c in toy.PAIR_COLOURS], -1).reshape(n, -1)

    train, test = toy.far_pairs(3000, 5, 24, 8), toy.far_pairs(1000, 6, 24, 8)
    x, z = (np.c_[bag(d[0]), np.ones(len(d[0]))] for d in (train, test))
    weights = np.linalg.lstsq(x, 2.0 * train[1] - 1, rcond=None)[0]
    assert abs(((z @ weights > 0) == test[1]).mean() - 0.5) < 0.08


def test_textures_show_their_two_colours_equally_often():
    images, labels = toy.textures(80, 8)
    for image in images:
        pixels = image[coloured(image[None])[0]]
        assert len(pixels) == 16 * 16
        assert sorted(np.unique(pixels, axis=0, return_counts=True)[1]) == [128, 128]


def test_corners_and_borders_answers():
    images, labels = toy.corners(100, 9)
    for image, label in zip(coloured(images), labels, strict=True):
        rows, columns = np.nonzero(image)
        assert label == 2 * (rows.min() >= 32) + (columns.min() >= 32)
        assert (rows.max() >= 32) == (rows.min() >= 32) and (columns.max() >= 32) == (columns.min() >= 32)
    for size in (20, 32, 48):
        images, labels, marks = toy.borders(300, 10, size)
        rows, columns = marks.T
        last = size // 4 - 1
        distance = np.minimum.reduce([rows, columns, last - rows, last - columns])
        assert np.array_equal(distance, 1 - labels)
        assert coloured(images).sum() == 300 * 16
        assert coloured(images)[np.arange(300), rows * 4, columns * 4].all()


def test_borders_reach_every_place_equally():
    _, labels, marks = toy.borders(4000, 11, 32)
    for label, places in ((1, 28), (0, 20)):
        found, counts = np.unique(marks[labels == label], axis=0, return_counts=True)
        assert len(found) == places
        expected = 2000 / places
        assert abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_sides_answer_is_where_orange_stands_and_its_place_says_nothing():
    images, labels, marks = toy.sides(2000, 12, 20)
    blue, orange = toy.PAIR_COLOURS
    for image, label, (row, column) in zip(images, labels, marks, strict=True):
        assert np.array_equal(image[row * 4, column * 4], blue)
        assert np.array_equal(image[row * 4, (column + (1 if label else -1)) * 4], orange)
    assert coloured(images).sum() == 2000 * 32
    assert set(marks[:, 1]) == {1, 2, 3}
    for column in (1, 2, 3):
        chosen = labels[marks[:, 1] == column]
        assert abs(chosen.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(chosen))


def test_matches_answer_is_another_token_of_that_colour_and_there_is_one_at_most():
    images, labels, marks = toy.matches(200, 13)
    for image, label, (row, column) in zip(images, labels, marks, strict=True):
        tokens = image[::4, ::4]
        same = (tokens == tokens[row, column]).all(-1)
        assert same.sum() == 1 + label
        assert np.isin(np.argwhere(same) // 4, (row // 4, column // 4)).all()
        assert (image[row * 4 + 1:row * 4 + 3, column * 4 + 1:column * 4 + 3] == 255).all()


def test_shapes_fit_their_radius_at_every_tilt():
    for name in toy.SHAPES:
        for tilt in toy.TILTS:
            image = np.zeros((64, 64, 3), int)
            toy._draw(image, name, 32, 32, 20, tilt, 255)
            rows, columns, _ = np.nonzero(image)
            assert 10 < np.hypot(rows - 31.5, columns - 31.5).max() < 28.3  # corners of the box are 20 √2 away
            edge = image[[11, 52]].sum() + image[:, [11, 52]].sum()
            assert edge == 0 or name not in ("disc", "ring", "crescent")
    with pytest.raises(ValueError, match="shape 'cube': must be one of disc, ring"):
        toy._inside("cube", np.zeros(1), np.zeros(1))


def test_scenes_masks_hold_all_classes_and_outlines_are_ignored():
    images, masks = toy.scenes(30, 12)
    assert images.shape == (30, 64, 64, 3) and masks.shape == (30, 64, 64)
    assert set(np.unique(masks)) == set(range(len(toy.SCENES)))
    same, cut = toy.scenes(30, 12, outlines=True)
    assert np.array_equal(same, images)
    assert 0 < (cut == toy.IGNORE).mean() < 0.2
    assert np.array_equal(cut[cut != toy.IGNORE], masks[cut != toy.IGNORE])


@pytest.mark.parametrize("size, places", [(64, 3), (96, 6), (128, 12)])
def test_enclosures_are_closed_and_do_not_touch(size, places):
    images, masks = toy.enclosures(40, 13, size)
    assert images.shape == (40, size, size, 3) and masks.shape == (40, size, size)
    assert not np.array_equal(masks, toy.enclosures(40, 14, size)[1])
    assert set(np.unique(masks)) == set(range(len(toy.ENCLOSURES)))
    outside, _, inside = (masks == k for k in range(3))
    assert not (outside[:, 1:] & inside[:, :-1] | inside[:, 1:] & outside[:, :-1]).any()  # up and down
    assert not (outside[:, :, 1:] & inside[:, :, :-1] | inside[:, :, 1:] & outside[:, :, :-1]).any()
    for one in masks:
        assert 1 <= ndimage.label(one > 0)[1] <= places and ndimage.label(one == 0, np.ones((3, 3)))[1] == 1
        assert all((one[part == k] == 2).any() for part, n in [ndimage.label(one > 0)] for k in range(1, n + 1))


def test_enclosures_ground_is_alike_inside_and_outside():
    images, masks = toy.enclosures(400, 15)
    for channel in range(3):
        ground = [np.bincount(images[..., channel][masks == k], minlength=256) for k in (0, 2)]
        outside, inside = (counts / counts.sum() for counts in ground)
        assert abs(outside - inside).sum() / 2 < 0.03  # share of pixels that would have to change their grey
    assert coloured(images // 64)[masks == 1].all()


def test_legends_say_at_the_left_border_which_colour_is_wanted_at_the_right():
    images, masks = toy.legends(40, 3)
    signed = images.astype(int)
    assert not masks[:, :, :48].any() and np.ptp(signed, axis=-1)[:, :, 8:48].max() < 40  # greys
    blue = signed[..., 2] > signed[..., 0] + 40
    for image, mask in zip(blue, masks):
        assert len({*image[:, :8].ravel()}) == 1  # one stripe, of one colour
        assert ndimage.label(mask > 0)[1] == 3
        for label, part in ((2, image[0, 0]), (1, ~image[0, 0])):
            inner = ndimage.binary_erosion(mask == label)
            assert (image[inner] == part).all()
    wanted = np.array([(mask == 2).any() for mask in masks])
    assert wanted.any() and (masks == 1).any() and blue[:, 0, 0].sum() == 20


@pytest.mark.parametrize("call, words", [
    (lambda: toy.far_pairs(4, 0, size=32), "size=32: must be a multiple of 16 pixels and at least 48"),
    (lambda: toy.far_pairs(4, 0, window=6), "window=6: must be a multiple of 4 pixels and at least 8"),
    (lambda: toy.textures(4, 0, window=12), "window=12: must be a multiple of 8"),
    (lambda: toy.corners(4, 0, size=60), "size=60: must be a multiple of 8"),
    (lambda: toy.borders(4, 0, size=16), "size=16: must be a multiple of 4 pixels and at least 20"),
    (lambda: toy.sides(4, 0, size=16), "size=16: must be a multiple of 4 pixels and at least 20"),
    (lambda: toy.matches(4, 0, size=40), "size=40: must be a multiple of 16"),
    (lambda: toy.matches(4, 0, window=6), "window=6: must be a multiple of 4 pixels and at least 8"),
    (lambda: toy.shapes(0, 0), "n=0: ask for at least 1 image"),
    (lambda: toy.scenes(4, 0, size=30), "size=30: must be"),
    (lambda: toy.enclosures(4, 0, size=32), "size=32: must be a multiple of 4 pixels and at least 64"),
    (lambda: toy.legends(4, 0, size=64), "size=64: must be a multiple of 4 pixels and at least 96"),
])
def test_impossible_wishes_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def script(capsys, *arguments):
    """What the script prints."""
    make_toy_data.main([str(a) for a in arguments])
    return capsys.readouterr().out


def test_script_writes_npz_and_finds_it_done(tmp_path, capsys):
    wish = ("far_pairs", tmp_path / "a", "--count", 6, "--seed", 2)
    images, labels, marks = made = toy.far_pairs(6, 2)
    assert toy.checksum(*made) in script(capsys, *wish)
    with np.load(tmp_path / "a" / "data.npz") as data:
        assert np.array_equal(data["images"], images) and np.array_equal(data["marks"], marks)
        assert np.array_equal(data["labels"], labels)
    assert f"already made, checksum {toy.checksum(*made)}" in script(capsys, *wish)
    with pytest.raises(SystemExit, match="holds another data set"):
        script(capsys, *wish, "--seed", 3)


def test_script_writes_pictures_in_class_folders_and_masks_beside(tmp_path, capsys):
    script(capsys, "shapes", tmp_path / "s", "--count", 10, "--form", "png", "--size", 32)
    images, labels = toy.shapes(10, 0, 32)
    for i in range(10):
        read = Image.open(tmp_path / "s" / toy.SHAPES[labels[i]] / f"{i:05d}.png")
        assert np.array_equal(np.asarray(read), images[i])
    script(capsys, "scenes", tmp_path / "m", "--count", 2, "--form", "png")
    images, masks = toy.scenes(2, 0)
    for i in range(2):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "m" / "images" / f"{i:05d}.png")), images[i])
        assert np.array_equal(np.asarray(Image.open(tmp_path / "m" / "masks" / f"{i:05d}.png")), masks[i])
    script(capsys, "enclosures", tmp_path / "e", "--count", 1, "--form", "png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "e" / "masks" / "00000.png")), toy.enclosures(1, 0)[1][0])
    script(capsys, "borders", tmp_path / "b", "--count", 2, "--form", "png")
    row, column = toy.borders(2, 0)[2][1]
    assert (tmp_path / "b" / "marks.csv").read_text().splitlines()[2] == f"00001,{row},{column}"
    assert not list(tmp_path.rglob("*.part"))


def test_script_stopped_half_way_starts_over(tmp_path, capsys, monkeypatch):
    wish = ("corners", tmp_path / "c", "--count", 4, "--form", "png")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(make_toy_data, "png", lambda array: (_ for _ in ()).throw(KeyboardInterrupt))
        script(capsys, *wish)
    assert "checksum" in script(capsys, *wish)
    assert len(list(tmp_path.rglob("*.png"))) == 4


def test_script_names_a_wrong_wish_and_leaves_foreign_files_alone(tmp_path, capsys):
    with pytest.raises(SystemExit, match="shapes: size=30: must be a multiple of 4"):
        script(capsys, "shapes", tmp_path / "s", "--size", 30)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit, match="holds files of something else; choose an empty folder"):
        script(capsys, "shapes", tmp_path, "--count", 1)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
