"""Shared by all tests: MindSpore as the lessons use it, and one place for small fixtures."""

import sys
from pathlib import Path

import pytest

import twins_lib  # noqa: F401  sets what must be set before MindSpore is imported
import mindspore as ms

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session", autouse=True)
def cpu():
    ms.set_device("CPU")
    ms.runtime.launch_blocking()
