"""The explorer: what is in the page, what a browser makes of it, and the command line."""

import base64
import html
import json
import re

import numpy as np
import pytest
from mindspore import Tensor
from PIL import Image

import twins_lib
from golden import seeded
from twins_lib.maps import attention as maps
from twins_lib.explorer import main
from twins_lib.maps.explorer import LARGEST, explorer
from twins_lib.teach import photo
from twins_lib.weights import save_weights, torch_name

SIZE = 64, 80  # the windows of stages 1, 3 and 4 hang over the right border


@pytest.fixture(scope="module")
def model():
    model = twins_lib.create_model("twins_svt_nano", num_classes=10)
    twins_lib.load_torch_state(model, seeded.weights({torch_name(p.name): p.shape for p in model.get_parameters()}))
    return model


@pytest.fixture(scope="module")
def image():
    return Tensor(seeded.images(1, *SIZE))


@pytest.fixture(scope="module")
def view(model, image):
    return explorer(model, image, title="Where <it> looks")


@pytest.fixture(scope="module")
def page_file(view, tmp_path_factory):
    path = tmp_path_factory.mktemp("explorer") / "page.html"
    view.save(path)
    return path


def blocks_of(page):
    return json.loads(re.search(r"^const data = (.*);$", page, re.M)[1])["blocks"]


def test_the_page_keeps_every_weight(view, model, image):
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    blocks = blocks_of(view._repr_html_())
    for block, m in zip(blocks, maps.attention_maps(model, image), strict=True):
        assert (block["rows"], block["columns"], block["kind"], block["name"]) == (*m.size, m.kind, m.name)
        for head, (levels, peaks) in enumerate(zip(block["levels"], block["peaks"], strict=True)):
            levels = np.array([digits.index(c) for c in levels]).reshape(-1, block["keys"])
            peaks = np.array([digits.index(c) for c in peaks]).reshape(-1, 2) @ [64, 1] / 4095
            kept = levels / 63 * peaks[:, None]
            np.testing.assert_allclose(kept, m.rows[head], atol=0.5 / 63 * m.rows.max() + 2e-4)


def test_a_view_is_the_same_when_made_again(view, model, image):
    again = explorer(model, image, title="Where <it> looks")
    assert again._repr_html_() == view._repr_html_()
    assert repr(view) == "Explorer: Where <it> looks"


def test_nothing_is_loaded_from_anywhere(page_file):
    text = page_file.read_text(encoding="utf-8")
    assert not re.findall(r"https?://|@import|\bimport\(|fetch\(|XMLHttpRequest", text)
    assert all(link.startswith("data:") for link in re.findall(r'(?:src|href)="([^"]*)"', text))


def test_a_still_picture_with_alt_text_stands_for_blocked_scripts(view, model, image):
    outside_script = re.sub(r"<script>.*?</script>|<style>.*?</style>", "", view._repr_html_(), flags=re.S)
    assert "Where &lt;it&gt; looks" in outside_script and len(outside_script) < 60_000
    pictures = re.findall(r'<img src="data:image/png;base64,([^"]+)" width="\d+" alt="([^"]+)">', outside_script)
    assert len(pictures) == 2
    m = maps.attention(model, image, 0, 0)
    query = 8 * m.size[1] + 10
    row, column = np.divmod(m.weights_of(query).mean(0).argmax(), m.size[1])
    assert html.unescape(pictures[0][1]).startswith(
        "Stage 1, block 1 (LSA), mean of the heads: the patch in row 8, column 10 of 16×20 "
        f"looks most at row {row}, column {column} (")
    assert base64.b64decode(pictures[0][0]).startswith(b"\x89PNG")


