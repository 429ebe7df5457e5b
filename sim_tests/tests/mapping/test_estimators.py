# SPDX-License-Identifier: Apache-2.0
"""Estimators of scikit-learn as ONNX: the class of every sample is that of ONNX's own evaluator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from emu.spec import preset
from mapping.codes.graded.convert import convert_graded
from mapping.datasets.load import Dataset, scaled
from mapping.errors import UnsupportedModelError
from mapping.flow import compile_network
from mapping.model.archive import network_from_arrays, network_to_arrays
from mapping.model.evaluate import infer, needed_nodes
from mapping.model.importers.onnx import network_from_onnx
from mapping.model.network import Network
from mapping.spiking.network import SpikingNetwork
from sim_tests.generators.estimator_models import (
    CLASSIFIERS,
    FEATURES,
    ML,
    classifier,
    estimator,
    named,
    regressor,
    scaler,
)
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.referees.estimator_table import measured

X = np.random.default_rng(3).normal(size=(200, FEATURES))


def read(model: onnx.ModelProto) -> Network:
    return network_from_onnx(model, name="estimator")


def first(model: onnx.ModelProto) -> NDArray[Any]:
    """Return the first output as ONNX's evaluator computes it."""
    outputs: Any = ReferenceEvaluator(model).run(None, {"x": X.astype(np.float32)})
    return np.asarray(outputs[0])


def told(model: onnx.ModelProto) -> NDArray[np.generic]:
    """Return what ONNX's evaluator gives as first output, in the names that a model has for its classes."""
    values = first(model).reshape(-1).tolist()
    return np.array([value.decode() if isinstance(value, bytes) else value for value in values])


def of_host(spiking: SpikingNetwork) -> set[str]:
    """Return the operations that the host computes."""
    network = spiking.network
    before = needed_nodes(network, [network.input], [spiking.encoder_output])
    held = [network.input, spiking.encoder_output, *(layer.activation for layer in spiking.layers)]
    return {node.op for node in (*before, *needed_nodes(network, held, [network.output]))}


