# SPDX-License-Identifier: Apache-2.0
"""Translate quantisers: ONNX's QuantizeLinear and DequantizeLinear, and QONNX's Quant.

The two round at different places. QuantizeLinear rounds x / scale, halves to even, adds the zero point and
saturates to its integer type; Quant adds the zero point to x / scale, clips, and rounds in the way it names
(QONNX operator set 1 of qonnx.custom_op.general). On constants both are evaluated here, in float64.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.model.importers.onnx_graph import Graph, Integers, Operator, View
from mapping.model.node import Attribute
from mapping.model.operations.rounding import round_by

__all__ = ["bipolar", "clip_integers", "dequantise", "fold", "quantise", "quantise_qonnx"]

Constant = NDArray[Any]

MAX_BITS = 32
"""Widest ``Quant``; wider integers would not stay exact in all sums."""

_RANGES: Mapping[str, tuple[int, int]] = {
    "int2": (-2, 1),
    "uint2": (0, 3),
    "int4": (-8, 7),
    "uint4": (0, 15),
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "uint16": (0, 65535),
    "int32": (-(2**31), 2**31 - 1),
}
_OUTPUT_TYPES: Mapping[int, str] = {0: "uint8", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16"}

_ROUNDINGS: Mapping[str, str] = {
    "ROUND": "half_even",
    "HALF_EVEN": "half_even",
    "HALF_UP": "half_up",
    "HALF_DOWN": "half_down",
    "CEIL": "ceil",
    "FLOOR": "floor",
    "UP": "up",
    "DOWN": "down",
    "ROUND_TO_ZERO": "down",
}


def quantise(operator: Operator, graph: Graph) -> None:
    """Translate a ``QuantizeLinear`` of an activation: a ``Quantise`` of the real values it stands for."""
    real = f"{operator.outputs[0]}.real"
    view = graph.view(operator, 0)
    scale, zero_point = _activation_parameters(operator, graph, view)
    low, high = _saturation(operator, graph)
    if (zero_point != zero_point.reshape(-1)[0]).any():
        raise operator.bad("has different zero points on the channels of an activation")
    shift = float(zero_point.reshape(-1)[0])  # after the rounding, so that it only moves the range
    attributes: dict[str, Attribute] = {
        "low": low - shift,
        "high": high - shift,
        "rounding": "half_even",
    }
    constants = {"scale": graph.channels(operator, scale, view)}
    if graph.counted:
        del attributes["rounding"]
    else:
        constants["zero_point"] = np.array(0.0)
    kind = "ToInteger" if graph.counted else "Quantise"
    graph.elementwise(replace(operator, outputs=(real,)), [("", kind, attributes, constants)])
    graph.define_integers(
        operator, Integers(real=real, scale=scale, zero_point=zero_point, counted=graph.counted)
    )


def clip_integers(operator: Operator, graph: Graph, source: Integers, bounds: Mapping[str, float]) -> None:
    """Translate a ``Clip`` of the integers of a ``QuantizeLinear``: the same quantiser of a smaller range."""
    zero_point, real = float(source.zero_point.reshape(-1)[0]), f"{operator.outputs[0]}.real"
    view = graph.view(replace(operator, inputs=(source.real,)), 0)
    node = next((node for node in graph.nodes if node.output == view.tensor), None)
    if source.counted and (node is None or node.op != "ToInteger"):
        ends: dict[str, Attribute] = {key: bound - zero_point for key, bound in bounds.items()}
        clipping = replace(operator, inputs=(source.real,), outputs=(real,))
        graph.elementwise(clipping, [("", "Clip", ends, {})])
        graph.define_integers(operator, replace(source, real=real))
        return
    if node is None or node.op not in ("Quantise", "ToInteger"):
        raise operator.bad("clips integers behind a pool or a reshape, which is supported only before them")
    attributes: dict[str, Attribute] = {
        **node.attributes,
        "low": max(node.number("low"), np.ceil(bounds["low"]) - zero_point),
        "high": min(node.number("high"), np.floor(bounds["high"]) - zero_point),
    }
    written = real if view.order is None else f"{real}.held"
    reading = replace(operator, inputs=node.inputs, outputs=(written,))
    graph.chain(reading, [("", node.op, attributes, dict(node.constants))])
    if view.order is not None:
        graph.define_view(replace(operator, outputs=(real,)), written, view.order)
    graph.define_integers(operator, replace(source, real=real))


def dequantise(operator: Operator, graph: Graph) -> None:
    """Translate a ``DequantizeLinear`` of the integers of a ``QuantizeLinear``."""
    source = graph.integers.get(operator.inputs[0] if operator.inputs else "")
    if source is None:
        raise operator.bad("reads neither a constant nor the integers of a QuantizeLinear")
    view = graph.view(replace(operator, inputs=(source.real,)), 0)
    scale, zero_point = _activation_parameters(operator, graph, view)
    if not np.array_equal(scale, source.scale) or not np.array_equal(zero_point, source.zero_point):
        raise operator.bad("has another scale or zero point than the QuantizeLinear it reads")
    if source.counted:
        reading = replace(operator, inputs=(source.real,))
        graph.elementwise(reading, [("", "Mul", {}, {"value": graph.channels(operator, scale, view)})])
    else:
        graph.alias(replace(operator, inputs=(source.real,)))


def quantise_qonnx(operator: Operator, graph: Graph) -> None:
    """Translate a ``Quant`` of an activation."""
    attributes, view = _qonnx_attributes(operator, graph), graph.view(operator, 0)
    _scale(operator, graph)
    constants = {
        key: graph.per_channel(operator, operator.inputs[index], view)
        for key, index in (("scale", 1), ("zero_point", 2))
    }
    graph.elementwise(
        replace(operator, inputs=operator.inputs[:1]), [("", "Quantise", attributes, constants)]
    )


def bipolar(operator: Operator, graph: Graph) -> None:  # noqa: ARG001  # the signature of every rule
    """Refuse a ``BipolarQuant`` of an activation."""
    raise operator.bad(
        "gives an activation -scale or scale and never zero, which is no count of spikes; "
        "use Quant with signed = 0 for activations"
    )


def fold(operator: Operator, graph: Graph) -> None:
    """Evaluate a quantiser of a constant, exactly as the notation says, in float64.

    Raises
    ------
    UnsupportedModelError
        If its parameters are not usable.
    """
    value = graph.constants[operator.inputs[0]]
    rules = {
        "BipolarQuant": _fold_bipolar,
        "QuantizeLinear": _fold_quantise,
        "DequantizeLinear": _fold_dequantise,
    }
    graph.define(operator, rules.get(operator.op, _fold_qonnx)(operator, graph, value))


def _fold_quantise(operator: Operator, graph: Graph, value: Constant) -> Constant:
    scale, zero_point = _constant_parameters(operator, graph, value.shape)
    low, high = _saturation(operator, graph)
    integers = np.rint(_real(operator, graph, value) / scale) + zero_point
    zero = graph.optional(operator, 2)
    kind = np.uint8 if zero is None else zero.dtype
    return np.clip(integers, low, high).astype(kind if np.dtype(kind).name in ("int8", "uint8") else np.int32)


def _fold_dequantise(operator: Operator, graph: Graph, value: Constant) -> Constant:
    if value.dtype.kind == "f":
        raise operator.bad(
            "reads numbers with a floating point, and the chip has integers; quantise the float model to int8"
        )
    if value.dtype.name not in _RANGES:
        raise operator.bad(f"reads a constant of type {value.dtype.name}, which is no integer it knows")
    scale, zero_point = _constant_parameters(operator, graph, value.shape)
    return (value.astype(np.float64) - zero_point) * scale


def _fold_bipolar(operator: Operator, graph: Graph, value: Constant) -> Constant:
    operator.allow()
    scale, real = _scale(operator, graph), _real(operator, graph, value)
    _check_spread(operator, value.shape, scale.shape)
    return np.where(real < 0, -1.0, 1.0) * scale


def _check_spread(operator: Operator, shape: tuple[int, ...], *given: tuple[int, ...]) -> None:
    """Refuse a scale, the first of the shapes, that is not spread over a constant."""
    try:
        spread = np.broadcast_shapes(shape, *given)
    except ValueError:
        spread = ()
    if spread != shape:
        raise operator.bad(f"has a scale of shape {given[0]} on a constant of shape {shape}")


def _fold_qonnx(operator: Operator, graph: Graph, value: Constant) -> Constant:
    attributes = _qonnx_attributes(operator, graph)
    scale, zero_point = _scale(operator, graph), _numbers(operator, graph, 2, "zero point")
    _check_spread(operator, value.shape, scale.shape, zero_point.shape)
    low, high = float(attributes["low"]), float(attributes["high"])  # type: ignore[arg-type]
    inside = np.clip(_real(operator, graph, value) / scale + zero_point, low, high)
    return (round_by(str(attributes["rounding"]), inside) - zero_point) * scale


def _real(operator: Operator, graph: Graph, value: Constant) -> NDArray[np.float64]:
    if value.dtype.kind not in "biuf":
        raise operator.bad(f"reads a constant of type {value.dtype.name}, which is not numeric")
    return graph.finite(operator.inputs[0], value)


def _numbers(operator: Operator, graph: Graph, index: int, what: str) -> NDArray[np.float64]:
    value = graph.optional(operator, index)
    if value is None or not value.size or value.dtype.kind not in "biuf":
        raise operator.bad(f"needs a numeric constant as input {index}, its {what}")
    return graph.finite(operator.inputs[index], value)


def _scale(operator: Operator, graph: Graph) -> NDArray[np.float64]:
    scale = _numbers(operator, graph, 1, "scale")
    if not (scale > 0).all():
        raise operator.bad(f"has the scale {scale.min():g}, which is not above zero")
    return scale


def _linear_parameters(operator: Operator, graph: Graph) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scale and zero point, each () or (n,)."""
    operator.allow("axis", "block_size", "output_dtype", "saturate")
    if block := operator.integer("block_size", 0):
        raise operator.bad(
            f"has a scale for every {block} numbers, and a neuron has one for all its weights; "
            "quantise the float model with one scale for each tensor or output channel"
        )
    if not 2 <= len(operator.inputs) <= 3:
        raise operator.bad(f"must have two or three inputs, not {len(operator.inputs)}")
    scale = _scale(operator, graph)
    given = graph.optional(operator, 2)
    # onnxruntime's quantiser writes a scale of shape (1,) beside a zero point of shape ()
    fits = given is None or given.shape == scale.shape or given.size == scale.size == 1
    if given is not None and given.dtype.kind == "f":
        raise operator.bad(
            "has a zero point that is no integer, so its numbers have a floating point, and the chip has "
            "integers; quantise the float model to int8"
        )
    if given is not None and (given.dtype.name not in _RANGES or not fits):
        raise operator.bad(
            f"has a zero point of type {given.dtype.name} and shape {given.shape} beside a scale of shape "
            f"{scale.shape}; supported are integers of the same shape"
        )
    zero_point = np.zeros(scale.shape) if given is None else given.astype(np.float64)
    if scale.ndim > 1:
        raise operator.bad(f"has a scale of shape {scale.shape}, supported are () and (channels,)")
    if scale.size == 1:
        return scale.reshape(()), zero_point.reshape(())
    return scale, zero_point