def test_a_28x28_grid_of_49_keys_stays_under_400_kb():
    """As stage 2 of SVT-S at 224x224: 4 heads, LSA and GSA, and a picture that does not compress well."""
    model = twins_lib.Twins(twins_lib.Variant((16, 32), (2, 4), (2, 2), (2, 2), (8, 4), (7, 7)))
    noise = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8)
    picture = np.asarray(Image.fromarray(noise).resize((224, 224), Image.Resampling.BICUBIC))
    view = explorer(model, Tensor(seeded.images(1, 224, 224)), [(1, 0), (1, 1)], picture)
    kept = [(b["rows"], b["columns"], b["keys"], len(b["levels"])) for b in blocks_of(view._repr_html_())]
    assert kept == [(28, 28, 49, 4)] * 2
    assert len(view._repr_html_()) < 400_000


def test_click_arrow_keys_block_and_head_change_the_map(browser, page_file, model, image):
    page, complaints = browser.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url) if request.url.startswith("http") else None)
    page.goto(page_file.as_uri())
    canvas, look = page.locator("canvas.twx-map"), page.locator("[aria-live]")

    def shown():
        return canvas.evaluate("canvas => canvas.toDataURL()"), look.inner_text()

    def best(m, head, row, column):
        weights = m.weights_of(row * m.size[1] + column)
        weights = weights.mean(0) if head is None else weights[head]
        top, bottom, left, right = m.footprints[weights.argmax()]
        return (f"row {top}, column {left} (" if m.cell == 1
                else f"rows {top}–{bottom - 1}, columns {left}–{right - 1} (")

    canvas.wait_for()
    seen = [shown()]
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] * 3.5 / 20, "y": box["height"] * 5.5 / 16})
    assert page.get_by_text("Under the pointer: row 5, column 3: ").inner_text().endswith("%")
    page.mouse.move(0, 0)
    seen.append(shown())
    first = maps.attention(model, image, 0, 0)
    assert f"the patch in row 5, column 3 of 16×20 looks most at {best(first, 0, 5, 3)}" in seen[-1][1]

    page.keyboard.press("ArrowRight")
    seen.append(shown())
    assert f"the patch in row 5, column 4 of 16×20 looks most at {best(first, 0, 5, 4)}" in seen[-1][1]
    for key in ("Home", "ArrowUp", "ArrowLeft"):
        page.keyboard.press(key)
    assert "the patch in row 4, column 0 of" in shown()[1]

    page.get_by_label("Stage 2, block 2 (GSA)").check()
    seen.append(shown())
    gsa = maps.attention(model, image, 1, 1)
    there = "the patch in row 2, column 0 of 8×10 looks most at"
    assert f"mean of the heads: {there} {best(gsa, None, 2, 0)}" in seen[-1][1]
    page.get_by_label("head 1").check()
    seen.append(shown())
    assert f"head 1: {there} {best(gsa, 1, 2, 0)}" in seen[-1][1]

    page.get_by_label("Stage 3, block 1 (LSA)").check()
    canvas.focus()
    page.keyboard.press("End")
    assert "goes to the padding of its window" in shown()[1]
    assert len({picture for picture, _ in seen}) == len({text for _, text in seen}) == len(seen)
    assert complaints == []
    page.close()


def test_the_map_is_reached_by_keyboard_and_named(browser, page_file):
    page = browser.new_page()
    page.goto(page_file.as_uri())
    page.locator("canvas.twx-map").wait_for()
    page.keyboard.press("Tab")
    focused = page.evaluate("""() => { const e = document.activeElement, s = getComputedStyle(e);
        return [e.getAttribute("role"), e.getAttribute("aria-label"), s.outlineStyle]; }""")
    assert focused[0] == "application" and "Where <it> looks" in focused[1] and focused[2] == "solid"
    page.close()


def test_without_scripts_the_still_pictures_show(browser, page_file):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.get_by_role("img").count() == 2
    assert page.get_by_text("Scripts are blocked here").is_visible()
    context.close()


