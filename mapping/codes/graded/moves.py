# SPDX-License-Identifier: Apache-2.0
"""Linear forms of the same elements: in another shape or order, some of them, each a row of its own.

>>> map_shape((4, 12)), map_shape((3, 8, 8)), map_shape((10,))
((4, 1, 12), (3, 8, 8), (10,))
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mapping.codes.graded.forms import Convolved, Floats, Form, Ints, Picked, Reading, Shape, Term

__all__ = ["MOST", "cropping", "map_shape", "per_row", "reshaped", "spelled_out", "spread", "taken"]

MOST = 1 << 24
"""Weights, zeros included, of a matrix that stands for elements in another order."""

_MAP = 3


def map_shape(shape: Shape) -> Shape:
    """Return the shape (F,) or (C, H, W) in which a layer holds a tensor, its elements in the same order."""
    if len(shape) in (1, _MAP):
        return shape
    return (shape[0], math.prod(shape[1:-1]), shape[-1])


def reshaped(form: Form, shape: Shape) -> Form | None:
    """Return a form of the same elements whose terms have another shape, or None if none can be read so."""
    if form.shape == shape:
        return form
    terms: list[Term] = []
    for term in form.terms:
        read = _reread(term, shape)
        if read is None:
            return _as_vector(form, shape)
        terms.append(read)
    bias = _narrow(form.biases().reshape(shape))
    return Form(terms=tuple(terms), bias=bias, shape=shape, view=form.view)


def _as_vector(form: Form, shape: Shape) -> Form | None:
    return spelled_out(form) if len(shape) == 1 and form.plain else None


def _narrow(values: Floats) -> Floats:
    """Return values of a map as one for each row, where they do not differ within one."""
    rows = values.reshape(len(values), -1)
    return np.array(rows[:, 0]) if (rows == rows[:, :1]).all() else values


def _reread(term: Term, shape: Shape) -> Picked | None:
    """Return channels picked of an activation as channels picked of it in another shape."""
    if not isinstance(term, Picked) or term.read.pools:
        return None
    held, each, total = math.prod(term.read.pooled[1:]), math.prod(shape[1:]), math.prod(term.read.shape)
    places = np.where(term.index[:, None] < 0, -1, term.index[:, None] * held + np.arange(held))
    rows, gains = places.reshape(shape[0], each), np.repeat(term.gain, held).reshape(shape[0], each)
    first = rows[:, :1]
    follow = np.where(first < 0, -1, first + np.arange(each))
    whole = (rows == follow).all() and (np.maximum(first, 0) % each == 0).all() and total % each == 0
    if not whole or (gains != gains[:, :1]).any():
        return None
    other = (total // each, *shape[1:])
    index = np.where(first[:, 0] < 0, -1, first[:, 0] // each)
    read = Reading(tensor=term.read.tensor, shape=other, pooled=other)
    return Picked(read=read, index=index, gain=np.array(gains[:, 0]))


def spelled_out(form: Form) -> Form | None:
    """Return a form of which every element is a row, or None if its matrices were too large."""
    rows = math.prod(form.shape)
    if any(rows * math.prod(term.read.pooled) > MOST for term in form.terms):
        return None
    terms = tuple(term.matrix() for term in form.terms)
    return Form(terms=terms, bias=form.biases().reshape(-1), shape=(rows,), view=form.view)


def spread(value: Floats, shape: Shape) -> Floats:
    """Return a constant (), (C,) or of a tensor's shape for every element of the tensor."""
    if value.ndim == 1:
        value = value.reshape(-1, *(1 for _ in shape[1:]))
    return np.broadcast_to(value, shape)


def per_row(form: Form, values: Floats) -> tuple[Form, Floats] | None:
    """Return a form and the values of a constant for each of its rows.

    Where the constant, of every element of the tensor, differs within a row, the form is spelled out.
    """
    rows = values.reshape(form.shape[0], -1)
    if (rows == rows[:, :1]).all():
        return form, np.array(rows[:, 0])
    spelled = spelled_out(form)
    return None if spelled is None else (spelled, values.reshape(-1))


def taken(form: Form, order: Ints, view: Shape) -> Form | None:
    """Return whole rows of a form as a tensor of the shape ``view``, or None if others are taken."""
    pixels = math.prod(form.shape[1:])
    if order.size % pixels:
        return None
    rows = order.reshape(-1, pixels)
    if not np.array_equal(rows, (rows[:, :1] // pixels) * pixels + np.arange(pixels)):
        return None
    chosen = rows[:, 0] // pixels
    terms = tuple(term.taken(chosen) for term in form.terms)
    shape = (len(chosen), *form.shape[1:])
    return Form(terms=terms, bias=form.bias[chosen], shape=shape, view=view)


def cropping(order: Ints, before: Shape, after: Shape) -> tuple[Ints, Convolved] | None:
    """Return how a part of a map is taken: the channels, then a convolution of each by a single one.

    Parameters
    ----------
    order : int64, flat
        Place in the map of each element of the part.
    before, after : tuple of int
        Shapes of map and part.
    """
    if len(before) != _MAP or len(after) != _MAP:
        return None
    places = np.unravel_index(order.reshape(after), before)
    lines = [np.moveaxis(part, axis, 0).reshape(after[axis], -1) for axis, part in enumerate(places)]
    if any((line != line[:, :1]).any() for line in lines):
        return None
    channels, *ends = (line[:, 0] for line in lines)
    steps = [_steps(line, size) for line, size in zip(ends, before[1:], strict=True)]
    if any(step is None for step in steps):
        return None
    (top, stride_y, height), (left, stride_x, width) = steps  # type: ignore[misc]
    weight = np.zeros((len(channels), 1, height, width))
    weight[:, :, top, left] = 1.0
    none = Reading(tensor="", shape=(), pooled=())
    outer = Convolved(read=none, weight=weight, stride=(stride_y, stride_x), groups=len(channels))
    return channels, outer


def _steps(places: NDArray[np.int64], size: int) -> tuple[int, int, int] | None:
    """Return first place, stride and kernel of a convolution that reads evenly spaced places."""
    step = int(places[1] - places[0]) if len(places) > 1 else 1
    if step < 1 or (np.diff(places) != step).any():
        return None
    return int(places[0]), step, size - (len(places) - 1) * step
