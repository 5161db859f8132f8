"""The first page: what the course is for, a card for each lesson, and what every page says of itself in a link preview.

Pictures and the explorer are taken out of the stored lessons; nothing is drawn here.
"""

import hashlib
import html
import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import nbformat
from docutils import nodes
from PIL import Image

from ...weights import write_whole

SITE = Path(__file__).parent / "site"
# The most telling figure of each lesson, by the id of the cell that shows it; any other lesson shows its first.
FIGURES = {"00": "c5e09edd", "01": "f98a6f35", "02": "9bcfad2d", "03": "2a3eaa78", "04": "fe382ea1", "05": "9a22ef55",
           "06": "8a2d3adf", "07": "b1f0a009", "08": "847ee03c", "09": "279add6b", "10": "9f6b9d87"}
README = ("02", "04", "07")   # the lessons whose figures the README shows
WIDTH = 440                   # pixels of the README's pictures; three of them stand in a row
PREVIEW = "07"                # whose figure stands for a page that has none
LIVE = "live.html"            # a network that runs in the page, if its weights are among the assets


# ---------------------------------------------------------------------------------------------------------------------
# Out of the lessons
# ---------------------------------------------------------------------------------------------------------------------

def prose_of(notebook):
    """All markdown of a notebook as one text."""
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def title_of(notebook):
    """Its first heading."""
    return next((line.removeprefix("# ") for line in prose_of(notebook).splitlines() if line.startswith("# ")), "")


def first_sentence(text):
    """The first sentence of a text, on one line."""
    return re.match(r".*?[.!?](?=\s|$)|.*", " ".join(text.split()))[0]


def describe(notebook):
    """The first sentence after the title; empty if there is none."""
    paragraphs = re.split(r"\n\s*\n", prose_of(notebook))
    return first_sentence(next((part for part in paragraphs if not part.lstrip().startswith("#")), ""))


def minutes(notebook):
    """What the lesson says of its length: "30 minutes, 20 more for the exercises"; empty if it says nothing."""
    found = re.search(r"### Before you start.*?(\d+)\s+min\w*(?:.*?(\d+)\s+(?:more\s+)?for\s+the\s+exercises)?",
                      prose_of(notebook), re.DOTALL)
    if not found:
        return ""
    return f"{found[1]} minutes" + (f", {found[2]} more for the exercises" if found[2] else "")


def findings(readme):
    """{file name of a lesson: what you find out}, from the table of the README; empty without a README."""
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    return dict(re.findall(r"^\| \[[^]]*\]\(notebooks/(\S+\.ipynb)\) \| [^|]* \| ([^|]*?) \|$", text, re.M))


def figure_of(notebook, number):
    """A lesson's figure for its card.

    Args:
        notebook (NotebookNode): the stored lesson.
        number (str): two digits.

    Returns:
        The PNG's bytes and its alt text; None if the lesson shows no figure.
    """
    shown = [(cell.id, output) for cell in notebook.cells for output in cell.get("outputs", [])
             if "image/png" in output.get("data", {})]
    shown.sort(key=lambda one: one[0] != FIGURES.get(number))   # the chosen one first, the others in their order
    for _, output in shown[:1]:
        return b64decode(output.data["image/png"]), output.metadata.get("image/png", {}).get("alt", "")


def explorer_of(notebook):
    """The first explorer that a lesson shows, as HTML; empty if it shows none."""
    shown = (output.data["text/html"] for cell in notebook.cells for output in cell.get("outputs", [])
             if "text/html" in output.get("data", {}))
    return next((part for part in shown if 'class="twx"' in part), "")


def lessons_of(folder, names):
    """[(path relative to the folder, notebook)] of the lessons."""
    return [(name, nbformat.read(folder / name, as_version=4)) for name in names]


# ---------------------------------------------------------------------------------------------------------------------
# The first page
# ---------------------------------------------------------------------------------------------------------------------

def card(name, notebook, finding):
    """A lesson's card, in the words of sphinx-design; its figure lies beside the page in `cards`."""
    number, picture = name.name[:2], figure_of(notebook, name.name[:2])
    lines = [f"::::{{grid-item-card}} {title_of(notebook)}", f":link: /{name.with_suffix('').as_posix()}",
             ":link-type: doc"]
    if picture:
        lines += [f":img-top: cards/{number}.png", f":img-alt: {' '.join(picture[1].split())}"]
    lines += ["", (finding[:1].upper() + finding[1:] + ".") if finding else describe(notebook)]
    if said := minutes(notebook):
        lines += ["", ":::{card-footer}", said, ":::"]
    return "\n".join([*lines, "::::"])