def test_what_does_not_fit_is_told(model, image):
    with pytest.raises(ValueError, match="head 1 does not exist: Stage 1, block 1 .LSA. has heads 0 to 0"):
        explorer(model, image, head=1)
    with pytest.raises(ValueError, match="picture of shape .32, 32, 3., uint8: must be uint8 of shape .64, 80, 3."):
        explorer(model, image, picture=np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(ValueError, match=f"larger than {LARGEST // 10**6} MB: choose fewer blocks"):
        explorer(twins_lib.create_model("twins_pcpvt_nano"), Tensor(seeded.images(1, 448, 448)), [(0, 0)])


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("command")
    save_weights(model, folder / "nano.ckpt")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)).save(folder / "photo.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def command(files, *arguments, image="photo.png", checkpoint="nano.ckpt"):
    return main([str(files / image), "--model", "twins_svt_nano", "--num-classes", "10",
                 "--checkpoint", str(files / checkpoint), "--out", str(files / "page.html"), *arguments])


def test_command_writes_a_page(files, capsys):
    assert command(files, "--size", "64", "--blocks", "2.2", "2.1", "--head", "1") == 0
    assert re.search(r"page.html: \d+ kB, 2 blocks", capsys.readouterr().out)
    text = (files / "page.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and "twins_svt_nano looks at photo.png" in text
    assert "Stage 2, block 1 (LSA), head 1: the patch" in text


def test_command_shows_a_released_size_at_224_and_at_448_pixels(tmp_path, capsys):
    """With seeded weights in the place of ImageNet's, which cannot be had here."""
    save_weights(twins_lib.create_model("twins_svt_small"), tmp_path / "small.ckpt")
    Image.fromarray(photo(448)).save(tmp_path / "photo.png")
    words = [str(tmp_path / "photo.png"), "--checkpoint", str(tmp_path / "small.ckpt")]
    for side, grid, keys in ((224, 28, 49), (448, 56, 196)):
        page = tmp_path / f"{side}.html"
        assert main([*words, "--size", str(side), "--blocks", "2.1", "2.2", "--out", str(page)]) == 0
        assert "kB, 2 blocks" in capsys.readouterr().out
        lsa, gsa = blocks_of(page.read_text(encoding="utf-8"))
        assert (lsa["kind"], lsa["rows"], lsa["columns"], lsa["keys"]) == ("LSA", grid, grid, 49)
        assert (gsa["kind"], gsa["rows"], gsa["columns"], gsa["keys"]) == ("GSA", grid, grid, keys)
    assert main([*words, "--size", "448", "--out", str(page)]) == 1  # all blocks of it are too much for a browser
    assert "choose fewer blocks" in capsys.readouterr().err


@pytest.mark.parametrize("arguments, files_used, sentence", [
    (["--size", "64", "--blocks", "1.3"], {}, "block 1.3 does not exist: this network has 1.1, 1.2, 2.1"),
    (["--size", "64", "--blocks", "2.1", "--head", "2"], {}, "head 2 does not exist: stage 2 has heads 0 to 1"),
    ([], {}, "image 70x90: height must be a multiple of 4"),
    (["--size", "64"], {"image": "broken.png"}, "cannot be read as an image (not a picture of a kind that"),
    (["--size", "64"], {"image": "missing.png"}, "missing.png: cannot be read as an image (No such file"),
    (["--size", "64"], {"checkpoint": "missing.ckpt"}, "missing.ckpt: no such checkpoint"),
    (["--size", "64", "--model", "twins_pcpvt_nano"], {},
     "name its network with --model and --num-classes (asked for: twins_pcpvt_nano, 10)"),
    (["--size", "64", "--std", "0", "0", "0"], {}, "--std 0 0 0: colours are divided by it"),
    (["--size", "64", "--out", "no/such/page.html"], {}, "no/such/page.html: there is no folder no/such"),
    (["--size", "64", "--model", "twins_svt_tiny"], {}, "no Twins is called 'twins_svt_tiny'"),
])
def test_command_names_the_fault_in_a_sentence(files, capsys, arguments, files_used, sentence):
    (files / "page.html").unlink(missing_ok=True)
    assert command(files, *arguments, **files_used) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ") and sentence in told and told.count("\n") == 1 and len(told) < 800
    assert not (files / "page.html").exists()
