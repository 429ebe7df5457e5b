# SPDX-License-Identifier: Apache-2.0
"""What operations on every element make of linear forms: factors, offsets, functions that never fall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from mapping.codes.graded.borders import bordered
from mapping.codes.graded.forms import Floats, Form, Shape
from mapping.codes.graded.moves import per_row, spread
from mapping.codes.graded.rules_sums import join
from mapping.codes.graded.walk import CUTS, STEPS, Point, Walk
from mapping.model.node import Node
from mapping.model.operations import OPERATIONS, apply_elementwise
from mapping.model.operations.elementwise import scalar

__all__ = ["function", "norm", "scale", "shift"]

_LARGE = "it treats every element of a large map in its own way"


def scale(walk: Walk, node: Node) -> str | None:
    """Multiply by a constant, or divide by one."""
    if len(node.inputs) > 1:
        return "it multiplies two activations" if node.op == "Mul" else "it divides two activations"
    value, form = node.constants["value"], walk.forms[node.inputs[0]]
    scaled = _scaled(form, 1.0 / value if node.op == "Div" else value)
    if scaled is None:
        return _LARGE
    walk.write(node, scaled)
    return None


def _scaled(form: Form, factor: Floats) -> Form | None:
    if not factor.ndim:
        return form.scaled(factor)
    each = spread(factor, form.view).reshape(form.shape)
    rows = each.reshape(len(each), -1)
    if (rows != rows[:, :1]).any():
        found = bordered(form, each)
        if found is not None:
            return found
    spelled = per_row(form, each)
    return None if spelled is None else spelled[0].scaled(spelled[1])


def _shifted(form: Form, offset: Floats) -> Form:
    if not offset.ndim:
        return replace(form, bias=form.bias + offset)
    whole = spread(offset, form.view).reshape(form.shape)
    rows = whole.reshape(len(whole), -1)
    if (rows == rows[:, :1]).all():
        return replace(form, bias=form.bias + rows[:, 0].reshape(-1, *(1 for _ in form.bias.shape[1:])))
    return replace(form, bias=form.biases() + whole)


def shift(walk: Walk, node: Node) -> str | None:
    """Add a constant, or another tensor."""
    if len(node.inputs) > 1:
        return join(walk, node)
    walk.write(node, _shifted(walk.forms[node.inputs[0]], node.constants["value"]))
    return None


def norm(walk: Walk, node: Node) -> str | None:
    """Multiply and shift every channel."""
    c = node.constants
    factor = c["scale"] / np.sqrt(c["variance"] + node.number("epsilon"))
    scaled = _scaled(walk.forms[node.inputs[0]], factor)
    if scaled is None:
        return _LARGE
    walk.write(node, _shifted(scaled, c["bias"] - c["mean"] * factor))
    return None


def function(walk: Walk, node: Node) -> str | None:
    """Let a function of a form be an activation, or of an activation that nothing else reads."""
    if OPERATIONS[node.op].rises(node) is False:
        return _part(walk, node)
    if _follows_list(walk, node) and _part(walk, node) is None:
        return None
    tensor = node.inputs[0]
    form, before = walk.forms[tensor], walk.points.get(tensor)
    joins = before is not None and len(walk.readers[tensor]) == 1 and not before.pooled
    held = before.form if joins and before is not None else form
    found = _by_row(held, node, form.view)
    if found is None:
        return _LARGE
    held, own = found
    if joins and before is not None and held.shape == before.form.shape:
        del walk.points[tensor]
        walk.names[node.output] = before.name
        walk.add(replace(before, tensor=node.output, functions=(*before.functions, own)))
        return None
    if joins:
        found = _by_row(form, node, form.view)
        if found is None:
            return _LARGE
        held, own = found
    walk.names[node.output] = walk.names.get(tensor, node.name)
    walk.add(Point(name=walk.name(node.output), tensor=node.output, form=held, functions=(own,)))
    return None


def _follows_list(walk: Walk, node: Node) -> bool:
    """Tell whether a function is of a number plus an activation that takes a list of thresholds anyway."""
    before = walk.network.producer(node.inputs[0])
    point = walk.points.get(before.inputs[0]) if before is not None and before.op == "Add" else None
    return point is not None and not all(function.op in CUTS for function in point.functions)


def _part(walk: Walk, node: Node) -> str | None:
    """Let a function be one with what is before it, where nothing reaches the part in which it falls."""
    refusal = f"{node.op} is no function that never falls"
    path, tensor = [node], node.inputs[0]
    while tensor not in walk.points:
        before = walk.network.producer(tensor)
        if before is None or before.op not in STEPS or scalar(before) is None:
            return refusal
        path, tensor = [before, *path], before.inputs[0]
    point = walk.points[tensor]
    functions = (*point.functions, *path)
    alone = all(len(walk.readers[step.inputs[0]]) == 1 for step in path)
    if point.pooled or not alone or not _never_falls(point.form.shape[0], functions):
        return refusal
    del walk.points[tensor]
    walk.names[node.output] = point.name
    walk.add(replace(point, tensor=node.output, functions=functions))
    return None


_GRID = np.linspace(-64.0, 64.0, 8193)
"""Numbers on which a function is looked at."""


def _never_falls(rows: int, functions: Sequence[Node]) -> bool:
    values = np.broadcast_to(_GRID, (rows, len(_GRID)))
    with np.errstate(all="ignore"):
        for node in functions:
            values = apply_elementwise(node, values, axis=0)
    room = 1e-9 * (1.0 + np.abs(values[:, 1:]))
    return bool((np.diff(values, axis=1) >= -room).all())


def _by_row(form: Form, node: Node, view: Shape) -> tuple[Form, Node] | None:
    """Return a form and a node with one value of each of its constants for every row of the form."""
    constants = dict(node.constants)
    for key, value in node.constants.items():
        if value.ndim:
            found = per_row(form, spread(value, view))
            if found is None:
                return None
            form, constants[key] = found
    return form, replace(node, constants=MappingProxyType(constants))
