"""Twins vision transformers (arXiv 2104.13840) in MindSpore, in the order in which the lessons build them."""

import os

from .versions import check_versions

check_versions()

# Before MindSpore is imported: its C++ log would put process ids and times into the lessons' outputs. But where CANN is
# installed (its set_env.sh names this folder), what is said of versions and drivers must be seen.
os.environ.setdefault("GLOG_v", "2" if "ASCEND_HOME_PATH" in os.environ else "4")

from .patch_embed import PatchEmbed  # noqa: E402
from .position import PEG  # noqa: E402
from .attention import GSA, LSA  # noqa: E402
from .block import MLP, Block  # noqa: E402
from .model import VARIANTS, Twins, Variant, create_model  # noqa: E402
from .weights import load_torch_state, load_weights, save_weights  # noqa: E402

__all__ = ["PatchEmbed", "PEG", "LSA", "GSA", "MLP", "Block", "Twins", "Variant", "VARIANTS", "create_model",
           "load_torch_state", "load_weights", "save_weights"]
__version__ = "0.1.0"
