"""Pages and slides of made notebooks and of the real ones: alt texts, formulas, scripts, and nothing from a network."""

import io
import os
import re
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import watched_page
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from twins_lib.teach.collect import Row, as_page
from twins_lib.teach.publish import front
from twins_lib.teach.publish.pages import (
    build_pages,
    build_slides,
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


class Tags(HTMLParser):
    """The tags of a page: [(name, attributes)]."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def tags(path):
    return Tags(path.read_text(encoding="utf-8")).found


def pages_of(out):
    """The pages of a built site; what lies in _static are pieces of the theme."""
    return [path for path in sorted(out.rglob("*.html")) if "_static" not in path.parts]


def meta(path):
    """What a page says of itself: {name or property: content}."""
    return {tag.get("name") or tag.get("property"): tag.get("content") for name, tag in tags(path) if name == "meta"}


def test_the_first_page_has_a_card_for_each_lesson(notebooks, tmp_path):
    failed, warnings = build_pages(notebooks, tmp_path / "site")
    assert (failed, warnings) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {"notebooks", "site", "site.work"}
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    card = index[index.index('class="sd-card '):]
    assert "01 · Dots: a lesson" in card and 'href="01_dots.html"' in card
    assert "Dots are <em>small</em>." in card and "12 minutes, 5 more for the exercises" in card
    assert 'href="solutions/01_dots.html"' in index
    (picture,) = [tag for name, tag in tags(tmp_path / "site" / "index.html") if name == "img"]
    assert picture["alt"] == "A “dot”."
    assert (tmp_path / "site" / picture["src"]).read_bytes() == b64decode(DOT), "the lesson's own picture"


def test_a_card_says_what_the_readme_says_one_finds_out(notebooks, tmp_path):
    (tmp_path / "README.md").write_text("| [01 Dots](notebooks/01_dots.ipynb) | a dot | dots are round |\n")
    build_pages(notebooks, tmp_path / "site")
    assert "Dots are round." in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    found = front.findings(FOLDER.parent / "README.md")
    assert sorted(found) == sorted(path.name for path in FOLDER.glob("*.ipynb"))


def test_the_network_in_a_page_gets_its_place_when_it_is_there(notebooks, tmp_path):
    (notebooks / "assets").mkdir()
    (notebooks / "assets" / "live.html").write_text("<p>alive</p>")
    build_pages(notebooks, tmp_path / "site")
    assert (tmp_path / "site" / "live.html").read_text() == "<p>alive</p>"
    assert "live.html" in [tag.get("href") for name, tag in tags(tmp_path / "site" / "index.html") if name == "a"]


def test_every_page_says_what_it_is_and_has_a_picture(notebooks, tmp_path):
    build_pages(notebooks, tmp_path / "site", address="https://example.org/")
    about = meta(tmp_path / "site" / "01_dots.html")
    assert about["description"] == about["og:description"] == "Dots are small."
    assert about["og:title"] == "01 · Dots: a lesson" and about["og:url"] == "https://example.org/01_dots.html"
    picture = about["og:image"].removeprefix("https://example.org/")
    assert (tmp_path / "site" / picture).read_bytes() == b64decode(DOT)
    solution = meta(tmp_path / "site" / "solutions" / "01_dots.html")
    assert solution["description"] == "Try first." and solution["og:image"] == about["og:image"]


def test_the_chosen_figures_stand_in_their_lessons():
    for path in sorted(FOLDER.glob("*.ipynb")):
        shown = {cell.id for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])
                 if "image/png" in output.get("data", {})}
        assert front.FIGURES[path.name[:2]] in shown, f"{path.name}: choose another figure for its card, in front.py"


def difference(picture, other):
    """The mean difference of two PNGs in 255ths, or infinity if they have other sizes."""
    picture, other = (np.asarray(Image.open(io.BytesIO(one)).convert("RGB"), float) for one in (picture, other))
    return np.abs(picture - other).mean() if picture.shape == other.shape else np.inf


def test_the_readme_shows_what_the_lessons_hold():
    made = front.readme_pictures(FOLDER)
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    for path, content in made.items():
        stored = path.read_bytes()
        assert difference(stored, content) < 2, f"{path.name}: python -m twins_lib.teach.publish.front"
        assert len(stored) < 60_000 and f"(notebooks/assets/{path.name})" in readme
        others = [other for place, other in made.items() if place != path]
        assert min(difference(stored, other) for other in others) > 10, "the comparison finds another picture"


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


def test_the_course_runs_two_notebooks_at_a_time(tmp_path, capsys):
    """Each of two waits for what the other leaves; run one after the other, the first would give up."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for mine, other in (("00", "01"), ("01", "00")):
        meet = (f"import pathlib, time\npathlib.Path('{mine}.txt').touch()\nend = time.monotonic() + 60\n"
                f"while not pathlib.Path('{other}.txt').exists():\n    assert time.monotonic() < end\n"
                "    time.sleep(0.1)")
        lesson = notebook(new_markdown_cell(f"# {mine} · Meet"), new_code_cell(meet))
        nbformat.write(lesson, folder / f"{mine}_meet.ipynb")
    assert main(["course", "--notebooks", str(folder), "--build", str(tmp_path / "build")]) == 0
    assert len(re.findall(r"\d\d_meet.ipynb ... \d+\.\d s\n", capsys.readouterr().out)) == 2


def test_a_folder_without_notebooks_is_named(tmp_path):
    with pytest.raises(SystemExit, match="no notebooks in .*: run this from the top of the repository"):
        main(["site", "--notebooks", str(tmp_path), "--build", str(tmp_path / "build")])


def test_a_lesson_without_prose_is_described_by_nothing():
    assert front.describe(notebook(new_markdown_cell("# Title"))) == ""


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


def test_the_next_question_does_not_stand_under_an_answer():
    text = notebook(new_markdown_cell("# Title\n\n**Predict.** How many?"), new_code_cell("teach.compare(None, 3)"),
                    new_markdown_cell("So few.\n\n**Predict.** And now?"), new_code_cell("teach.compare(None, 4)"))
    assert kinds(text) == ["slide", "-", "subslide", "-", "subslide", "subslide"]


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


def test_real_pages_describe_themselves_and_lead_on(real_site):
    out, _ = real_site
    for path in (path for path in pages_of(out) if path.name != front.LIVE):
        about = meta(path)
        assert about["description"] and about["og:title"], path
        assert (path.parent / about["og:image"]).is_file(), path
    lessons = sorted(path.name for path in out.glob("[01]*.html"))
    for before, after in zip(lessons, lessons[1:]):
        leads = {tag.get("title"): tag.get("href") for name, tag in tags(out / before) if name == "a"}
        assert leads["next page"] == after
    about = [meta(out / name) for name in lessons]
    assert len({one["og:image"] for one in about}) == len({one["description"] for one in about}) == len(lessons)
    assert 'class="twx"' in (out / "index.html").read_text(encoding="utf-8"), "the explorer of lesson 00"


SOURCES = [*FOLDER.rglob("*.ipynb"), FOLDER / "TEACHING.md", FOLDER.parent / "README.md",
           FOLDER.parent / "CONTRIBUTING.md"]


def broken_links(pages):
    """Links within a folder of pages that lead nowhere: (page, link)."""
    every = {path.resolve(): tags(path) for path in pages_of(pages)}
    ids = {path: {tag.get("id") or tag.get("name") for _, tag in found} for path, found in every.items()}
    for path, found in every.items():
        for link in filter(None, (tag.get("href") or tag.get("src") for _, tag in found)):
            place, part = unquote(urlsplit(link).path), unquote(urlsplit(link).fragment)
            target = path.parent / place if place else path
            if re.match(r"[a-z]+:", link):   # the web, a picture in the page itself, a letter
                continue
            if not target.exists() or (part and part not in ids.get(target.resolve(), {part})):
                yield path.name, link


def outside(text):
    """Addresses in the web that a text names."""
    return {link.rstrip(".,;") for link in re.findall(r"https?://[^\s)\"'>`\\|]+", text)}


def test_no_link_of_the_real_pages_leads_nowhere(real_site):
    out, _ = real_site
    assert list(broken_links(out)) == []


def test_a_planted_broken_link_is_found(tmp_path):
    (tmp_path / "a.html").write_text('<h1 id="top"></h1><a href="b.html">1</a><a href="#low">2</a><a href="#top">3</a>'
                                     '<img src="a%20b.png"><a href="c.html#x">4</a><a href="https://a.b/#c">5</a>')
    (tmp_path / "a b.png").write_bytes(b"")
    (tmp_path / "c.html").write_text("<p id='y'></p>")
    assert [link for _, link in broken_links(tmp_path)] == ["b.html", "#low", "c.html#x"]


def test_links_out_of_the_course_stand_in_the_glossary_and_no_others(real_site):
    listed = outside((front.SITE / "glossary.md").read_text(encoding="utf-8"))
    used = set()
    for path in SOURCES:
        used |= outside(path.read_text(encoding="utf-8").replace("\\n", "\n"))
    for path in pages_of(real_site[0]):
        used |= {tag["href"] for name, tag in tags(path) if name == "a" and (tag.get("href") or "").startswith("http")}
    assert used == listed


def test_links_between_notebooks_lead_somewhere():
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            text = front.prose_of(nbformat.reads(text, as_version=4))
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            place = path.parent / urlsplit(link).path
            assert link.startswith(("http", "#")) or place.exists(), f"{path.name}: {link}"


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


@pytest.fixture(scope="module")
def real_slides(tmp_path_factory):
    out = tmp_path_factory.mktemp("slides")
    build_slides(FOLDER, out)
    return out


def test_no_real_slide_is_higher_than_the_screen(real_slides, browser):
    for name in sorted(path.stem for path in FOLDER.glob("*.ipynb")):
        page, complaints = watched_page(browser)
        page.goto((real_slides / f"{name}.html").as_uri())
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


# ---------------------------------------------------------------------------------------------------------------------
# Nobody is shut out: axe-core's rules for WCAG 2.2 A and AA, contrasts that it does not measure, and the keyboard
# ---------------------------------------------------------------------------------------------------------------------

AXE = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
       "resultTypes": ["violations"]}
