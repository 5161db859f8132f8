"""Pages and slides of made notebooks and of the real ones: alt texts, formulas, scripts, and nothing from a network."""

import re
from pathlib import Path

import nbformat
import pytest
from conftest import watched_page
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from twins_lib.teach.publish.pages import (
    build_pages,
    build_slides,
    describe,
    in_pieces,
    main,
    modules,
    slides_by_default,
)

pytest_plugins = ["pytester"]
FOLDER = Path(__file__).parents[2] / "notebooks"
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

INTRODUCTION = """# 01 · Dots: a lesson

Dots are *small*. A second sentence.

### Before you start

Lesson 00; 12 minutes, 5 more for the exercises.

The formula is $N = H \\cdot W$."""


SCRIPT = "<p id='live'>dead</p><script>live.textContent = 'alive'</script>"


def notebook(*cells):
    return new_notebook(metadata={"language_info": {"name": "python"}}, cells=cells)


def lesson():
    dot = new_output("display_data", {"image/png": DOT, "text/plain": "A dot."})
    dot.metadata = {"image/png": {"alt": "A “dot”."}}
    alive = new_output("display_data", {"text/html": SCRIPT})
    return notebook(
        new_markdown_cell(INTRODUCTION),
        new_code_cell("dot()", execution_count=1, outputs=[dot]),
        new_markdown_cell("These were dots.\n\n## More\n\nMore of them."),
        new_code_cell("live()", execution_count=2, outputs=[alive]),
    )


@pytest.fixture
def notebooks(tmp_path):
    folder = tmp_path / "notebooks"
    (folder / "solutions").mkdir(parents=True)
    nbformat.write(lesson(), folder / "01_dots.ipynb")
    answer = notebook(new_markdown_cell("# 01 · Dots: solutions\n\nTry [first](../01_dots.ipynb)."))
    nbformat.write(answer, folder / "solutions" / "01_dots.ipynb")
    return folder


@pytest.fixture(scope="module")
def real_site(tmp_path_factory):
    out = tmp_path_factory.mktemp("real") / "site"
    failed, warnings = build_pages(FOLDER, out, library=True)
    assert failed == 0
    return out, warnings


def test_the_index_tells_what_each_lesson_is(notebooks, tmp_path):
    failed, warnings = build_pages(notebooks, tmp_path / "site")
    assert (failed, warnings) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {"notebooks", "site", "site.work"}
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert re.search(r'href="01_dots.html">.*01 · Dots: a lesson', index)
    assert "Dots are <em>small</em>. <em>12 minutes.</em>" in index
    assert 'href="solutions/01_dots.html"' in index


def test_a_picture_keeps_its_alt_text(notebooks, tmp_path):
    build_pages(notebooks, tmp_path / "site")
    build_slides(notebooks, tmp_path / "slides")
    for kind in ["site", "slides"]:
        page = (tmp_path / kind / "01_dots.html").read_text(encoding="utf-8")
        assert re.search(r'<img[^>]* alt="A “dot”."', page)


def test_a_second_build_shows_what_changed_and_drops_what_is_gone(notebooks, tmp_path):
    build_pages(notebooks, tmp_path / "site")
    changed = lesson()
    changed.cells[2].source = "New words."
    nbformat.write(changed, notebooks / "01_dots.ipynb")
    (notebooks / "solutions" / "01_dots.ipynb").unlink()
    assert build_pages(notebooks, tmp_path / "site") == (0, "")
    assert "New words." in (tmp_path / "site" / "01_dots.html").read_text(encoding="utf-8")
    assert "solutions/01_dots" not in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


def test_the_course_runs_notebooks_away_from_the_checkout_and_once(tmp_path, capsys):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    write = new_code_cell("_ = open('made.txt', 'w').write('x')\nprint(6 * 7)")
    nbformat.write(notebook(new_markdown_cell("# 00 · Good"), write), folder / "00_good.ipynb")
    nbformat.write(notebook(new_markdown_cell("# 01 · Bad"), new_code_cell("1 / 0")), folder / "01_bad.ipynb")
    call = ["course", "--notebooks", str(folder), "--build", str(tmp_path / "build")]
    assert main(call) == 1
    said = capsys.readouterr().out
    assert re.search(r"00_good.ipynb ... \d+\.\d s\n", said)
    assert "01_bad.ipynb, cell 2 (1 / 0): ZeroDivisionError: division by zero" in said
    assert "1 of the notebooks failed" in said
    page = tmp_path / "build" / "course" / "00_good.html"
    assert f"The pages are in {page.with_name('index.html')}" in said
    assert "42" in page.read_text(encoding="utf-8")
    assert sorted(path.name for path in folder.iterdir()) == ["00_good.ipynb", "01_bad.ipynb"]

    main(call)
    said = capsys.readouterr().out
    assert "00_good.ipynb ... has not changed since its last run" in said
    assert "01_bad.ipynb ... FAILED" in said


