# SPDX-License-Identifier: Apache-2.0
"""Random nodes of every operation, and inputs that fit them, as strategies of hypothesis."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from mapping.model.network import make_node
from mapping.model.node import Attribute, Node, Shape
from mapping.model.operations.rounding import ROUNDINGS
from sim_tests.generators.model_builder import ModelBuilder

__all__ = ["NODES", "Case", "cases", "values"]

Draw = Callable[[st.SearchStrategy[Any]], Any]

_QUARTERS = st.integers(-8, 8).map(lambda n: n / 4)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """A node and the shapes, without the batch, of inputs that fit it."""

    node: Node
    shapes: tuple[Shape, ...]


def values(shape: Shape, size: float = 100.0) -> st.SearchStrategy[NDArray[np.float64]]:
    """Return arrays of a shape with values up to a size, many of them equal."""
    return arrays(np.float64, shape, elements=st.floats(-size, size, allow_subnormal=False))


def _weights(shape: Shape) -> st.SearchStrategy[NDArray[np.float64]]:
    """Return parameters of thousandths, in half of all arrays none of them negative."""
    lowest = st.sampled_from([-3000, 0])
    thousandths = lowest.map(lambda low: st.integers(low, 3000).map(lambda n: n / 1000))
    return thousandths.flatmap(lambda elements: arrays(np.float64, shape, elements=elements))


def _map(draw: Draw) -> Shape:
    return draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 4))


def _case(
    op: str,
    shapes: tuple[Shape, ...],
    attributes: Mapping[str, Attribute] | None = None,
    constants: Mapping[str, NDArray[np.float64]] | None = None,
) -> Case:
    names = [f"x{index}" for index in range(len(shapes))]
    node = make_node("n", op, names, "y", attributes=attributes, constants=constants)
    return Case(node=node, shapes=shapes)


def _constant(draw: Draw, shape: Shape) -> NDArray[np.float64]:
    form: Shape = draw(st.sampled_from([(), shape[:1], shape]))
    return np.asarray(draw(_weights(form)))


def _with_value(op: str, draw: Draw) -> Case:
    shape = _map(draw)
    if draw(st.booleans()):
        return _joined(op, draw)
    value = _constant(draw, shape)
    if op == "Div":
        value = np.where(value == 0, 1.0, value)
    return _case(op, (shape,), constants={"value": value})


def _joined(op: str, draw: Draw) -> Case:
    shape = _map(draw)
    other = tuple(draw(st.sampled_from([size, 1])) for size in shape)
    return _case(op, draw(st.permutations([shape, other])))


def _plain(op: str, draw: Draw) -> Case:
    return _case(op, (_map(draw),))


def _numbers(**choices: st.SearchStrategy[Any]) -> Callable[[str, Draw], Case]:
    def build(op: str, draw: Draw) -> Case:
        return _case(op, (_map(draw),), {key: draw(choice) for key, choice in choices.items()})

    return build


def _normalised(op: str, draw: Draw) -> Case:
    shape = _map(draw)
    constants = {key: draw(_weights(shape[:1])) for key in ("scale", "bias", "mean")}
    constants["variance"] = np.abs(draw(_weights(shape[:1])))
    return _case(op, (shape,), {"epsilon": 1e-3}, constants)


def _sloped(op: str, draw: Draw) -> Case:
    shape = _map(draw)
    return _case(op, (shape,), constants={"slope": _constant(draw, shape)})


def _quantised(op: str, draw: Draw) -> Case:
    shape = _map(draw)
    form: Shape = draw(st.sampled_from([(), shape[:1]]))
    low = draw(st.integers(-128, 4))
    attributes = {
        "low": low,
        "high": low + draw(st.integers(1, 255)),
        "rounding": draw(st.sampled_from(ROUNDINGS)),
    }
    constants = {
        "scale": np.asarray(draw(arrays(np.float64, form, elements=st.floats(1e-3, 10.0)))),
        "zero_point": np.asarray(draw(arrays(np.float64, form, elements=st.integers(-9, 9).map(float)))),
    }
    return _case(op, (shape,), attributes, constants)


def _scaled_integers(op: str, draw: Draw) -> Case:
    """Return a step of integer arithmetic, whose scales are float32."""
    shape = _map(draw)
    form: Shape = draw(st.sampled_from([(), shape[:1]]))
    scales = st.floats(2.0**-10, 16.0, width=32)
    low = draw(st.integers(-128, 0))
    attributes: dict[str, Attribute] = {"low": low, "high": low + draw(st.integers(1, 255))}
    if op == "AddIntegers":
        constants = {key: np.asarray(draw(scales)) for key in ("first", "second", "scale")}
        if draw(st.booleans()):
            zeros = st.integers(-128, 127).map(float)
            constants |= {key: np.asarray(draw(zeros)) for key in ("first_zero", "second_zero", "zero")}
        attributes["last"] = draw(st.integers(0, 1))
        if draw(st.booleans()):
            return _case(op, (shape, shape), attributes, constants)
        constants["value"] = draw(arrays(np.float64, form, elements=st.integers(-255, 255).map(float)))
        return _case(op, (shape,), attributes, constants)
    return _case(op, (shape,), attributes, {"scale": draw(arrays(np.float64, form, elements=scales))})


def _convolved(op: str, draw: Draw) -> Case:
    groups, fan_in = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    dilation = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    top, left, bottom, right = pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    rows = (height + top + bottom - 1) // dilation[0] + 1
    columns = (width + left + right - 1) // dilation[1] + 1
    kernel = draw(st.integers(1, min(3, rows))), draw(st.integers(1, min(3, columns)))
    weight = draw(_weights((groups * draw(st.integers(1, 2)), fan_in, *kernel)))
    attributes = {
        "stride": (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        "pads": pads,
        "dilation": dilation,
        "groups": groups,
    }
    return _case(op, ((groups * fan_in, height, width),), attributes, {"weight": weight})


def _dense(op: str, draw: Draw) -> Case:
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    return _case(op, ((columns,),), constants={"weight": draw(_weights((rows, columns)))})


def _pooled(op: str, draw: Draw) -> Case:
    shape = _map(draw)
    kernel = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    top, bottom = (draw(st.integers(0, kernel[0] - 1)) for _ in range(2))
    left, right = (draw(st.integers(0, kernel[1] - 1)) for _ in range(2))
    shape = (shape[0], max(shape[1], kernel[0]), max(shape[2], kernel[1]))
    stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    pads = (top, left, bottom, right)
    return _case(op, (shape,), {"kernel": kernel, "stride": stride, "pads": pads})


def _reduced(op: str, draw: Draw) -> Case:
    kind = draw(st.sampled_from(["mean", "sum", "max", "min"]))
    axes = tuple(sorted(draw(st.sets(st.integers(0, 2), min_size=1))))
    return _case(op, (_map(draw),), {"kind": kind, "axes": axes})


def _ordered(op: str, draw: Draw) -> Case:
    shape = _map(draw)
    number = math.prod(shape)
    order = draw(st.permutations(range(number)))
    if op == "Take":
        order = draw(st.lists(st.integers(0, number - 1), min_size=1, max_size=9))
    constants = {"order": np.asarray(order, dtype=np.float64)}
    return _case(op, (shape,), {"shape": (1, len(order))}, constants)


def _reshaped(op: str, draw: Draw) -> Case:
    shape = _map(draw)
    return _case(op, (shape,), {"shape": (shape[2], shape[0] * shape[1])})


def _concatenated(op: str, draw: Draw) -> Case:
    shape, axis = _map(draw), draw(st.integers(0, 2))
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    return _case(op, tuple((*shape[:axis], size, *shape[axis + 1 :]) for size in sizes), {"axis": axis})


@lru_cache(maxsize=1)
def _foreign_node() -> Node:
    """Return a layer normalisation, which only ONNX knows."""
    b = ModelBuilder((2, 3), opset=17)
    scale, bias = b.constant([1.0, 2.0, 0.5]), b.constant([0.0, 1.0, -1.0])
    (node,) = b.network(b.op("LayerNormalization", "x", scale, bias)).nodes
    return node


_NODES: dict[str, Callable[[str, Draw], Case]] = {
    **dict.fromkeys(("Add", "Div", "Mul"), _with_value),
    **dict.fromkeys(("Max", "Min"), _joined),
    **dict.fromkeys(("Abs", "Ceil", "Erf", "Exp", "Flatten", "Floor", "HardSwish", "Mish"), _plain),
    **dict.fromkeys(("Relu", "Round", "Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "Tanh"), _plain),
    **dict.fromkeys(("LogSoftmax", "Softmax"), _numbers(axis=st.integers(0, 2))),
    **dict.fromkeys(("Permute", "Take"), _ordered),
    **dict.fromkeys(("Elu", "ThresholdedRelu"), _numbers(alpha=_QUARTERS)),
    **dict.fromkeys(("AddIntegers", "Requantise", "ToInteger"), _scaled_integers),
    "BatchNormalization": _normalised,
    **dict.fromkeys(("Celu", "Swish"), _numbers(alpha=_QUARTERS.filter(bool))),
    "Clip": _numbers(low=_QUARTERS | st.just(-math.inf), high=_QUARTERS | st.just(math.inf)),
    "Concat": _concatenated,
    "Conv": _convolved,
    "Dense": _dense,
    "Foreign": lambda _op, _draw: Case(node=_foreign_node(), shapes=((2, 3),)),
    "Gelu": _numbers(approximate=st.sampled_from(["none", "tanh"])),
    "MaxPool": _pooled,
    "PRelu": _sloped,
    "Pow": _numbers(exponent=st.sampled_from([-1.0, 0.5, 1.0, 2.0, 3.0, 5.0])),
    "Quantise": _quantised,
    "Reduce": _reduced,
    "Reshape": _reshaped,
    "Selu": _numbers(alpha=_QUARTERS, gamma=_QUARTERS.filter(bool)),
}

NODES: Mapping[str, Callable[[str, Draw], Case]] = dict(sorted(_NODES.items()))
"""How a node of each operation is drawn."""


@st.composite
def cases(draw: Draw, op: str) -> Case:
    """Return a random node of an operation with the shapes of its inputs."""
    return NODES[op](op, draw)