VIEWS = [("light", 1280), ("dark", 1280), ("light", 400), ("dark", 400)]
WHOLE = ("/index.html", "/00_start_here.html")   # of other pages the code is left out, most of a lesson and all alike
EVERYTHING = "TWINS_ALL_VIEWS" in os.environ     # all pages and slides, whole and in all views: half an hour


def shut_out(page, whole=True):
    """What axe-core finds on the page that is open: [(rule, element)]; not whole: without code."""
    context = None if whole else {"exclude": [[".highlight pre"]]}
    found = Axe().run(page, context, AXE).response["violations"]
    return [(rule["id"], node["html"][:200]) for rule in found for node in rule["nodes"]]


def viewed(browser, view):
    scheme, width = view
    return browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)


def looked_through(browser, addresses, view, before="0"):
    """{address: what axe-core finds after a script}, of those pages on which it finds something."""
    page, found = viewed(browser, view), {}
    for address in addresses:
        page.goto(address)
        page.evaluate("window.MathJax?.startup?.promise")
        page.evaluate(before)
        if faults := shut_out(page, EVERYTHING or address.endswith(WHOLE)):
            found[address] = faults
    page.close()
    return found


@pytest.mark.parametrize("number", range(len(VIEWS)), ids=["-".join(map(str, view)) for view in VIEWS])
def test_no_page_shuts_a_reader_out(real_site, browser, number):
    """Each page in one of the four views, the first and the live one in all; some of solutions and library."""
    out, _ = real_site
    some = ("index", "twins_lib.attention", "03_locally_grouped_attention", "10_ascend_training")
    pages = [path for path in pages_of(out) if EVERYTHING or path.parent == out or path.stem in some]
    mine = [path for n, path in enumerate(pages)
            if EVERYTHING or n % len(VIEWS) == number or path.name in ("index.html", front.LIVE) and path.parent == out]
    assert looked_through(browser, [path.as_uri() for path in mine], VIEWS[number]) == {}


