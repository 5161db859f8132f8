"""Refuse, in one sentence, a set-up that would fail later in many."""

import sys
from importlib.metadata import PackageNotFoundError, version

PYTHONS = ((3, 11), (3, 12))
MINDSPORES = ("2.8", "2.9", "2.10")
REPAIR = 'run: pip install "mindspore==2.10.0" "numpy>=1.26.4,<2"'


def check_versions(python=sys.version_info[:2], find=version):
    """Raise ImportError if Python, NumPy or MindSpore is one that this library cannot run on.

    Args:
        python (tuple): major and minor version of Python.
        find (callable): gives the installed version of a distribution, or raises PackageNotFoundError.
    """
    if tuple(python) not in PYTHONS:
        raise ImportError(f"Python {python[0]}.{python[1]}: this library runs on Python 3.11 and 3.12 only; "
                          "make a virtual environment with one of these")
    if int(find("numpy").split(".")[0]) >= 2:
        raise ImportError(f"NumPy {find('numpy')}: MindSpore is built for NumPy 1 and fails with NumPy 2; {REPAIR}")
    try:
        mindspore = find("mindspore")
    except PackageNotFoundError:
        raise ImportError(f"MindSpore is not installed; {REPAIR}") from None
    if ".".join(mindspore.split(".")[:2]) not in MINDSPORES:
        raise ImportError(f"MindSpore {mindspore}: this library is tested with 2.8.0 and 2.10.0; {REPAIR}")
