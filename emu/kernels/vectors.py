# SPDX-License-Identifier: Apache-2.0
"""Sums of rows of lanes in vector registers, which the compiler does not find by itself.

A row holds the payloads of one axon in all `LANES` lanes. A column of a crossbar adds the rows of its cells;
each function does this for one column and stores its sums once.
"""

# ruff: noqa: PLR0917 - kernels take positional arguments only

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from emu.jit import INTERPRETED, inner

__all__ = ["GROUP_ROWS", "LANES", "sum_groups", "sum_products"]

LANES = 8 if INTERPRETED else 64
"""Most stretches side by side: the lanes of a vector, fewer where the interpreter runs each of them."""

GROUP_ROWS = 8
"""Rows that are added at once."""

_PLACE = ir.IntType(64)


def _vector(bits: int) -> ir.VectorType:
    return ir.VectorType(ir.IntType(bits), LANES)


class _Column:
    """What builds the sums of a column: where arrays begin, and an accumulator of all lanes."""

    def __init__(self, context: Any, builder: Any, bits: int) -> None:
        self.context, self.builder = context, builder
        self.total = cgutils.alloca_once(builder, _vector(bits))  # type: ignore[no-untyped-call]
        builder.store(ir.Constant(_vector(bits), None), self.total)

    def data(self, kind: Any, array: Any) -> Any:
        """Return where the items of an array begin."""
        return self.context.make_array(kind)(self.context, self.builder, array).data

    def lanes(self, data: Any, at: Any, bits: int) -> Any:
        """Return a pointer to the vector that begins at an item."""
        return self.builder.bitcast(self.builder.gep(data, [at]), _vector(bits).as_pointer())

    def row(self, active: Any, rows: Any, at: Any, bits: int) -> Any:
        """Return the row of ``active`` that entry ``at`` of ``rows`` names."""
        place = self.builder.zext(self.builder.load(self.builder.gep(rows, [at])), _PLACE)
        return self.builder.load(self.lanes(active, place, bits), align=1)

    def add(self, value: Any, sign: int = 1) -> None:
        """Add a vector to the accumulator, or subtract it."""
        operation = self.builder.add if sign > 0 else self.builder.sub
        self.builder.store(operation(self.builder.load(self.total), value), self.total)

    def entries(self, group: Any) -> list[Any]:
        """Return the entries of a group."""
        first = self.builder.mul(group, ir.Constant(_PLACE, GROUP_ROWS))
        return [self.builder.add(first, ir.Constant(_PLACE, i)) for i in range(GROUP_ROWS)]

    def store(self, sums: Any, at: Any) -> None:
        """Write the accumulator as sums of 32 bits."""
        total = self.builder.load(self.total)
        if total.type != _vector(32):
            total = self.builder.sext(total, _vector(32))
        self.builder.store(total, self.lanes(sums, at, 32), align=4)


