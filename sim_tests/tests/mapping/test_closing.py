# SPDX-License-Identifier: Apache-2.0
"""Functions behind which the host only looks for the largest output are the host's, and keep their order."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from emu.spec import preset
from mapping.codes.graded.closing import closing
from mapping.codes.graded.convert import convert_graded
from mapping.model.evaluate import infer
from mapping.model.network import Network
from mapping.spiking.network import SpikingNetwork
from mapping.spiking.simulate import decode, encode, simulate
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.ordinary_networks import calibration

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "Elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "Exp": np.exp,
    "Softplus": lambda x: np.log1p(np.exp(x)),
    "Tanh": np.tanh,
}


def converted(network: Network) -> SpikingNetwork:
    return convert_graded(network, calibration(network), preset("medium"))


def agreement(spiking: SpikingNetwork) -> float:
    x = calibration(spiking.network, n=400, seed=7)
    got = decode(spiking, simulate(spiking, encode(spiking, x)), x)
    return float(np.mean(got.argmax(axis=1) == infer(spiking.network, x).argmax(axis=1)))


def classifier(name: str, factor: float) -> Network:
    """Five classes whose sums are large, so that a function of them saturates."""
    b = ModelBuilder((6,), seed=3)
    y = b.op("Relu", b.dense("x", b.rng.normal(size=(12, 6)), b.rng.normal(size=12)))
    return b.network(b.op(name, b.dense(y, factor * b.rng.normal(size=(5, 12)))))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_at_the_output_is_the_hosts_and_multiplies_nothing(name: str) -> None:
    network = classifier(name, 0.1)
    spiking = converted(network)
    last = spiking.layers[-1]
    assert spiking.host_share == 0
    assert last.activation != spiking.network.output
    assert last.parts == 4
    x = calibration(network, n=30, seed=9)
    counts = simulate(spiking, encode(spiking, x))
    values = last.values(counts[last.name]).reshape(30, 5)
    np.testing.assert_allclose(decode(spiking, counts, x), FUNCTIONS[name](values), rtol=1e-9)


@pytest.mark.parametrize("name", ["Exp", "Tanh"])
def test_classes_that_counts_cannot_tell_apart_are_told_apart(name: str) -> None:
    assert agreement(converted(classifier(name, {"Exp": 2.0, "Tanh": 6.0}[name]))) > 0.98


def test_functions_are_the_hosts_before_what_it_has_in_any_case() -> None:
    b = ModelBuilder((6,), seed=4)
    y = b.op("Exp", b.dense("x", 3 * b.rng.normal(size=(5, 6))))
    network = b.network(b.op("Mul", y, b.op("Tanh", y)))
    spiking = converted(network)
    assert closing(network).keys() == {node.output for node in network.nodes if node.op in {"Exp", "Tanh"}}
    assert spiking.host_share == 0
    assert len(spiking.layers) == 1


@pytest.mark.parametrize("kind", ["levels", "one value", "map", "layer behind", "cut"])
def test_other_functions_stay_on_the_chip(kind: str) -> None:
    b = ModelBuilder((2, 4, 4) if kind == "map" else (6,), seed=5)
    if kind == "map":
        y = b.op("Tanh", b.conv("x", b.rng.normal(size=(3, 2, 3, 3))))
    else:
        y = b.dense("x", b.rng.normal(size=(1 if kind == "one value" else 5, 6)))
        y = b.op({"levels": "Sign", "cut": "Relu"}.get(kind, "Tanh"), y)
        y = b.dense(y, b.rng.normal(size=(4, 5))) if kind == "layer behind" else y
    network = b.network(y)
    spiking = converted(network)
    assert not closing(network)
    assert spiking.network.output in {layer.activation for layer in spiking.layers}


def test_function_that_a_layer_reads_too_stays_on_the_chip() -> None:
    b = ModelBuilder((6,), seed=6)
    y = b.op("Tanh", b.dense("x", b.rng.normal(size=(5, 6))))
    assert not closing(b.network(b.op("Mul", b.dense(y, b.rng.normal(size=(5, 5))), y)))
