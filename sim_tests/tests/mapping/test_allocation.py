# SPDX-License-Identifier: Apache-2.0
"""Digits of each layer: the fewest within a tolerance, chosen without labels."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emu.spec import preset
from mapping.codes.graded.allocation import DigitSearch
from mapping.codes.graded.calibration import Calibration, Grids
from mapping.codes.graded.convert import GradedOptions, convert_graded
from mapping.codes.graded.layers import integers_of
from mapping.codes.graded.structure import structure_of
from mapping.codes.obstacles import Obstacle, anything_fits
from mapping.datasets.load import Dataset
from mapping.errors import MappingError
from mapping.model.evaluate import infer
from mapping.model.network import Network
from mapping.model.rewrite import sunk
from mapping.report.machine import estimate
from mapping.spiking.network import SpikingLayer, SpikingNetwork
from mapping.spiking.simulate import decode, encode, simulate
from sim_tests.generators.ordinary_networks import calibration, inverted, mlp, pooled, residual

MEDIUM = preset("medium")
MOST = 6
KINDS = {"mlp": mlp, "residual": residual, "inverted": inverted, "pooled": pooled}


def graded(network: Network, **options: Any) -> SpikingNetwork:
    return convert_graded(network, calibration(network), MEDIUM, GradedOptions(**options))


def digits(spiking: SpikingNetwork) -> list[int]:
    return [len(layer.strengths) for layer in spiking.layers]


def columns(spiking: SpikingNetwork) -> int:
    return sum(layer.neurons * len(layer.strengths) for layer in spiking.layers)


def error(spiking: SpikingNetwork) -> float:
    """Return the error of the outputs on the calibration samples, in percent of their deviation."""
    x = calibration(spiking.network)
    truth = infer(spiking.network, x)
    got = decode(spiking, simulate(spiking, encode(spiking, x)), x)
    return 100 * float(np.sqrt(np.square(got - truth).mean()) / truth.std())


@pytest.mark.parametrize("tolerance", [0.0, 0.5, 4.0])
@pytest.mark.parametrize("kind", KINDS)
def test_error_stays_within_the_tolerance(kind: str, tolerance: float) -> None:
    network = KINDS[kind](2)
    finest, found = graded(network, digits=MOST), graded(network, digits="auto", tolerance=tolerance)
    assert error(found) <= error(finest) + tolerance + 1e-3
    assert max(digits(found)) <= MOST


@pytest.mark.parametrize("kind", KINDS)
def test_more_tolerance_takes_fewer_columns(kind: str) -> None:
    network = KINDS[kind](2)
    taken = [columns(graded(network, digits="auto", tolerance=p)) for p in (0.2, 2.0, 20.0)]
    assert taken[0] > taken[1] > taken[2]
    assert digits(graded(network, digits="auto", tolerance=1e6)) == [1] * len(graded(network).layers)


@pytest.mark.parametrize("kind", ["residual", "inverted", "pooled"])
def test_fewer_columns_than_the_same_digits_for_all_layers_of_as_small_an_error(kind: str) -> None:
    taken = []
    for seed in (2, 3, 4):
        network = KINDS[kind](seed)
        uniform, finest = graded(network, digits=3), graded(network, digits=MOST)
        slack = 1e-3  # the error here is computed from the outputs in float64
        found = graded(network, digits="auto", tolerance=error(uniform) - error(finest) + slack)
        assert error(found) <= error(uniform) + 2 * slack
        assert columns(found) <= columns(uniform)
        taken.append((columns(found), columns(uniform)))
    if kind != "residual":  # of these small ones the same digits for all layers are hard to beat
        assert sum(own for own, _ in taken) < sum(other for _, other in taken)


@pytest.mark.parametrize("kind", KINDS)
def test_digits_of_each_layer_are_those_given(kind: str) -> None:
    network = KINDS[kind](1)
    given = tuple(2 + at % 4 for at in range(len(graded(network).layers)))
    found = graded(network, digits=given)
    assert tuple(digits(found)) == given
    for layer in found.layers:
        most = sum(layer.strengths)
        assert all(np.abs(source.weight).max() <= most for source in layer.sources)
    again = graded(network, digits=tuple(digits(graded(network, digits="auto"))))
    assert all(
        np.array_equal(one.edges, other.edges)
        for one, other in zip(again.layers, graded(network, digits="auto").layers, strict=True)
    )


def searched(network: Network) -> Calibration:
    prepared = sunk(network)
    structure = structure_of(prepared, prepared.input, axons=MEDIUM.axons)
    return Calibration(prepared, structure, calibration(network), MEDIUM, Grids(8, 0))


def test_fewer_samples_are_looked_at_of_a_large_network(monkeypatch: pytest.MonkeyPatch) -> None:
    network = residual(3)
    there = len(calibration(network))
    each = sum(values[0].size for values in searched(network)._values.values())
    for most, wanted in ((there * each, there), (11 * each + 1, 11), (1, 8)):
        monkeypatch.setattr("mapping.codes.graded.calibration._MOST_VALUES", most)
        values = searched(network)._values
        assert {len(value) for value in values.values()} == {wanted}
        rows = np.arange(wanted) * there // wanted
        assert np.array_equal(values[network.input], calibration(network)[rows].astype(np.float32))


def test_error_of_a_changed_layer_is_that_of_the_whole_network_with_it() -> None:
    network = residual(3)
    part = searched(network)
    part.layers([5] * len(part.points), anything_fits, lambda _: None)
    spiking = graded(network, digits=5)
    assert part.error([network.output]) == pytest.approx(error(spiking), abs=1e-3)
    for point in part.points:
        other = part.made(point, 2)
        layers = tuple(other.layer if layer.name == point.name else layer for layer in spiking.layers)
        wanted = error(replace(spiking, layers=layers))
        assert part.error([network.output], other) == pytest.approx(wanted, abs=1e-3)


def test_a_layer_is_made_again_only_behind_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    part, made = searched(mlp(1)), []
    real = integers_of

    def noted(point: Any, *arguments: Any, **options: Any) -> Any:
        made.append(point.name)
        return real(point, *arguments, **options)

    monkeypatch.setattr("mapping.codes.graded.calibration.integers_of", noted)
    names = [point.name for point in part.points]
    part.layers([5] * len(names), anything_fits, lambda _: None)
    assert made == names
    part.layers([5] * len(names), anything_fits, lambda _: None)
    assert made == names
    part.layers([*[5] * (len(names) - 1), 3], anything_fits, lambda _: None)
    assert made == [*names, names[-1]]
    part.layers([4, *[5] * (len(names) - 2), 3], anything_fits, lambda _: None)
    assert made == [*names, names[-1], *names]


def test_layer_that_fits_with_fewer_digits_begins_with_these() -> None:
    part = searched(mlp(1))
    narrow = part.points[0].name

    def fits(layer: SpikingLayer) -> Obstacle | None:
        broken = layer.name == narrow and len(layer.strengths) > 3
        return Obstacle(reason="it is wide", remedy="") if broken else None

    search = DigitSearch(part, [part.points[-1].tensor], 0.0, spec=MEDIUM, fits=fits)
    assert search.found()[0] <= 3


def estimated(data: Dataset, samples: NDArray[np.float64]) -> dict[str, Any]:
    """Return the loom part of a report on digits auto, with the calibration samples given."""
    given = Dataset(name="c", x=samples, y=None)
    options = GradedOptions(digits="auto", tolerance=1.0)
    report = estimate(mlp(2), data, core="medium", how="raw", calibration=given, options=options)
    (part,) = report.targets
    return dict(part)


def test_neither_labels_nor_test_samples_choose_digits() -> None:
    """Labels are turned round, and the test's samples are far from the calibration's: nothing changes."""
    samples = calibration(mlp(2))
    label = infer(mlp(2), samples).argmax(axis=1)
    first, turned, far = (
        estimated(Dataset(name="t", x=x, y=y), samples)
        for x, y in ((samples, label), (samples, 3 - label), (5 * samples[:, ::-1], label))
    )
    assert first["accuracy"] != turned["accuracy"]
    taken = [[layer["digits"] for layer in part["breakdown"]["layers"]] for part in (first, turned, far)]
    assert taken[0] == taken[1] == taken[2]
    assert first["image_digest"] == turned["image_digest"] == far["image_digest"]
    assert first["columns"] == sum(n * k for n, k in zip((9, 16), taken[0], strict=True))


WRONG = {
    "digits": (GradedOptions(digits=9), r"^Digits of a weight must be auto or 1\.\.7, not 9\.$"),
    "one of several": (GradedOptions(digits=(3, 8)), r"^Digits of a weight must be auto or 1\.\.7, not 8\.$"),
    "too few": (
        GradedOptions(digits=(3, 3, 3)),
        r"^Digits must be one number, or one for each of the 2 layers on the chip \(.+, .+\), not 3 n.*\.$",
    ),
    "tolerance": (
        GradedOptions(tolerance=-1.0),
        r"^Tolerance must be 0 or more points of error, not -1\.$",
    ),
    "no tolerance": (GradedOptions(tolerance=np.nan), r"^Tolerance must be 0 or more .*, not nan\.$"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_options_are_one_sentence(name: str) -> None:
    options, sentence = WRONG[name]
    with pytest.raises(MappingError, match=sentence):
        convert_graded(mlp(), calibration(mlp()), MEDIUM, options)