def test_no_slide_shuts_a_reader_out(real_slides, browser):
    """All slides of a lesson at once, as they are printed; those that the screen would hide are shown for it."""
    pages = [path.as_uri() + "?print-pdf" for path in sorted(real_slides.glob("*.html"))
             if EVERYTHING or path.name[:2] in ("00", "05", "in")]
    show = """const show = () => document.querySelectorAll('.slides section').forEach(slide => {
            for (const name of ['hidden', 'aria-hidden']) if (slide.hasAttribute(name)) slide.removeAttribute(name); });
        new MutationObserver(show).observe(document.body, {subtree: true, attributes: true, childList: true}); show()"""
    assert looked_through(browser, pages, VIEWS[0], show) == {}


@pytest.mark.parametrize("view", [VIEWS[0], VIEWS[3]], ids=["light", "dark"])
def test_the_teacher_s_report_shuts_nobody_out(tmp_path, browser, view):
    rows = {name: Row({("03", "pads"): (verdict, "a diagnosis")}, ["a note"])
            for name, verdict in (("anna", "wrong"), ("ben", "right"))}
    (tmp_path / "report.html").write_bytes(as_page(rows, [("03", "pads")]))
    assert looked_through(browser, [(tmp_path / "report.html").as_uri()], view) == {}


