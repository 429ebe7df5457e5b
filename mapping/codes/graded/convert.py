# SPDX-License-Identifier: Apache-2.0
"""Convert an ordinary float network into a spiking one of the graded code, by samples, without training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from emu.spec import CoreSpec
from mapping.codes.graded.allocation import DigitSearch
from mapping.codes.graded.calibration import Calibration, Grids
from mapping.codes.graded.ranges import Grid
from mapping.codes.graded.spelling import spelled
from mapping.codes.graded.structure import Structure, structure_of
from mapping.codes.obstacles import Fits, Holds, Obstacle, anything_fits, anything_holds
from mapping.errors import MappingError, OptionError, UnsupportedModelError
from mapping.model.evaluate import needed_nodes
from mapping.model.network import Network
from mapping.model.node import Node
from mapping.model.operations import OPERATIONS
from mapping.model.rewrite import sunk
from mapping.model.work import multiply_adds, shares
from mapping.spiking.digits import MOST_DIGITS
from mapping.spiking.network import HostLayer, SpikingLayer, SpikingNetwork

__all__ = ["AUTO_DIGITS", "TOLERANCE", "GradedOptions", "Surroundings", "convert_graded", "host_nodes"]

Progress = Callable[[str], None]

AUTO_DIGITS: Literal["auto"] = "auto"
"""Stands for the fewest digits of each layer that the tolerance allows."""

TOLERANCE = 1.0
"""Points by which the error may grow, where nobody says how many."""

_LAYERS = frozenset({"Conv", "Dense", "Foreign", "MaxPool"})
_MOST_ROOTS = 32
_LEFT = "let an operator that the chip has take its place"


@dataclass(frozen=True, slots=True, kw_only=True)
class GradedOptions:
    """How fine activations and weights are.

    Parameters
    ----------
    bits : int
        Bits of an activation, 2..8. What enters and leaves the chip has 8, or what a payload holds.
    digits : int, tuple of int or "auto"
        Digits of a weight, 1..7, of strengths 1, 3, 9 and so on: of all layers, of each layer on the chip in
        its order, or the fewest of each that the tolerance allows.
    seed : int
        Of the positions that the calibration looks at.
    tolerance : float
        Of digits ``"auto"``: points by which the error of what leaves the chip, on the calibration samples
        and in percent of its deviation, may be larger than with the most digits.
    """

    bits: int = 8
    digits: int | tuple[int, ...] | Literal["auto"] = 5
    seed: int = 0
    tolerance: float = TOLERANCE

    def check(self, spec: CoreSpec) -> None:
        """Refuse what a core does not have.

        Raises
        ------
        MappingError
            If an option is out of its range.
        OptionError
            If it is beyond the core.
        """
        if not 2 <= self.bits <= 8:
            raise MappingError(f"Bits of an activation must be 2..8, not {self.bits}.")
        if not 0 <= self.tolerance < math.inf:
            raise MappingError(f"Tolerance must be 0 or more points of error, not {self.tolerance:g}.")
        for number in self._numbers():
            if not 1 <= number <= MOST_DIGITS:
                raise MappingError(f"Digits of a weight must be auto or 1..{MOST_DIGITS}, not {number}.")
        most = min(8, spec.payload_bits - 1)
        if self.bits > most:
            raise OptionError(
                f"Activations of {self.bits} bits need payloads of {self.bits + 1} bits, the core has "
                f"{spec.payload_bits}: choose at most {most} bits, or the core size medium."
            )
        digits = max(self._numbers(), default=1)
        if digits > spec.strengths:
            raise OptionError(
                f"Weights of {digits} digits need as many strengths, the core has {spec.strengths}: "
                f"choose at most {spec.strengths} digits, or the core size reference."
            )

    def _numbers(self) -> tuple[int, ...]:
        """Return the digits that are given."""
        if self.digits == AUTO_DIGITS:
            return ()
        return self.digits if isinstance(self.digits, tuple) else (self.digits,)


def convert_graded(
    network: Network,
    samples: NDArray[np.float64],
    spec: CoreSpec,
    options: GradedOptions | None = None,
    *,
    fits: Fits = anything_fits,
    holds: Holds = anything_holds,
    strict: bool = False,
    progress: Progress | None = None,
) -> SpikingNetwork:
    """Return the graded network of a float network.

    Parameters
    ----------
    network : Network
        The trained network.
    samples : float64 (n, input shape)
        Calibration samples, without labels.
    spec : CoreSpec
        The core that it is for.
    options : GradedOptions, optional
        How fine it is.
    fits, holds, strict
        As of `mapping.codes.convert.convert`.
    progress : callable, optional
        Told what is being done.

    Raises
    ------
    MappingError
        If the core lacks what the options ask for.
    UnsupportedModelError
        If no layer can run on the chip, or with ``strict`` not all.
    """
    options = options or GradedOptions()
    options.check(spec)
    prepared, say = sunk(spelled(network)), progress or (lambda _: None)
    refused: dict[str, Obstacle] = {}
    known: dict[str, int] = {}
    while True:
        structure = _best_structure(prepared, spec, refused)
        calibration = Calibration(prepared, structure, samples, spec, Grids(options.bits, options.seed))
        if not structure.points.keys() <= known.keys():
            leaving, tolerance = _leaving(prepared, structure), options.tolerance
            search = DigitSearch(calibration, leaving, tolerance, spec=spec, fits=fits, say=say)
            known |= _digits(options.digits, search)
        digits = [known[tensor] for tensor in structure.points]
        layers, grid, obstacles = calibration.layers(digits, fits, say)
        if not obstacles:
            spiking = Surroundings(prepared, structure, refused).network(layers, grid, "graded")
            obstacles = {spiking.layer(name).activation: why for name, why in holds(spiking).items()}
            if not obstacles:
                break
        refused |= {tensor: why for tensor, why in obstacles.items() if tensor not in refused}
    if strict and spiking.host_share != 0:
        first = spiking.host[0]
        raise UnsupportedModelError(
            f"Layer {first.name!r} would run on the host because {first.told}, or leave strict out."
        )
    return spiking


def _digits(digits: int | tuple[int, ...] | Literal["auto"], search: DigitSearch) -> dict[str, int]:
    """Return the digits of the layer of each activation, searched for if none are given."""
    points = search.calibration.points
    if digits == AUTO_DIGITS:
        digits = search.found()
    elif isinstance(digits, int):
        digits = (digits,) * len(points)
    if len(digits) != len(points):
        names = ", ".join(point.name for point in points)
        raise MappingError(
            f"Digits must be one number, or one for each of the {len(points)} layers on the chip ({names}), "
            f"not {len(digits)} numbers."
        )
    return {point.tensor: number for point, number in zip(points, digits, strict=True)}


def _leaving(network: Network, structure: Structure) -> tuple[str, ...]:
    """Return the activations that leave the chip: those that the host reads."""
    points = structure.points
    decoder = needed_nodes(network, [network.input, structure.root, *points], [network.output])
    read = {network.output, *(tensor for node in decoder for tensor in node.inputs)}
    return tuple(tensor for tensor in points if tensor in read)


def _best_structure(network: Network, spec: CoreSpec, refused: Mapping[str, Obstacle]) -> Structure:
    """Return the cut that leaves the least work to the host; the earliest of equal ones."""
    work = multiply_adds(network)
    reasons = {tensor: obstacle.reason for tensor, obstacle in refused.items()}
    best: tuple[float, Structure] | None = None
    for root in _roots(network, spec, reasons):
        structure = structure_of(network, root, axons=spec.axons, refused=reasons)
        if not structure.points:
            continue
        left = sum(work.get(node.name) or 0 for node in host_nodes(network, structure))
        if best is None or left < best[0]:
            best = (left, structure)
        if left == 0:
            break
    if best is None:
        told = next(iter(refused.values()), None)
        what = "no operation of it is one of a neuron" if told is None else f"{told.reason}; {told.remedy}"
        raise UnsupportedModelError(f"No layer of {network.name!r} can run on the chip: {what}.")
    return best[1]


def _roots(network: Network, spec: CoreSpec, reasons: Mapping[str, str]) -> Iterator[str]:
    """Yield tensors that may enter the chip: the input, then what the chip cannot compute from it.

    Moves and selections of the input itself only number its axons, so that they are the host's.
    """
    start, readers = network.input, network.consumers(network.input)
    while len(readers) == 1 and OPERATIONS[readers[0].op].selects and readers[0].op != "MaxPool":
        start = readers[0].output
        readers = network.consumers(start)
    yield start
    found = 0
    seen = {start}
    structure = structure_of(network, start, axons=spec.axons, refused=reasons)
    for node in network.nodes:
        if node.name in structure.refused and found < _MOST_ROOTS and node.output not in seen:
            seen.add(node.output)
            found += 1
            yield node.output


def host_nodes(network: Network, structure: Structure) -> tuple[Node, ...]:
    """Return what the host computes: up to the root, and behind the last activations."""
    encoder = needed_nodes(network, [network.input], [structure.root])
    decoder = needed_nodes(network, [network.input, structure.root, *structure.points], [network.output])
    return tuple(dict.fromkeys((*encoder, *decoder)))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A float network, its activations on the chip, and why tensors were refused."""

    whole: Network
    structure: Structure
    refused: Mapping[str, Obstacle]

    def network(self, layers: list[SpikingLayer], grid: Grid, code: str) -> SpikingNetwork:
        """Return the network of some layers, with what the host does."""
        network, structure, points = self.whole, self.structure, self.structure.points
        decoder = needed_nodes(network, [network.input, structure.root, *points], [network.output])
        read = {network.output, *(tensor for node in decoder for tensor in node.inputs)}
        used = _used(layers, read)
        kept = [layer for layer in layers if layer.name in used]
        share = shares(network)
        host = [node for node in host_nodes(network, structure) if node.op in _LAYERS]
        return SpikingNetwork(
            name=network.name,
            network=network,
            encoder_output=structure.root,
            input_levels=grid.high,
            input_low=grid.low,
            input_scale=grid.scale,
            layers=tuple(kept),
            outputs=tuple(layer.name for layer in kept if layer.activation in read),
            decoder_reads_input=structure.root in read and structure.root != network.input,
            decoder_reads_data=network.input in read,
            host=tuple(
                _host_layer(node, structure, self.refused, share.get(node.name, 0.0)) for node in host
            ),
            code=code,
        )


def _used(layers: list[SpikingLayer], read: set[str]) -> set[str]:
    """Return the names of the layers that the decoder needs."""
    used: set[str] = set()
    for layer in reversed(layers):
        if layer.activation in read or layer.name in used:
            used |= {layer.name, *(source.name for source in layer.sources)}
    return used


def _host_layer(
    node: Node, structure: Structure, refused: Mapping[str, Obstacle], share: float | None
) -> HostLayer:
    obstacle = refused.get(node.output)
    if obstacle is not None:
        return HostLayer(name=node.name, reason=obstacle.reason, remedy=obstacle.remedy, share=share)
    reason = structure.refused.get(node.name)
    if reason is None:
        return HostLayer(name=node.name, reason="it lies beyond what the chip can compute", share=share)
    return HostLayer(name=node.name, reason=reason, remedy=_LEFT, share=share)
