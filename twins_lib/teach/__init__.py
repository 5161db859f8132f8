"""What the lessons share: a quiet start, figures, the shape ledger, predictions and exercise checks."""

import os

import mindspore as ms
import numpy as np

from .ledger import Ledger
from .places import asset, course
from .predict import compare

try:
    from .figures import COLOURS, photo, show, style
except ModuleNotFoundError as error:
    raise ImportError(f"{error.name} is not installed; the lessons need it, run: pip install '.[teach]'") from None

__all__ = ["COLOURS", "Ledger", "asset", "begin", "compare", "course", "photo", "show", "style"]


def begin(seed=0):
    """Set MindSpore up as all lessons use it; call it before the first operation.

    Operations run one after the other on the CPU, so an error shows up in the cell that made it;
    random numbers start from `seed`; arrays print with four digits; figures get the course's style.
    """
    # On processors with AVX-512, MindSpore 2.9 and 2.10 choose a convolution that is a hundred times slower than
    # this one. The library does without (`twins_lib.layers`); the lessons build with MindSpore's own.
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
    ms.set_device("CPU")
    ms.runtime.launch_blocking()
    ms.set_seed(seed)
    np.set_printoptions(precision=4, suppress=True, linewidth=110)
    style()