@intrinsic
def _groups(
    typing_context: Any,  # noqa: ARG001 - the compiler passes it
    active: Any,
    rows: Any,
    first: Any,  # noqa: ARG001
    middle: Any,  # noqa: ARG001
    last: Any,  # noqa: ARG001
    sums: Any,
    at: Any,  # noqa: ARG001
) -> Any:
    """Build `sum_groups`: eight rows are added in 8 bits, groups in 16."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        column = _Column(context, builder, 16)
        payloads, names = (column.data(signature.args[i], given[i]) for i in (0, 1))
        for begin, end, sign in ((given[2], given[3], 1), (given[3], given[4], -1)):
            with cgutils.for_range_slice(builder, begin, end, ir.Constant(_PLACE, 1)) as (group, _):
                some = ir.Constant(_vector(8), None)
                for entry in column.entries(group):
                    some = builder.add(some, column.row(payloads, names, entry, 8))
                column.add(builder.sext(some, _vector(16)), sign)
        column.store(column.data(signature.args[5], given[5]), given[6])
        return context.get_dummy_value()

    place = types.int64
    return types.void(active, rows, place, place, place, sums, place), build


@intrinsic
def _products(
    typing_context: Any,  # noqa: ARG001 - the compiler passes it
    active: Any,
    rows: Any,
    weights: Any,
    first: Any,  # noqa: ARG001
    last: Any,  # noqa: ARG001
    sums: Any,
    at: Any,  # noqa: ARG001
) -> Any:
    """Build `sum_products`: products and sums have 32 bits."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        column = _Column(context, builder, 32)
        payloads, names, factors = (column.data(signature.args[i], given[i]) for i in range(3))
        with cgutils.for_range_slice(builder, given[3], given[4], ir.Constant(_PLACE, 1)) as (group, _):
            for entry in column.entries(group):
                row = builder.sext(column.row(payloads, names, entry, 16), _vector(32))
                factor = builder.sext(builder.load(builder.gep(factors, [entry])), ir.IntType(32))
                one = builder.insert_element(
                    ir.Constant(_vector(32), ir.Undefined), factor, ir.Constant(ir.IntType(32), 0)
                )
                zeros = ir.Constant(_vector(32), None)
                all_lanes = builder.shuffle_vector(one, ir.Constant(_vector(32), ir.Undefined), zeros)
                column.add(builder.mul(row, all_lanes))
        column.store(column.data(signature.args[5], given[5]), given[6])
        return context.get_dummy_value()

    place = types.int64
    return types.void(active, rows, weights, place, place, sums, place), build


def _sum_groups(
    active: NDArray[np.int8],
    rows: NDArray[np.uint32],
    first: int,
    middle: int,
    last: int,
    sums: NDArray[np.int32],
    at: int,
) -> None:
    _groups(active, rows, first, middle, last, sums, at)  # type: ignore[call-arg]


def _sum_products(
    active: NDArray[np.int16],
    rows: NDArray[np.uint32],
    weights: NDArray[np.int16],
    first: int,
    last: int,
    sums: NDArray[np.int32],
    at: int,
) -> None:
    _products(active, rows, weights, first, last, sums, at)  # type: ignore[call-arg]


def _picked(active: NDArray[Any], rows: NDArray[np.uint32], first: int, last: int) -> NDArray[Any]:
    """Return the rows that groups name, shape (groups, GROUP_ROWS, LANES)."""
    names = rows[GROUP_ROWS * first : GROUP_ROWS * last].astype(np.int64)
    return active[names[:, None] + np.arange(LANES)].reshape(-1, GROUP_ROWS, LANES)  # type: ignore[no-any-return]


def _plain_groups(
    active: NDArray[np.int8],
    rows: NDArray[np.uint32],
    first: int,
    middle: int,
    last: int,
    sums: NDArray[np.int32],
    at: int,
) -> None:
    more, less = (
        _picked(active, rows, *groups).sum(1, dtype=np.int8).astype(np.int16)
        for groups in ((first, middle), (middle, last))
    )
    sums[int(at) : int(at) + LANES] = more.sum(0) - less.sum(0)


def _plain_products(
    active: NDArray[np.int16],
    rows: NDArray[np.uint32],
    weights: NDArray[np.int16],
    first: int,
    last: int,
    sums: NDArray[np.int32],
    at: int,
) -> None:
    factors = weights[GROUP_ROWS * first : GROUP_ROWS * last].astype(np.int32)
    sums[int(at) : int(at) + LANES] = factors @ _picked(active, rows, first, last).reshape(-1, LANES).astype(
        np.int32
    )


sum_groups: Callable[..., None] = _plain_groups if INTERPRETED else inner(_sum_groups)
"""Store the sums of the groups ``first`` to ``middle`` less those of ``middle`` to ``last``.

``active`` has payloads of 8 bits, so small that eight fit 8 bits and a column 16; ``rows`` says where each
row begins, eight for each group; the sums of all lanes go to ``sums`` from ``at`` on.
"""

sum_products: Callable[..., None] = _plain_products if INTERPRETED else inner(_sum_products)
"""Store the sums of rows of 16 bits, each times its weight, as `sum_groups` does."""