def _activation_parameters(
    operator: Operator, graph: Graph, view: View
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scale and zero point, () or shaped to be broadcast to the activation without its batch."""
    scale, zero_point = _linear_parameters(operator, graph)
    if not scale.ndim:
        return scale, zero_point
    axis, rank = operator.integer("axis", 1), len(view.shape)
    at = axis - 1 if axis > 0 else axis + rank
    if not 0 <= at < rank or scale.size != view.shape[at]:
        sizes = f"{view.shape[at]} channels" if 0 <= at < rank else f"shape {view.shape}"
        raise operator.bad(f"has {scale.size} scales along axis {axis} of an input with {sizes}")
    full = tuple(scale.size if i == at else 1 for i in range(rank))
    return scale.reshape(full), zero_point.reshape(full)


def _constant_parameters(
    operator: Operator, graph: Graph, shape: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    scale, zero_point = _linear_parameters(operator, graph)
    if not scale.ndim:
        return scale, zero_point
    axis = operator.integer("axis", 1)
    if not -len(shape) <= axis < len(shape) or shape[axis] != scale.size:
        raise operator.bad(f"has {scale.size} scales along axis {axis} of a constant of shape {shape}")
    full = [1] * len(shape)
    full[axis] = scale.size
    return scale.reshape(full), zero_point.reshape(full)


def _saturation(operator: Operator, graph: Graph) -> tuple[int, int]:
    """Return the range of the integer type a ``QuantizeLinear`` writes."""
    zero_point = graph.optional(operator, 2)
    if zero_point is not None:
        return _RANGES[zero_point.dtype.name]
    code = operator.integer("output_dtype", 0)
    if code not in _OUTPUT_TYPES:
        raise operator.bad(f"writes the ONNX type {code}, which is not supported")
    return _RANGES[_OUTPUT_TYPES[code]]


def _qonnx_attributes(operator: Operator, graph: Graph) -> dict[str, Attribute]:
    operator.allow("narrow", "rounding_mode", "signed")
    if len(operator.inputs) != 4:
        raise operator.bad(f"must have four inputs, not {len(operator.inputs)}")
    _numbers(operator, graph, 2, "zero point")
    width = _numbers(operator, graph, 3, "bitwidth")
    bits = float(width.reshape(-1)[0])
    if width.size != 1 or bits not in range(1, MAX_BITS + 1):
        raise operator.bad(f"has the bitwidth {bits:g}, supported are one whole number from 1 to {MAX_BITS}")
    mode = operator.text("rounding_mode", "ROUND")
    if mode.upper() not in _ROUNDINGS:
        raise operator.bad(f"has rounding_mode = {mode!r}, supported are {', '.join(_ROUNDINGS)}")
    narrow = operator.integer("narrow", 0) != 0
    if operator.integer("signed", 1):
        if bits == 1:
            raise operator.bad("is signed with bitwidth 1, which is bipolar; use bitwidth 2 and narrow = 1")
        half = 2 ** (int(bits) - 1)
        low, high = narrow - half, half - 1
    else:
        low, high = 0, 2 ** int(bits) - 1 - narrow
    if low >= high:
        raise operator.bad(f"has the range {low}..{high}, which leaves one value")
    return {"low": low, "high": high, "rounding": _ROUNDINGS[mode.upper()]}
