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
from mapping.model.network import Network
from mapping.spiking.simulate import decode, encode, simulate
from sim_tests.referees.graded_table import main as graded_table
from sim_tests.referees.plain_arrays import sinabs_network

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


def assert_same_network(one: Network, other: Network) -> None:
    """Demand the same operations with the same constants."""
    assert [node.op for node in one.nodes] == [node.op for node in other.nodes]
    for node, twin in zip(one.nodes, other.nodes, strict=True):
        assert node.attributes == twin.attributes
        assert all(np.array_equal(value, twin.constants[key]) for key, value in node.constants.items())


def test_other_arrays_are_refused_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays: dict[str, Any] = {f"{i}.weight": np.zeros((2, 3)) for i in (0, 3, 6, 10, 12)}
    np.savez(tmp_path / "a.npz", **arrays)
    assert graded_table(["--data", "digits", str(tmp_path / "a.npz")]) == 2
    told = f"graded_table: Array 0.weight of {tmp_path / 'a.npz'} must have 4 axes, not 2.\n"
    assert capsys.readouterr().err == told


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
    assert_same_network(network, sinabs_network(data_dir / "models" / "sinabs_mnist_cnn.npz"))
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
