# SPDX-License-Identifier: Apache-2.0
"""What a core of a given size can hold of a layer, by itself and whatever is around it."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from emu.sizes import bits_for
from emu.spec import MOST_ACROSS, PRESETS, THRESHOLDS_A_WORD, CoreSpec
from emu.words import SHIFT_BITS
from mapping.codes.obstacles import Fits, Obstacle
from mapping.errors import InfeasibleError
from mapping.layout.cut import CorePart, Limits, cut_layer, fits_as_patch, most_inputs, spare_axons
from mapping.layout.delivery import arriving, ordered, readers
from mapping.spiking.digits import digits_of
from mapping.spiking.matrices import layer_matrix
from mapping.spiking.network import SpikingLayer, SpikingNetwork
from mapping.spiking.quantisers import Ladders, Lists, least_count
from mapping.spiking.spread import spread_layer
from mapping.spiking.unary import unary_layer

__all__ = [
    "MAX_CORES",
    "MAX_HEIGHT",
    "MAX_WIDTH",
    "clamped_thresholds",
    "entries_of",
    "fits",
    "limits_of",
    "lists_of",
    "misfit",
    "preset_for",
    "windows",
    "with_gateway",
]

Integers = NDArray[np.int64]
Limit = tuple[str, int, int, str]
"""Name, demand, what is allowed, and what to do where no preset allows it."""

_MOST_SHIFT = (1 << SHIFT_BITS) - 1

MAX_WIDTH = MAX_HEIGHT = MOST_ACROSS
"""Largest mesh."""

MAX_CORES = MAX_WIDTH * MAX_HEIGHT
"""Cores of the largest mesh."""


def fits(spec: CoreSpec, *, unary: bool = False) -> Fits:
    """Return a chip of such cores, with ``unary`` of unary packets alone, as conversion sees it."""

    def obstacle(layer: SpikingLayer) -> Obstacle | None:
        found = misfit(unary_layer(layer) if unary else spread_layer(layer), spec)
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
    most, least = max(source.high for source in layer.sources), min(source.low for source in layer.sources)
    yield "spikes per input value", most, spec.payload_max, f"quantise its input {levels}"
    yield "spikes per negative input value", -least, -spec.payload_min, f"quantise its input {levels}"
    yield "spikes per neuron", layer.levels, spec.payload_max, f"quantise its output {levels}"
    yield "spikes per neuron below zero", -layer.low, -least_count(spec), f"quantise its output {levels}"
    yield from _quantiser_limits(layer, spec)
    digits = len(layer.strengths)
    yield "digits of a weight", digits, min(spec.strengths, spec.lanes), "use fewer digits"
    shift = max(source.shift for source in layer.sources)
    yield "bits of an axon shift", shift, _MOST_SHIFT * spec.axon_shifts, "use more digits"
    least = -(-layer.neurons // (spec.words * (spec.lanes // digits)))
    yield "cores", least, MAX_CORES, f"let it have at most {MAX_CORES * spec.columns // digits} neurons"
    whole = fits_as_patch(layer, limits_of(layer, spec, entries=1))
    inputs = 0 if whole else most_inputs(layer, layer_matrix(layer))
    most = spec.extended_axons - spare_axons(layer)
    fewer = f"let each of its neurons have at most {most} non-zero weights"
    yield "axons for the inputs of one neuron", inputs, spec.extended_axons, fewer
    yield "bits of a column sum", _sum_bits(layer, spec), spec.sum_bits, fewer
    yield "potential bits", _potential_bits(layer, spec), spec.potential_bits, fewer
    if not whole:
        parts, _ = cut_layer(layer, limits_of(layer, spec, entries=1))
        fewer = f"let it have at most {spec.extended_axons} inputs"
        each = [entries_of(layer, index, parts).max() for index in range(len(layer.sources))]
        yield "fan-out entries for one of its inputs", int(max(each)), spec.fanouts, fewer


def _quantiser_limits(layer: SpikingLayer, spec: CoreSpec) -> Iterator[Limit]:
    """Yield what lists or ladders demand."""
    fewer = f"quantise its output to at most {spec.payload_max} levels"
    if not isinstance(layer.quantiser, Ladders):
        yield "thresholds on one core", layer.levels, spec.thresholds, fewer
    if isinstance(layer.quantiser, Lists):
        return
    ladders = layer.quantiser if isinstance(layer.quantiser, Ladders) else layer.quantiser.ladders
    bits = ladders.payload_bits
    yield "ladders", 1, int(spec.ladder), "choose a core with ladders"
    yield "signed ladders", int(layer.low < 0), int(spec.signed_ladder), "choose a core with signed ladders"
    yield "payload bits of its ladders", bits, spec.payload_bits, "convert the network for this core"
    yield "payload bits of the core", spec.payload_bits, bits, "convert the network for this core"


def limits_of(
    layer: SpikingLayer, spec: CoreSpec, *, entries: int, cap: int | None = None
) -> tuple[Limits, ...]:
    """Return what a core holds of a layer whose neurons need up to so many fan-out entries each.

    One for each extension of the crossbar's rows.
    """
    rows = windows(spec, layer)
    distinct = _distinct_rows(layer, spec)
    most = min(spec.fanouts // max(entries, 1), cap or spec.columns)
    found = []
    for power in range(spec.max_extension.bit_length()):
        columns = (spec.words >> power) * (spec.lanes // len(layer.strengths))
        found.append(
            Limits(
                axons=spec.axons << power,
                neurons=min(columns, most),
                threshold_rows=rows if distinct > rows else 2**30,
                extension=1 << power,
            )
        )
    return tuple(found)


def _distinct_rows(layer: SpikingLayer, spec: CoreSpec) -> int:
    if isinstance(layer.quantiser, Ladders):
        return len(np.unique(layer.quantiser.words, axis=0))
    return len(np.unique(clamped_thresholds(layer, spec), axis=0))


def windows(spec: CoreSpec, layer: SpikingLayer) -> int:
    """Return how many ladders, or lists of a layer's thresholds, a core holds.

    A ladder takes a word of the threshold memory; a list lies within a word or begins one.
    """
    words = spec.thresholds // THRESHOLDS_A_WORD
    if isinstance(layer.quantiser, Ladders):
        return words
    return lists_of(spec, layer.levels)


def lists_of(spec: CoreSpec, levels: int) -> int:
    """Return how many lists of so many thresholds a core holds: each within a word or from the begin of one.

    >>> from emu.spec import preset
    >>> [lists_of(preset("tiny"), levels) for levels in (1, 2, 3, 4, 5)]
    [128, 64, 32, 32, 16]
    """
    words = spec.thresholds // THRESHOLDS_A_WORD
    if levels <= THRESHOLDS_A_WORD:
        return words * (THRESHOLDS_A_WORD // levels)
    return words // -(-levels // THRESHOLDS_A_WORD)


def entries_of(reader: SpikingLayer, index: int, parts: Sequence[CorePart]) -> Integers:
    """Return how many fan-out entries every element of a reader's source needs: one for each of its axons."""
    element, core, axon = arriving(reader, index, readers(parts)[0])
    element, axon, _ = ordered(element, axon, np.zeros_like(core))
    first = np.ones(len(element), np.bool_)
    first[1:] = (element[1:] != element[:-1]) | (axon[1:] != axon[:-1])
    return np.bincount(element[first], minlength=math.prod(reader.sources[index].shape))


