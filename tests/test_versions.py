"""An unsupported set-up is told what is wrong and how to mend it."""

from importlib.metadata import PackageNotFoundError

import pytest

from twins_lib.versions import check_versions

GOOD = {"numpy": "1.26.4", "mindspore": "2.10.0"}


def check(python=(3, 11), **installed):
    found = {**GOOD, **installed}

    def find(name):
        if found[name] is None:
            raise PackageNotFoundError(name)
        return found[name]

    check_versions(python, find)


@pytest.mark.parametrize("mindspore", ["2.8.0", "2.10.0"])
def test_supported_versions_pass(mindspore):
    check(mindspore=mindspore)


@pytest.mark.parametrize("wrong, told", [
    ({"python": (3, 13)}, "Python 3.13: MindSpore has wheels for 3.10, 3.11 and 3.12 only"),
    ({"numpy": "2.4.6"}, "NumPy 2.4.6: MindSpore is built for NumPy 1 .* pip install"),
    ({"mindspore": "2.3.1"}, "MindSpore 2.3.1: .* tested with 2.8.0 and 2.10.0"),
    ({"mindspore": None}, "MindSpore is not installed; run: pip install"),
])
def test_an_unsupported_version_is_one_clear_sentence(wrong, told):
    with pytest.raises(ImportError, match=told):
        check(**wrong)
