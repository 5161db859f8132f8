"""Shared by the tests of training: a network so small that a run takes seconds."""

import pytest

from small_images import TINY
from twins_lib import VARIANTS


@pytest.fixture(scope="module")
def tiny():
    """The network is known by its name, in the module that asks for it only: `pytestmark = usefixtures("tiny")`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(VARIANTS, "twins_svt_tiny", TINY)
        yield
