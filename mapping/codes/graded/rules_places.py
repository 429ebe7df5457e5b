# SPDX-License-Identifier: Apache-2.0
"""What operations without arithmetic make of linear forms: other places, parts, joined tensors, max-pools."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mapping.codes.graded.forms import Form, Picked, Shape
from mapping.codes.graded.moves import cropping, map_shape, spelled_out, taken
from mapping.codes.graded.rules_sums import depthwise, windowed
from mapping.codes.graded.walk import Walk
from mapping.model.node import Node
from mapping.spiking.network import Pool

__all__ = ["AT_ROOT", "concat", "max_pool", "move", "take"]


AT_ROOT = "the input of the chip is not pooled on it"
"""Why a pool is the host's where it reads what enters the chip."""


def move(walk: Walk, node: Node) -> str | None:
    """Give the same elements another shape."""
    walk.write(node, walk.forms[node.inputs[0]].moved(walk.network.shapes[node.output]))
    return None


def take(walk: Walk, node: Node) -> str | None:
    """Take channels, an evenly spaced part of a map, or any elements of a small tensor."""
    tensor, shape = node.inputs[0], node.integers("shape")
    order = node.constants["order"].astype(np.int64)
    found = taken(walk.forms[tensor], order, shape) or _cropped(walk, tensor, order, shape)
    if found is None:
        spelled = spelled_out(walk.forms[tensor])
        found = None if spelled is None else taken(spelled, order, shape)
    if found is None:
        return "it puts the elements of a large map in another order"
    walk.write(node, found)
    return None


def _cropped(walk: Walk, tensor: str, order: np.ndarray, shape: Shape) -> Form | None:
    before, after = map_shape(walk.network.shapes[tensor]), map_shape(shape)
    found = cropping(order, before, after)
    if found is None:
        return None
    channels, outer = found
    whole = replace(outer, weight=np.repeat(outer.weight[:1], before[0], axis=0), groups=before[0])
    form = windowed(walk, tensor, whole)
    places = (channels[:, None] * np.prod(after[1:]) + np.arange(np.prod(after[1:]))).reshape(-1)
    return taken(form, places, shape)


def concat(walk: Walk, node: Node) -> str | None:
    """Join tensors along an axis."""
    shapes = [walk.network.shapes[tensor] for tensor in node.inputs]
    axis, view = int(node.number("axis")), walk.network.shapes[node.output]
    if axis == 0:
        forms = _alike(walk, node)
        total, at, terms, biases = sum(form.shape[0] for form in forms), 0, [], []
        for form in forms:
            terms += [term.placed(at, total) for term in form.terms]
            biases.append(form.biases())
            at += form.shape[0]
        whole = np.concatenate(biases)
        rows = whole.reshape(total, -1)
        bias = np.array(rows[:, 0]) if (rows == rows[:, :1]).all() else whole
        walk.write(node, Form(terms=tuple(terms), bias=bias, shape=whole.shape, view=view))
        return None
    if len(view) > 3:  # a map has three axes
        return "it joins tensors that are no maps"
    across = 2 if axis == 2 or len(view) == 2 else 1
    at, total = 0, view[axis]
    sums: Form | None = None
    for tensor, shape in zip(node.inputs, shapes, strict=True):
        before, after = at, total - at - shape[axis]
        pads = (0, before, 0, after) if across == 2 else (before, 0, after, 0)
        part = windowed(walk, tensor, depthwise(shape[0], (1, 1), pads))
        sums, at = part if sums is None else sums.plus(part), at + shape[axis]
    assert sums is not None  # noqa: S101
    walk.write(node, sums.moved(view))
    return None


def _alike(walk: Walk, node: Node) -> list[Form]:
    """Return forms that have all axes but the first in common."""
    forms = [walk.forms[tensor] for tensor in node.inputs]
    shapes = [walk.network.shapes[tensor] for tensor in node.inputs]
    rows = all(form.shape[0] == shape[0] for form, shape in zip(forms, shapes, strict=True))
    if rows and len({form.shape[1:] for form in forms}) == 1:
        return forms
    return [walk.shaped(tensor, map_shape(shape)) for tensor, shape in zip(node.inputs, shapes, strict=True)]


def max_pool(walk: Walk, node: Node) -> str | None:
    """Pool activations where they are read, and before they are multiplied by numbers above zero."""
    tensor = node.inputs[0]
    shape = walk.network.shapes[tensor]
    form = walk.shaped(tensor, shape)
    if not _scaled(form) or (len(form.terms) > 1 and _of_root(walk, form)):
        walk.cut(tensor)
        form = walk.shaped(tensor, shape)
    if _of_root(walk, form):
        return AT_ROOT
    pool = Pool(kernel=node.pair("kernel"), stride=node.pair("stride"), pads=node.pads())
    terms = [term for term in form.terms if isinstance(term, Picked)]
    _, height, width = after = walk.network.shapes[node.output]
    for at, term in enumerate(terms):
        walk.points[term.read.tensor] = replace(walk.points[term.read.tensor], pooled=True)
        pooled = (term.read.pooled[0], height, width)
        terms[at] = replace(term, read=replace(term.read, pools=(*term.read.pools, pool), pooled=pooled))
    walk.write(node, Form(terms=tuple(terms), bias=np.zeros(len(form.bias)), shape=after, view=after))
    return None


def _of_root(walk: Walk, form: Form) -> bool:
    return any(term.read.tensor == walk.root for term in form.terms)


def _scaled(form: Form) -> bool:
    """Tell whether every channel of a form is one of an activation, times a number above zero."""
    picked = [term for term in form.terms if isinstance(term, Picked)]
    if len(picked) != len(form.terms) or form.bias.any():
        return False
    there = np.array([term.index >= 0 for term in picked])
    rising = all((term.gain[own] > 0).all() for term, own in zip(picked, there, strict=True))
    return rising and bool((there.sum(axis=0) == 1).all())
