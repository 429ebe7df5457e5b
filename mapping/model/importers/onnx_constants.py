# SPDX-License-Identifier: Apache-2.0
"""Evaluate ONNX operators whose inputs are all constants, and the shapes of activations.

Exporters leave such operators in the graph: weights that are transposed or multiplied by their scale, pads
and shapes that are put together from numbers. Real numbers are computed in float64, integers as integers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.model.importers.onnx_graph import BATCH, FLOAT_TYPES, Graph, Operator
from mapping.model.node import MAX_ELEMENTS

__all__ = ["FOLDED", "fold_constant", "of_one"]

Constant = NDArray[Any]

_CONSTANT_TYPES: Mapping[int, type[np.generic]] = {**FLOAT_TYPES, 6: np.int32, 7: np.int64}


def fold_constant(operator: Operator, graph: Graph) -> bool:
    """Evaluate an operator that reads only constants, or a shape; tell whether it was one.

    Raises
    ------
    UnsupportedModelError
        If its inputs or attributes do not fit.
    """
    if operator.op == "Shape" and operator.inputs and operator.inputs[0] not in graph.constants:
        _define(operator, graph, _sliced(operator, _activation_shape(operator, graph)))
        return True
    if operator.op == "CastLike":
        return _cast_like(operator, graph)
    known = all(name in graph.constants or not name for name in operator.inputs)
    if operator.op not in _RULES or not known:
        return False
    arrays = [graph.constants[name] if name else None for name in operator.inputs]
    few, many = _INPUTS.get(operator.op, (1, 1))
    if not few <= len(arrays) <= many or (few and arrays[0] is None):
        raise operator.bad("has a wrong number of inputs or outputs")
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused where it is used
            value = _RULES[operator.op](operator, [_wide(array) for array in arrays])
    except (ValueError, IndexError, TypeError, OverflowError, AttributeError, MemoryError):
        raise operator.bad("does not fit the shape of its constant") from None
    _define(operator, graph, np.asarray(value))
    return True


def _cast_like(operator: Operator, graph: Graph) -> bool:
    """Give a constant the type of another one, or make it a real number as an activation is."""
    if len(operator.inputs) != 2 or operator.inputs[0] not in graph.constants:
        return False
    value, like = graph.constants[operator.inputs[0]], operator.inputs[1]
    if like in graph.constants:
        _define(operator, graph, value.astype(graph.constants[like].dtype))
    elif graph.real(like):
        _define(operator, graph, value.astype(np.float64))
    else:
        return False
    return True


def _define(operator: Operator, graph: Graph, value: Constant) -> None:
    if len(operator.outputs) != 1:
        raise operator.bad("has a wrong number of inputs or outputs")
    graph.define(operator, value)


def _wide(array: Constant | None) -> Any:
    return array.astype(np.float64) if array is not None and array.dtype.kind == "f" else array


def of_one(shape: Constant) -> Constant:
    """Return a shape, or part of one, for a batch of one: constants and operators of the host are so held."""
    return np.where(shape == BATCH, 1, shape).astype(shape.dtype)


def _activation_shape(operator: Operator, graph: Graph) -> Constant:
    tensor = graph.aliases.get(operator.inputs[0], operator.inputs[0])
    if tensor in graph.whole and graph.batch in (None, 1):  # it is held for a batch of one
        return np.array(graph.shapes[tensor], np.int64)
    shape = graph.view(operator, 0).shape
    return np.array([BATCH if graph.batch is None else graph.batch, *shape], np.int64)


def _sliced(operator: Operator, shape: Constant) -> Constant:
    operator.allow("end", "start")
    return shape[operator.integer("start", 0) : operator.integer("end", len(shape))]


def _constant(operator: Operator, arrays: Sequence[Any]) -> Constant:
    known = ("value", "value_float", "value_floats", "value_int", "value_ints")
    values = [operator.attributes[key] for key in known if key in operator.attributes]
    if arrays or len(values) != 1 or len(operator.attributes) != 1:
        raise operator.bad("needs one numeric value")
    return np.asarray(values[0])


def _constant_of_shape(operator: Operator, arrays: Sequence[Any]) -> Constant:
    shape = of_one(arrays[0]).astype(np.int64).tolist()
    if math.prod(shape) > MAX_ELEMENTS:
        raise operator.bad(f"writes a constant of shape {shape}, above the limit of {MAX_ELEMENTS} elements")
    value = np.asarray(operator.attributes.get("value", np.zeros(1, np.float32)))
    return np.full(shape, value.reshape(-1)[0])


def _reshape(operator: Operator, arrays: Sequence[Any]) -> Constant:
    shape = arrays[1].astype(np.int64).tolist()
    if not operator.integer("allowzero", 0):
        shape = [arrays[0].shape[i] if n == 0 else n for i, n in enumerate(shape)]
    return np.asarray(arrays[0].reshape(shape))


def _transpose(operator: Operator, arrays: Sequence[Any]) -> Constant:
    return np.asarray(arrays[0].transpose(operator.integers("perm", tuple(range(arrays[0].ndim))[::-1])))


def _axes(operator: Operator, arrays: Sequence[Any]) -> tuple[int, ...] | None:
    if len(arrays) > 1 and arrays[1] is not None:
        return tuple(arrays[1].reshape(-1).tolist())
    given = operator.attributes.get("axes")
    return given if isinstance(given, tuple) else None


def _unsqueeze(operator: Operator, arrays: Sequence[Any]) -> Constant:
    axes = _axes(operator, arrays)
    if axes is None:
        raise operator.bad("names no axes")
    return np.asarray(np.expand_dims(arrays[0], axes))


def _listed(operator: Operator, key: str) -> list[Any] | None:
    value = operator.attributes.get(key)
    return list(value) if isinstance(value, tuple) else None


def _slice(operator: Operator, arrays: Sequence[Any]) -> Constant:
    data, *rest = arrays
    given = [None if part is None else part.reshape(-1).tolist() for part in rest]
    if not given:
        given = [_listed(operator, key) for key in ("starts", "ends", "axes")]
    starts, ends, axes, steps = [*given, None, None, None, None][:4]
    if starts is None or ends is None:
        raise operator.bad("names no starts and ends")
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    where = [slice(None)] * data.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # an end that lies before the first element is written as a very negative number
        where[axis] = slice(start, None if step < 0 and end < -data.shape[axis] else end, step)
    return np.asarray(data[tuple(where)])


def _cast(operator: Operator, arrays: Sequence[Any]) -> Constant:
    code = operator.integer("to", 0)
    if code not in _CONSTANT_TYPES:
        raise operator.bad(f"casts to the ONNX type {code}, which is not supported")
    return np.asarray(arrays[0].astype(_CONSTANT_TYPES[code]))


def _concat(operator: Operator, arrays: Sequence[Any]) -> Constant:
    if sum(array.size for array in arrays) > MAX_ELEMENTS:
        raise operator.bad(f"writes a constant above the limit of {MAX_ELEMENTS} elements")
    return np.concatenate(arrays, axis=operator.integer("axis", 1))


def _gather(operator: Operator, arrays: Sequence[Any]) -> Constant:
    if arrays[1].size * max(1, arrays[0].size) > MAX_ELEMENTS:
        raise operator.bad(f"writes a constant above the limit of {MAX_ELEMENTS} elements")
    return np.asarray(np.take(arrays[0], arrays[1].astype(np.int64), axis=operator.integer("axis", 0)))


def _arithmetic(function: Callable[[Any, Any], Any]) -> Callable[[Operator, Sequence[Any]], Constant]:
    def rule(operator: Operator, arrays: Sequence[Any]) -> Constant:
        if any(array.dtype.kind not in "iuf" for array in arrays):
            raise operator.bad("computes with constants that are no numbers")
        if math.prod(np.broadcast_shapes(*(array.shape for array in arrays))) > MAX_ELEMENTS:
            raise operator.bad(f"writes a constant above the limit of {MAX_ELEMENTS} elements")
        return np.asarray(function(*arrays))

    return rule


def _divide(numerator: Any, divisor: Any) -> Any:
    """Divide as ONNX does: integers towards zero."""
    if numerator.dtype.kind == "f":
        return numerator / divisor
    return np.trunc(numerator / divisor).astype(numerator.dtype)


def _reduced(function: Callable[..., Any]) -> Callable[[Operator, Sequence[Any]], Constant]:
    def rule(operator: Operator, arrays: Sequence[Any]) -> Constant:
        keep = bool(operator.integer("keepdims", 1))
        return np.asarray(function(arrays[0], axis=_axes(operator, arrays), keepdims=keep)).astype(
            arrays[0].dtype
        )

    return rule


def _expand(operator: Operator, arrays: Sequence[Any]) -> Constant:
    shape = np.broadcast_shapes(arrays[0].shape, tuple(of_one(arrays[1]).astype(np.int64).tolist()))
    if math.prod(shape) > MAX_ELEMENTS:
        raise operator.bad(f"writes a constant above the limit of {MAX_ELEMENTS} elements")
    return np.broadcast_to(arrays[0], shape)


_RULES: Mapping[str, Callable[[Operator, Sequence[Any]], Constant]] = {
    "Abs": _arithmetic(np.abs),
    "Add": _arithmetic(np.add),
    "Cast": _cast,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Div": _arithmetic(_divide),
    "Exp": _arithmetic(np.exp),
    "Expand": _expand,
    "Gather": _gather,
    "Identity": lambda operator, arrays: arrays[0],  # noqa: ARG005  # the signature of every rule
    "Mul": _arithmetic(np.multiply),
    "Neg": _arithmetic(np.negative),
    "Pow": _arithmetic(lambda base, exponent: np.power(base, exponent).astype(base.dtype)),
    "Reciprocal": _arithmetic(np.reciprocal),
    "ReduceMean": _reduced(np.mean),
    "ReduceProd": _reduced(np.prod),
    "ReduceSum": _reduced(np.sum),
    "Reshape": _reshape,
    "Shape": lambda operator, arrays: _sliced(operator, np.array(arrays[0].shape, np.int64)),
    "Sign": _arithmetic(np.sign),
    "Slice": _slice,
    "Sqrt": _arithmetic(np.sqrt),
    "Squeeze": lambda operator, arrays: arrays[0].squeeze(_axes(operator, arrays)),
    "Sub": _arithmetic(np.subtract),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}

_INPUTS: Mapping[str, tuple[int, int]] = {
    "Add": (2, 2),
    "Concat": (1, 2**16),
    "Constant": (0, 0),
    "Div": (2, 2),
    "Expand": (2, 2),
    "Gather": (2, 2),
    "Mul": (2, 2),
    "Pow": (2, 2),
    "ReduceMean": (1, 2),
    "ReduceProd": (1, 2),
    "ReduceSum": (1, 2),
    "Reshape": (2, 2),
    "Slice": (1, 5),
    "Squeeze": (1, 2),
    "Sub": (2, 2),
    "Unsqueeze": (1, 2),
}

FOLDED = frozenset({*_RULES, "CastLike", "Shape"})
"""Operators that are understood on constants."""
