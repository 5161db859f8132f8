"""How `make lab` opens JupyterLab: on lesson 00, with its table of contents, and with its address on the terminal."""

import os
import shutil
import sys
from pathlib import Path

c = get_config()  # noqa: F821  Jupyter puts it here

# A layout of the reader's own is kept from then on; it lies in the environment, not in the reader's home.
layouts = Path(os.environ.get("TWINS_LAYOUTS", f"{sys.prefix}/share/jupyter/lab/workspaces/twins"))
layout = "default-37a8.jupyterlab-workspace"   # what JupyterLab calls the one that it opens by itself
try:
    layouts.mkdir(parents=True, exist_ok=True)
    if not (layouts / layout).exists():
        shutil.copyfile(Path(__file__).with_name(layout), layouts / layout)
    c.LabApp.workspaces_dir = str(layouts)
except OSError as fault:
    print(f"{layouts}: cannot be written ({fault.strerror}), so JupyterLab opens as it does elsewhere")

c.LabApp.default_url = "/lab/tree/00_start_here.ipynb"
c.Application.log_level = "ERROR"   # the address is told above all; the rest of what a server says hides it
print("JupyterLab starts; if no browser opens by itself, open the address below. Ctrl+C stops it.", flush=True)
