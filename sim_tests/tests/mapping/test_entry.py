# SPDX-License-Identifier: Apache-2.0
"""Features of unlike ranges enter the chip each in its own, and those that need none as they are."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from emu.spec import preset
from mapping.codes.graded.convert import convert_graded
from mapping.codes.graded.entry import entered
from mapping.flow import compile_network
from mapping.model.evaluate import infer
from mapping.model.network import Network
from mapping.spiking.simulate import decode, encode, simulate
from sim_tests.generators.model_builder import ModelBuilder

UNITS = np.array([1000.0, 1.0, 0.02, 30.0])
"""Of the features: each counts as much for the network as the others."""

CENTRES = np.array([5000.0, 0.5, -0.3, 7.0])
MOST = 255


def table(seed: int, n: int = 120) -> NDArray[np.float64]:
    return np.asarray(np.random.default_rng(seed).normal(size=(n, 4)) * UNITS + CENTRES)


def network(units: NDArray[np.float64] = UNITS) -> Network:
    b = ModelBuilder((4,), seed=4)
    y = b.op("Relu", b.dense("x", b.rng.normal(size=(12, 4)) / units, b.rng.normal(size=12)))
    return b.network(b.head(y, 12))


def error(got: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.square(got - truth).mean()) / truth.std())


def test_features_in_ranges_of_their_own_are_the_same_network() -> None:
    whole = network()
    found, root = entered(whole, table(0), most=MOST)
    assert root != found.input == whole.input
    x = table(1)
    np.testing.assert_allclose(infer(found, x), infer(whole, x), rtol=1e-9)


def test_narrow_features_are_counted_as_finely_as_wide_ones() -> None:
    whole = network()
    spiking = convert_graded(whole, table(0), preset("medium"))
    x = table(1)
    counts = encode(spiking, x)
    assert min(len(np.unique(counts[:, feature])) for feature in range(4)) > 60
    assert spiking.host_share == 0
    assert error(decode(spiking, simulate(spiking, counts), x), infer(whole, x)) < 0.04
    step = np.abs(x).max() / MOST
    assert error(infer(whole, np.rint(x / step) * step), infer(whole, x)) > 0.5


def test_image_gives_what_the_integer_network_gives() -> None:
    chip, x = compile_network(network(), table(0), core="medium"), table(2, n=6)
    spiking = chip.spiking
    wanted = decode(spiking, simulate(spiking, encode(spiking, x)), x)
    assert np.array_equal(chip.run(x).logits, wanted)


@pytest.mark.parametrize(
    "x",
    [
        np.random.default_rng(0).integers(0, 256, (60, 4)).astype(np.float64),
        np.random.default_rng(0).integers(0, 17, (60, 4)) / 16.0 * np.array([1.0, 1.0, 0.25, 0.0625]),
        np.random.default_rng(0).normal(size=(60, 4)),
        np.random.default_rng(0).normal(size=(1, 4)) * UNITS,
        np.ones((60, 4)) * 1e-3,
    ],
    ids=["bytes", "sixteenths", "alike", "one sample", "constant"],
)
def test_features_that_one_step_suits_enter_as_they_are(x: NDArray[np.float64]) -> None:
    whole = network(np.ones(4))
    assert entered(whole, x, most=MOST) == (whole, whole.input)


def test_feature_that_never_changes_is_counted_as_nothing() -> None:
    x = table(0)
    x[:, 1] = 0.25
    spiking = convert_graded(network(), x, preset("medium"))
    assert not encode(spiking, x)[:, 1].any()


def test_maps_enter_as_they_are() -> None:
    b = ModelBuilder((2, 4, 4))
    whole = b.network(b.head(b.op("Flatten", b.conv("x", b.rng.normal(size=(3, 2, 3, 3)))), 12))
    x = np.random.default_rng(0).normal(size=(40, 2, 4, 4)) * np.array([1000.0, 0.01])[:, None, None]
    assert entered(whole, x, most=MOST) == (whole, whole.input)
