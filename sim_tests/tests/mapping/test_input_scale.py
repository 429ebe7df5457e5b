# SPDX-License-Identifier: Apache-2.0
"""Data of another scale than those of the training are noticed, and the choice that mends it is named."""

import dataclasses
import re

import numpy as np
import pytest

from mapping.codes.convert import convert
from mapping.datasets.load import Dataset, load_data, scaled
from mapping.diagnosis.finding import WARNING, Finding
from mapping.diagnosis.findings import find
from mapping.diagnosis.input_scale import FACTORS, Scaling, check_input_scale
from mapping.diagnosis.layers import Diagnosis, diagnose
from mapping.model.load import load_network
from mapping.spiking.network import SpikingNetwork
from sim_tests.generators.model_builder import ModelBuilder


@pytest.fixture(scope="module")
def digits() -> SpikingNetwork:
    """The shipped network."""
    return convert(load_network("digits"))


@pytest.fixture(scope="module")
def data(digits: SpikingNetwork) -> Dataset:
    """Sixty handwritten digits."""
    return load_data("digits").first(60).shaped(digits.network.shapes[digits.network.input])


def warnings(diagnosis: Diagnosis) -> list[Finding]:
    return [finding for finding in find(diagnosis) if finding.level == WARNING]


@pytest.mark.parametrize("factor", FACTORS[1:])
def test_planted_wrong_input_scale_is_named(digits: SpikingNetwork, data: Dataset, factor: float) -> None:
    scale = check_input_scale(digits, data.x * factor, data.y)
    assert scale.better is not None
    assert scale.better.factor == pytest.approx(1 / factor)
    assert scale.better.accuracy is not None
    assert scale.better.accuracy >= 0.97


@pytest.mark.parametrize("factor", [1 / 255, 16.0, 255.0])
def test_wrong_input_scale_is_found_without_labels(
    digits: SpikingNetwork, data: Dataset, factor: float
) -> None:
    scale = check_input_scale(digits, data.x * factor, None)
    assert scale.better is not None
    assert scale.better.factor == pytest.approx(1 / factor)


@pytest.mark.parametrize(("k", "factor"), [(2, 255.0), (2, 1 / 255), (0, 1 / 255)])
def test_wrong_input_scale_of_a_quantised_input_is_found_without_labels(k: int, factor: float) -> None:
    b = ModelBuilder((64,))
    y = b.quantise(b.dense(b.quantise("x", k, 1.0), b.ternary(4, 64)))
    spiking = convert(b.network(b.head(y, 4)))
    x = np.clip(np.random.default_rng(1).normal(0.0, 0.5, (50, 64)), 0, 1)  # more than half are black
    assert check_input_scale(spiking, x, None).better is None
    assert not check_input_scale(spiking, x, None).stuck
    better = check_input_scale(spiking, x * factor, None).better
    assert better is not None
    assert better.factor == pytest.approx(1 / factor)


def test_wrong_input_scale_gives_both_accuracies_and_the_choice(
    digits: SpikingNetwork, data: Dataset
) -> None:
    found = warnings(diagnose(digits, data.x / 255, data.y))
    assert [finding.kind for finding in found] == ["input-scale"]
    assert found[0].text == (
        "The data seem to have the wrong scale for this model: on 60 samples accuracy is 8.33 % as "
        "they are, and accuracy is 100.00 % times 255; try --input 0,0.00392156862745."
    )


def test_crowded_encoder_gives_accuracies_and_activations(digits: SpikingNetwork, data: Dataset) -> None:
    found = warnings(diagnose(digits, data.x * 255, data.y))
    assert re.search(r"accuracy is 100.00 % and 9\d\.\d\d % of the encoder's activations", found[0].text)
    assert found[0].text.endswith("times 1/255; try --input 0,255.")


@pytest.mark.parametrize("factor", FACTORS[1:])
@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize("how", ["raw", "unit", "3,0.25"])
def test_choice_of_input_scale_multiplies_the_data(
    digits: SpikingNetwork, data: Dataset, how: str, pixels: bool, factor: float
) -> None:
    given = dataclasses.replace(data, pixels=pixels)
    now, _ = scaled(given, how, digits.network)
    then, _ = scaled(given, Scaling(how=how, pixels=pixels).times(factor), digits.network)
    assert then.x == pytest.approx(now.x * factor, rel=1e-9, abs=1e-9)


def test_input_scale_beyond_all_candidates_is_still_noticed(digits: SpikingNetwork, data: Dataset) -> None:
    found = warnings(diagnose(digits, data.x * 1e-5, data.y))
    assert found[0].text.startswith("The data seem to have the wrong scale for this model: on 60")
    assert "100.00 % of its neurons never change, and no factor tried is better" in found[0].text
