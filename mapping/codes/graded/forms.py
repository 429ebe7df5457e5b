# SPDX-License-Identifier: Apache-2.0
"""Linear forms: what a tensor of a network is of the activations that the chip sends.

A form is a bias and a sum of terms. A term reads one activation, through max-pools, and picks channels of it,
convolves it or multiplies it with a matrix. Operations that are linear change forms; what they cannot express
becomes an activation of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mapping.spiking.matrices import source_matrix
from mapping.spiking.network import Pool, Source

__all__ = [
    "Convolved",
    "Form",
    "Matrix",
    "Picked",
    "Reading",
    "Term",
    "convolved",
    "flattened",
    "identity",
    "wide",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """An activation as a term reads it: its tensor, the shape it is pooled in, pools, pooled shape."""

    tensor: str
    shape: Shape
    pools: tuple[Pool, ...] = ()
    pooled: Shape


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picked:
    """Row r is ``gain[r]`` times the channel ``index[r]``, or nothing where that is -1."""

    read: Reading
    index: Ints
    gain: Floats

    @property
    def whole(self) -> bool:
        """Whether every channel stays where it is."""
        return np.array_equal(self.index, np.arange(self.read.pooled[0]))

    def scaled(self, factor: Floats) -> Picked:
        """Return the term with every row multiplied by a factor (rows,)."""
        return replace(self, gain=self.gain * factor)

    def placed(self, at: int, rows: int) -> Picked:
        """Return the term as some rows of more."""
        index, gain = np.full(rows, -1), np.zeros(rows)
        index[at : at + len(self.index)], gain[at : at + len(self.gain)] = self.index, self.gain
        return replace(self, index=index, gain=gain)

    def taken(self, rows: Ints) -> Picked:
        """Return some rows of the term."""
        return replace(self, index=self.index[rows], gain=self.gain[rows])

    def convolution(self) -> Convolved:
        """Return the term as a convolution by kernels of one point."""
        channels = self.read.pooled[0]
        if self.whole:
            return Convolved(read=self.read, weight=self.gain.reshape(-1, 1, 1, 1), groups=channels)
        weight = np.zeros((len(self.index), channels, 1, 1))
        there = np.flatnonzero(self.index >= 0)
        weight[there, self.index[there]] = self.gain[there, None, None]
        return Convolved(read=self.read, weight=weight)

    def matrix(self) -> Matrix:
        """Return the term as a matrix from all its inputs to all its rows and pixels."""
        pixels = math.prod(self.read.pooled[1:])
        there = np.flatnonzero(self.index >= 0)
        at = (there[:, None] * pixels + np.arange(pixels)).reshape(-1)
        to = (self.index[there][:, None] * pixels + np.arange(pixels)).reshape(-1)
        values = np.repeat(self.gain[there], pixels)
        shape = (len(self.index) * pixels, self.read.pooled[0] * pixels)
        return Matrix(read=self.read, weight=sparse.csr_array((values, (at, to)), shape=shape))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Convolved:
    """A convolution; fields as those of a ``Conv`` node (`mapping.model.network.Node`)."""

    read: Reading
    weight: Floats
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def scaled(self, factor: Floats) -> Convolved:
        """Return the term with every row multiplied by a factor (rows,)."""
        return replace(self, weight=self.weight * factor.reshape(-1, 1, 1, 1))

    def placed(self, at: int, rows: int) -> Convolved:
        """Return the term as some rows of more."""
        full = self.ungrouped()
        weight = np.zeros((rows, *full.weight.shape[1:]))
        weight[at : at + len(full.weight)] = full.weight
        return replace(full, weight=weight)

    def taken(self, rows: Ints) -> Convolved:
        """Return some rows of the term."""
        full = self.ungrouped()
        return replace(full, weight=full.weight[rows])

    def ungrouped(self) -> Convolved:
        """Return the term as a convolution of one group."""
        if self.groups == 1:
            return self
        rows, fan_in, *kernel = self.weight.shape
        weight = np.zeros((rows, fan_in * self.groups, *kernel))
        for group in range(self.groups):
            own = slice(group * rows // self.groups, (group + 1) * rows // self.groups)
            weight[own, group * fan_in : (group + 1) * fan_in] = self.weight[own]
        return replace(self, weight=weight, groups=1)

    def channels(self) -> Ints:
        """Return the channel that every weight of a row reads, int64 (rows, channels of a group)."""
        rows, fan_in = self.weight.shape[:2]
        return np.asarray(np.arange(rows)[:, None] // (rows // self.groups) * fan_in + np.arange(fan_in))

    def output_shape(self) -> Shape:
        """Return the shape of what it gives."""
        sizes = []
        for axis in (0, 1):
            window = (self.weight.shape[2 + axis] - 1) * self.dilation[axis] + 1
            padded = self.read.pooled[1 + axis] + self.pads[axis] + self.pads[axis + 2]
            sizes.append((padded - window) // self.stride[axis] + 1)
        return (len(self.weight), *sizes)

    def source(self, weight: NDArray[np.integer], low: int, high: int, shift: int, name: str) -> Source:
        """Return the source of a layer with integer weights of this form."""
        return Source(
            name=name,
            pools=self.read.pools,
            shape=self.read.shape,
            input_shape=self.read.pooled,
            weight=weight.reshape(self.weight.shape).astype(np.int16),
            stride=self.stride,
            pads=self.pads,
            dilation=self.dilation,
            groups=self.groups,
            low=low,
            high=high,
            shift=shift,
        )

    def matrix(self) -> Matrix:
        """Return the term as a matrix from all its inputs to all its rows and pixels."""
        places = np.arange(1, self.weight.size + 1).reshape(self.weight.shape)
        numbered = replace(self.source(places, 0, 1, 0, ""), weight=places)  # type: ignore[arg-type]
        pattern = source_matrix(numbered, self.output_shape(), dtype=np.int64)
        values = self.weight.reshape(-1)[pattern.data - 1]
        weight = sparse.csr_array((values, pattern.indices, pattern.indptr), shape=pattern.shape)
        return Matrix(read=self.read, weight=weight)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matrix:
    """A matrix (rows, inputs after the pools), dense or sparse."""

    read: Reading
    weight: Floats | sparse.csr_array

    def scaled(self, factor: Floats) -> Matrix:
        """Return the term with every row multiplied by a factor (rows,)."""
        if isinstance(self.weight, np.ndarray):
            return replace(self, weight=self.weight * factor[:, None])
        return replace(self, weight=sparse.csr_array(sparse.diags_array(factor) @ self.weight))

    def placed(self, at: int, rows: int) -> Matrix:
        """Return the term as some rows of more."""
        own = np.arange(self.weight.shape[0])
        shape = (rows, self.weight.shape[0])
        spread = sparse.csr_array((np.ones(len(own)), (at + own, own)), shape=shape)
        return replace(self, weight=spread @ self.weight)

    def taken(self, rows: Ints) -> Matrix:
        """Return some rows of the term."""
        return replace(self, weight=self.weight[rows])

    def dense(self) -> Floats:
        """Return the matrix as an array."""
        return self.weight if isinstance(self.weight, np.ndarray) else np.asarray(self.weight.todense())

    def source(self, weight: NDArray[np.integer], low: int, high: int, shift: int, name: str) -> Source:
        """Return the source of a layer with integer weights of this form."""
        return Source(
            name=name,
            pools=self.read.pools,
            shape=self.read.shape,
            input_shape=(math.prod(self.read.pooled),),
            weight=weight.astype(np.int16),
            low=low,
            high=high,
            shift=shift,
        )

    def matrix(self) -> Matrix:
        """Return the term itself."""
        return self


Term = Picked | Convolved | Matrix


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Form:
    """A tensor as a bias and a sum of terms.

    Parameters
    ----------
    terms : tuple of Term
        All of the shape ``shape``.
    bias : float64, shape ``shape`` or (rows,)
        One for each element, or for each row.
    shape : tuple of int
        (C, H, W) or (F,).
    view : tuple of int
        The shape of the tensor, which has the same elements in the same order.
    """

    terms: tuple[Term, ...]
    bias: Floats
    shape: Shape
    view: Shape

    @property
    def plain(self) -> bool:
        """Whether every term only picks channels: folding it into a reader costs nothing."""
        return all(isinstance(term, Picked) for term in self.terms)

    @property
    def rises(self) -> bool:
        """Whether no weight is negative."""
        return all((_weights(term) >= 0).all() for term in self.terms)

    @property
    def unmoved(self) -> bool:
        """Whether the tensor has the shape that the terms have."""
        return self.shape == self.view

    def biases(self) -> Floats:
        """Return the bias of every element, of the shape ``shape``."""
        value = self.bias
        if value.shape != self.shape:
            value = value.reshape(-1, *(1 for _ in self.shape[1:]))
        return np.broadcast_to(value, self.shape)

    def scaled(self, factor: Floats) -> Form:
        """Return the form with every row multiplied by a factor, () or (rows,)."""
        rows = np.broadcast_to(factor, self.shape[:1]).astype(np.float64)
        shaped = rows.reshape(-1, *(1 for _ in self.bias.shape[1:]))
        return replace(self, terms=tuple(term.scaled(rows) for term in self.terms), bias=self.bias * shaped)

    def plus(self, other: Form) -> Form:
        """Return the sum of two forms of one shape."""
        same = self.bias.shape == other.bias.shape
        bias = self.bias + other.bias if same else self.biases() + other.biases()
        return replace(self, terms=self.terms + other.terms, bias=bias)

    def moved(self, view: Shape) -> Form:
        """Return the form of a tensor of another shape, whose elements are in the same order."""
        return replace(self, view=view)


def _weights(term: Term) -> Floats:
    if isinstance(term, Picked):
        return term.gain
    return term.dense() if isinstance(term, Matrix) else term.weight


def identity(read: Reading) -> Form:
    """Return the form of an activation itself."""
    rows = read.pooled[0]
    term = Picked(read=read, index=np.arange(rows), gain=np.ones(rows))
    return Form(terms=(term,), bias=np.zeros(rows), shape=read.pooled, view=read.pooled)


Evaluate = Callable[[Floats], Floats]


def convolved(form: Form, outer: Convolved, evaluate: Evaluate) -> Form | None:
    """Return the convolution of a form, or None if its terms cannot be folded into the kernel.

    Parameters
    ----------
    form : Form
        What is convolved, unmoved.
    outer : Convolved
        The convolution; what it reads is not looked at.
    evaluate : callable
        Gives the convolution of a map (C, H, W); of the bias here.
    """
    terms: list[Term] = []
    for term in form.terms:
        if isinstance(term, Picked):
            terms.append(_over_picked(term, outer))
        elif isinstance(term, Convolved) and _tiles(term, outer):
            terms.append(_over_pool(term, outer))
        else:
            return None
    bias = evaluate(form.biases()) if form.bias.any() else np.zeros(len(outer.weight))
    shape = _convolved_shape(form.shape, outer)
    return Form(terms=tuple(terms), bias=bias, shape=shape, view=shape)


def _convolved_shape(shape: Shape, outer: Convolved) -> Shape:
    return replace(outer, read=Reading(tensor="", shape=shape, pooled=shape)).output_shape()


def _over_picked(term: Picked, outer: Convolved) -> Convolved:
    if term.whole:
        weight = outer.weight * term.gain[outer.channels()][:, :, None, None]
        return replace(outer, read=term.read, weight=weight)
    full = outer.ungrouped()
    weight = np.zeros((len(full.weight), term.read.pooled[0], *full.weight.shape[2:]))
    for row in np.flatnonzero(term.index >= 0):
        weight[:, term.index[row]] += full.weight[:, row] * term.gain[row]
    return replace(full, read=term.read, weight=weight)


def _tiles(inner: Convolved, outer: Convolved) -> bool:
    """Tell whether a convolution pools channels alone, and what it gives beyond its map is zero if needed."""
    channels, *sizes = inner.read.pooled
    windows = [(size - 1) * by + 1 for size, by in zip(inner.weight.shape[2:], inner.dilation, strict=True)]
    lone = any(pad >= windows[side % 2] and inner.stride[side % 2] > 1 for side, pad in enumerate(inner.pads))
    if lone or inner.groups != channels or len(inner.weight) != channels:
        return False
    if not any(outer.pads):
        return True
    return not any(inner.pads) and all(
        windows[axis] <= inner.stride[axis] and sizes[axis] % inner.stride[axis] == 0 for axis in (0, 1)
    )


def _over_pool(inner: Convolved, outer: Convolved) -> Convolved:
    """Return the convolution of what a convolution of single channels gives, as one kernel."""
    inside, outside = inner.weight.shape[2:], outer.weight.shape[2:]
    size = tuple(
        (outside[a] - 1) * outer.dilation[a] * inner.stride[a] + (inside[a] - 1) * inner.dilation[a] + 1
        for a in (0, 1)
    )
    channel = outer.channels()
    weight = np.zeros((*channel.shape, *size))
    for y, x in np.ndindex(*outside):
        for i, j in np.ndindex(*inside):
            at = y * outer.dilation[0] * inner.stride[0] + i * inner.dilation[0]
            across = x * outer.dilation[1] * inner.stride[1] + j * inner.dilation[1]
            weight[:, :, at, across] += outer.weight[:, :, y, x] * inner.weight[channel, 0, i, j]
    pads = tuple(outer.pads[side] * inner.stride[side % 2] + inner.pads[side] for side in range(4))
    return Convolved(
        read=inner.read,
        weight=weight,
        stride=(inner.stride[0] * outer.stride[0], inner.stride[1] * outer.stride[1]),
        pads=(pads[0], pads[1], pads[2], pads[3]),
        groups=outer.groups,
    )


def flattened(form: Form, weight: Floats) -> Form:
    """Return the product of a matrix (rows, elements) with all elements of a form."""
    products: dict[Reading, Floats] = {}
    for term in form.terms:
        products[term.read] = products.get(term.read, 0.0) + np.asarray(weight @ term.matrix().weight)
    terms = [Matrix(read=read, weight=product) for read, product in products.items()]
    bias = weight @ form.biases().reshape(-1)
    return Form(terms=tuple(terms), bias=bias, shape=(len(weight),), view=(len(weight),))


def wide(form: Form, axons: int) -> bool:
    """Tell whether a neuron reads more than a row of a small core holds."""
    most = 0
    for term in form.terms:
        if isinstance(term, Convolved):
            most += math.prod(term.weight.shape[1:])
        elif isinstance(term, Matrix):
            most += term.weight.shape[1]
    return most > axons