def write_index(folder, source, lessons, put):
    """The first page's text with its cards, and their pictures.

    Args:
        folder (Path): the notebooks as the reader keeps them; the README beside it says what you find out.
        source (Path): where the page goes, beside copies of the lessons.
        lessons (list): their paths, relative to both.
        put (function): writes a file: path, bytes.

    Returns:
        The page, whose {{places}} for lists of pages are still to be filled.
    """
    told, cards = findings(folder.resolve().parent / "README.md"), []
    read = lessons_of(source, lessons)
    for name, notebook in read:
        if picture := figure_of(notebook, name.name[:2]):
            put(source / "cards" / f"{name.name[:2]}.png", picture[0])
        cards.append(card(name, notebook, told.get(name.name, "")))
    page = (SITE / "index.md").read_text(encoding="utf-8")
    live = (SITE / "live.md").read_text(encoding="utf-8") if (source / "assets" / LIVE).exists() else ""
    return page.replace("{{live}}", live).replace("{{cards}}", "\n\n".join(cards)).replace(
        "{{explorer}}", next(filter(None, (explorer_of(notebook) for _, notebook in read)), ""))


# ---------------------------------------------------------------------------------------------------------------------
# What each page says of itself
# ---------------------------------------------------------------------------------------------------------------------

def previews(source, lessons):
    """{name of a lesson's page: (its description, the file of its figure among the built pictures)}."""
    found = {}
    for name, notebook in lessons_of(source, lessons):
        picture = figure_of(notebook, name.name[:2])
        built = f"_images/{hashlib.sha256(picture[0]).hexdigest()}.png" if picture else ""   # so myst-nb names it
        found[name.with_suffix("").as_posix()] = describe(notebook), built
    return found


def meta_tags(name, title, page, known, address):
    """The tags by which search engines and messengers show a link to a page.

    Args:
        name (str): of the page, such as "03_locally_grouped_attention".
        title (str): its title, in HTML.
        page (document): its content as docutils has it, None for a page that Sphinx makes itself.
        known (dict): see `previews`.
        address (str): where the pages will lie in the web, with a slash at its end; pictures of previews need it whole.
    """
    said, picture = known.get(name, ("", ""))
    if not said and page is not None:
        said = first_sentence(next((part.astext() for part in page.findall(nodes.paragraph)), ""))
    said = html.escape(re.sub(r"[*`$\\]", "", said) or re.sub(r"<[^>]+>", "", title))
    fallback = next((built for page, (_, built) in sorted(known.items()) if page.startswith(PREVIEW)), "")
    picture = picture or fallback or next((built for _, built in known.values() if built), "")
    tags = [("name", "description", said), ("property", "og:title", re.sub(r"<[^>]+>", "", title)),
            ("property", "og:description", said), ("property", "og:type", "article")]
    if address:
        tags.append(("property", "og:url", f"{address}{name}.html"))
    if picture:
        tags += [("property", "og:image", (address or "../" * name.count("/")) + picture),
                 ("name", "twitter:card", "summary_large_image")]
    return "".join(f'\n<meta {kind}="{key}" content="{value}">' for kind, key, value in tags)


# ---------------------------------------------------------------------------------------------------------------------
# The README's pictures
# ---------------------------------------------------------------------------------------------------------------------

def small(picture):
    """A PNG of the README's width with few colours, so that three of them weigh little."""
    image = Image.open(BytesIO(picture)).convert("RGB")
    image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)
    content = BytesIO()
    image.quantize(128, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    return content.getvalue()


def readme_pictures(folder):
    """{file: its bytes} of the pictures that the README shows, made from the stored lessons of a folder."""
    found = {}
    for number in README:
        (path,) = folder.glob(f"{number}_*.ipynb")
        picture, _ = figure_of(nbformat.read(path, as_version=4), number)
        found[folder / "assets" / f"readme_{number}.png"] = small(picture)
    return found


if __name__ == "__main__":
    for path, content in readme_pictures(Path("notebooks")).items():
        write_whole(path, content)
        print(f"{path}: {len(content):,} bytes")
