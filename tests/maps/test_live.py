"""The page in which a network runs: its numbers are MindSpore's, and whatever is dropped on it, it goes on."""

import numpy as np
import pytest
from mindspore import Tensor
from PIL import Image

import twins_lib
from conftest import watched_page
from golden import seeded
from twins_lib.explorer import main
from twins_lib.maps.attention import attention_maps
from twins_lib.maps.live import live_page
from twins_lib.training.transforms import eval_transform, normalise
from twins_lib.weights import save_weights, torch_name

CLASSES = [f"class {i}" for i in range(10)]
ASK = """raw => {
  const pixels = enlarged(Uint8ClampedArray.from(raw), 32, 64), { logits, evidence, blocks } = ask(pixels);
  return { pixels: Array.from(pixels), logits, evidence: Array.from(evidence.values),
    maps: blocks.map(block => block.maps.map(map => Array.from(map))) };
}"""


def network(name):
    """Seeded weights as the page keeps them, rounded to halves; the head's larger, so that classes differ."""
    model = twins_lib.create_model(name, num_classes=10)
    weights = seeded.weights({torch_name(p.name): p.shape for p in model.get_parameters()})
    twins_lib.load_torch_state(model, {n: w.astype(np.float16).astype(np.float32) for n, w in weights.items()})
    return model


def noise(seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8))


@pytest.fixture(scope="module")
def page_text():
    return live_page(network("twins_svt_nano"), CLASSES, {"one": noise(0), "two": noise(1)})


@pytest.fixture
def live(page, page_text, tmp_path):
    return opened(page, page_text, tmp_path)


def opened(page, text, folder):
    (folder / "live.html").write_text(text, encoding="utf-8")
    page.goto((folder / "live.html").as_uri())
    page.locator(".live-row").first.wait_for()
    return page


def difference(page, model, seeds):
    """The greatest difference between the page and MindSpore: of pixels, and of logits, evidence and maps."""
    pixels, numbers = 0, 0
    for picture in map(noise, seeds):
        told = page.evaluate(ASK, np.asarray(picture).ravel().tolist())
        large = np.asarray(eval_transform(picture, 64, 1.0))
        pixels = max(pixels, np.abs(large.ravel().astype(int) - told["pixels"]).max())
        image = Tensor(normalise(large)[None])
        logits = model(image).asnumpy()[0]
        pairs = [(logits, told["logits"]), (logits, np.mean(np.reshape(told["evidence"], (-1, 10)), 0))]
        pairs += [(m.rows, kept) for m, kept in zip(attention_maps(model, image), told["maps"], strict=True)]
        numbers = np.max([numbers] + [np.abs(a.ravel() - np.ravel(b)).max() for a, b in pairs])  # NaN stays NaN
    return pixels, numbers


@pytest.mark.parametrize("name", ["twins_svt_nano", "twins_pcpvt_nano"])
def test_the_page_answers_as_mindspore_does(page, tmp_path, name):
    model = network(name)
    opened(page, live_page(model, CLASSES, {"one": noise(0)}), tmp_path)
    pixels, numbers = difference(page, model, range(10))
    assert pixels == 0 and numbers < 1e-4


@pytest.mark.parametrize("right, wrong", [
    ("/ Math.sqrt(d)", "/ d"),                                        # the scale of attention
    ("column - column % side", "column"),                             # windows that begin at the token
    ("row + r >= 0 && ", "row + r > 0 && "),                          # PEG's border
    ("value / Math.SQRT2", "value"),                                  # GELU
    ("if (i === 0) tokens = peg", "if (i === 1) tokens = peg"),       # PEG after the wrong block
    ("values[((row * side + r) * columns + column * side + s) * length + c]",
     "values[((row * side + s) * columns + column * side + r) * length + c]"),  # patches turned over
    ("(byte / 255 - facts.mean[i % 3])", "(byte / 255 - facts.mean[2 - i % 3])"),  # colours the wrong way round
    ("at(\"norm2\"), 1e-6", "at(\"norm1\"), 1e-6"),                   # the wrong LayerNorm
    ("(1.5 * t - 2.5)", "(1.25 * t - 2.25)"),                         # another bicubic
])
def test_a_mistake_in_the_page_is_seen(browser, page_text, tmp_path, right, wrong):
    assert page_text.count(right) == 1
    page, _ = watched_page(browser)
    opened(page, page_text.replace(right, wrong), tmp_path)
    pixels, numbers = difference(page, network("twins_svt_nano"), [0])
    page.close()
    assert pixels > 0 or not numbers < 1e-4


def test_a_picture_of_any_kind_is_taken(live, tmp_path):
    live.locator("input[type=file]").set_input_files([])
    halves = np.zeros((40, 60, 3), np.uint8)
    halves[:, :30] = 255
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    kinds = {
        "large.png": lambda path: Image.new("1", (8000, 6000)).save(path),
        "grey.png": lambda path: Image.fromarray(halves[..., 0]).save(path),
        "clear.png": lambda path: Image.new("RGBA", (50, 40)).save(path),
        "turned.jpg": lambda path: Image.fromarray(halves).save(path, exif=turned, quality=95),
    }
    corners = {"large.png": (0, 0, 0), "grey.png": (255, 0, 255), "clear.png": (255, 255, 255),
               "turned.jpg": (255, 255, 0)}  # upper left, upper right, lower left: what was right is below
    for name, write in kinds.items():
        write(tmp_path / name)
        live.locator("input[type=file]").set_input_files(tmp_path / name)
        live.wait_for_function("corners => [0, 31 * 3, 31 * 32 * 3].every("
                               "(at, i) => Math.abs(colours(small)[at] - corners[i]) < 8)", arg=corners[name])
        assert live.locator(".live-problem").inner_text() == ""


