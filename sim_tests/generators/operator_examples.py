# SPDX-License-Identifier: Apache-2.0
"""A small ONNX model around every operator that is understood, in each form that becomes something else."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import helper

from mapping.model.network import Network
from mapping.model.operations import OPERATIONS
from mapping.model.operations.operation import HOST
from sim_tests.generators.model_builder import ModelBuilder

__all__ = ["EXAMPLES", "SHAPE", "Example"]

SHAPE = (4, 6, 5)
"""Channels, height and width of the input of every example."""

_MEAN = "Folded into the layer that reads it, or a layer of equal weights, whichever takes fewer cores."
_NOTHING = "Nothing: it is left out when the model is read."
_CLOSING = "Nothing: it changes no order of the classes, among which the host looks for the largest."
_BIAS = "The constant goes into the biases, with the other sign."
_SUM = "One neuron with all of them as sources, as of `Add`."
_COMPARED = f"{HOST}windows of pooled axons lie in the map of a channel."
_REPEATED = "A layer of ones, or the host's if its matrix has more than 16 million places."
_THRESHOLD = "A list of one threshold, the constant, once a Cast or a Where makes numbers of it."
_MIRRORED = "Pooled axons of the values with the other sign, as of `MaxPool`."
_PRODUCT = f"{HOST}a synapse multiplies by a stored weight only."
_PADDED = (
    "Constants go into the biases; what repeats elements is a layer of ones, or the host's if its matrix "
)
_PADDED += "has more than 16 million places."
_FACTOR = "Folded into the scales of the channels."
_KNOWN = "As the function that it is: a square, `Swish`, `HardSwish`, `Gelu` or `Mish`."
_MAX = OPERATIONS["MaxPool"].chip
_TURNED = "Folded: the signs of the weights are turned."
_ENDS = "Folded into the scales of the channels, with the offset in the biases and the ends of the ladder."

Build = Callable[[ModelBuilder], str]
Constant = Callable[[ModelBuilder], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One operator in a model.

    Parameters
    ----------
    operator : str
        Its name in ONNX.
    build : callable
        Adds it behind the input ``x`` of a model, and what it needs; gives the name of the output.
    form : str
        Which of its forms this is, where others become something else.
    around : tuple of str
        The operations of the network that are none of its own.
    opset : int
        Version of the operator set.
    note : str
        What becomes of it on the chip, where that is more or less than one operation of the network.
    """

    operator: str
    build: Build
    form: str = ""
    around: tuple[str, ...] = ()
    opset: int = 13
    note: str = ""

    def placed(self) -> Network:
        """Return the operator between two layers: a convolution, and a dense one unless it names classes."""
        b = ModelBuilder(SHAPE, opset=self.opset)
        output = self.build(b)
        alone = b.network(output)
        size = math.prod(alone.shapes[alone.output])
        if "at the output" not in self.form:
            output = b.head(b.op("Flatten", output), size)
        kernel = b.constant(b.rng.normal(size=(SHAPE[0], SHAPE[0], 1, 1)))
        before = helper.make_node("Conv", ["image", kernel], ["sums"], name="before")
        positive = self.operator in {"Pow", "Sqrt"}
        given = helper.make_node("Relu" if positive else "Identity", ["sums"], ["x"], name="given")
        b.nodes[:0] = [before, given]
        b.input.name = "image"
        return b.network(output)

    def becomes(self) -> tuple[str, ...]:
        """Return the operations that the model is read as, without those of what stands around it."""
        b = ModelBuilder(SHAPE, opset=self.opset)
        nodes = b.network(self.build(b)).nodes
        return tuple(dict.fromkeys(node.op for node in nodes if node.op not in self.around))


def _op(name: str, *constants: Constant, **attributes: Any) -> Build:
    return lambda b: b.op(name, "x", *(constant(b) for constant in constants), **attributes)


def _inside(name: str, **attributes: Any) -> Build:
    """Return an operator that does not write the output."""
    return lambda b: b.op("Relu", b.op(name, "x", **attributes))


def _numbers(*shape: int) -> Constant:
    return lambda b: b.constant(np.full(shape, 0.5))


def _integers(*values: int) -> Constant:
    return lambda b: b.constant(list(values), np.int64)


def _classes(name: str) -> Build:
    """Return an operator over classes at the output."""
    return lambda b: b.op(name, b.op("Flatten", "x"), axis=1)


def _two(name: str) -> Build:
    return lambda b: b.op(name, "x", b.op("Abs", "x"))


def _quotient(b: ModelBuilder) -> str:
    return b.op("Div", "x", b.op("Add", b.op("Sigmoid", "x"), b.constant(1.0)))