def test_a_folder_without_notebooks_is_named(tmp_path):
    with pytest.raises(SystemExit, match="no notebooks in .*: run this from the top of the repository"):
        main(["site", "--notebooks", str(tmp_path), "--build", str(tmp_path / "build")])


def test_a_lesson_without_prose_is_described_by_nothing():
    assert describe(notebook(new_markdown_cell("# Title"))) == ""


def kinds(notebook):
    """The slide type of each piece after division."""
    slides_by_default(notebook)
    return [cell.metadata["slideshow"]["slide_type"] for cell in notebook.cells]


def test_slides_follow_the_headings(notebooks, tmp_path):
    build_slides(notebooks, tmp_path / "slides")
    page = (tmp_path / "slides" / "01_dots.html").read_text(encoding="utf-8")
    assert page.count("<section") == 4   # two slides side by side, each in a section of its own
    assert page.index("These were dots.") < page.index("<section", page.index("A “dot”")) < page.index("More of them")


def test_what_does_not_fit_goes_below_and_introductions_stay_with_what_they_introduce():
    def long():
        return new_code_cell("\n".join(f"x{n} = {n}" for n in range(20)))

    text = notebook(new_markdown_cell("# Title\n\nA sentence.\n\n## Part"), long(), long(),
                    new_markdown_cell("After.\n\nIn code:"), long(), new_markdown_cell("### Small\n\nWords."))
    assert kinds(text) == ["slide", "-", "slide", "-", "subslide", "-", "subslide", "-", "-", "-"]


