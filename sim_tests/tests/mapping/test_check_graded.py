# SPDX-License-Identifier: Apache-2.0
"""The check of an image finds what the mapper does wrong with digits, shifts, ladders and several sources."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from emu.spec import CoreSpec, preset
from mapping.codes.graded.convert import GradedOptions, convert_graded
from mapping.layout import emit
from mapping.layout.check import check
from mapping.layout.route import fit
from mapping.model.network import Network
from mapping.spiking.network import SpikingNetwork
from mapping.spiking.spread import spread
from sim_tests.generators.ordinary_networks import calibration, mlp, pooled, residual
from sim_tests.tests.mapping.test_check_layers import plant

MEDIUM = preset("medium")
NARROW = MEDIUM.resized(axons=64, columns=64, lanes=16, max_extension=4)


def graded(network: Network, spec: CoreSpec) -> SpikingNetwork:
    return spread(convert_graded(network, calibration(network), spec, GradedOptions(bits=6, digits=3)))


def kinds(spiking: SpikingNetwork, spec: CoreSpec) -> set[str]:
    return {violation.kind for violation in check(emit.emit(spiking, *fit(spiking, spec), name="n"), spiking)}


Planted = tuple[Callable[[], Network], CoreSpec, Callable[..., Any], str, str, str]

PLANTED: dict[str, Planted] = {
    "a shift forgotten": (
        residual,
        MEDIUM,
        emit._of_rows,
        ".max(axis=1)",
        ".max(axis=1) * 0",
        "wrong-weight",
    ),
    "digits of the negative weight": (
        mlp,
        MEDIUM,
        emit._Cells.__init__,
        "partial(digits_of, strengths=strengths)",
        "lambda weight: digits_of(-weight, strengths)",
        "wrong-weight",
    ),
    "strengths in the reverse order": (
        mlp,
        MEDIUM,
        emit._shared,
        "np.array(layer.strengths, np.int16)",
        "np.array(layer.strengths[::-1], np.int16)",
        "neuron-settings",
    ),
    "a row of an extended axon off": (
        lambda: residual(channels=8),
        NARROW,
        emit._of_rows,
        "padded[: part.axons] = values",
        "padded[-part.axons :] = values[::-1]",
        "wrong-weight",
    ),
    "the ladder of the row before": (
        residual,
        MEDIUM,
        emit._Quantiser._of,
        "of_rows(layer.quantiser, rows)",
        "of_rows(layer.quantiser, rows - 1)",
        "thresholds",
    ),
    "a sample that begins with the rest of the one before": (
        residual,
        MEDIUM,
        emit._schedule,
        "int(len(steps) > 1 and step == steps[0])",
        "0",
        "schedule",
    ),
    "a potential that is cleared before the layer fires": (
        residual,
        MEDIUM,
        emit._shared,
        "Reset.ZERO if several else Reset.CLEAR",
        "Reset.CLEAR",
        "neuron-settings",
    ),
    "a layer that fires when the first of its sources comes": (
        residual,
        MEDIUM,
        emit._schedule,
        "int(step == steps[-1])",
        "int(step == steps[0])",
        "schedule",
    ),
    "negative counts cut off": (
        mlp,
        MEDIUM,
        emit._schedule,
        "-layer.low * fire",
        "0 * fire",
        "schedule",
    ),
    "a bias forgotten": (
        pooled,
        MEDIUM,
        emit._layer_cores,
        "bias[part.outputs]",
        "0 * bias[part.outputs]",
        "neuron-settings",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_check_names_a_fault_planted_in_the_mapper(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build, spec, function, find, replace, kind = PLANTED[name]
    spiking = graded(build(), spec)
    assert kinds(spiking, spec) == set()
    plant(monkeypatch, function, find, replace)
    assert kind in kinds(spiking, spec)


def test_networks_of_this_file_have_what_they_are_to_show() -> None:
    first = graded(residual(), MEDIUM)
    assert any(source.shift for layer in first.layers for source in layer.sources)
    assert any(layer.bias is not None for layer in graded(pooled(), MEDIUM).layers)
    parts, _, _ = fit(graded(residual(channels=8), NARROW), NARROW)
    assert {part.extension for part in parts.cores} > {1}
    assert min(layer.low for layer in graded(mlp(), MEDIUM).layers) < 0
    assert np.unique([len(layer.sources) for layer in first.layers]).tolist() == [1, 2]
