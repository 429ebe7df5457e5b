# SPDX-License-Identifier: Apache-2.0
"""Translate comparisons with a threshold and what chooses by them into signs and clips, exactly.

A truth is a number 0 or 1 here: the difference of two floats is zero only if they are equal, so that its
sign tells which is larger.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mapping.model.importers.onnx_graph import FLOAT_TYPES, Condition, Graph, Operator, Step
from mapping.model.node import Node

__all__ = ["CONDITION_RULES", "cast", "condition"]

Rule = Callable[[Operator, Graph], None]

_ABOVE: Mapping[str, tuple[float, float, float, float]] = {
    "Greater": (0.0, 1.0, 1.0, 0.0),
    "GreaterOrEqual": (-1.0, 0.0, 1.0, 1.0),
    "Less": (-1.0, 0.0, -1.0, 0.0),
    "LessOrEqual": (0.0, 1.0, -1.0, 1.0),
}
"""Ends between which the sign of the difference is clipped, then a factor and an offset."""

_SWAPPED = {
    "Greater": "Less",
    "GreaterOrEqual": "LessOrEqual",
    "Less": "Greater",
    "LessOrEqual": "GreaterOrEqual",
}


def condition(operator: Operator, graph: Graph) -> bool:
    """Note as numbers the truths that an operator writes; tell whether it could be done.

    The operator itself is left to whoever needs truths.
    """
    if operator.op == "Not":
        return _negated(operator, graph)
    if operator.op not in _ABOVE or len(operator.inputs) != 2 or len(operator.outputs) != 1:
        return False
    first, second = operator.inputs
    swapped = first in graph.constants
    tensor, other = (second, first) if swapped else (first, second)
    known = graph.constants.get(other)
    if known is None or known.dtype.kind not in "iuf" or not graph.real(tensor):
        return False
    kind = _SWAPPED[operator.op] if swapped else operator.op
    output = f"{operator.outputs[0]}.number"
    reading = replace(operator, inputs=(tensor,), outputs=(output,))
    value = graph.per_element(reading, other, graph.view(reading, 0))
    low, high, factor, offset = _ABOVE[kind]
    steps: list[Step] = [
        (".difference", "Add", {}, {"value": -value}),
        (".sign", "Sign", {}, {}),
        (".step", "Clip", {"low": low, "high": high}, {}),
    ]
    steps += [(".factor", "Mul", {}, {"value": np.array(factor)})] if factor != 1.0 else []
    steps += [(".offset", "Add", {}, {"value": np.array(offset)})] if offset else []
    graph.elementwise(reading, steps)
    graph.conditions[operator.outputs[0]] = Condition(
        number=output, tensor=graph.aliases.get(tensor, tensor), kind=kind, value=value
    )
    return True


def _negated(operator: Operator, graph: Graph) -> bool:
    known = graph.conditions.get(operator.inputs[0]) if operator.inputs else None
    if known is None or len(operator.outputs) != 1:
        return False
    output = f"{operator.outputs[0]}.number"
    steps: list[Step] = [
        (".turned", "Mul", {}, {"value": np.array(-1.0)}),
        (".other", "Add", {}, {"value": np.array(1.0)}),
    ]
    graph.elementwise(replace(operator, inputs=(known.number,), outputs=(output,)), steps)
    graph.conditions[operator.outputs[0]] = replace(known, number=output, kind="")
    return True


def cast(operator: Operator, graph: Graph) -> None:
    """Translate a ``Cast``: nothing changes but the type, and truths are numbers."""
    operator.allow("saturate", "to", "round_mode")
    if operator.integer("to", 0) not in FLOAT_TYPES:
        raise operator.unknown("casts an activation to something else than a float type")
    known = graph.conditions.get(operator.inputs[0]) if operator.inputs else None
    graph.alias(operator if known is None else replace(operator, inputs=(known.number,)))


def _cast_like(operator: Operator, graph: Graph) -> None:
    """Translate a ``CastLike`` between real numbers: nothing changes."""
    operator.allow("saturate", "round_mode")
    like = operator.inputs[1] if len(operator.inputs) == 2 else ""
    known = graph.constants.get(like)
    if not (graph.real(like) if known is None else known.dtype.kind == "f"):
        raise operator.unknown("casts an activation to something else than a float type")
    graph.alias(operator)


def _where(operator: Operator, graph: Graph) -> None:
    """Translate a ``Where`` between two constants, or of what is compared and nothing or a part of it."""
    operator.allow()
    known = graph.conditions.get(operator.inputs[0]) if len(operator.inputs) == 3 else None
    if known is None:
        _masked(operator, graph)
        return
    chosen, other = operator.inputs[1:]
    if chosen in graph.constants and other in graph.constants:
        _between(operator, graph, known)
        return
    if known.kind in {"Less", "LessOrEqual"}:
        chosen, other = other, chosen
    if graph.aliases.get(chosen, chosen) != known.tensor or not known.kind:
        raise operator.unknown("is supported only between constants, or parts of what is compared")
    reading = replace(operator, inputs=(known.tensor,))
    strict = known.kind in {"Greater", "LessOrEqual"}
    step = _cut(graph, other, known, strict=strict) or _bent(graph, other, known)
    if step is None:
        raise operator.unknown("is supported only between constants, or parts of what is compared")
    graph.elementwise(reading, [step])


def _masked(operator: Operator, graph: Graph) -> None:
    """Translate a ``Where`` that puts a constant at places that are known: a factor of zero and an offset."""
    mask = graph.constants.get(operator.inputs[0]) if len(operator.inputs) == 3 else None
    filled = [name for name in operator.inputs[1:] if name in graph.constants]
    if mask is None or mask.dtype.kind != "b" or len(filled) != 1:
        raise operator.unknown("is supported only with a comparison with a constant, or constant places")
    value = graph.constants[filled[0]].astype(np.float64)
    if not np.isfinite(value).all():
        raise operator.unknown(
            f"puts {value.reshape(-1)[0]:g} in some places; put a large finite number there, such as -1e9"
        )
    first = filled[0] == operator.inputs[1]
    reading = replace(operator, inputs=(operator.inputs[2 if first else 1],))
    kept = (mask != first).astype(np.float64)
    steps: list[Step] = []
    for suffix, op, each in ((".places", "Mul", kept), ("", "Add", (1.0 - kept) * value)):
        name = f"{operator.outputs[0]}{suffix}.value"
        graph.constants[name] = each
        steps.append((suffix, op, {}, {"value": graph.per_element(reading, name, graph.view(reading, 0))}))
    graph.elementwise(reading, steps if value.any() else steps[:1])


def _between(operator: Operator, graph: Graph, known: Condition) -> None:
    reading = replace(operator, inputs=(known.number,))
    view = graph.view(reading, 0)
    true, false = (graph.per_element(reading, name, view) for name in operator.inputs[1:])
    step: NDArray[np.float64] = true - false
    if (false + step != true).any():
        raise operator.unknown("chooses between constants whose difference is not exact")
    graph.elementwise(reading, [(".factor", "Mul", {}, {"value": step}), ("", "Add", {}, {"value": false})])


def _cut(graph: Graph, other: str, known: Condition, *, strict: bool) -> Step | None:
    """Return that values up to a threshold become zero."""
    zero = graph.constants.get(other)
    if zero is None or zero.any() or known.value.ndim or not (strict or known.value == 0):
        return None
    if known.value == 0:
        return ("", "Relu", {}, {})
    return ("", "ThresholdedRelu", {"alpha": float(known.value)}, {}) if known.value > 0 else None


def _bent(graph: Graph, other: str, known: Condition) -> Step | None:
    """Return that negative values are multiplied."""
    writer: Node | None = next((node for node in graph.nodes if node.output == other), None)
    if writer is None or writer.op != "Mul" or writer.inputs != (known.tensor,) or known.value.any():
        return None
    slope = writer.constants["value"]
    return ("", "PRelu", {}, {"slope": slope}) if math.isfinite(float(np.abs(slope).max())) else None


def _truths(operator: Operator, _graph: Graph) -> None:
    """Leave the truths themselves to the host; what makes numbers of them reads those of `condition`."""
    raise operator.unknown("writes truths, which a Cast or a Where must make numbers of")


CONDITION_RULES: Mapping[str, Rule] = {
    **dict.fromkeys([*_ABOVE, "Not"], _truths),
    "Cast": cast,
    "CastLike": _cast_like,
    "Where": _where,
}
"""Operators by name that read truths or choose by them."""
