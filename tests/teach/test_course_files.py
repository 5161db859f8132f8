"""What lies beside the lessons is found from anywhere: in the repository, as VS Code works, and outside of it."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from twins_lib import teach

ROOT = Path(__file__).parents[2]

# Runs the imports of every lesson, and then every expression that asks for a file of the course.
PROGRAM = """\
import json, sys
cells, calls = json.load(sys.stdin)
for source in cells:
    exec(source, names := {})
from twins_lib import teach
for call in calls:
    assert eval(call, {"teach": teach}).is_file(), call
print(len(cells), len(calls))
"""


def code_cells():
    """(name of the notebook, source) of every cell of code, lessons and solutions."""
    for path in [*sorted(ROOT.glob("notebooks/*.ipynb")), *sorted(ROOT.glob("notebooks/solutions/*.ipynb"))]:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                yield path.relative_to(ROOT), "".join(cell["source"])


def imports_of(cells):
    """The first cell of every notebook that imports: what the others stand on."""
    first = {}
    for name, source in cells:
        if re.search("^(import|from) ", source, re.M):
            first.setdefault(name, source)
    return list(first.values())


def asked_for(cells):
    """Every call of teach.asset in the cells, once."""
    found = set()
    for _, source in cells:
        for node in ast.walk(ast.parse("\n".join(re.sub("^[%!].*", "", line) for line in source.splitlines()))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "teach.asset":
                found.add(ast.unparse(node))
    return sorted(found)


@pytest.mark.parametrize("folder", [ROOT, None])
def test_every_lesson_finds_its_files_from_another_folder(folder, tmp_path):
    cells = list(code_cells())
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=folder or tmp_path, input=json.dumps(
        [imports_of(cells), asked_for(cells)]), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    lessons, files = map(int, done.stdout.split()[-2:])
    assert lessons >= 11 and files >= 6


def test_no_lesson_names_a_file_as_seen_from_its_own_folder():
    beside = {path.name for path in (ROOT / "notebooks").iterdir()}
    for name, source in code_cells():
        for node in ast.walk(ast.parse("\n".join(re.sub("^[%!].*", "", line) for line in source.splitlines()))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
                first = Path(node.value).parts[:1]
                assert not first or first[0] not in beside | {".."}, f"{name}: {node.value}"


def test_a_file_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert teach.asset("ablation.json") == ROOT / "notebooks" / "assets" / "ablation.json"
    (tmp_path / "notebooks" / "assets").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/notebooks/assets/ablation.json: no such file; get the"):
        teach.asset("ablation.json")