def test_what_is_no_picture_is_told_and_the_page_goes_on(live, tmp_path):
    before = live.locator("[aria-live]").first.inner_text()
    for name, content in (("notes.txt", b"no picture"), ("cut.png", b"\x89PNG\r\n\x1a\n"), ("empty.jpg", b"")):
        (tmp_path / name).write_bytes(content)
        live.locator("input[type=file]").set_input_files(tmp_path / name)
        live.wait_for_function("name => document.querySelector('.live-problem').textContent.startsWith(name)", arg=name)
        assert live.locator(".live-problem").inner_text() == (
            f"{name} is not a picture that this browser can read; choose a JPEG, PNG or WebP file.")
        assert live.locator("[aria-live]").first.inner_text() == before
    live.get_by_role("radio", name="two").check()
    live.wait_for_function("document.querySelector('.live-problem').textContent === ''")


def test_mouse_and_keys_choose_pictures_classes_and_patches(live):
    said, told, looks = (live.locator(place) for place in ("[aria-live] >> nth=0", ".twx-right .twx-quiet >> nth=0",
                                                            "#attention [aria-live]"))
    first = said.inner_text()
    live.get_by_role("radio", name="one").focus()
    live.keyboard.press("ArrowRight")
    live.wait_for_function("text => document.querySelector('[aria-live]').textContent !== text", arg=first)
    evidence = told.inner_text()
    live.locator(".live-bars input").first.focus()
    live.keyboard.press("ArrowDown")
    assert told.inner_text() != evidence and "Their mean is the logit" in told.inner_text()
    live.get_by_label("Stage 1, block 2 (GSA)").check()
    look = looks.inner_text()
    assert "Stage 1, block 2 (GSA)" in look
    live.locator("canvas.twx-map").focus()
    live.keyboard.press("ArrowDown")
    assert looks.inner_text() != look
    live.get_by_role("radio", name="one").check()  # another picture: the block that was chosen stays
    live.wait_for_function("text => document.querySelector('[aria-live]').textContent === text", arg=first)
    assert looks.inner_text().startswith("Stage 1, block 2 (GSA)")


def test_what_is_drawn_is_answered_at_once(live):
    before = live.locator(".live-bars").inner_text()
    live.locator("summary").click()
    box = live.locator(".live-paper").bounding_box()
    live.mouse.move(box["x"] + 40, box["y"] + 40)
    live.mouse.down()
    live.mouse.move(box["x"] + 200, box["y"] + 180)
    live.mouse.up()
    live.wait_for_function("text => document.querySelector('.live-bars').innerText !== text", arg=before)
    middle = live.evaluate("Array.from(colours(small).slice(3 * (14 * 32 + 15), 3 * (14 * 32 + 15) + 3))")
    assert max(middle) < 128  # black ink
    assert min(live.evaluate("Array.from(colours(small).slice(0, 3))")) > 250  # on white paper


def test_the_page_fits_a_telephone(live):
    live.set_viewport_size({"width": 360, "height": 740})
    assert live.evaluate("document.documentElement.scrollWidth") <= 360


def test_what_no_page_can_hold_is_told():
    model, pictures = network("twins_svt_nano"), {"one": noise(0)}
    for told, arguments, more in (
            ("9 names of classes for a head of 10; give one for each", (model, CLASSES[:9], pictures), {}),
            ("no picture; give at least one", (model, CLASSES, {}), {}),
            ("size 80: stage 2 has no whole number of windows", (model, CLASSES, pictures), {"size": 80}),
            ("grain 65: must be 1 to 64", (model, CLASSES, pictures), {"grain": 65}),
            ("grain 0: must be 1 to 64", (model, CLASSES, pictures), {"grain": 0}),
            ("a network of 24,", (twins_lib.create_model("twins_svt_small"), CLASSES, pictures), {})):
        with pytest.raises(ValueError, match=told):
            live_page(*arguments, **more)


def test_the_command_writes_a_page(page, tmp_path, capsys):
    noise(3).save(tmp_path / "ship.png")
    save_weights(network("twins_svt_nano"), tmp_path / "best.ckpt", {"classes": CLASSES})
    words = ["--live", str(tmp_path / "ship.png"), "--model", "twins_svt_nano", "--out", str(tmp_path / "out.html")]
    assert main([*words, "--checkpoint", str(tmp_path / "best.ckpt")]) == 0
    assert "live on 1 of your pictures and any other" in capsys.readouterr().out
    page.goto((tmp_path / "out.html").as_uri())
    page.get_by_role("radio", name="ship").wait_for()
    assert page.evaluate("facts.classes") == CLASSES
    save_weights(network("twins_svt_nano"), tmp_path / "nameless.ckpt")
    assert main([*words, "--checkpoint", str(tmp_path / "nameless.ckpt")]) == 1
    assert "holds no names of classes" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*words, "--checkpoint", str(tmp_path / "best.ckpt"), "--head", "1"])
    assert main([*words, "--checkpoint", str(tmp_path / "missing.ckpt")]) == 1
    assert "missing.ckpt: no such checkpoint" in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    noise(4).save(tmp_path / "other" / "ship.png")
    twice = [str(tmp_path / "other" / "ship.png"), *words, "--checkpoint", str(tmp_path / "best.ckpt")]
    assert main(twice) == 1
    assert "two have one name" in capsys.readouterr().err
