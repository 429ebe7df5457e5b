# SPDX-License-Identifier: Apache-2.0
"""What a core of a given size can hold of a layer, by itself and whatever is around it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from emu.spec import PRESETS, THRESHOLDS_A_WORD, CoreSpec, bits_for
from mapping.codes.obstacles import Fits, Obstacle
from mapping.errors import InfeasibleError
from mapping.layout.cut import CorePart, Limits, cut_layer, deliveries, fits_as_patch
from mapping.spiking.matrices import layer_matrix
from mapping.spiking.network import SpikingLayer, SpikingNetwork

__all__ = [
    "MAX_CORES",
    "MAX_HEIGHT",
    "MAX_WIDTH",
    "clamped_thresholds",
    "entries_of",
    "fits",
    "limits_of",
    "misfit",
    "preset_for",
    "windows",
    "with_gateway",
]

Integers = NDArray[np.int64]
Limit = tuple[str, int, int, str]
"""Name, demand, what is allowed, and what to do where no preset allows it."""

MAX_WIDTH, MAX_HEIGHT = 64, 63
"""Largest mesh of one chip."""

MAX_CORES = MAX_WIDTH * MAX_HEIGHT
"""Cores of the largest mesh."""


def fits(spec: CoreSpec) -> Fits:
    """Return a chip of such cores as conversion sees it."""

    def obstacle(layer: SpikingLayer) -> Obstacle | None:
        found = misfit(layer, spec)
        return None if found is None else Obstacle(reason=found.reason, remedy=found.remedy)

    return obstacle


def misfit(layer: SpikingLayer, spec: CoreSpec) -> InfeasibleError | None:
    """Return the first limit that a layer breaks on cores of a size however it is cut, or None.

    The remedy is the first preset on which it breaks none, or else what the layer must become.
    """
    for name, demand, allowed, otherwise in _limits(layer, spec):
        if demand > allowed:
            other = preset_for(lambda other: _fit(layer, other))
            return InfeasibleError(
                layer=layer.name, limit=name, demand=demand, allowed=allowed, remedy=other or otherwise
            )
    return None


def preset_for(suits: Callable[[CoreSpec], bool]) -> str:
    """Return the remedy that names the first preset that suits, or nothing."""
    return next((f"choose the core size {name}" for name, spec in PRESETS.items() if suits(spec)), "")


def _fit(layer: SpikingLayer, spec: CoreSpec) -> bool:
    return all(demand <= allowed for _, demand, allowed, _ in _limits(layer, spec))


def _limits(layer: SpikingLayer, spec: CoreSpec) -> Iterator[Limit]:
    """Yield the limits, cheap ones first; one that follows may rely on those before it."""
    levels = f"to at most {spec.payload_max} levels"
    yield "spikes per input value", layer.source_levels, spec.payload_max, f"quantise its input {levels}"
    yield "spikes per neuron", layer.levels, spec.payload_max, f"quantise its output {levels}"
    yield "thresholds on one core", layer.levels, spec.thresholds, f"quantise its output {levels}"
    least = -(-layer.neurons // spec.columns)
    yield "cores", least, MAX_CORES, f"let it have at most {MAX_CORES * spec.columns} neurons"
    whole = fits_as_patch(layer, limits_of(layer, spec, entries=1))
    inputs = 0 if whole else _most_inputs(layer)
    most = f"let each of its neurons have at most {spec.axons} non-zero weights"
    yield "axons for the inputs of one neuron", inputs, spec.axons, most
    yield "potential bits", _potential_bits(layer, spec), spec.potential_bits, most
    if not whole:
        parts, _ = cut_layer(layer, limits_of(layer, spec, entries=1))
        fewer = f"let it have at most {spec.axons} inputs"
        yield (
            "fan-out entries for one of its inputs",
            int(entries_of(layer, parts).max()),
            spec.fanouts,
            fewer,
        )


def _most_inputs(layer: SpikingLayer) -> int:
    """Return the most non-zero weights of a neuron; at the border of a map it may have fewer than its row."""
    rows = np.count_nonzero(layer.weight.reshape(len(layer.weight), -1), axis=1)
    return int(rows.max()) if layer.kind == "dense" else int(np.diff(layer_matrix(layer).indptr).max())


def limits_of(layer: SpikingLayer, spec: CoreSpec, *, entries: int, cap: int | None = None) -> Limits:
    """Return what a core holds of a layer whose neurons need up to so many fan-out entries each."""
    neurons = min(spec.columns, spec.fanouts // max(entries, 1), cap or spec.columns)
    rows = windows(spec, layer.levels)
    distinct = len(np.unique(clamped_thresholds(layer, spec), axis=0))
    return Limits(axons=spec.axons, neurons=neurons, threshold_rows=rows if distinct > rows else 2**30)


def windows(spec: CoreSpec, levels: int) -> int:
    """Return how many lists of so many thresholds a core holds: each within a word or from the begin of one.

    >>> from emu.spec import preset
    >>> [windows(preset("tiny"), levels) for levels in (1, 2, 3, 4, 5)]
    [128, 64, 32, 32, 16]
    """
    words = spec.thresholds // THRESHOLDS_A_WORD
    if levels <= THRESHOLDS_A_WORD:
        return words * (THRESHOLDS_A_WORD // levels)
    return words // -(-levels // THRESHOLDS_A_WORD)


def entries_of(reader: SpikingLayer, parts: Sequence[CorePart]) -> Integers:
    """Return how many fan-out entries every source element needs for a reader: one for each of its axons."""
    source, _, axon = deliveries(reader, parts)
    pairs = np.unique(np.stack((source, axon)), axis=1)
    return np.bincount(pairs[0], minlength=int(np.prod(reader.source_shape)))


def clamped_thresholds(layer: SpikingLayer, spec: CoreSpec) -> Integers:
    """Return the thresholds, int64 (rows, levels), within the words of the core.

    A threshold above potential_max becomes "never", one below potential_min "always". Potentials saturate, so
    this is exact as long as no reachable sum lies beyond such a threshold, which `misfit` demands.
    """
    return np.clip(layer.thresholds, spec.always, spec.never)


def _potential_bits(layer: SpikingLayer, spec: CoreSpec) -> int:
    """Return the bits of the widest threshold that is out of range and has reachable sums beyond it, or 0."""
    flat = layer.weight.reshape(len(layer.weight), -1).astype(np.int64)
    high = np.where(flat > 0, flat, 0).sum(axis=1) * layer.source_levels
    low = np.where(flat < 0, flat, 0).sum(axis=1) * layer.source_levels
    theta = layer.thresholds
    wrong = (theta > spec.potential_max) & (theta <= high[:, None])
    wrong |= (theta <= spec.potential_min) & (theta > low[:, None])
    return int(np.abs(theta[wrong]).max()).bit_length() + 1 if wrong.any() else 0


def with_gateway(spec: CoreSpec, spiking: SpikingNetwork) -> CoreSpec:
    """Return a core whose packets can name every neuron that the decoder reads.

    A flit is widened only where it must be, so that other chips stay as they are.
    """
    elements = sum(spiking.layer(name).neurons for name in spiking.outputs)
    if bits_for(elements) <= spec.flit_axon_bits:
        return spec
    return replace(spec, gateway_axons=elements)
