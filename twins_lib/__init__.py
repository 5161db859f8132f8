"""Twins vision transformers (arXiv 2104.13840) in MindSpore, in the order in which the lessons build them."""

import os

from .versions import check_versions

check_versions()

# Before MindSpore is imported: its C++ log would put process ids and times into the lessons' outputs.
os.environ.setdefault("GLOG_v", "4")

from .patch_embed import PatchEmbed  # noqa: E402
from .position import PEG  # noqa: E402
from .attention import GSA, LSA  # noqa: E402
from .block import MLP, Block  # noqa: E402
from .model import VARIANTS, Twins, Variant, create_model  # noqa: E402
from .weights import load_torch_state, load_weights, save_weights  # noqa: E402

__all__ = ["PatchEmbed", "PEG", "LSA", "GSA", "MLP", "Block", "Twins", "Variant", "VARIANTS", "create_model",
           "load_torch_state", "load_weights", "save_weights"]
__version__ = "0.1.0"