def _compared(name: str) -> Build:
    return lambda b: b.op("Cast", b.op(name, "x", b.constant(0.25)), to=1)


def _not(b: ModelBuilder) -> str:
    return b.op("Cast", b.op("Not", b.op("Greater", "x", b.constant(0.25))), to=1)


def _between(b: ModelBuilder) -> str:
    return b.op("Where", b.op("Greater", "x", b.constant(0.25)), b.constant(1.0), b.constant(-1.0))


def _bent(b: ModelBuilder) -> str:
    return b.op("Where", b.op("Greater", "x", b.constant(0.25)), "x", b.constant(0.0))


def _swish(b: ModelBuilder) -> str:
    return b.op("Mul", "x", b.op("Sigmoid", "x"))


def _product(b: ModelBuilder) -> str:
    return b.op("Mul", "x", b.op("MaxPool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1]))


def _quantised(b: ModelBuilder) -> str:
    ends = [b.constant(0.5), b.constant(0, np.uint8)]
    return b.op("DequantizeLinear", b.op("QuantizeLinear", "x", *ends), *ends)


def _on_integers(name: str, *places: str, domain: str = "com.microsoft", **attributes: Any) -> Build:
    """Return an operator on integers between quantisers.

    ``places`` are what it reads and writes: "x" an activation, "y" the output, "w" weights, "b" a bias; each
    but the bias stands before its scale and zero point.
    """

    def build(b: ModelBuilder) -> str:
        ends = [b.constant(0.5), b.constant(3, np.uint8)]
        x = b.op("QuantizeLinear", "x", *ends)
        if name in ("QGemm", "QLinearMatMul"):
            x = b.op("Flatten", x)
        shape = (int(np.prod(SHAPE)), 3) if name in ("QGemm", "QLinearMatMul") else (2, SHAPE[0], 1, 1)
        weight = [b.constant(np.full(shape, 5), np.int8), b.constant(0.25), b.constant(0, np.int8)]
        given = {"x": [x, *ends], "w": weight, "y": ends, "b": [b.constant([1, 2, 3], np.int32)]}
        inputs = [tensor for place in places for tensor in given[place]]
        return b.op("DequantizeLinear", b.op(name, *inputs, domain=domain, **attributes), *ends)

    return build


def _dense(name: str, **attributes: Any) -> Build:
    size = int(np.prod(SHAPE))

    def build(b: ModelBuilder) -> str:
        weight = b.constant(np.ones((size, 3)))
        return b.op(name, b.op("Flatten", "x"), weight, **attributes)

    return build


def _split(b: ModelBuilder) -> str:
    first = b.op("Split", "x", outputs=2, axis=1)
    return b.op("Concat", first, f"{first}_1", axis=1)


def _squeezed(b: ModelBuilder) -> str:
    return b.op("Squeeze", b.op("GlobalAveragePool", "x"), b.constant([2, 3], np.int64))


def _unsqueezed(b: ModelBuilder) -> str:
    return b.op("Unsqueeze", b.op("Flatten", "x"), b.constant([2], np.int64))


def _quant(name: str) -> Build:
    parameters = [_numbers(), lambda b: b.constant(0.0), lambda b: b.constant(4.0)]
    return _op(name, *parameters, domain="qonnx.custom_op.general", signed=0)


def _plain(names: Sequence[str], opset: int = 13) -> list[Example]:
    return [Example(operator=name, build=_op(name), opset=opset) for name in names]


_FUNCTIONS = (
    *_plain(["Abs", "Ceil", "Celu", "Elu", "Erf", "Exp", "Floor", "LeakyRelu", "Relu", "Round", "Selu"]),
    *_plain(["Sign", "Softplus", "Softsign", "Sqrt", "Tanh", "ThresholdedRelu"]),
    *_plain(["HardSwish"], 14),
    *_plain(["Mish"], 18),
    *_plain(["Gelu"], 20),
    *_plain(["Swish"], 24),
    Example(operator="Clip", build=lambda b: b.clip("x", 0.0, 6.0)),
    Example(operator="HardSigmoid", build=_op("HardSigmoid"), note=_ENDS),
    Example(operator="PRelu", build=_op("PRelu", _numbers(4, 1, 1))),
    Example(operator="Pow", build=_op("Pow", _numbers())),
    Example(operator="Sigmoid", form="elsewhere", build=_inside("Sigmoid"), around=("Relu",)),
    Example(
        operator="Sigmoid",
        form="of classes at the output",
        build=lambda b: b.op("Sigmoid", b.op("Flatten", "x")),
        note=_CLOSING,
        around=("Flatten",),
    ),
)

_ARITHMETIC = (
    Example(operator="Add", build=_op("Add", _numbers(4, 1, 1))),
    Example(operator="Div", form="by a constant", build=_op("Div", lambda b: b.constant(3.0)), note=_FACTOR),
    Example(
        operator="Div", form="of two activations", build=_quotient, around=("Add", "Sigmoid"), note=_PRODUCT
    ),
    Example(operator="Greater", build=_compared("Greater"), note=_THRESHOLD),
    Example(operator="GreaterOrEqual", build=_compared("GreaterOrEqual"), note=_THRESHOLD),
    Example(operator="Less", build=_compared("Less"), note=_THRESHOLD),
    Example(operator="LessOrEqual", build=_compared("LessOrEqual"), note=_THRESHOLD),
    Example(operator="Not", build=_not, note=_THRESHOLD),
    Example(operator="Where", form="between constants", build=_between, note=_THRESHOLD),
    Example(operator="Where", form="of what is compared, and nothing or a multiple", build=_bent),
    Example(operator="Max", form="with a constant", build=_op("Max", _numbers())),
    Example(operator="Max", form="of two activations", build=_two("Max"), around=("Abs",)),
    Example(operator="Min", form="with a constant", build=_op("Min", _numbers())),
    Example(operator="Min", form="of two activations", build=_two("Min"), around=("Abs",)),
    Example(operator="Mul", form="by a constant", build=_op("Mul", _numbers()), note=_FACTOR),
    Example(operator="Mul", form="of an activation and a function of it", build=_swish, note=_KNOWN),
    Example(operator="Mul", form="of two activations", build=_product, around=("MaxPool",), note=_PRODUCT),
    Example(operator="Neg", build=_op("Neg"), note=_TURNED),
    Example(operator="Sub", form="of a constant", build=_op("Sub", _numbers()), note=_BIAS),
    Example(
        operator="Sub",
        form="of two activations",
        build=_two("Sub"),
        around=("Abs",),
        note="One neuron with both as sources, as of `Add`; the weights of the second have the other sign.",
    ),
    Example(operator="Sum", build=_two("Sum"), around=("Abs",), note=_SUM),
    Example(
        operator="BatchNormalization",
        build=lambda b: b.norm("x", 4),
    ),
)

_LAYERS = (
    Example(operator="Conv", build=lambda b: b.conv("x", np.ones((2, 4, 3, 3)))),
    Example(operator="Gemm", build=_dense("Gemm"), around=("Flatten",)),
    Example(operator="MatMul", build=_dense("MatMul"), around=("Flatten",)),
    Example(operator="AveragePool", build=_op("AveragePool", kernel_shape=[2, 3]), note=_MEAN),
    Example(operator="GlobalAveragePool", build=_op("GlobalAveragePool"), note=_MEAN),
    Example(operator="GlobalMaxPool", build=_op("GlobalMaxPool")),
    Example(operator="MaxPool", build=_op("MaxPool", kernel_shape=[2, 2])),
    Example(
        operator="ReduceMean",
        form="over height and width",
        build=_op("ReduceMean", axes=[2, 3]),
        note=_MEAN,
    ),
    Example(operator="ReduceMean", form="over other axes", build=_op("ReduceMean", axes=[1]), note=_MEAN),
    Example(
        operator="ReduceMax", form="over height and width", build=_op("ReduceMax", axes=[2, 3]), note=_MAX
    ),
    Example(operator="ReduceMax", form="over other axes", build=_op("ReduceMax", axes=[1]), note=_COMPARED),
    Example(
        operator="ReduceMin",
        form="over height and width",
        build=_op("ReduceMin", axes=[2, 3]),
        note=_MIRRORED,
    ),
    Example(operator="ReduceMin", form="over other axes", build=_op("ReduceMin", axes=[1]), note=_COMPARED),
    Example(operator="ReduceSum", build=_op("ReduceSum", _integers(1)), note=_MEAN),
    Example(operator="DequantizeLinear", build=_quantised),
    Example(operator="QuantizeLinear", build=_quantised),
    Example(operator="IntQuant", build=_quant("IntQuant")),
    Example(operator="Quant", build=_quant("Quant")),
)

_QLINEAR_AROUND = ("Flatten", "Mul", "ToInteger")
_SUMS = "A layer of integer weights, whose ladder or list is that of the scales."
_REQUANTISED = "A layer whose neurons read one input each, and requantise it."
_INTEGER_MEAN = "A layer of equal weights, whose ladder or list is that of the scales."

_QLINEAR = (
    Example(
        operator="QGemm",
        build=_on_integers("QGemm", "x", "w", "b", "y"),
        around=_QLINEAR_AROUND,
        note=_SUMS,
    ),
    Example(
        operator="QLinearAdd",
        build=_on_integers("QLinearAdd", "x", "x", "y"),
        around=_QLINEAR_AROUND,
    ),
    Example(
        operator="QLinearAveragePool",
        build=_on_integers("QLinearAveragePool", "x", "y", kernel_shape=[2, 2]),
        around=_QLINEAR_AROUND,
        note=_INTEGER_MEAN,
    ),
    Example(
        operator="QLinearConcat",
        build=_on_integers("QLinearConcat", "y", "x", "x", axis=1),
        around=_QLINEAR_AROUND,
        note=_REQUANTISED,
    ),
    Example(
        operator="QLinearLeakyRelu",
        build=_on_integers("QLinearLeakyRelu", "x", "y", alpha=0.1),
        around=_QLINEAR_AROUND,
    ),
    Example(
        operator="QLinearSigmoid",
        build=_on_integers("QLinearSigmoid", "x", "y"),
        around=_QLINEAR_AROUND,
    ),
    Example(
        operator="QLinearConv",
        build=_on_integers("QLinearConv", "x", "w", "y", domain=""),
        around=_QLINEAR_AROUND,
        note=_SUMS,
    ),
    Example(
        operator="QLinearGlobalAveragePool",
        build=_on_integers("QLinearGlobalAveragePool", "x", "y", channels_last=0),
        around=_QLINEAR_AROUND,
        note=_INTEGER_MEAN,
    ),
    Example(
        operator="QuantizeLinear",
        form="in a network of operators on integers",
        build=_on_integers("QLinearConv", "x", "w", "y", domain=""),
        around=("Conv", "Mul", "Requantise"),
    ),
    Example(
        operator="QLinearMatMul",
        build=_on_integers("QLinearMatMul", "x", "w", "y", domain=""),
        around=_QLINEAR_AROUND,
        note=_SUMS,
    ),
)

_PLACES = (
    Example(
        operator="Concat", build=lambda b: b.op("Concat", "x", b.op("Abs", "x"), axis=1), around=("Abs",)
    ),
    Example(operator="Flatten", build=_op("Flatten")),
    Example(operator="Gather", build=_op("Gather", _integers(0, 2), axis=1)),
    Example(
        operator="Pad",
        form="of other axes, by other numbers or by repetition",
        build=_op("Pad", _integers(0, 0, 1, 1, 0, 0, 1, 1), lambda b: b.constant(0.5)),
        note=_PADDED,
    ),
    Example(
        operator="Pad",
        form="by zeros around a map",
        build=_op("Pad", _integers(0, 0, 1, 1, 0, 0, 1, 1)),
        note="Nothing but a numbering: the axons of the padding are silent, and the layer behind needs none.",
    ),
    Example(operator="Reshape", build=_op("Reshape", _integers(0, 2, 60))),
    Example(
        operator="Resize",
        build=lambda b: b.op("Resize", "x", "", b.constant([1.0, 1.0, 2.0, 2.0]), mode="nearest"),
        note=_REPEATED,
    ),
    Example(
        operator="Slice",
        build=_op("Slice", _integers(1), _integers(3), _integers(1)),
    ),
    Example(operator="Split", build=_split, around=("Concat",)),
    Example(operator="Squeeze", build=_squeezed, around=("Conv", "Div")),
    Example(operator="Transpose", build=_op("Transpose", perm=[0, 2, 3, 1])),
    Example(operator="Unsqueeze", build=_unsqueezed, around=("Flatten",)),
    Example(
        operator="Upsample",
        opset=9,
        build=_op("Upsample", lambda b: b.constant([1.0, 1.0, 2.0, 2.0]), mode="nearest"),
        note=_REPEATED,
    ),
)

_ENDINGS = (
    Example(
        operator="ArgMax",
        form="of classes at the output",
        build=_classes("ArgMax"),
        note=_CLOSING,
        around=("Flatten",),
    ),
    Example(operator="Cast", build=_op("Cast", to=1), note=_NOTHING),
    Example(operator="Dropout", build=_op("Dropout"), note=_NOTHING),
    Example(operator="Identity", build=_op("Identity"), note=_NOTHING),
    *(
        example
        for name in ("LogSoftmax", "Softmax")
        for example in (
            Example(
                operator=name,
                form="of classes at the output",
                build=_classes(name),
                note=_CLOSING,
                around=("Flatten",),
            ),
            Example(operator=name, form="elsewhere", build=_inside(name, axis=1), around=("Relu",)),
        )
    ),
)

EXAMPLES = tuple(
    sorted(
        (*_FUNCTIONS, *_ARITHMETIC, *_LAYERS, *_QLINEAR, *_PLACES, *_ENDINGS),
        key=lambda example: example.operator,
    )
)
"""The operators by name."""
