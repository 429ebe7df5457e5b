# SPDX-License-Identifier: Apache-2.0
"""Spiking layers as sparse matrices, and how many operations they take."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mapping.spiking.network import Pool, Source, SpikingLayer, SpikingNetwork
from mapping.spiking.simulate import source_input

__all__ = [
    "K_WEI",
    "LayerOperations",
    "connections",
    "layer_matrix",
    "operation_counts",
    "pool_matrix",
    "pool_members",
    "source_matrix",
]

K_WEI = 2
"""Columns per ternary weight in the dense convention of Zou et al. 2021: strengths -1 and +1."""

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerOperations:
    """Counts of one layer, each (images,).

    ``input_spikes`` is the sum and ``largest`` the largest of the counts it reads, after its pools;
    ``spikes`` is the sum of those it fires; of negative counts their magnitude. ``logical`` takes one
    operation per input spike and non-zero weight it meets, or per packet in networks whose weights have
    several digits; ``effective`` one per non-zero input and non-zero weight, whatever the count. ``dense``
    is the convention of Zou et al. 2021: input spikes in every receptive field x output channels x k_wei x
    k_rep, with k_wei = 2 and k_rep the layer's levels.
    """

    input_spikes: Integers
    largest: Integers
    spikes: Integers
    logical: Integers
    effective: Integers
    dense: Integers


def _positions(size: int, stride: int, pad: int, offset: int, count: int) -> tuple[Integers, Integers]:
    """Return output and input positions along one dimension that one kernel tap joins."""
    out = np.arange(count)
    inside = out * stride + offset - pad
    valid = (inside >= 0) & (inside < size)
    return out[valid], inside[valid]


def _taps(source: Source, output_shape: tuple[int, ...]) -> list[tuple[int, int, Integers, Integers]]:
    """Return for every kernel tap (y, x) the flat output and input pixels it joins."""
    _, height, width = source.input_shape
    _, rows, columns = output_shape
    taps = []
    for y in range(source.weight.shape[2]):
        out_y, in_y = _positions(height, source.stride[0], source.pads[0], y * source.dilation[0], rows)
        for x in range(source.weight.shape[3]):
            out_x, in_x = _positions(width, source.stride[1], source.pads[1], x * source.dilation[1], columns)
            out = (out_y[:, None] * columns + out_x).reshape(-1)
            taps.append((y, x, out, (in_y[:, None] * width + in_x).reshape(-1)))
    return taps


def layer_matrix(layer: SpikingLayer) -> sparse.csr_array:
    """Return the weights as int16 CSR (outputs, inputs of all sources), flattened in C, H, W order."""
    parts = [source_matrix(source, layer.output_shape) for source in layer.sources]
    whole = parts[0] if len(parts) == 1 else sparse.csr_array(sparse.hstack(parts, format="csr"))
    whole.sort_indices()
    return whole


def source_matrix(
    source: Source, output_shape: tuple[int, ...], dtype: type[np.integer[Any]] = np.int16
) -> sparse.csr_array:
    """Return the weights of one source as CSR (outputs, inputs after the pools)."""
    weight = source.weight
    if source.kind == "dense":
        return sparse.csr_array(weight)
    rows, fan_in = weight.shape[:2]
    pixels_out, pixels_in = math.prod(output_shape[1:]), math.prod(source.input_shape[1:])
    at, to, values = [], [], []
    for y, x, out, inside in _taps(source, output_shape):
        row, column = np.nonzero(weight[:, :, y, x])
        channel = column + row // (rows // source.groups) * fan_in
        at.append((row[:, None] * pixels_out + out).reshape(-1))
        to.append((channel[:, None] * pixels_in + inside).reshape(-1))
        values.append(np.repeat(weight[row, column, y, x], len(out)))
    shape = (rows * pixels_out, source.inputs)
    where = (np.concatenate(at), np.concatenate(to))
    return sparse.csr_array((np.concatenate(values), where), shape=shape, dtype=dtype)


def _pool_step(pool: Pool, shape: tuple[int, int, int]) -> tuple[sparse.csr_array, tuple[int, int, int]]:
    channels, height, width = shape
    (kh, kw), (sy, sx), (top, left, bottom, right) = pool.kernel, pool.stride, pool.pads
    rows, columns = (height + top + bottom - kh) // sy + 1, (width + left + right - kw) // sx + 1
    at, to = [], []
    for y in range(kh):
        out_y, in_y = _positions(height, sy, top, y, rows)
        for x in range(kw):
            out_x, in_x = _positions(width, sx, left, x, columns)
            at.append((out_y[:, None] * columns + out_x).reshape(-1))
            to.append((in_y[:, None] * width + in_x).reshape(-1))
    where = (np.concatenate(at), np.concatenate(to))
    plane = sparse.csr_array(
        (np.ones(len(where[0]), np.int32), where), shape=(rows * columns, height * width)
    )
    return sparse.csr_array(sparse.kron(sparse.eye_array(channels, dtype=np.int32), plane)), (
        channels,
        rows,
        columns,
    )


def pool_matrix(source: Source) -> sparse.csr_array:
    """Return int8 CSR (inputs, source elements), 1 where an input is the maximum over that element."""
    result = sparse.csr_array(sparse.eye_array(math.prod(source.shape), dtype=np.int32))
    shape = source.shape
    for pool in source.pools:
        channels, height, width = shape
        step, shape = _pool_step(pool, (channels, height, width))
        result = sparse.csr_array(step @ result)
        result.data[:] = 1
    result.sort_indices()
    return result.astype(np.int8)


def pool_members(source: Source) -> tuple[Integers, ...]:
    """Return for every input after the pools the source elements, ascending, it is the maximum of."""
    matrix = pool_matrix(source)
    return tuple(np.split(matrix.indices.astype(np.int64), matrix.indptr[1:-1]))


@lru_cache(maxsize=256)  # the same for every batch
def _fan_out(source: Source, output_shape: tuple[int, ...], *, dense: bool) -> Integers:
    """Return how many non-zero weights, or with ``dense`` how many weights, every input meets."""
    present = np.ones_like(source.weight) if dense else source.weight
    if source.kind == "dense":
        return np.asarray(np.count_nonzero(present, axis=0), dtype=np.int64)
    rows, fan_in = source.weight.shape[:2]
    by_group = present.reshape(source.groups, rows // source.groups, fan_in, *source.weight.shape[2:])
    weights = np.count_nonzero(by_group, axis=1).reshape(source.input_shape[0], *source.weight.shape[2:])
    result = np.zeros((source.input_shape[0], math.prod(source.input_shape[1:])), dtype=np.int64)
    for y, x, _, inside in _taps(source, output_shape):
        result[:, inside] += weights[
            :, y, x, None
        ]  # one tap joins an input pixel with one output pixel at most
    return result.reshape(-1)


def connections(layer: SpikingLayer, *, dense: bool = False) -> int:
    """Return how many pairs of an input and an output a non-zero weight joins, or with ``dense`` any weight.

    Padding is no input.
    """
    return sum(int(_fan_out(source, layer.output_shape, dense=dense).sum()) for source in layer.sources)


def operation_counts(
    spiking: SpikingNetwork, counts: Mapping[str, NDArray[np.int32]]
) -> dict[str, LayerOperations]:
    """Return spikes and synaptic operations of every layer for the counts that `simulate` returned.

    A count of c on one input is |c| spikes. Encoder and decoder are not counted.
    """
    return {layer.name: _operations(spiking, layer, counts) for layer in spiking.layers}


def _operations(
    spiking: SpikingNetwork, layer: SpikingLayer, counts: Mapping[str, NDArray[np.int32]]
) -> LayerOperations:
    fired = counts[layer.name].reshape(len(counts[layer.name]), -1)
    zero = np.zeros(len(fired), np.int64)
    total = LayerOperations(
        input_spikes=zero,
        largest=zero,
        spikes=np.abs(fired).sum(axis=1, dtype=np.int64),
        logical=zero,
        effective=zero,
        dense=zero,
    )
    for source in layer.sources:
        size = np.abs(source_input(source, counts[source.name])).reshape(len(fired), -1)
        present = _fan_out(source, layer.output_shape, dense=False)
        effective = _products(size != 0, present)
        every = _fan_out(source, layer.output_shape, dense=True)
        total = replace(
            total,
            input_spikes=total.input_spikes + size.sum(axis=1, dtype=np.int64),
            largest=np.maximum(total.largest, size.max(axis=1)),
            logical=total.logical + (_products(size, present) if spiking.ternary else effective),
            effective=total.effective + effective,
            dense=total.dense + _products(size, every) * K_WEI * layer.levels,
        )
    return total


def _products(values: NDArray[Any], factors: Integers) -> Integers:
    """Return integers (images, n) times factors (n,), by the linear algebra of floats where that is exact."""
    most = int(values.max(initial=0)) * int(factors.sum())
    if most >= 2**53:
        return np.asarray(values.astype(np.int64) @ factors, np.int64)
    return np.asarray(values.astype(np.float64) @ factors.astype(np.float64), np.int64)
