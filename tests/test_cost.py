"""Counts against the published ones, and the prediction against the count."""

from pathlib import Path

import numpy as np
import pytest

import twins_lib
from twins_lib import cost

GOLDEN = np.load(Path(__file__).parent / "golden" / "twins.npz")
# In G, as published (timm's and the paper's tables give fewer digits): without and with the attention products.
PUBLISHED = {
    "twins_pcpvt_small": ("3.667", "3.81"),
    "twins_pcpvt_base": ("6.437", "6.65"),
    "twins_pcpvt_large": ("9.497", "9.81"),
    "twins_svt_small": ("2.809", "2.93"),
    "twins_svt_base": ("8.334", "8.56"),
    "twins_svt_large": ("14.807", "15.11"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_prediction_is_what_pytorch_counts(name):
    predicted = cost.predict(name)
    assert predicted.parameters == GOLDEN[f"{name}/parameters"]
    assert [predicted.layer_macs, predicted.attention_macs] == GOLDEN[f"{name}/multiply_adds"].tolist()
    assert (f"{predicted.layer_macs / 1e9:.3f}", f"{predicted.macs / 1e9:.2f}") == PUBLISHED[name]


@pytest.mark.parametrize("name", ["twins_pcpvt_small", "twins_svt_small", "twins_pcpvt_nano", "twins_svt_nano"])
@pytest.mark.parametrize("size", [(224, 224), (96, 160)])
def test_count_is_the_prediction_to_the_integer(name, size):
    assert cost.count(twins_lib.create_model(name), *size) == cost.predict(name, *size)
