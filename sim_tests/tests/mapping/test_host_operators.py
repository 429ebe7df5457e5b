# SPDX-License-Identifier: Apache-2.0
"""Operators that only the host has: their values, and that they keep no other layer off the chip."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from mapping.codes.convert import convert
from mapping.errors import MappingError
from mapping.model.archive import network_from_arrays, network_to_arrays
from mapping.model.evaluate import infer
from mapping.spiking.simulate import compare
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.referees.onnx_reference import evaluate_onnx

Build = Callable[[ModelBuilder], str]

SHAPE = (4, 6, 5)


def integers(*values: int) -> Callable[[ModelBuilder], str]:
    return lambda b: b.constant(list(values), np.int64)


def op(name: str, *constants: Callable[[ModelBuilder], str], **attributes: Any) -> Build:
    def build(b: ModelBuilder) -> str:
        return b.op(name, "x", *(constant(b) for constant in constants), **attributes)

    return build


def numbers(*shape: int) -> Callable[[ModelBuilder], str]:
    return lambda b: b.constant(b.rng.uniform(0.5, 2.0, shape))


def joined(name: str) -> Build:
    return lambda b: b.op(name, "x", b.op("Tanh", "x"))


def gated(b: ModelBuilder) -> str:
    """Squeeze and excitation: a factor per channel that the map itself gives."""
    return b.op("Mul", "x", b.op("Sigmoid", b.op("GlobalAveragePool", "x")))


def second_part(b: ModelBuilder) -> str:
    outputs = ["first", "second", "third"]
    tensor = b.tensor if isinstance(b, _Renamed) else "x"
    inputs = [tensor, b.constant([1, 2, 1], np.int64)]
    b.nodes.append(onnx.helper.make_node("Split", inputs, outputs, axis=1))
    return b.op("Concat", "third", b.op("Relu", "second"), "first", axis=1)


def of_magnitude(name: str, *constants: Callable[[ModelBuilder], str]) -> Build:
    return lambda b: b.op(name, b.op("Abs", "x"), *(constant(b) for constant in constants))


OPERATORS: dict[str, tuple[int, Build]] = {
    "Abs": (13, op("Abs")),
    "Add, by element": (13, op("Add", numbers(*SHAPE))),
    "Add, by row": (13, op("Add", numbers(6, 1))),
    "AveragePool, border": (13, op("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 0], strides=[2, 2])),
    "AveragePool, ceil": (
        19,
        op("AveragePool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, pads=[1, 0, 0, 0]),
    ),
    "Ceil": (13, op("Ceil")),
    "Celu": (13, op("Celu", alpha=0.7)),
    "Div of two": (13, lambda b: b.op("Div", "x", b.op("Exp", "x"))),
    "Elu": (13, op("Elu", alpha=0.4)),
    "Erf": (13, op("Erf")),
    "Exp": (13, op("Exp")),
    "Gather": (13, op("Gather", integers(3, 0, 0), axis=1)),
    "Gelu": (20, op("Gelu")),
    "Gelu, tanh": (20, op("Gelu", approximate="tanh")),
    "GlobalMaxPool": (13, op("GlobalMaxPool")),
    "HardSigmoid": (13, op("HardSigmoid", alpha=0.25, beta=0.4375)),
    "HardSwish": (14, op("HardSwish")),
    "LeakyRelu": (13, op("LeakyRelu", alpha=0.125)),
    "LogSoftmax": (13, lambda b: b.op("Abs", b.op("LogSoftmax", "x", axis=1))),
    "Max of two": (13, joined("Max")),
    "Min of two": (13, joined("Min")),
    "Mish": (18, op("Mish")),
    "Mul, gate": (13, gated),
    "Mul of two": (13, joined("Mul")),
    "PRelu": (13, op("PRelu", numbers(4, 1, 1))),
    "PRelu, by element": (13, op("PRelu", numbers(*SHAPE))),
    "Pow": (13, of_magnitude("Pow", lambda b: b.constant(1.5))),
    "ReduceMax": (13, op("ReduceMax", axes=[2], keepdims=0)),
    "ReduceMean": (13, op("ReduceMean", axes=[1], keepdims=0)),
    "ReduceMean, all": (13, op("ReduceMean", axes=[1, 2, 3], keepdims=0)),
    "ReduceMin": (13, op("ReduceMin", axes=[-1])),
    "ReduceSum": (13, op("ReduceSum", integers(1, 3))),
    "Resize": (
        11,
        lambda b: b.op("Resize", "x", "", b.constant([1.0, 1.0, 2.0, 3.0]), mode="nearest"),
    ),
    "Selu": (13, op("Selu")),
    "Sigmoid": (13, lambda b: b.op("Neg", b.op("Sigmoid", "x"))),
    "Sign": (13, op("Sign")),
    "Slice": (13, op("Slice", integers(-1, 1), integers(-9, 5), integers(1, 2), integers(-2, 1))),
    "Slice, attributes": (9, op("Slice", axes=[2, 3], starts=[1, -3], ends=[4, 2**31])),
    "Softmax": (13, lambda b: b.op("Neg", b.op("Softmax", "x", axis=-1))),
    "Softmax, old": (11, lambda b: b.op("Neg", b.op("Softmax", "x"))),
    "Softplus": (13, op("Softplus")),
    "Softsign": (13, op("Softsign")),
    "Split": (13, second_part),
    "Sqrt": (13, of_magnitude("Sqrt")),
    "Sub of two": (13, joined("Sub")),
    "Sum of three": (13, lambda b: b.op("Sum", "x", b.op("Tanh", "x"), b.op("Neg", "x"))),
    "Swish": (24, op("Swish", alpha=0.5)),
    "Tanh": (13, op("Tanh")),
    "ThresholdedRelu": (13, op("ThresholdedRelu", alpha=0.25)),
    "Upsample": (9, op("Upsample", lambda b: b.constant([1.0, 1.0, 2.0, 1.0]), mode="nearest")),
}


def built(name: str) -> tuple[ModelBuilder, str, NDArray[np.float64]]:
    opset, build = OPERATORS[name]
    b = ModelBuilder(SHAPE, opset=opset, seed=3)
    return b, build(b), b.rng.normal(0, 1.5, (3, *SHAPE))


def reference(model: onnx.ModelProto, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate a model with ONNX's own evaluator, sample by sample, in the precision it has."""
    run: Any = ReferenceEvaluator(model)
    return np.concatenate([run.run(None, {"x": sample[None].astype(np.float32)})[0] for sample in x])