def test_a_sentence_does_not_stand_alone():
    def fills(height):
        return new_code_cell("\n".join("x" * ((height - 30) // 21)))

    after = notebook(new_markdown_cell("# Title\n\n## Part"), fills(600), new_markdown_cell("After."))
    assert kinds(after) == ["slide", "slide", "-", "-"]
    before = notebook(new_markdown_cell("## Part\n\nWords."), fills(500), new_markdown_cell("Before."), fills(630))
    assert kinds(before) == ["slide", "-", "-", "subslide", "-"]


def predictions(notebook):
    """For each slide: does it ask for a prediction, and does it hold the answer?"""
    slides, by_cell = [], kinds(notebook)
    for cell, kind in zip(notebook.cells, by_cell, strict=True):
        if kind in ("slide", "subslide"):
            slides.append("")
        if kind != "skip":
            slides[-1] += cell.source + "".join(output.get("text", "") for output in cell.get("outputs", []))
    return [("**Predict.**" in slide, "The answer:" in slide) for slide in slides]


def test_a_question_is_seen_before_its_answer():
    for path in FOLDER.glob("*.ipynb"):
        slides = predictions(nbformat.read(path, as_version=4))
        assert any(answer for _, answer in slides), path.name
        assert (True, True) not in slides, path.name


def test_a_slide_type_of_the_author_is_kept():
    skipped, below = new_code_cell("import a"), new_markdown_cell("One.\n\nTwo.")
    skipped.metadata["slideshow"], below.metadata["slideshow"] = {"slide_type": "skip"}, {"slide_type": "subslide"}
    text = notebook(new_markdown_cell("# Title"), skipped, below, new_markdown_cell("Three."))
    assert kinds(text) == ["slide", "skip", "subslide", "-"]


def test_formulas_and_fences_are_not_cut():
    (cell,) = in_pieces(new_markdown_cell("```\na\n\nb\n```"))
    assert cell.source == "```\na\n\nb\n```\n"
    formulas = new_markdown_cell("$$a$$\n\n$$\nb\n\nc\n$$\n\nWords.")
    assert [piece.source for piece in in_pieces(formulas)] == ["$$a$$\n", "$$\nb\n\nc\n$$\n", "Words.\n"]


def test_the_real_pages_are_complete_and_build_without_a_warning(real_site):
    out, warnings = real_site
    assert warnings == ""
    for path in [*FOLDER.glob("*.ipynb"), *FOLDER.glob("solutions/*.ipynb")]:
        page = (out / path.relative_to(FOLDER).with_suffix(".html")).read_text(encoding="utf-8")
        pictures = re.findall(r"<img[^>]*>", page)
        assert all(re.search(r'alt="[^"./]{8}', picture) for picture in pictures), path.name
    for name in modules():
        assert (out / "library" / f"{name}.html").exists()
    assert "patch_size" in (out / "library" / "twins_lib.patch_embed.html").read_text(encoding="utf-8")
    assert ">kwargs<" not in (out / "library" / "twins_lib.attention.html").read_text(encoding="utf-8")
    library = [page.read_text(encoding="utf-8") for page in out.glob("library/*.html")]
    assert not any("Defines the computation to be performed" in page for page in library), "MindSpore's words, not ours"
    assert not any(str(FOLDER.parent) in page for page in library), "a path of this machine"


def test_pages_in_a_browser(notebooks, tmp_path, page):
    build_pages(notebooks, tmp_path / "site")
    page.goto((tmp_path / "site" / "01_dots.html").as_uri())
    page.wait_for_selector("mjx-container svg")
    assert page.text_content("#live") == "alive"
    page.goto((tmp_path / "site" / "search.html").as_uri() + "?q=second")
    page.wait_for_selector("#search-results a >> text=01 · Dots")


def test_slides_in_a_browser(notebooks, tmp_path, page):
    build_slides(notebooks, tmp_path / "slides")
    page.goto((tmp_path / "slides" / "01_dots.html").as_uri())
    page.wait_for_selector("mjx-container svg", state="attached")
    assert page.evaluate("Reveal.getTotalSlides()") == 2
    assert page.text_content("#live") == "alive"


def test_no_real_slide_is_higher_than_the_screen(tmp_path, browser):
    build_slides(FOLDER, tmp_path)
    for name in sorted(path.stem for path in FOLDER.glob("*.ipynb")):
        page, complaints = watched_page(browser)
        page.goto((tmp_path / f"{name}.html").as_uri())
        page.evaluate("MathJax.startup.promise")
        slides = page.evaluate("""Reveal.getSlides().map(slide => {
            const place = Reveal.getIndices(slide);
            Reveal.slide(place.h, place.v);
            fit();
            return {place, zoom: +slide.style.zoom, hidden: slide.scrollHeight - slide.clientHeight};
        })""")
        page.close()
        assert complaints == []
        assert len(slides) > 10
        assert [slide for slide in slides if slide["hidden"] > 2] == [], name
        small = [slide["place"] for slide in slides if slide["zoom"] < 0.8]
        assert len(small) <= 1, name   # the explorer of lesson 07 shows itself in one piece


def test_the_real_pages_in_a_browser_on_a_telephone(real_site, page):
    out, _ = real_site
    page.set_viewport_size({"width": 400, "height": 900})
    for path in [*out.glob("*.html"), *out.glob("solutions/*.html"), out / "library" / "twins_lib.attention.html"]:
        page.goto(path.as_uri())
        assert page.title() and page.locator("h1").count()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{path.name} is too wide"


def test_code_of_100_columns_and_names_fit_on_a_laptop(real_site, page):
    out, _ = real_site
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto((out / "08_bug_lab.html").as_uri())
    cut = page.evaluate("""[...document.querySelectorAll("article pre")]
        .filter(code => code.scrollWidth > code.clientWidth).map(code => code.textContent)""")
    assert [code for code in cut if max(map(len, code.splitlines())) <= 100] == []
    assert page.locator("td code", has_text="footprint").evaluate("name => name.getClientRects().length") == 1


def test_search_of_the_real_pages(real_site, page):
    out, _ = real_site
    page.goto((out / "search.html").as_uri() + "?q=stochastic")
    page.wait_for_selector("#search-results a >> text=05 · Building Twins")


def test_the_explorer_answers_inside_its_lesson(real_site, page):
    page.goto((real_site[0] / "07_attention_maps.html").as_uri())
    canvas, look = page.locator("canvas.twx-map"), page.locator(".twx [aria-live]")
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] * 3.5 / 16, "y": box["height"] * 5.5 / 16})
    assert "the patch in row 5, column 3 of 16×16 looks most at" in look.inner_text()
    before = canvas.evaluate("canvas => canvas.toDataURL()")
    page.keyboard.press("ArrowRight")
    assert "the patch in row 5, column 4 of 16×16 looks most at" in look.inner_text()
    assert canvas.evaluate("canvas => canvas.toDataURL()") != before


@pytest.mark.parametrize("markup, complaint", [
    ("<img src='http://127.0.0.1:9/a.png'>", "http://127.0.0.1:9/a.png"),
    ("<script>stop.here()</script>", "stop.here is not a function"),
])
def test_the_browser_notices_requests_and_broken_scripts(browser, tmp_path, markup, complaint):
    (tmp_path / "page.html").write_text(markup)
    page, complaints = watched_page(browser)
    page.goto((tmp_path / "page.html").as_uri())
    page.close()
    assert complaints == [complaint]


def test_a_browser_test_that_is_skipped_fails_in_ci(pytester, monkeypatch):
    pytester.makeconftest((Path(__file__).parents[1] / "conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile("def test(page): pass")
    monkeypatch.setenv("PATH", str(pytester.path))
    monkeypatch.delenv("CI", raising=False)
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(skipped=1)
    monkeypatch.setenv("CI", "true")
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(errors=1)
