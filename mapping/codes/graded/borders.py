# SPDX-License-Identifier: Apache-2.0
"""Weigh the border of a map in another way than its inside, as averages do that leave out what is padded.

A factor of every place is a factor of its row times one of its column, both 1 but near the border. The form
times such a factor is the form, and for each other row, column and corner a term that gives that line alone:
a convolution whose stride leads all its other windows out of the map.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np

from mapping.codes.graded.forms import Convolved, Floats, Form, Matrix, Picked, Term

__all__ = ["bordered"]

_MOST = 9
"""Terms, at most, for each that a form has: two other rows and two other columns."""

_EXACT = 1e-12
"""Relative error of a factor that is the product of two."""


def bordered(form: Form, factor: Floats) -> Form | None:
    """Return a map (C, H, W) times a factor of every element, or None if that takes too many terms.

    Parameters
    ----------
    form : Form
        The map.
    factor : float64, shape of the form
        What its elements are multiplied by.
    """
    lines = _lines(factor) if len(form.shape) == len(factor.shape) == _AXES else None
    if lines is None:
        return None
    rows, by_line = lines
    terms: list[Term] = []
    for term in form.terms:
        if isinstance(term, Matrix):
            return None
        whole = (term.convolution() if isinstance(term, Picked) else term).scaled(rows)
        for (y, tall), (x, broad) in product(*by_line):
            part = _only(_only(whole, 0, y), 1, x)
            terms.append(part.scaled(np.full(len(rows), tall * broad)))
    bias = form.biases() * factor if form.bias.any() else form.bias
    return replace(form, terms=tuple(terms), bias=bias)


_AXES = 3

Lines = list[tuple[int | None, float]]


def _lines(factor: Floats) -> tuple[Floats, tuple[Lines, Lines]] | None:
    """Return the factor of each channel, and along each axis the lines to add and what by: None is all."""
    _, height, width = factor.shape
    middle = factor[:, height // 2, width // 2]
    if not middle.all():
        return None
    shares = factor / middle[:, None, None]
    tall, broad = shares[0, :, width // 2], shares[0, height // 2]
    if not np.allclose(shares, np.outer(tall, broad), rtol=_EXACT, atol=0.0):
        return None
    found = [
        [(None, 1.0), *((int(at), float(share[at] - 1.0)) for at in np.flatnonzero(share != 1.0))]
        for share in (tall, broad)
    ]
    down, across = found
    return (middle, (down, across)) if len(down) * len(across) <= _MOST else None


def _only(term: Convolved, axis: int, at: int | None) -> Convolved:
    """Return a convolution that gives one line of its map alone; all with ``at`` None.

    The windows of other lines lie in the padding.
    """
    if at is None:
        return term
    size, count = term.read.pooled[1 + axis], term.output_shape()[1 + axis]
    window = (term.weight.shape[2 + axis] - 1) * term.dilation[axis] + 1
    first = at * term.stride[axis] - term.pads[axis]
    step = max(size - first, first + window, 1)
    stride, pads = list(term.stride), list(term.pads)
    stride[axis], pads[axis] = step, at * step - first
    pads[axis + 2] = max(0, (count - 1) * step + window - size - pads[axis])
    return replace(term, stride=(stride[0], stride[1]), pads=(pads[0], pads[1], pads[2], pads[3]))