@pytest.mark.parametrize("maps", [False, True], ids=["tensor", "map"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_class_of_every_sample_is_that_of_onnx(name: str, maps: bool) -> None:
    build, names = CLASSIFIERS[name]
    network = read(build(maps))
    assert network.classes == names
    outputs = infer(network, X.astype(np.float32).astype(np.float64))
    assert outputs.shape == (len(X), len(names))
    wanted = told(build(False))
    assert len(set(wanted.tolist())) > 1
    assert np.array(names)[outputs.argmax(axis=1)].tolist() == wanted.tolist()


HOST = {"normalised": {"Foreign", "Clip", "Div"}, "picked": {"Take"}}
"""What the host does: it divides a sample by its norm, and feeds of the features those that are chosen."""


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier_lies_whole_on_the_chip(name: str) -> None:
    network = read(CLASSIFIERS[name][0](True))
    spiking = convert_graded(network, X, preset("medium"))
    assert spiking.host_share == 0
    assert of_host(spiking) == HOST.get(name, set())


def test_chip_names_the_classes_of_the_data() -> None:
    build, names = CLASSIFIERS["network"]
    network = read(build(True))
    chip = compile_network(network, X, core="medium")
    again = network_from_arrays(network_to_arrays(chip.spiking.network))
    assert again.classes == chip.spiking.network.classes == names
    right = told(build(False)).astype(np.int64)
    chosen, _ = chip.prepare(Dataset(name="d", x=X, y=right))
    assert chosen.y is not None
    assert np.array(names)[chosen.y].tolist() == right.tolist()
    assert (chip.run(chosen.x).accuracy(chosen.y) or 0) > 0.97


def test_regressor_gives_the_sums_of_onnx() -> None:
    for targets in (1, 3):
        b = ModelBuilder((FEATURES,))
        model = estimator(b, regressor(b, scaler(b, "x"), targets))
        np.testing.assert_allclose(infer(read(model), X), first(model), atol=1e-4)
        assert read(model).classes == ()


@pytest.mark.parametrize("norm", ["L1", "L2"])
@pytest.mark.parametrize("opset", [13, 18])
def test_normaliser_gives_the_numbers_of_onnx(norm: str, opset: int) -> None:
    b = ModelBuilder((FEATURES,), opset=opset)
    model = estimator(b, b.op("Normalizer", "x", domain=ML, norm=norm))
    np.testing.assert_allclose(infer(read(model), X), first(model), atol=1e-5)


@pytest.mark.parametrize("opset", [13, 18])
def test_normaliser_divides_by_the_largest(opset: int) -> None:
    b = ModelBuilder((FEATURES,), opset=opset)
    model = estimator(b, b.op("Normalizer", "x", domain=ML, norm="MAX"))
    positive = np.abs(X)
    np.testing.assert_allclose(infer(read(model), positive), positive / positive.max(axis=1, keepdims=True))


def test_several_labels_of_a_sample_are_outputs() -> None:
    b = ModelBuilder((FEATURES,))
    share = b.op("Sigmoid", b.head("x", FEATURES, 2))
    label = b.op("Cast", b.op("Binarizer", share, domain=ML, threshold=0.5), to=7)
    model = estimator(b, label, b.op("ZipMap", share, domain=ML, classlabels_int64s=[0, 1]))
    sums = infer(read(model), X)
    assert read(model).classes == ()
    assert set(np.unique(sums).tolist()) == {0.0, 1.0}


def test_first_output_of_several_that_name_no_class_stays() -> None:
    b = ModelBuilder((FEATURES,))
    scores = b.head("x", FEATURES, 3)
    model = estimator(b, b.op("Relu", scores), b.op("ArgMax", scores, axis=1))
    assert (infer(read(model), X) >= 0).all()


def test_scores_keep_what_changes_their_order() -> None:
    b = ModelBuilder((FEATURES,))
    sizes = b.op("Cast", b.op("Abs", b.head("x", FEATURES, 3)), to=1)
    model = estimator(b, named(b, sizes, (0, 1, 2)))
    assert infer(read(model), X).argmax(axis=1).tolist() == first(model).tolist()


def test_class_by_its_number_leaves_the_scores() -> None:
    b = ModelBuilder((FEATURES,))
    scores = b.head("x", FEATURES, 3)
    best = b.op("Cast", b.op("ArgMax", scores, axis=1, keepdims=0), to=6)
    network = read(estimator(b, best))
    assert network.classes == ()
    assert network.shapes[network.output] == (3,)


Broken = Callable[[ModelBuilder], onnx.ModelProto]


def tree(b: ModelBuilder) -> onnx.ModelProto:
    return estimator(b, b.op("TreeEnsembleClassifier", "x", outputs=2, domain=ML, name="trees"))


def encoded(b: ModelBuilder) -> onnx.ModelProto:
    return estimator(b, b.op("OneHotEncoder", "x", domain=ML, name="hot"))


def ragged(b: ModelBuilder) -> onnx.ModelProto:
    return estimator(b, regressor(b, "x", 2, coefficients=[1.0] * 7, name="sums"))


def probit(b: ModelBuilder) -> onnx.ModelProto:
    return estimator(b, regressor(b, "x", 2, post_transform="PROBIT", name="sums"))


def filled(b: ModelBuilder) -> onnx.ModelProto:
    y = b.op("Imputer", "x", domain=ML, name="fill", imputed_value_floats=[0.0], replaced_value_float=-1.0)
    return estimator(b, y)


def twice(b: ModelBuilder) -> onnx.ModelProto:
    return estimator(b, named(b, b.head("x", FEATURES, 3), (4, 4, 5)))


def too_few(b: ModelBuilder) -> onnx.ModelProto:
    return estimator(b, named(b, b.head("x", FEATURES, 3), (4, 5)))


REFUSED: dict[str, tuple[Broken, str]] = {
    "trees": (
        tree,
        (
            "Node 'trees' (TreeEnsembleClassifier) is no network of weighted sums; train an MLPClassifier, a "
            "LogisticRegression or a LinearSVC on the same data, or an MLPRegressor, and export that."
        ),
    ),
    "encoder": (
        encoded,
        (
            "Node 'hot' has the operator ai.onnx.ml.OneHotEncoder, which is not supported; do what it does "
            "in the data, and export the estimator behind it alone."
        ),
    ),
    "ragged": (
        ragged,
        (
            "Node 'sums' (LinearRegressor) has 7 coefficients for 2 outputs, which give no whole number of "
            "features; export it again."
        ),
    ),
    "probit": (
        probit,
        (
            "Node 'sums' (LinearRegressor) has the post_transform 'PROBIT', supported are NONE, SOFTMAX, "
            "LOGISTIC; set it to NONE, which leaves the weighted sums."
        ),
    ),
    "filled": (
        filled,
        (
            "Node 'fill' (Imputer) replaces the value -1, and a chip reads numbers as they are; replace it "
            "in the data and export the estimator behind it alone."
        ),
    ),
    "twice": (twice, "The model calls two of its 3 classes 4; export it again."),
    "too few": (too_few, "The model names 2 classes, but gives 3 scores; export it again."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_estimator_that_is_no_network_is_refused(name: str) -> None:
    build, sentence = REFUSED[name]
    with pytest.raises(UnsupportedModelError) as error:
        read(build(ModelBuilder((FEATURES,))))
    assert str(error.value) == sentence


def test_missing_values_are_none_of_the_chips() -> None:
    b = ModelBuilder((FEATURES,))
    fill: Any = {"imputed_value_floats": [0.0], "replaced_value_float": float("nan")}
    label, scores = classifier(b, b.op("Imputer", "x", domain=ML, **fill), (0, 1, 2))
    network = read(estimator(b, label, scores))
    assert {node.op for node in network.nodes} == {"Dense", "Add"}


def test_labels_of_the_data_are_classes_of_the_model() -> None:
    network = read(CLASSIFIERS["one against the rest"][0](True))
    chosen, _ = scaled(Dataset(name="d", x=X[:3], y=np.array([12, 2, 7])), "raw", network)
    assert chosen.y is not None
    assert chosen.y.tolist() == [2, 0, 1]


def test_given_model_is_not_changed() -> None:
    model = CLASSIFIERS["logistic regression"][0](True)
    before = model.SerializeToString(deterministic=True)
    read(model)
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("name", ["StandardScaler and MLPClassifier, iris", "LogisticRegression, wine"])
def test_row_of_the_table_has_the_accuracy_that_scikit_learn_tells(name: str) -> None:
    activity, score, _ = measured(name)
    assert activity.float_accuracy == score
    assert (activity.accuracy or 0) >= score - 0.05
    assert (activity.agreement or 0) >= 0.95