def clamped_thresholds(layer: SpikingLayer, spec: CoreSpec) -> Integers:
    """Return the thresholds, int64 (rows, levels), within the words of the core.

    A threshold above potential_max becomes "never", one below potential_min "always". Potentials saturate, so
    this is exact as long as no reachable sum lies beyond such a threshold, which `misfit` demands.
    """
    return np.clip(layer.edges, spec.always, spec.never)


def _sum_bits(layer: SpikingLayer, spec: CoreSpec) -> int:
    """Return the bits that a column sum needs, whatever payloads come, as an image must have them."""
    most = 0
    for source in layer.sources:
        digits = digits_of(source.weight.reshape(len(source.weight), -1), layer.strengths)
        each = [(digits[..., place] != 0).sum(axis=1, dtype=np.int64) for place in range(digits.shape[-1])]
        cells = np.max(each, axis=0)
        most = most + (cells << (source.shift + spec.payload_bits - 1))
    return int(np.max(most)).bit_length() + 1


def _potential_bits(layer: SpikingLayer, spec: CoreSpec) -> int:
    """Return the bits of a potential that counts may tell from those that the core can hold, or 0."""
    edges = layer.edges
    low, high = layer.reach()
    wrong = (edges > spec.potential_max) & (edges <= high[:, None])
    wrong |= (edges <= spec.potential_min) & (edges > low[:, None])
    largest = int(np.abs(edges[wrong]).max()) if wrong.any() else 0
    beyond = np.abs(layer.biases()).max(initial=0)
    if beyond > spec.potential_max:
        largest = max(largest, int(beyond))
    return largest.bit_length() + 1 if largest else 0


def with_gateway(spec: CoreSpec, spiking: SpikingNetwork) -> CoreSpec:
    """Return a core whose packets can name every neuron that the decoder reads.

    A flit is widened only where it must be, so that other chips stay as they are.
    """
    elements = sum(spiking.layer(name).neurons for name in spiking.outputs)
    if bits_for(elements) <= spec.flit_axon_bits:
        return spec
    return replace(spec, gateway_axons=elements)
