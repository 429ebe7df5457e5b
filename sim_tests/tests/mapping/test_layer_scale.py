# SPDX-License-Identifier: Apache-2.0
"""Weights of a layer that a file holds times a factor: found by name, and only where something is wrong."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from mapping.datasets.cross_entropy import clearly_less, cross_entropies
from mapping.datasets.load import Dataset, accuracy
from mapping.diagnosis.finding import percent
from mapping.diagnosis.input_scale import factor_text
from mapping.diagnosis.input_tried import doubt_of, input_findings, try_inputs
from mapping.diagnosis.layer_scale import check_layer_scale
from mapping.model.evaluate import infer
from mapping.model.importers.onnx import network_from_onnx
from mapping.model.network import Network
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.trained_networks import bars, trained


@pytest.fixture(scope="module")
def sound() -> onnx.ModelProto:
    """A network with functions that saturate, so that the scale of every layer but the last matters."""
    x, y = bars(1500)
    b, output = trained(x / 255, y, function="Tanh")
    return b.model(output)


def unseen(n: int = 256) -> Dataset:
    """Bars that no network was trained on, as numbers between 0 and 1."""
    x, y = bars(n, seed=1)
    return Dataset(name="bars", x=x / 255.0, y=y)


def times(model: onnx.ModelProto, layer: str, factor: float) -> onnx.ModelProto:
    """Return a file in which the weights of one layer are multiplied."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    (node,) = [node for node in changed.graph.node if node.name == layer]
    (weight,) = [tensor for tensor in changed.graph.initializer if tensor.name == node.input[1]]
    values = numpy_helper.to_array(weight)
    weight.CopyFrom(numpy_helper.from_array(values * values.dtype.type(factor), weight.name))
    return changed


def read(model: onnx.ModelProto) -> Network:
    """Return the network of a file."""
    return network_from_onnx(model, name="bars")


@pytest.mark.parametrize(("layer", "factor"), [("fc1", 4.0), ("fc1", 0.25), ("fc2", 1 / 16)])
def test_scaled_layer_is_named_and_its_way_out_mends(
    sound: onnx.ModelProto, layer: str, factor: float
) -> None:
    data, wrong = unseen(), times(sound, layer, factor)
    tried = try_inputs(read(wrong), data, "unit")
    (finding,) = input_findings(tried)
    assert (finding.kind, finding.layer) == ("layer-scale", layer)
    scale, better = tried.layer_scale, tried.better
    assert scale is not None
    assert scale.better == better == scale.candidates[0]
    assert (scale.better.layer, scale.better.factor) == (layer, 1 / factor)
    mended = times(wrong, layer, scale.better.factor)
    before, after = (accuracy(infer(read(model), data.x), data.y) for model in (wrong, mended))
    assert (scale.accuracy, scale.better.accuracy) == (before, after)
    told = [f"those of {other.layer!r} times {factor_text(other.factor)}" for other in scale.alike]
    instead = f" (or with {' or '.join(told)}, which these samples do not tell apart)" if told else ""
    assert finding.text == (
        f"The weights of layer {layer!r} seem to have another scale than in training: on 256 samples the "
        f"float network's accuracy is {100 * scale.accuracy:.2f} % as they are, and "
        f"{100 * scale.better.accuracy:.2f} % with them times {factor_text(1 / factor)}{instead}; export the "
        "model again, or multiply these weights, without the bias, in the file."
    )


@pytest.mark.parametrize(("factor", "mends"), [(1.5, 0.5**0.5), (0.7, 2.0**0.5)])
def test_factor_that_changes_few_answers_is_found_by_the_cross_entropy(
    sound: onnx.ModelProto, factor: float, mends: float
) -> None:
    data, wrong = unseen(1024), times(sound, "fc1", factor)
    tried = try_inputs(read(wrong), data, "unit")
    scale, findings = tried.layer_scale, list(input_findings(tried))
    assert [(finding.kind, finding.layer) for finding in findings] == [("layer-scale", "fc1")]
    assert scale is not None
    assert scale.better is not None
    assert scale.cross_entropy is not None
    assert scale.better.cross_entropy is not None
    assert (scale.better.layer, scale.better.factor) == ("fc1", mends)
    assert scale.better.accuracy - scale.accuracy < 0.06
    before, after = (
        cross_entropies(infer(read(model), data.x), data.y).mean()
        for model in (wrong, times(wrong, "fc1", mends))
        if data.y is not None
    )
    assert (scale.cross_entropy, scale.better.cross_entropy) == pytest.approx((before, after), rel=1e-4)
    assert f"the labels' cross-entropy (accuracy {percent(scale.accuracy)} and" in findings[0].text
    assert (
        f"is {scale.cross_entropy:.3f} as they are, and {scale.better.cross_entropy:.3f}" in findings[0].text
    )
    assert check_layer_scale(read(sound), data, "unit").better is None  # type: ignore[union-attr]


