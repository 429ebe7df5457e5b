# SPDX-License-Identifier: Apache-2.0
"""What operations make of linear forms, and which of them are activations of the chip."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mapping.codes.graded.forms import (
    Convolved,
    Form,
    Matrix,
    Picked,
    Reading,
    convolved,
    flattened,
    identity,
)
from mapping.codes.graded.walk import Point, Rule, Walk
from mapping.model.node import Node
from mapping.model.operations import OPERATIONS
from mapping.spiking.network import Pool

__all__ = ["MONOTONE", "RULES"]

MONOTONE = frozenset(
    {"Celu", "Clip", "Elu", "Erf", "Exp", "PRelu", "Relu", "Selu", "Sigmoid", "Sign", "Softplus"}
    | {"Softsign", "Tanh", "Ceil", "Floor", "Round"}
)
"""Functions of one number that never fall; a ``PRelu`` or ``Celu`` only if its parameters say so."""


def _conv(walk: Walk, node: Node) -> str | None:
    weight = node.constants["weight"]
    outer = Convolved(
        read=Reading(tensor="", shape=(), pooled=()),
        weight=weight,
        stride=node.pair("stride"),
        pads=node.pads(),
        dilation=node.pair("dilation"),
        groups=int(node.number("groups")),
    )
    shape = walk.network.shapes[node.inputs[0]]
    form = _as_map(walk, node.inputs[0])
    if form is None:
        return "its input is a map in another order"

    def evaluate(values: NDArray[np.float64]) -> NDArray[np.float64]:
        output = walk.network.shapes[node.output]
        return np.asarray(OPERATIONS["Conv"].apply(node, [values.reshape(1, *shape)], output, None)[0])

    found = convolved(form, outer, evaluate)
    if found is None or _wide(found, walk.axons):
        form = walk.linear(node.inputs[0])
        found = convolved(form, outer, evaluate)
    if found is None:
        return "its input has no form"
    walk.write(node, found, matrix=True)
    return None


def _as_map(walk: Walk, tensor: str) -> Form | None:
    """Return the form of a tensor in its own shape, or None."""
    form = walk.forms[tensor]
    if form.unmoved:
        return form
    if (
        form.shape[0] == form.view[0]
        and form.plain
        and len(form.view) == 3
        and form.shape[1:] == form.view[1:]
    ):
        return form
    ones = math.prod(form.shape[1:]) == 1 and len(form.view) == 3 and math.prod(form.view[1:]) == 1
    return _reshaped(form) if ones else None


def _reshaped(form: Form) -> Form | None:
    """Return the form of a vector as one of a map of one pixel, or the other way round."""
    terms = []
    for term in form.terms:
        if not isinstance(term, Picked) or term.read.pools or math.prod(term.read.pooled[1:]) != 1:
            return None
        read = replace(term.read, shape=form.view, pooled=form.view)
        if math.prod(read.shape) != math.prod(term.read.shape) or len(term.index) != form.view[0]:
            return None
        terms.append(replace(term, read=read))
    bias = form.biases().reshape(-1)
    return Form(terms=tuple(terms), bias=bias, shape=form.view, view=form.view)


def _wide(form: Form, axons: int) -> bool:
    """Tell whether a neuron reads more than a row of a small core holds."""
    most = 0
    for term in form.terms:
        if isinstance(term, Convolved):
            most += math.prod(term.weight.shape[1:])
        elif isinstance(term, Matrix):
            most += term.weight.shape[1]
    return most > axons


def _dense(walk: Walk, node: Node) -> str | None:
    tensor, weight = node.inputs[0], node.constants["weight"]
    form = walk.forms[tensor]
    if not form.plain:
        foldable = all(isinstance(term, Picked | Matrix) or _pools(term) for term in form.terms)
        if not foldable or _wide(flattened(form, weight[:1]), walk.axons):
            form = walk.linear(tensor)
    walk.write(node, flattened(form, weight), matrix=True)
    return None


def _pools(term: Convolved) -> bool:
    return term.groups == term.read.pooled[0] == len(term.weight)


def _scale(walk: Walk, node: Node) -> str | None:
    if len(node.inputs) > 1:
        return "it multiplies two activations" if node.op == "Mul" else "it divides two activations"
    value = node.constants["value"]
    form = walk.forms[node.inputs[0]]
    if node.op == "Div":
        value = 1.0 / value
    if value.ndim > 1 and not (value == value.reshape(len(value), -1)[:, :1].reshape(-1, 1, 1)).all():
        return "it multiplies every element by a number of its own"
    rows = value.reshape(len(value), -1)[:, 0] if value.ndim > 1 else value
    if rows.ndim and not _by_row(form):
        return "it multiplies a map in another order"
    walk.write(node, form.scaled(rows))
    return None


def _by_row(form: Form) -> bool:
    """Tell whether the rows of the terms are those of the tensor."""
    return form.shape[0] == form.view[0]


def _shift(walk: Walk, node: Node) -> str | None:
    if len(node.inputs) > 1:
        return _join(walk, node)
    value, form = node.constants["value"], walk.forms[node.inputs[0]]
    if value.ndim == 1 and not _by_row(form):
        value = np.broadcast_to(value.reshape(-1, *(1 for _ in form.view[1:])), form.view)
    if value.ndim > 1:
        value = value.reshape(form.shape)
        walk.write(node, replace(form, bias=form.biases() + value))
        return None
    shaped = value.reshape(-1, *(1 for _ in form.bias.shape[1:])) if value.ndim else value
    walk.write(node, replace(form, bias=form.bias + shaped))
    return None


def _join(walk: Walk, node: Node) -> str | None:
    first, second = (walk.forms[tensor] for tensor in node.inputs)
    if first.view != second.view or first.shape != second.shape:
        return "it adds tensors of different shapes"
    walk.write(node, first.plus(second))
    walk.names[node.output] = next(
        (
            walk.names[tensor]
            for tensor in node.inputs
            if tensor in walk.names and not walk.forms[tensor].plain
        ),
        node.name,
    )
    return None


def _norm(walk: Walk, node: Node) -> str | None:
    form = walk.forms[node.inputs[0]]
    if not _by_row(form):
        return "it normalises a map in another order"
    c = node.constants
    factor = c["scale"] / np.sqrt(c["variance"] + node.number("epsilon"))
    scaled = form.scaled(factor)
    offset = c["bias"] - c["mean"] * factor
    shaped = offset.reshape(-1, *(1 for _ in scaled.bias.shape[1:]))
    walk.write(node, replace(scaled, bias=scaled.bias + shaped))
    return None


def _function(walk: Walk, node: Node) -> str | None:
    if not _rising(node):
        return f"{node.op} is no function that never falls"
    tensor = node.inputs[0]
    form, before = walk.forms[tensor], walk.points.get(tensor)
    if node.constants and not _by_row(form):
        return "it treats channels in another order"
    if before is not None and len(walk.readers[tensor]) == 1 and not before.pooled:
        del walk.points[tensor]
        walk.names[node.output] = before.name
        walk.add(replace(before, tensor=node.output, functions=(*before.functions, node)))
        return None
    walk.names[node.output] = walk.names.get(tensor, node.name)
    walk.add(Point(name=walk.name(node.output), tensor=node.output, form=form, functions=(node,)))
    return None


def _rising(node: Node) -> bool:
    if node.op == "PRelu":
        return bool((node.constants["slope"] >= 0).all())
    if node.op in {"Celu", "Elu"}:
        return node.number("alpha") > 0
    if node.op == "Selu":
        return node.number("alpha") > 0 and node.number("gamma") > 0
    return True


def _max_pool(walk: Walk, node: Node) -> str | None:
    tensor = node.inputs[0]
    form = walk.forms[tensor]
    if not _itself(form):
        walk.cut(tensor)
        form = walk.forms[tensor]
    if not _itself(form) or not form.unmoved:
        return "its input is a map in another order"
    (term,) = form.terms
    read, pool = term.read, Pool(kernel=node.pair("kernel"), stride=node.pair("stride"), pads=node.pads())
    if read.tensor == walk.root:
        return "the input of the chip is not pooled on it"
    walk.points[read.tensor] = replace(walk.points[read.tensor], pooled=True)
    shape = walk.network.shapes[node.output]
    walk.write(node, identity(replace(read, pools=(*read.pools, pool), pooled=shape)))
    return None


def _itself(form: Form) -> bool:
    """Tell whether a form is an activation and nothing else."""
    if len(form.terms) != 1 or not isinstance(form.terms[0], Picked) or form.bias.any():
        return False
    return form.terms[0].whole and bool((form.terms[0].gain == 1).all())


def _concat(walk: Walk, node: Node) -> str | None:
    forms = [walk.forms[tensor] for tensor in node.inputs]
    if int(node.number("axis")) != 0 or any(not form.unmoved for form in forms):
        return "it joins along another axis than the channels"
    total, at = sum(form.shape[0] for form in forms), 0
    terms, bias = [], []
    for form in forms:
        terms += [term.placed(at, total) for term in form.terms]
        bias.append(form.biases())
        at += form.shape[0]
    shape = (total, *forms[0].shape[1:])
    whole = np.concatenate(bias)
    if len(shape) == 3 and (whole == whole[:, :1, :1]).all():
        whole = whole[:, 0, 0]
    walk.write(node, Form(terms=tuple(terms), bias=whole, shape=shape, view=shape))
    return None


def _take(walk: Walk, node: Node) -> str | None:
    form, shape = walk.forms[node.inputs[0]], node.integers("shape")
    order = node.constants["order"].astype(np.int64)
    pixels = math.prod(form.shape[1:])
    rows = order.reshape(-1, pixels)[:, 0] // pixels if order.size % pixels == 0 else np.zeros(0, np.int64)
    channels = (rows[:, None] * pixels + np.arange(pixels)).reshape(-1)
    if not form.unmoved or not np.array_equal(channels, order) or shape[1:] != form.shape[1:]:
        return "it takes other parts of a map than channels"
    bias = form.biases()[rows] if form.bias.ndim > 1 else form.bias[rows]
    terms = tuple(term.taken(rows) for term in form.terms)
    walk.write(node, Form(terms=terms, bias=bias, shape=shape, view=shape))
    return None


def _move(walk: Walk, node: Node) -> str | None:
    walk.write(node, walk.forms[node.inputs[0]].moved(walk.network.shapes[node.output]))
    return None


def _reduce(walk: Walk, node: Node) -> str | None:
    form = walk.forms[node.inputs[0]]
    if node.text("kind") not in ("mean", "sum") or node.integers("axes") != (1, 2) or not form.unmoved:
        return "it reduces other axes than height and width, or by other means than a sum"
    channels, height, width = form.shape
    value = 1.0 if node.text("kind") == "sum" else 1.0 / (height * width)
    outer = Convolved(
        read=Reading(tensor="", shape=(), pooled=()),
        weight=np.full((channels, 1, height, width), value),
        groups=channels,
    )

    def evaluate(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(values.sum(axis=(1, 2), keepdims=True) * value)

    found = convolved(walk.linear(node.inputs[0]), outer, evaluate)
    if found is None:
        return "its input has no form"
    walk.write(node, found, matrix=True)
    return None


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(MONOTONE, _function),
    "Add": _shift,
    "BatchNormalization": _norm,
    "Concat": _concat,
    "Conv": _conv,
    "Dense": _dense,
    "Div": _scale,
    "Flatten": _move,
    "MaxPool": _max_pool,
    "Mul": _scale,
    "Reduce": _reduce,
    "Reshape": _move,
    "Take": _take,
}
"""What becomes of an operation, by name; the host has those that have no rule."""