@pytest.mark.parametrize("markup, rule", [
    ("<p style='color: #999; background: #fff'>pale</p>", "color-contrast"), ("<img src='data:,'>", "image-alt"),
    ("<input type='text'>", "label"), ("<a href='#'></a>", "link-name"), ("<button></button>", "button-name"),
    ("<div style='height: 3em; overflow: auto'><p>a<p>b<p>c<p>d</div>", "scrollable-region-focusable"),
])
def test_a_planted_barrier_is_found(browser, tmp_path, markup, rule):
    (tmp_path / "page.html").write_text(f"<html lang='en'><title>t</title><main><h1>t</h1>{markup}</main></html>")
    (found,) = looked_through(browser, [(tmp_path / "page.html").as_uri()], VIEWS[0]).values()
    assert [name for name, _ in found] == [rule]


CONTRAST = """pill => {
    const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
    let below = [255, 255, 255], behind = pill.parentElement;
    for (; behind; behind = behind.parentElement) {
        const [r, g, b, a = 1] = numbers(getComputedStyle(behind).backgroundColor);
        if (a === 1) { below = [r, g, b]; break; }
    }
    const [r, g, b, a = 1] = numbers(getComputedStyle(pill).borderTopColor);
    const light = colour => colour.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0.05);
    const pair = [light([r, g, b].map((c, i) => a * c + (1 - a) * below[i])), light(below)];
    return Math.max(...pair) / Math.min(...pair);
}"""


@pytest.mark.parametrize("view", VIEWS[:2], ids=["light", "dark"])
def test_the_border_of_what_can_be_chosen_is_seen(real_site, browser, view):
    """WCAG 1.4.11: 3 to 1 for what shows where a control is; axe-core does not measure it."""
    page = viewed(browser, view)
    page.goto((real_site[0] / "index.html").as_uri())
    pill = page.locator("input:not(:checked) + .twx-pill").first
    pill.wait_for()
    assert pill.evaluate(CONTRAST) >= 3
    pill.evaluate("pill => pill.style.borderColor = 'rgba(128, 128, 128, .55)'")   # as it was
    weak = pill.evaluate(CONTRAST)
    page.close()
    assert weak < 3


def test_the_explorer_is_used_with_the_keyboard_alone(real_site, page):
    page.goto((real_site[0] / "index.html").as_uri())
    canvas, look = page.locator("canvas.twx-map"), page.locator(".twx [aria-live]")
    canvas.wait_for()
    page.evaluate("document.querySelector('canvas.twx-map').focus()")
    said = [look.inner_text()]
    for key in ("ArrowRight", "PageUp", "Home", "End", "ArrowDown"):
        page.keyboard.press(key)
        said.append(look.inner_text())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.type") == "checkbox"
    before = canvas.evaluate("canvas => canvas.toDataURL()")
    page.keyboard.press("Space")
    assert canvas.evaluate("canvas => canvas.toDataURL()") != before
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Stage 1, block 1 (LSA)"
    page.keyboard.press("ArrowRight")   # the other block of the two
    assert "Stage 1, block 2 (GSA)" in look.inner_text()
    said.append(look.inner_text())
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.className") == "twx-map", "nothing holds the keyboard back"
    assert len(set(said)) == len(said)
