"""Readable pages and slides from the notebooks; they need no network.

    python -m twins_lib.teach.publish.pages course    run every lesson and solution, then write pages to build/course
    python -m twins_lib.teach.publish.pages site      pages of the stored lessons and of the library, to build/site
    python -m twins_lib.teach.publish.pages slides    slides of the stored lessons, to build/slides
"""

import argparse
import asyncio
import hashlib
import html
import importlib
import inspect
import io
import itertools
import pkgutil
import re
import shutil
import sys
import time
from base64 import b64decode
from importlib.util import find_spec
from pathlib import Path

import nbformat
from docutils import nodes
from jupyter_core.utils import run_sync
from nbconvert import SlidesExporter
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils
from traitlets.config import Config

import twins_lib

from ...weights import CannotWrite, place, write_whole, writing
from . import alive, front
from .refresh import run_to, told

TITLE = "How vision transformers work"
SITE = Path(__file__).parent / "site"
AT_ONCE = 2   # notebooks that run at the same time: each is often busy with one core, and needs up to 3 GB
SLIDE = 640   # how high the text of a slide may be, in pixels of 700
SENTENCE = 130   # what is not higher is too little for a slide of its own


# ---------------------------------------------------------------------------------------------------------------------
# The notebooks, copied beside the pages and there, for the course, run
# ---------------------------------------------------------------------------------------------------------------------

def find_notebooks(folder):
    """The lessons and solutions of a folder, each sorted by name, as paths relative to it."""
    lessons = sorted(path.relative_to(folder) for path in folder.glob("*.ipynb"))
    if not lessons:
        raise SystemExit(f"no notebooks in {folder}: run this from the top of the repository, or name their folder")
    return lessons, sorted(path.relative_to(folder) for path in folder.glob("solutions/*.ipynb"))