@pytest.mark.parametrize("name", OPERATORS)
def test_value_is_that_of_the_operator(name: str) -> None:
    b, output, x = built(name)
    got = infer(b.network(output), x)
    if name not in {
        "Softmax, old",
        "Swish",
        "Upsample",
    }:  # the evaluator lacks old axes and these two
        wanted = reference(b.model(output), x)
        np.testing.assert_allclose(got.reshape(len(x), -1), wanted.reshape(len(x), -1), rtol=2e-5, atol=2e-6)
    own = evaluate_onnx(b.model(output), x).values[output]
    np.testing.assert_allclose(got.reshape(len(x), -1), own.reshape(len(x), -1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", OPERATORS)
def test_value_does_not_depend_on_the_batch(name: str) -> None:
    b, output, x = built(name)
    network = b.network(output)
    assert (np.concatenate([infer(network, sample[None]) for sample in x]) == infer(network, x)).all()


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_survives_the_way_through_an_image(name: str) -> None:
    b, output, x = built(name)
    network = b.network(output)
    assert (infer(network_from_arrays(network_to_arrays(network)), x) == infer(network, x)).all()


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_between_float_layers_leaves_the_others_on_the_chip(name: str) -> None:
    b = ModelBuilder((2, 6, 6), opset=OPERATORS[name][0], seed=3)
    y = b.quantise(b.conv(b.quantise("x"), b.ternary(4, 2, 3, 3), pads=[1, 1, 1, 0], name="c1"))
    first = b.nodes[-1].output[0]
    y = b.conv(first, b.rng.normal(size=(4, 4, 1, 1)), name="h1")
    output = OPERATORS[name][1](_Renamed(b, y))
    spiking = convert(b.network(output))
    assert [layer.name for layer in spiking.layers] == ["c1"]
    assert "h1" in spiking.host_layers
    assert compare(spiking, b.rng.normal(size=(4, 2, 6, 6))).differences == 0


class _Renamed(ModelBuilder):
    """A builder that reads another tensor where an operator would read the input."""

    def __init__(self, builder: ModelBuilder, tensor: str) -> None:
        self.__dict__ = builder.__dict__
        self.tensor = tensor

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        return super().op(kind, *(self.tensor if name == "x" else name for name in inputs), **attributes)


@pytest.mark.parametrize("kind", ["LeakyRelu", "HardSigmoid"])
def test_rising_function_becomes_thresholds(kind: str) -> None:
    b = ModelBuilder((2, 6, 6))
    y = b.op(kind, b.conv(b.quantise("x"), b.ternary(4, 2, 3, 3), b.rng.normal(size=4), name="c1"))
    y = b.quantise(b.op("Add", y, b.constant(0.5)))
    spiking = convert(b.network(b.head(b.op("Flatten", y), 64)))
    assert [layer.name for layer in spiking.layers] == ["c1"]
    assert compare(spiking, b.rng.normal(size=(20, 2, 6, 6))).differences == 0


def test_function_before_the_quantiser_is_named() -> None:
    b = ModelBuilder((2, 6, 6))
    y = b.quantise(b.conv(b.quantise("x"), b.ternary(4, 2, 3, 3), name="c1"))
    y = b.quantise(b.op("Sigmoid", b.conv(y, b.ternary(4, 4, 3, 3), name="c2"), name="soft"))
    spiking = convert(b.network(b.head(b.op("Flatten", y), 16)))
    assert {layer.name: layer.told for layer in spiking.host}["c2"] == (
        "its output passes 'soft' (Sigmoid) before it is quantised; put a quantiser directly behind it"
    )


def test_root_of_a_negative_number_is_refused_in_words() -> None:
    b = ModelBuilder((2,))
    with pytest.raises(MappingError) as error:
        infer(b.network(b.op("Sqrt", "x")), np.array([[1.0, 4.0], [1.0, -1.0]]))
    assert str(error.value) == (
        "Tensor 't0' is not a number for sample 1: an operation before it leaves the range of float64 or has "
        "no value there; keep data and weights inside."
    )
