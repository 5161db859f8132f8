"""JupyterLab as `make lab` opens it, and a lesson by itself in another folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import watched_page

from twins_lib.teach.publish.refresh import run

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "twins_lib" / "teach" / "publish" / "lab"


def test_lab_says_its_address_and_opens_lesson_00_with_its_contents(browser, tmp_path):
    """The environment in which it keeps its layout is a made one, and so is the reader's home."""
    assert f'JUPYTER_CONFIG_PATH="$(CURDIR)/{CONFIG.relative_to(ROOT)}"' in (ROOT / "Makefile").read_text()
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    layouts = tmp_path / "layouts"
    lab = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.port=0",
         tmp_path / "notebooks" / "00_start_here.ipynb"], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "JUPYTER_CONFIG_PATH": str(CONFIG), "JUPYTER_CONFIG_DIR": str(tmp_path / "home"),
             "JUPYTER_DATA_DIR": str(tmp_path / "home"), "TWINS_LAYOUTS": str(layouts)})
    try:
        said = []
        while not (address := re.search(r"http://127\.0\.0\.1:\S+", "".join(said))) and lab.poll() is None:
            said.append(lab.stdout.readline())
        assert len(said) < 15, said
        page, _ = watched_page(browser)
        page.goto(address[0])
        entries = page.locator(".jp-TableOfContents .jp-tocItem")
        entries.first.wait_for(timeout=60_000)
        page.get_by_text("A first result").first.wait_for()
        assert "00 · Start here" in entries.first.inner_text() and page.url.endswith("/tree/00_start_here.ipynb")
        page.close()
    finally:
        lab.terminate()
        lab.communicate(timeout=30)
    assert list(layouts.iterdir())


def test_a_lesson_alone_in_another_folder_runs(tmp_path):
    shutil.copy(ROOT / "notebooks" / "00_start_here.ipynb", tmp_path)
    ran = run(tmp_path / "00_start_here.ipynb")
    printed = "".join(output.get("text", "") for cell in ran.cells for output in cell.get("outputs", []))
    assert "… grid of stage 3: not answered yet" in printed
