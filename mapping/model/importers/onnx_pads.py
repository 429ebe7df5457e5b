# SPDX-License-Identifier: Apache-2.0
"""Translate ONNX's ``Pad``: by zeros around a map a convolution by one, which the next layer may absorb.

Any other pad takes elements, of which a factor of zero and an offset make the constant.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mapping.model.importers.onnx_functions import taken
from mapping.model.importers.onnx_graph import Graph, Operator, Step
from mapping.model.importers.onnx_layout import transposed
from mapping.model.importers.onnx_windows import ones
from mapping.model.node import MAX_ELEMENTS, Shape

__all__ = ["pad"]

_MODES = ("constant", "edge", "reflect", "wrap")

Sides = list[tuple[int, int]]
"""Elements added before and behind each axis, not counting the batch."""


def pad(operator: Operator, graph: Graph) -> None:
    """Translate a ``Pad``."""
    operator.allow("mode", "pads", "value")
    mode = operator.text("mode", "constant")
    if mode not in _MODES:
        raise operator.bad(f"has mode = {mode!r}, supported are {', '.join(_MODES)}")
    sides = _sides(operator, graph)
    value = graph.optional(operator, 2)
    filled = operator.number("value", 0.0) if value is None or not value.size else float(value.reshape(-1)[0])
    if mode == "constant" and not np.isfinite(filled):
        raise operator.unknown(f"pads with {filled:g}, which is not finite")
    shape = graph.view(operator, 0).shape
    _check(operator, sides, shape, mode)
    if any(min(side) < 0 for side in sides):
        cut = tuple(slice(max(0, -a), n - max(0, -b)) for (a, b), n in zip(sides, shape, strict=True))
        name = f"{operator.outputs[0]}.cut"
        reading = replace(operator, name=f"{operator.name}.cut", outputs=(name,))
        taken(reading, graph, lambda places: places[cut])
        sides = [(max(0, a), max(0, b)) for a, b in sides]
        operator = replace(operator, inputs=(name,))
    if not any(any(side) for side in sides):
        graph.alias(operator)
    elif mode != "constant":
        taken(operator, graph, lambda places: np.pad(places, sides, mode=mode))  # type: ignore[call-overload]
    elif not _around_map(operator, graph, sides, filled):
        _masked(operator, graph, sides, filled)


def _check(operator: Operator, sides: Sides, shape: Shape, mode: str) -> None:
    """Refuse pads that leave nothing, take what is not there, or are larger than any tensor may be."""
    for (before, behind), size in zip(sides, shape, strict=True):
        most = {"reflect": size - 1, "wrap": size}.get(mode, MAX_ELEMENTS)
        if size + min(before, 0) + min(behind, 0) < 1 or max(before, behind) > most:
            raise operator.bad(f"pads an axis of {size} elements by {before} and {behind} in mode {mode!r}")
    padded = math.prod(size + sum(side) for side, size in zip(sides, shape, strict=True))
    if padded > MAX_ELEMENTS:
        raise operator.bad(f"has an output of {padded} elements, above the limit of {MAX_ELEMENTS}")


def _sides(operator: Operator, graph: Graph) -> Sides:
    shape = graph.view(operator, 0).shape
    rank = len(shape) + 1
    constant, chosen = graph.optional(operator, 1), graph.optional(operator, 3)
    given = operator.attributes.get("pads") if constant is None else tuple(constant.reshape(-1).tolist())
    axes = list(range(rank)) if chosen is None else [int(axis) % rank for axis in chosen.reshape(-1)]
    if (
        not isinstance(given, tuple)
        or len(given) != 2 * len(axes)
        or not all(isinstance(n, int) for n in given)
    ):
        raise operator.bad(f"has pads {given!r}, not {2 * len(axes)} integers")
    sides: Sides = [(0, 0)] * rank
    for position, axis in enumerate(axes):
        sides[axis] = given[position], given[position + len(axes)]
    if any(sides[0]):
        raise operator.bad("pads the batch; supported are axes behind it")
    return sides[1:]


def _around_map(operator: Operator, graph: Graph, sides: Sides, filled: float) -> bool:
    """Put rows and columns around a map, channels first or last; tell whether it was one."""
    if len(sides) != 3:
        return False
    last = graph.view(operator, 0).order is not None and not any(sides[2])
    if not last and any(sides[0]):
        return False
    (top, bottom), (left, right) = sides[:2] if last else sides[1:]
    name, padded = f"{operator.outputs[0]}.first", f"{operator.outputs[0]}.padded"
    there, back = ((0, 3, 1, 2), (0, 2, 3, 1)) if last else ((0, 1, 2, 3), (0, 1, 2, 3))
    transposed(replace(operator, outputs=(name,)), graph, there)
    reading = replace(operator, inputs=(name,), outputs=(padded,))
    shape = graph.view(reading, 0).shape
    steps: list[Step] = [ones(shape[0], (1, 1), (1, 1), (top, left, bottom, right))]
    if filled:
        edges = ((0, 0), (top, bottom), (left, right))
        steps.append((".value", "Add", {}, {"value": np.pad(np.zeros(shape), edges, constant_values=filled)}))
    graph.chain(reading, steps)
    transposed(replace(operator, inputs=(padded,)), graph, back)
    return True


def _masked(operator: Operator, graph: Graph, sides: Sides, filled: float) -> None:
    """Repeat elements where the pads are, and make the constant of them."""
    name = f"{operator.outputs[0]}.held"
    reading = replace(operator, name=f"{operator.name}.held", outputs=(name,))
    shape: Shape = graph.view(operator, 0).shape
    taken(reading, graph, lambda places: np.pad(places, sides, mode="edge"))
    inside = np.pad(np.ones(shape), sides)
    steps: list[Step] = [("", "Mul", {}, {"value": _narrow(inside)})]
    if filled:
        steps.append((".value", "Add", {}, {"value": _narrow((1 - inside) * filled)}))
    graph.elementwise(replace(operator, inputs=(name,)), steps)


def _narrow(values: NDArray[np.float64]) -> NDArray[np.float64]:
    rows = values.reshape(len(values), -1)
    return rows[:, 0] if (rows == rows[:, :1]).all() else values