def gather(folder, source, execute):
    """Bring a folder of notebooks, and what lies beside them, to the folder that the pages are made from.

    Args:
        folder (Path): the notebooks.
        source (Path): where they go; a second call touches only what has changed.
        execute (bool): run them there, two at a time, with a line each, or take them as they are stored. One whose copy
            is younger than itself and than the library is not run again; one that fails is taken as it is stored.

    Returns:
        The number of notebooks that failed.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".ipynb"):
        put(source / path.relative_to(folder), path.read_bytes())
    if (weights := folder / "assets" / alive.WEIGHTS).exists():
        put(source / "assets" / front.LIVE, alive.page(weights).encode())
    library = max(path.stat().st_mtime for path in Path(twins_lib.__file__).parent.rglob("*.py"))
    waiting = []
    for name in itertools.chain(*find_notebooks(folder)):
        stored, copy = folder / name, source / name
        if not execute:
            put(copy, stored.read_bytes())
        elif copy.exists() and copy.stat().st_mtime > max(library, stored.stat().st_mtime):
            print(f"{stored} ... has not changed since its last run")
        else:
            waiting.append((stored, copy))
    return run_sync(run_all)(waiting)


async def run_all(pairs):
    """Run notebooks to copies of them, two at a time; the number of those that failed and are copied as they stand."""
    places = asyncio.Semaphore(AT_ONCE)

    async def run_or_copy(stored, copy):
        copy.parent.mkdir(parents=True, exist_ok=True)
        async with places:
            done = await told(stored, run_to(copy, stored, copy.parent))
        if not done:
            shutil.copy2(stored, copy)
        return done

    return (await asyncio.gather(*(run_or_copy(*pair) for pair in pairs))).count(False)


def gather_guides(folder, source):
    """Bring what teachers and authors read; returns the names of the files that there are."""
    guides = [path for path in (folder / "TEACHING.md", folder.parent / "CONTRIBUTING.md") if path.exists()]
    for path in guides:
        put(source / path.name, path.read_bytes().replace(b"```mermaid", b"```text"))  # no browser here draws it
    return [path.name for path in guides]


def put(path, content):
    """Write a file unless it has this content already: what is not touched is not built again."""
    if not path.exists() or path.read_bytes() != content:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)


# ---------------------------------------------------------------------------------------------------------------------
# The pages around them: index, library, glossary
# ---------------------------------------------------------------------------------------------------------------------

def write_first_page(folder, source, lessons, solutions, guides, library):
    """The first page (see `front`), with lists of all pages for the bar at the side, and the glossary."""
    page = front.write_index(folder, source, lessons, put)
    look_up = ["- [Glossary](glossary.md): the letters of all shapes, and the field's words."]
    look_up += [f"- [](<{name}>)" for name in guides]
    if library:
        look_up.append("- [The library](library/index.md): every public function, with shapes and sources.")
    page = page.replace("{{look_up}}", "\n".join(look_up)).replace("{{library}}", "library/index" if library else "")
    page = page.replace("{{guide_names}}", "\n".join(guides))
    page = page.replace("{{lesson_names}}", "\n".join(path.with_suffix("").as_posix() for path in lessons))
    page = page.replace("{{solution_names}}", "\n".join(path.with_suffix("").as_posix() for path in solutions))
    put(source / "index.md", page.encode())
    put(source / "glossary.md", (SITE / "glossary.md").read_bytes())


def modules():
    """The library's modules: first those behind `twins_lib`'s public names, which stand in the order of the lessons."""
    public = [getattr(getattr(twins_lib, name), "__module__", None) for name in twins_lib.__all__]
    others = [name for _, name, _ in pkgutil.walk_packages(twins_lib.__path__, "twins_lib.")]
    return list(dict.fromkeys(name for name in public + others if name))


def write_library(source):
    """A page for each module, made from its docstrings, and a page that lists them; returns their names."""
    rows = []
    for name in modules():
        about = importlib.import_module(name).__doc__.strip().splitlines()[0]
        rows.append(f"- [`{name}`]({name}.md): {about}")
        put(source / "library" / f"{name}.md",
            f"# `{name}`\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```\n".encode())
    entries = "\n".join(modules())
    put(source / "library" / "index.md",
        ("# The library\n\nSmall enough to read in an evening; the first modules are in the order of the lessons.\n\n"
         + "\n".join(rows) + f"\n\n```{{toctree}}\n:hidden:\n{entries}\n```\n").encode())
    return [Path("library") / f"{name}.md" for name in ["index", *modules()]]


def as_plain_text(app, what, name, about, options, lines):
    """Keep |x|, and a lone letter with a full stop, from being read as reStructuredText."""
    lines[:] = [re.sub(r"(?<=: )(\w\.)$", r"\\\1", line.replace("|", r"\|")) for line in lines]


def arguments_of_cells(app, what, name, thing, options, signature, returns):
    """The arguments of a Cell, which MindSpore hides."""
    if what == "class" and signature == "(*args, **kwargs)":
        arguments = list(inspect.signature(thing.__init__).parameters.values())[1:]
        return str(inspect.Signature(arguments)), returns


# ---------------------------------------------------------------------------------------------------------------------
# Pages
# ---------------------------------------------------------------------------------------------------------------------

def build_pages(folder, out, execute=False, library=False, address=""):
    """Pages of all notebooks of a folder.

    Args:
        folder (Path): the notebooks, with their solutions in `solutions/`.
        out (Path): where the pages go; a folder beside it, named .work, keeps what a second call can use again.
        execute (bool): run the notebooks, or show the outputs that are stored.
        library (bool): add pages of `twins_lib`, made from its docstrings.
        address (str): where the pages will lie in the web, for the previews of links to them.

    Returns:
        The number of notebooks that failed, and the builder's warnings as one text, empty if there were none.
    """
    work = out.parent / f"{out.name}.work"
    source = work / "source"
    lessons, solutions = find_notebooks(folder)
    failed = gather(folder, source, execute)
    write_first_page(folder, source, lessons, solutions, gather_guides(folder, source), library)
    wanted = lessons + solutions
    if library:
        wanted += write_library(source)
    for page in [*source.glob("*.ipynb"), *source.glob("solutions/*.ipynb"), *source.glob("library/*.md")]:
        if page.relative_to(source) not in wanted:
            page.unlink()   # an earlier call made it from something that is gone now
    warnings = io.StringIO()
    alts, known = alt_texts(source), front.previews(source, lessons)
    with patch_docutils(), docutils_namespace():   # so that several calls do not meet in one process
        with writing(out):
            app = Sphinx(source, None, out, work / "doctrees", "html", settings(work), status=None, warning=warnings)
        app.env.mystnb_config = app.env.mystnb_config.copy(output_folder=str(work / "pictures"))   # not beside `out`
        app.connect("doctree-read", lambda app, page: give_alt_texts(page, alts))
        app.connect("html-page-context", lambda app, name, template, context, page: for_readers(
            context, front.meta_tags(name, context.get("title", "Index"), page, known, address)), priority=900)
        app.connect("autodoc-process-signature", arguments_of_cells)
        app.connect("autodoc-process-docstring", as_plain_text, priority=400)   # before napoleon reads them
        with writing(out):
            app.build()
    return failed, re.sub(r"\x1b\[[\d;]*m", "", warnings.getvalue())   # without the terminal's colours


def for_readers(context, tags):
    """Give a page its meta tags, and a name for what opens the lists at its side: the theme has only an arrow there."""
    context["metatags"] = context.get("metatags", "") + tags
    made = context["generate_toctree_html"]
    context["generate_toctree_html"] = lambda *arguments, **named: str(made(*arguments, **named)).replace(
        "<summary>", '<summary aria-label="its pages">')


def mathjax():
    """MathJax in one file, from the package that carries it."""
    return Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax" / "tex-svg-full.js"


def settings(work):
    """Sphinx's settings, in place of a conf.py."""
    return {
        "project": TITLE,
        "extensions": ["myst_nb", "sphinx_design", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"],
        "exclude_patterns": ["assets"],
        "nb_execution_mode": "off",
        "nb_execution_cache_path": str(work / "cache"),
        "nb_merge_streams": True,
        "nb_ipywidgets_js": {},
        "myst_enable_extensions": ["amsmath", "colon_fence", "dollarmath"],
        "myst_heading_anchors": 3,
        "suppress_warnings": ["myst.header"],   # lessons have small headings right after their title
        "autodoc_member_order": "bysource",
        "autodoc_preserve_defaults": True,      # as written, not as a path of this machine
        "autodoc_inherit_docstrings": False,    # `construct` would get what MindSpore says of every Cell
        "highlight_language": "none",           # a fence that names no language holds commands, not Python
        "default_role": "code",                 # docstrings write `names` as notebooks do
        "html_theme": "sphinx_book_theme",
        "html_theme_options": {"show_navbar_depth": 1, "use_fullscreen_button": False, "navbar_persistent": [],
                               "footer_content_items": []},
        "html_context": {"default_mode": "auto"},
        "html_title": TITLE,
        "html_static_path": [str(mathjax()), str(SITE / "course.css"), str(SITE / "course.js")],
        "html_css_files": ["course.css"],
        "html_js_files": ["course.js"],
        "html_extra_path": [str(path) for path in (work / "source" / "assets").glob(front.LIVE)],
        "html_show_copyright": False,
        "html_show_sphinx": False,
        "html_show_search_summary": False,      # browsers forbid pages on disk to read other pages
        "mathjax_path": mathjax().name,
    }


def alt_texts(source):
    """The alt text of every picture in the notebooks, by the hash of the picture, which becomes its file's name."""
    alts = {}
    for path in source.rglob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                if "image/png" in output.get("data", {}):
                    picture = b64decode(output.data["image/png"])
                    alts[hashlib.sha256(picture).hexdigest()] = output.metadata.get("image/png", {}).get("alt")
    return alts


def give_alt_texts(page, alts):
    """Put the alt texts into a page: myst-nb takes a picture's size from the notebook, but not its text."""
    for image in page.findall(nodes.image):
        alt = alts.get(Path(image["uri"]).stem)
        if alt:
            image["alt"] = alt


# ---------------------------------------------------------------------------------------------------------------------
# Slides
# ---------------------------------------------------------------------------------------------------------------------

def build_slides(folder, out):
    """Slides of all lessons of a folder, as they are stored, with a page that lists them.

    A cell's own slide type (JupyterLab: Property Inspector → Slide Type) is kept; the others get one by their size.
    """
    lessons, _ = find_notebooks(folder)
    reveal = Path(find_spec("sphinx_revealjs").origin).parent / "_static" / "revealjs"
    for part in ["dist", "plugin/notes"]:
        for path in (path for path in (reveal / part).rglob("*") if path.is_file()):
            put(out / "reveal.js" / path.relative_to(reveal), path.read_bytes())
    for path in [mathjax(), SITE / "slides.css"]:
        put(out / path.name, path.read_bytes())
    exporter = SlidesExporter(
        template_name="slides", extra_template_basedirs=[str(SITE)], reveal_url_prefix="reveal.js",
        reveal_theme="white",
        config=Config(TagRemovePreprocessor={"enabled": True, "remove_input_tags": ["hide-input"]}))
    rows = []
    for name in lessons:
        notebook = nbformat.read(folder / name, as_version=4)
        title = front.title_of(notebook)
        notebook.metadata["title"] = title
        slides_by_default(notebook)
        page, _ = exporter.from_notebook_node(notebook)
        write_whole(out / name.with_suffix(".html"), page.encode())
        rows.append(f'<li><a href="{name.stem}.html">{html.escape(title)}</a></li>')
    write_whole(out / "index.html", (
        f'<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>{TITLE}: slides</title>\n'
        f'<body style="font: 1.2rem sans-serif; max-width: 40rem; margin: 3rem auto">\n<h1>{TITLE}: slides</h1>\n'
        f'<p>Arrow keys turn the pages, O shows them all, S opens the speaker\'s window.</p>\n'
        f'<ul style="line-height: 2">{"".join(rows)}</ul>\n</body></html>\n').encode())


def slides_by_default(notebook):
    """Divide a notebook into slides: what a cell's own slide type does not say, its size decides.

    A heading # or ## starts a slide to the right of the one before. What does not fit any more goes to a slide below,
    and so does the answer to a prediction: first the question is seen alone. So does the question after an answer. A
    heading stays with what follows it, and a sentence before code with the code, if both fit. Rather than leave a
    sentence alone, a slide is filled too high.
    """
    pieces = [piece for cell in notebook.cells for piece in in_pieces(cell)]
    heights = [height(piece) for piece in pieces]
    breaks = [starts(piece) for piece in pieces] + ["slide"]
    room, after_heading, answered = 0, False, False
    for n, piece in enumerate(pieces):
        prose = piece.cell_type == "markdown"
        heading = prose and piece.source.startswith("#")
        needed = heights[n]
        if prose and not breaks[n + 1] and (heading or pieces[n + 1].cell_type == "code"):
            needed += heights[n + 1]
        almost_alone = room > SLIDE - SENTENCE or (breaks[n + 1] and heights[n] <= SENTENCE)
        too_long = min(needed, SLIDE) > room + (SENTENCE if almost_alone else 0) and not after_heading
        asks = prose and "**Predict.**" in piece.source
        by_rule = breaks[n] or ("subslide" if too_long or asks and answered else "-")
        kind = piece.metadata.setdefault("slideshow", {"slide_type": by_rule}).get("slide_type", by_rule)
        if kind in ("slide", "subslide"):
            room, answered = SLIDE, False
        answered |= "teach.compare(" in piece.source
        if kind not in ("skip", "notes"):
            room, after_heading = room - heights[n], heading
    notebook.cells = pieces


def starts(piece):
    """What a piece starts whatever its size: a "slide", a "subslide" or nothing ("")."""
    if piece.cell_type == "markdown":
        return "slide" if piece.source.startswith(("# ", "## ")) else ""
    return "subslide" if "teach.compare(" in piece.source else ""


def in_pieces(cell):
    """A cell of prose as one cell a paragraph, list, table or formula; any other or one with a slide type as it is."""
    if cell.cell_type != "markdown" or "slideshow" in cell.metadata:
        return [cell]
    pieces, fenced = [""], False
    for line in cell.source.splitlines():
        fenced ^= line.startswith(("```", "$$")) and not (line.count("$$") == 2)
        if fenced or line.strip():
            pieces[-1] += line + "\n"
        elif pieces[-1]:
            pieces.append("")
    return [nbformat.v4.new_markdown_cell(piece) for piece in pieces if piece]


def height(cell):
    """About how many of a slide's pixels a cell takes."""
    if cell.cell_type == "markdown":
        lines = cell.source.splitlines()
        if lines[0].startswith("|"):
            return 44 * len(lines)
        if lines[0].startswith("#"):
            return 70
        return 20 + 36 * sum(1 + len(item) // 85 for item in re.split(r"\n(?=- |\d\. )", cell.source))
    shown = "hide-input" not in cell.metadata.get("tags", [])
    return shown * (30 + 21 * len(cell.source.splitlines())) + sum(map(height_of_output, cell.outputs))


def height_of_output(output):
    """The same for what a cell has put out; a picture is at most 480 pixels high, as slides.css has it."""
    data = output.get("data", {"text/plain": output.get("text", "")})
    if "image/png" in data:
        return 20 + min(480, int.from_bytes(b64decode(data["image/png"][:32])[20:24], "big"))
    if "text/html" in data:
        table = data["text/html"].startswith("<table")
        return 30 + 40 * data["text/html"].count("<tr") if table else SLIDE + SENTENCE   # nothing beside the explorer
    if "text/markdown" in data:
        return 44 * len(data["text/markdown"].splitlines())
    return 20 + 21 * len(data["text/plain"].splitlines())


def build(kind, folder, out, address):
    """Build one kind of pages: the number of notebooks that failed, and the warnings as one text."""
    if kind == "slides":
        return build_slides(folder, out), ""
    return build_pages(folder, out, execute=kind == "course", library=kind == "site", address=address)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m twins_lib.teach.publish.pages", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["course", "site", "slides"])
    parser.add_argument("--notebooks", type=place, default=Path("notebooks"), help="their folder (default: notebooks)")
    parser.add_argument("--build", type=place, default=Path("build"), help="where the pages go (default: build)")
    parser.add_argument("--address", default="", metavar="https://.../",
                        help="where the pages will lie in the web; previews of links show a picture only with it")
    told_to = parser.parse_args(arguments)
    out = (told_to.build / told_to.kind).resolve()
    start = time.perf_counter()
    try:
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        failed, warnings = build(told_to.kind, told_to.notebooks, out, told_to.address)
    except CannotWrite as fault:
        return str(fault)
    print(warnings, end="", file=sys.stderr)
    print(f"The pages are in {out / 'index.html'} ({time.perf_counter() - start:.0f} s).")
    if failed:
        print(f"{failed} of the notebooks failed, see above; their pages show the outputs that were stored.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
