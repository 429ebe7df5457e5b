# SPDX-License-Identifier: Apache-2.0
"""Convert an ordinary float network into a spiking one of the graded code, by samples, without training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from emu.spec import PRESETS, CoreSpec
from mapping.codes.graded.allocation import DigitSearch
from mapping.codes.graded.averages import averages_first
from mapping.codes.graded.calibration import Calibration, Grids
from mapping.codes.graded.closing import closing
from mapping.codes.graded.entry import entered
from mapping.codes.graded.host import Surroundings, host_reads, least_host, settled
from mapping.codes.graded.rules import RULES
from mapping.codes.graded.spelling import spelled
from mapping.codes.graded.structure import Structure, structure_of
from mapping.codes.obstacles import Fits, Holds, Obstacle, anything_fits, anything_holds
from mapping.errors import MappingError, OptionError
from mapping.model.network import Network
from mapping.model.node import Node
from mapping.model.operations import OPERATIONS
from mapping.model.rewrite import sunk
from mapping.model.work import multiply_adds
from mapping.spiking.digits import MOST_DIGITS
from mapping.spiking.network import SpikingNetwork

__all__ = ["AUTO_DIGITS", "TOLERANCE", "GradedOptions", "convert_graded"]

Progress = Callable[[str], None]

AUTO_DIGITS: Literal["auto"] = "auto"
"""Stands for the fewest digits of each layer that the tolerance allows."""

TOLERANCE = 1.0
"""Points by which the error may grow, where nobody says how many."""

_MOST_ROOTS = 32
"""Tensors, at most, of which some layers can be computed on the chip, and that are tried as its input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GradedOptions:
    """How fine activations and weights are.

    Parameters
    ----------
    bits : int
        Bits of an activation, 2..8. What enters the chip has 8 or what a payload holds, what
        leaves it all of a payload.
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
        lacks, ways = self._beyond(spec)
        if lacks:
            size = next(name for name, other in PRESETS.items() if not self._beyond(other)[0])
            raise OptionError(
                f"{' and '.join(lacks).capitalize()}: choose at most {' and '.join(ways)}, or the core size "
                f"{size}."
            )

    def _beyond(self, spec: CoreSpec) -> tuple[list[str], list[str]]:
        """Return what a core does not have, and what it has in its place."""
        lacks, ways = [], []
        most = min(8, spec.payload_bits - 1)
        if self.bits > most:
            lacks.append(
                f"activations of {self.bits} bits need payloads of {self.bits + 1} bits (the core "
                f"has {spec.payload_bits})"
            )
            ways.append(f"{most} bits")
        digits = max(self._numbers(), default=1)
        if digits > spec.strengths:
            lacks.append(f"weights of {digits} digits need as many strengths (the core has {spec.strengths})")
            ways.append(f"{spec.strengths} digits")
        return lacks, ways

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
    ranged, entry = entered(network, samples, most=spec.payload_max)
    prepared, say = sunk(averages_first(spelled(ranged))), progress or (lambda _: None)
    known: dict[str, int] = {}

    def attempt(refused: Mapping[str, Obstacle]) -> SpikingNetwork | Mapping[str, Obstacle]:
        cuts = _cuts(prepared, entry, spec, refused)
        structure = least_host(prepared, cuts, refused, otherwise=partial(_nothing, prepared))
        calibration = Calibration(prepared, structure, samples, spec, Grids(options.bits, options.seed))
        if not structure.points.keys() <= known.keys():
            read = host_reads(prepared, structure)
            leaving = tuple(tensor for tensor in structure.points if tensor in read)
            search = DigitSearch(calibration, leaving, options.tolerance, spec=spec, fits=fits, say=say)
            known.update(_digits(options.digits, search))
        digits = [known[tensor] for tensor in structure.points]
        layers, grid, obstacles = calibration.layers(digits, fits, say)
        return obstacles or Surroundings(prepared, structure, refused).network(layers, grid, "graded")

    return settled(attempt, holds, strict=strict)


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


def _nothing(network: Network, reasons: Mapping[str, str]) -> str:
    """Return why there is no layer at all: what keeps the operation with the most work on the host."""
    if not reasons:
        return "it has no weights; give a network with a convolution or a dense layer"
    work = multiply_adds(network)
    name = max(reasons, key=lambda node: work.get(node, 0) or 0)
    return (
        f"node {name!r} cannot because {reasons[name]}; put convolutions or dense layers in its place or "
        "behind it (docs/reference/operators.md lists what the chip has)"
    )


def _cuts(
    network: Network, entry: str, spec: CoreSpec, refused: Mapping[str, Obstacle]
) -> Iterator[Structure]:
    """Yield what may run on the chip behind each tensor that may enter it.

    These are the input, or its features in ranges of their own, what no neuron computes, and what none
    computes from one of these. Moves and selections of it only number its axons, so that they are the host's.
    """
    reasons = closing(network) | {tensor: obstacle.reason for tensor, obstacle in refused.items()}
    roots = [_numbered(network, entry)]
    alone = {node.name for node in network.nodes if node.op not in RULES or _product(node)}
    tried = 0
    for root in roots:  # grows
        structure = structure_of(network, root, axons=spec.axons, refused=reasons)
        tried += bool(structure.points)
        yield structure
        if tried == _MOST_ROOTS:
            return
        found = [node.output for node in network.nodes if node.name in structure.refused]
        found += [node.output for node in network.nodes if node.name in alone]
        behind = dict.fromkeys(_numbered(network, tensor) for tensor in found)
        roots += [tensor for tensor in behind if tensor not in roots]


def _product(node: Node) -> bool:
    """Tell whether a node multiplies or divides activations, wherever they come from: no neuron does."""
    return node.op in {"Div", "Mul"} and len(node.inputs) > 1


def _numbered(network: Network, tensor: str) -> str:
    """Return a tensor as what alone reads it has moved and selected it."""
    readers = network.consumers(tensor)
    while len(readers) == 1 and OPERATIONS[readers[0].op].selects and readers[0].op != "MaxPool":
        tensor = readers[0].output
        readers = network.consumers(tensor)
    return tensor
