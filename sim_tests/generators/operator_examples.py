# SPDX-License-Identifier: Apache-2.0
"""A small ONNX model around every operator that is understood, in each form that becomes something else."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mapping.model.operations import OPERATIONS
from mapping.model.operations.operation import HOST
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.generators.operator_example import SHAPE, Build, Constant, Example
from sim_tests.generators.operator_integers import QLINEAR_EXAMPLES

__all__ = ["EXAMPLES"]

_MEAN = "Folded into the layer that reads it, or a layer of equal weights, whichever takes fewer cores."
_NOTHING = "Nothing: it is left out when the model is read."
_CLOSING = "Nothing: it changes no order of the classes, among which the host looks for the largest."
_BIAS = "The constant goes into the biases, with the other sign."
_SUM = "One neuron with all of them as sources, as of `Add`."
_COMPARED = f"{HOST}windows of pooled axons lie in the map of a channel."
_REPEATED = "A layer of ones, or the host's if its matrix has more than 16 million places."
_WOVEN = (
    "One neuron an output, with the digits of the taps that reach it; the host's if the layer's matrix has "
    "more than 16 million places; with a stride of 1 as `Conv`."
)
_THRESHOLD = "A list of one threshold, the constant, once a Cast or a Where makes numbers of it."
_MIRRORED = "Pooled axons of the values with the other sign, as of `MaxPool`."
_PRODUCT = f"{HOST}a synapse multiplies by a stored weight only."
_PADDED = (
    "Constants go into the biases; what repeats elements is a layer of ones, or the host's if its matrix "
)
_PADDED += "has more than 16 million places."
_MASKED = "Folded into the layer that reads it, with a row for every element; the host's if the matrix "
_MASKED += "has more than 16 million places."
_FACTOR = "Folded into the scales of the channels."
_KNOWN = "As the function that it is: a square, `Relu`, `Swish`, `HardSwish`, `Gelu` or `Mish`."
_DIVIDED = "As the function that it is: `Softsign` or `Swish`."
_MAX = OPERATIONS["MaxPool"].chip
_TURNED = "Folded: the signs of the weights are turned."
_ENDS = "Folded into the scales of the channels, with the offset in the biases and the ends of the ladder."


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


def _softsign(b: ModelBuilder) -> str:
    return b.op("Div", "x", b.op("Add", b.op("Abs", "x"), b.constant(1.0)))


def _compared(name: str) -> Build:
    return lambda b: b.op("Cast", b.op(name, "x", b.constant(0.25)), to=1)


def _not(b: ModelBuilder) -> str:
    return b.op("Cast", b.op("Not", b.op("Greater", "x", b.constant(0.25))), to=1)


def _between(b: ModelBuilder) -> str:
    return b.op("Where", b.op("Greater", "x", b.constant(0.25)), b.constant(1.0), b.constant(-1.0))


def _bent(b: ModelBuilder) -> str:
    return b.op("Where", b.op("Greater", "x", b.constant(0.25)), "x", b.constant(0.0))


def _masked(b: ModelBuilder) -> str:
    places = b.constant(np.arange(np.prod(SHAPE)).reshape(SHAPE) % 3 == 0, np.bool_)
    return b.op("Where", places, "x", b.constant(0.5))


def _swish(b: ModelBuilder) -> str:
    return b.op("Mul", "x", b.op("Sigmoid", "x"))


def _product(b: ModelBuilder) -> str:
    return b.op("Mul", "x", b.op("MaxPool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1]))


def _quantised(b: ModelBuilder) -> str:
    ends = [b.constant(0.5), b.constant(0, np.uint8)]
    return b.op("DequantizeLinear", b.op("QuantizeLinear", "x", *ends), *ends)


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
        operator="Div",
        form="of an activation and a function of it",
        build=_softsign,
        around=("Abs", "Add"),
        note=_DIVIDED,
    ),
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
    Example(operator="Where", form="of places that are known, and a constant", build=_masked, note=_MASKED),
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
    Example(
        operator="Mean",
        build=_two("Mean"),
        around=("Abs",),
        note=f"{_SUM[:-1]}, and the share goes into the scale.",
    ),
    Example(operator="Sum", build=_two("Sum"), around=("Abs",), note=_SUM),
    Example(
        operator="BatchNormalization",
        build=lambda b: b.norm("x", 4),
    ),
)

_LAYERS = (
    Example(operator="Conv", build=lambda b: b.conv("x", np.ones((2, 4, 3, 3)))),
    Example(
        operator="ConvTranspose",
        build=lambda b: b.op("ConvTranspose", "x", b.constant(np.ones((4, 2, 3, 3))), strides=[2, 2]),
        note=_WOVEN,
    ),
    Example(operator="Gemm", build=_dense("Gemm"), around=("Flatten",)),
    Example(operator="MatMul", build=_dense("MatMul"), around=("Flatten",)),
    Example(
        operator="Einsum",
        form="of an axis and a constant matrix",
        build=lambda b: b.op("Einsum", "x", b.constant(b.rng.normal(size=(5, 4))), equation="bchw,oc->bohw"),
        around=("Reshape",),
    ),
    Example(
        operator="Einsum",
        form="of anything else",
        build=lambda b: b.op("Einsum", "x", "x", equation="bchw,bchw->bchw"),
    ),
    Example(operator="AveragePool", build=_op("AveragePool", kernel_shape=[2, 3]), note=_MEAN),
    Example(operator="GlobalAveragePool", build=_op("GlobalAveragePool"), note=_MEAN),
    Example(operator="GlobalMaxPool", build=_op("GlobalMaxPool")),
    Example(operator="MaxPool", build=_op("MaxPool", kernel_shape=[2, 2])),
    Example(
        operator="MaxPool",
        form="dilated",
        build=_op("MaxPool", kernel_shape=[2, 2], dilations=[2, 1], pads=[1, 0, 0, 0]),
        note=f"{_REPEATED.partition(',')[0]} lays its windows side by side, and their axons are pooled; the "
        "host's if the layer's matrix has more than 16 million places.",
    ),
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

_PLACES = (
    Example(
        operator="Concat", build=lambda b: b.op("Concat", "x", b.op("Abs", "x"), axis=1), around=("Abs",)
    ),
    Example(operator="DepthToSpace", build=_op("DepthToSpace", blocksize=2)),
    Example(
        operator="Expand",
        build=lambda b: b.op("Expand", b.op("GlobalAveragePool", "x"), _integers(1, 1, 3, 2)(b)),
        around=("Conv", "Div"),
        note=_REPEATED,
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
    Example(
        operator="SpaceToDepth",
        build=lambda b: b.op(
            "SpaceToDepth", b.op("Pad", "x", b.constant([0, 0, 0, 0, 0, 0, 0, 1], np.int64)), blocksize=2
        ),
        around=("Conv",),
    ),
    Example(operator="Split", build=_split, around=("Concat",)),
    Example(operator="Squeeze", build=_squeezed, around=("Conv", "Div")),
    Example(operator="Transpose", build=_op("Transpose", perm=[0, 2, 3, 1])),
    Example(operator="Tile", build=_op("Tile", _integers(1, 2, 1, 2)), note=_REPEATED),
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
    Example(
        operator="CastLike",
        build=_op("CastLike", lambda b: b.constant(0.5)),
        note=_NOTHING,
        opset=15,
    ),
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
        (*_FUNCTIONS, *_ARITHMETIC, *_LAYERS, *QLINEAR_EXAMPLES, *_PLACES, *_ENDINGS),
        key=lambda example: example.operator,
    )
)
"""The operators by name."""