def test_unit_of_the_outputs_is_none_of_the_cross_entropy() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, 300)
    outputs = rng.normal(size=(300, 5)) + np.eye(5)[y]
    own = cross_entropies(outputs, y)
    for unit in (1e-6, 0.3, 7.0, 1e5):
        np.testing.assert_allclose(cross_entropies(unit * outputs + unit, y), own, rtol=1e-3)

    def with_unit(unit: float) -> np.ndarray:
        return np.asarray(-np.log(softmax(outputs * unit, axis=1)[np.arange(300), y]))

    best = minimize_scalar(lambda unit: with_unit(unit).mean(), bounds=(0.1, 10.0)).x
    by_hand = with_unit(best)
    np.testing.assert_allclose(own, by_hand, rtol=1e-3)


def test_gain_that_is_small_or_uncertain_is_none() -> None:
    before, rng = np.ones(400), np.random.default_rng(1)
    assert clearly_less(before, np.full(400, 0.8))
    assert not clearly_less(before, np.full(400, 0.9))
    assert not clearly_less(before, 0.8 + 3 * rng.normal(size=400))


def test_layers_that_samples_do_not_tell_apart_are_both_named() -> None:
    """Of two matrices without a function between them either may have been scaled."""
    b = ModelBuilder((2,))
    y = b.dense("x", np.eye(2) / 4, name="first")
    y = b.dense(y, np.array([[1, 0.5], [0.5, 1]]), name="second")
    y = b.dense(
        b.op("Tanh", b.op("Add", y, b.constant([-1, 1]))), np.array([[1, -0.5], [-1, 1]]), name="third"
    )
    x = np.random.default_rng(0).uniform(-3, 3, (256, 2))
    net = b.network(y)
    right = read(times(b.model(y), "second", 4))
    data = Dataset(name="points", x=x, y=infer(right, x).argmax(1))
    scale = check_layer_scale(net, data, "unit")
    assert scale is not None
    assert scale.better is not None
    assert {(found.layer, found.factor) for found in (scale.better, *scale.alike)} == {
        ("first", 4),
        ("second", 4),
    }
    assert scale.better.accuracy == 1.0


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("function", ["Relu", "Tanh"])
def test_sound_network_has_no_scaled_layer(function: str, seed: int) -> None:
    x, y = bars(200, seed=seed)
    b, output = trained(x / 255, y, function=function, seed=seed)
    scale = check_layer_scale(b.network(output), unseen(), "unit")
    assert scale is not None
    assert scale.accuracy < 0.95
    assert (scale.better, scale.alike) == (None, ())


@pytest.mark.parametrize("seed", range(4))
def test_untrained_network_has_no_scaled_layer(seed: int) -> None:
    b = ModelBuilder((3, 8, 8), seed=seed)
    y = b.op("Tanh", b.dense(b.op("Flatten", "x"), b.rng.normal(size=(16, 192)), b.rng.normal(size=16)))
    scale = check_layer_scale(b.network(b.dense(y, b.rng.normal(size=(12, 16)))), unseen(), "unit")
    assert scale is not None
    assert scale.better is None


def test_nothing_is_tried_without_labels_and_where_all_is_right(sound: onnx.ModelProto) -> None:
    data, net = unseen(), read(sound)
    assert check_layer_scale(net, replace(data, y=None), "unit") is None
    assert check_layer_scale(net, replace(data, y=infer(net, data.x).argmax(1)), "unit") is None


def test_estimate_names_the_layer_of_a_network_that_knows_nothing(sound: onnx.ModelProto) -> None:
    data, wrong = unseen(), read(times(sound, "fc1", 1 / 16))
    known = accuracy(infer(wrong, data.x), data.y)
    doubt = doubt_of(wrong, data, "unit", "unit", known)
    assert doubt is not None
    assert doubt.startswith("The weights of layer 'fc1' seem to have another scale than in training: ")


def test_input_of_another_scale_is_no_scaled_layer(sound: onnx.ModelProto) -> None:
    data = unseen()
    assert (
        try_inputs(read(sound), replace(data, x=data.x / 255), "unit", known="0,0.00392").layer_scale is None
    )
