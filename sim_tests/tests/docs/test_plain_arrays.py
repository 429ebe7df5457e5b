# SPDX-License-Identifier: Apache-2.0
"""The builder that a guide shows reads plain layers of others."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emu.spec import preset
from mapping.codes.graded.convert import convert_graded
from mapping.datasets.calibration import calibration_data
from mapping.datasets.load import accuracy, load_data, scaled
from mapping.model.evaluate import infer
from mapping.spiking.simulate import decode, encode, simulate

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "bring_a_model.md"


@pytest.fixture
def builder() -> dict[str, Any]:
    """Return what the guide's ``plain.py`` defines."""
    if not GUIDE.is_file():
        pytest.skip("not a checkout")
    text = GUIDE.read_text(encoding="utf-8")
    fence = re.search(r"^```python plain\.py\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert fence is not None
    names: dict[str, Any] = {}
    exec(fence.group(1), names)  # noqa: S102  # the page is our own
    return names


@pytest.mark.slow
def test_builder_reads_the_arrays_of_sinabs(builder: dict[str, Any], data_dir: Path) -> None:
    """Published: 97.88 %; without biases, averages of 2 x 2 behind every convolution's function."""
    conv, dense, relu, flat = (builder[name] for name in ("conv", "dense", "RELU", "FLAT"))
    with np.load(data_dir / "models" / "sinabs_mnist_cnn.npz") as arrays:
        weights = [arrays[f"{i}.weight"] for i in (0, 3, 6, 10, 12)]
    layers = []
    for weight in weights[:3]:
        channels = len(weight)
        average = conv(np.full((channels, 1, 2, 2), 0.25), stride=2, groups=channels)
        layers += conv(weight) + relu + average
    layers += flat + dense(weights[3]) + relu + dense(weights[4])
    network = builder["network_of"](layers, (1, 28, 28))
    data, chosen = scaled(load_data(f"mnist:{data_dir / 'mnist'}").first(1000), "unit", network)
    sample, _ = scaled(calibration_data(f"mnist:{data_dir / 'mnist'}", 128), chosen, network)
    spiking = convert_graded(network, sample.x, preset("reference"))
    logits = decode(spiking, simulate(spiking, encode(spiking, data.x)), data.x)
    truth, got = accuracy(infer(network, data.x), data.y), accuracy(logits, data.y)
    assert truth is not None
    assert got is not None
    assert truth > 0.97
    assert abs(got - truth) < 0.003
    assert spiking.host_share == 0
