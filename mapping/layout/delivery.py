# SPDX-License-Identifier: Apache-2.0
"""Which core, on which axon, receives what a layer reads (`docs/reference/mapping.md`)."""

from collections.abc import Sequence
from itertools import count

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mapping.layout.cut import CorePart
from mapping.spiking.matrices import pool_matrix
from mapping.spiking.network import SpikingLayer

__all__ = ["arriving", "numbered", "ordered", "ranges", "readers"]

Integers = NDArray[np.int64]

_FACTOR, _HALF = np.uint64(0x9E3779B97F4A7C15), np.uint64(29)
"""Odd, with its bits spread: a product carries every bit upwards, a shift brings it back down."""


def arriving(
    layer: SpikingLayer, index: int, parts: Sequence[CorePart]
) -> tuple[Integers, Integers, Integers]:
    """Return source element, index into ``parts`` and axon of every delivery from one source.

    In the order of the parts and their inputs. ``index`` is that of the source among those of the layer.
    """
    source, pools = layer.sources[index], pool_matrix(layer.sources[index])
    low = sum(other.inputs for other in layer.sources[:index])
    inputs = np.concatenate([part.inputs for part in parts]) - low
    own = (inputs >= 0) & (inputs < source.inputs)
    core = np.repeat(np.arange(len(parts)), [len(part.inputs) for part in parts])[own]
    axon, inputs = np.concatenate([part.axon for part in parts])[own], inputs[own]
    begin = pools.indptr.astype(np.int64)
    sizes = np.diff(begin)[inputs]
    member = pools.indices[ranges(begin[inputs], sizes)].astype(np.int64) + source.first
    return member, np.repeat(core, sizes), np.repeat(axon, sizes)


def readers(parts: Sequence[CorePart]) -> tuple[list[CorePart], Integers]:
    """Return the first part of each reader, parts that share what they read, and the reader of each part."""
    number: dict[int, int] = {}
    heads: list[CorePart] = []
    for part in parts:
        if id(part.inputs) not in number:
            number[id(part.inputs)] = len(heads)
            heads.append(part)
    return heads, np.array([number[id(part.inputs)] for part in parts], np.int64)


def ordered(first: Integers, second: Integers, third: Integers) -> tuple[Integers, Integers, Integers]:
    """Return rows of three numbers from 0 on, sorted by the first one, then the second, then the third.

    What arrives at cores is nearly sorted once it is put together by element, which takes no comparison.

    >>> [column.tolist() for column in ordered(np.array([2, 0, 2]), np.array([1, 3, 0]), np.array([4, 4, 4]))]
    [[0, 2, 2], [3, 0, 1], [4, 4, 4]]
    """
    bits = [int(column.max(initial=0)).bit_length() for column in (second, third)]
    keys = (first << bits[0] | second) << bits[1] | third
    shape, ends = (1, int(first.max(initial=0)) + 1), np.array([0, len(keys)])
    keys = sparse.csr_array((keys, first, ends), shape=shape).tocsc().data
    keys.sort(kind="stable")
    return keys >> sum(bits), keys >> bits[1] & (1 << bits[0]) - 1, keys & (1 << bits[1]) - 1


def ranges(begin: Integers, size: Integers) -> Integers:
    """Return begin, begin + 1, ... of every range, one after the other.

    >>> ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    before = np.cumsum(size) - size
    result: Integers = np.arange(int(size.sum())) + np.repeat(begin - before, size)
    return result


def numbered(begin: Integers, table: NDArray[np.integer]) -> tuple[Integers, Integers]:
    """Return a number for each list of rows, equal for equal lists, and where each number is first met.

    Numbers are given in the order in which their lists are met. List i is
    ``table[begin[i] : begin[i + 1]]``; lists are told apart by a sum of their rows, and compared.

    >>> rows = np.array([[1], [2], [1], [2], [2], [1]])
    >>> [found.tolist() for found in numbered(np.array([0, 2, 4, 4, 6]), rows)]
    [[0, 0, 1, 2], [0, 2, 3]]
    """
    size = np.diff(begin)
    within = np.arange(len(table)) - np.repeat(begin[:-1], size)
    for salt in count(1):
        sums = _sums(begin, _mixed(within, table, salt)) + size.astype(np.uint64)
        _, first, number = np.unique(sums, return_index=True, return_inverse=True)
        like = first[number]
        if np.array_equal(size[like], size):
            other = np.repeat(begin[like], size) + within
            if all(np.array_equal(column[other], column) for column in table.T):
                break
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[number], first[order]


def _mixed(within: Integers, table: NDArray[np.integer], salt: int) -> NDArray[np.uint64]:
    """Return for each row a number that depends on all its values and on its place in its list."""
    mixed = within.astype(np.uint64) + np.uint64(salt)
    for column in table.T:
        mixed = mixed * _FACTOR + column.astype(np.uint64)
        mixed ^= mixed >> _HALF
    mixed *= _FACTOR
    mixed ^= mixed >> _HALF
    return mixed * _FACTOR


def _sums(begin: Integers, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the sum of each run of values, with what overflows left out."""
    sums = np.zeros(len(begin) - 1, np.uint64)
    some = begin[1:] > begin[:-1]
    if some.any():
        sums[some] = np.add.reduceat(values, begin[:-1][some])
    return sums
