# SPDX-License-Identifier: Apache-2.0
"""Which elements a ``Resize`` to the nearest ones takes.

Places between two elements are computed in float32, as onnxruntime does: that decides those half-way.

>>> _taken(3, 5, 5 / 3, "asymmetric", "floor").tolist(), _taken(4, 2, 0.5, "half_pixel", "ceil").tolist()
([0, 0, 1, 1, 2], [1, 3])
"""

import numpy as np
from numpy.typing import NDArray

from mapping.model.importers.onnx_graph import Graph, Operator
from mapping.model.node import MAX_ELEMENTS

__all__ = ["nearest_places"]

Integers = NDArray[np.int64]

_SCALES, _SIZES = 2, 3
_FORMS = 11
"""Operator set from which a ``Resize`` says how places are rounded; before, see `_rounded`."""

_MODES = frozenset({"align_corners", "asymmetric", "half_pixel", "pytorch_half_pixel"})


def nearest_places(operator: Operator, graph: Graph) -> Integers:
    """Return the place in the input, flat, of every element of the output, in its shape without the batch.

    Raises
    ------
    UnknownFormError
        If the output has elements that the input has not, or another batch, or its size is no constant.
    """
    shape = graph.view(operator, 0).shape
    early = operator.op == "Upsample" or graph.opset < _FORMS
    mode = operator.text("coordinate_transformation_mode", "asymmetric" if early else "half_pixel")
    rounding = operator.text("nearest_mode", "early" if early else "round_prefer_floor")
    scales = _scales(operator, graph, shape, early=early)
    if mode not in _MODES or operator.integer("antialias", 0) or scales is None:
        raise operator.unknown("is supported only as a repetition of elements, to sizes that are known")
    ends = [int(np.floor(np.float32(n) * scale)) for n, scale in zip((1, *shape), scales, strict=True)]
    if scales[0] != 1 or min(ends) < 1 or np.prod(ends, dtype=np.float64) > MAX_ELEMENTS:
        raise operator.unknown(f"changes the batch, or has an output of shape {tuple(ends[1:])}")
    places = np.arange(np.prod(shape)).reshape(shape)
    for axis, (end, scale) in enumerate(zip(ends[1:], scales[1:], strict=True)):
        places = places.take(_taken(shape[axis], end, scale, mode, rounding), axis)
    return places


def _scales(operator: Operator, graph: Graph, shape: tuple[int, ...], *, early: bool) -> list[float] | None:
    """Return the float32 scale of every axis, the batch first; None if it is not known."""
    rank, given = len(shape) + 1, operator.attributes.get("scales")
    axes = operator.attributes.get("axes", tuple(range(rank)))
    found = graph.optional(operator, 1 if early else _SCALES)
    found = np.array(given, np.float32) if isinstance(given, tuple) else found
    sizes = None if early else graph.optional(operator, _SIZES)
    value = found if found is not None and found.size else sizes
    fits = isinstance(axes, tuple) and value is not None and value.shape == (len(axes),)
    policy = operator.text("keep_aspect_ratio_policy", "stretch")
    if value is None or not fits or not isinstance(axes, tuple) or policy != "stretch":
        return None
    scales = [1.0] * rank
    for axis, number in zip(axes, value.tolist(), strict=True):
        if not isinstance(axis, int) or not -rank <= axis < rank or not 0 < number < MAX_ELEMENTS:
            return None
        length = (1, *shape)[axis]
        scales[axis % rank] = float(np.float32(number) / np.float32(length) if value is sizes else number)
    return scales


def _taken(length: int, end: int, scale: float, mode: str, rounding: str) -> Integers:
    """Return which of the elements of an axis are those of its new length."""
    half, factor = np.float32(0.5), np.float32(scale)
    at = np.arange(end, dtype=np.float32)
    if mode == "asymmetric":
        at = at / factor
    elif mode == "align_corners":
        at = at * np.float32(length - 1) / np.float32(max(1, end - 1))
    elif mode == "half_pixel" or end > 1:
        at = (at + half) / factor - half
    return np.clip(_rounded(at, rounding, scale), 0, length - 1).astype(np.int64)


def _rounded(at: NDArray[np.float32], rounding: str, scale: float) -> NDArray[np.float32]:
    """Round places; early operator sets enlarge with the lower and shrink with the upper of two."""
    half = np.float32(0.5)
    if rounding == "floor" or (rounding == "early" and scale >= 1):
        at = np.floor(at)
    elif rounding in {"ceil", "early"}:
        at = np.ceil(at)
    else:
        at = np.ceil(at - half) if rounding == "round_prefer_floor" else np.floor(at + half)
    return at
