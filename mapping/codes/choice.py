# SPDX-License-Identifier: Apache-2.0
"""The spike codes, and which of them suits a network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emu.spec import CoreSpec
from mapping.codes.candidates import Candidate, find_candidates
from mapping.codes.convert import convert
from mapping.codes.graded.convert import GradedOptions, convert_graded
from mapping.codes.int8.convert import convert_int8, is_integer, why_inexact
from mapping.codes.int8.units import only_sums
from mapping.codes.obstacles import Fits, Holds, anything_fits, anything_holds
from mapping.errors import MappingError
from mapping.model.network import Network
from mapping.model.rewrite import prepare
from mapping.spiking.network import SpikingNetwork
from mapping.threads import one_thread

__all__ = ["AUTO", "CODES", "Code", "Request", "code_of"]

AUTO = "auto"
"""Stands for the code that suits a network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a code is asked for.

    Parameters
    ----------
    spec : CoreSpec
        The core that the network is for.
    fits, holds, strict
        As of `mapping.codes.convert.convert`.
    samples : float64 (n, input shape), optional
        Calibration samples, for codes that need them.
    options : GradedOptions
        How fine activations and weights are.
    say : callable
        Told what is being done.
    """

    spec: CoreSpec
    fits: Fits = anything_fits
    holds: Holds = anything_holds
    strict: bool = False
    samples: NDArray[np.float64] | None = None
    options: GradedOptions = field(default_factory=GradedOptions)
    say: Callable[[str], None] = lambda _: None


class Code(Protocol):
    """A spike code: how a float network becomes an integer one.

    Attributes
    ----------
    name : str
        Its name on the command line.
    exact : bool
        Whether every activation equals the float network's.
    calibrated : bool
        Whether samples choose some of its scales.
    """

    name: str
    exact: bool
    calibrated: bool

    def convert(self, network: Network, request: Request) -> SpikingNetwork:
        """Return the integer network of a float network."""
        ...


class ScatterAndGather:
    """An activation is a count of spikes that a ternary layer fires in its one step."""

    name = "scatter-and-gather"
    exact = True
    calibrated = False

    def convert(self, network: Network, request: Request) -> SpikingNetwork:
        """Return the integer network, equal to the float network on every activation."""
        return convert(network, request.fits, holds=request.holds, strict=request.strict)


class Graded:
    """An activation is one packet of up to 8 bits; weights have several digits."""

    name = "graded"
    exact = False
    calibrated = True

    def convert(self, network: Network, request: Request) -> SpikingNetwork:
        """Return an integer network that is near the float network on the calibration samples."""
        if request.samples is None:
            raise MappingError(
                f"Network {network.name} runs in the graded code, whose scales are chosen on samples: "
                "give --data with samples of its input."
            )
        with one_thread():
            return convert_graded(
                network,
                request.samples,
                request.spec,
                request.options,
                fits=request.fits,
                holds=request.holds,
                strict=request.strict,
                progress=request.say,
            )


class Int8:
    """An activation of a quantised network is one packet with its integer."""

    name = "int8"
    exact = True
    calibrated = True

    def convert(self, network: Network, request: Request) -> SpikingNetwork:
        """Return the integer network, equal to the quantised network on every activation."""
        return convert_int8(
            network,
            request.spec,
            fits=request.fits,
            holds=request.holds,
            samples=request.samples,
            strict=request.strict,
        )


CODES: dict[str, Code] = {code.name: code for code in (ScatterAndGather(), Graded(), Int8())}
"""Every code by name."""


def code_of(network: Network, name: str = AUTO) -> Code:
    """Return a code by name.

    ``auto`` is scatter-and-gather if a layer is made for it, else int8 if the network is quantised to 8 bits,
    else graded. In a quantised network half of the layers with weights must be made for scatter-and-gather.

    Raises
    ------
    MappingError
        If there is no code of that name.
    """
    if name == AUTO:
        candidates, obstacles = find_candidates(prepare(network))
        integer, inexact = is_integer(network), why_inexact(network) is not None
        if not obstacles or (candidates and not ((integer or inexact) and _few(candidates, network))):
            return CODES["scatter-and-gather"]
        return CODES["int8" if integer and not inexact else "graded"]
    if name not in CODES:
        *others, last = AUTO, *CODES
        raise MappingError(f"Code must be {', '.join(others)} or {last}, not {name!r}.")
    return CODES[name]


def _few(candidates: Sequence[Candidate], network: Network) -> bool:
    """Tell whether less than half of the layers with weights are candidates; a plain sum has none."""
    weighted = {
        node.name
        for node in network.nodes
        if node.op in ("Conv", "Dense") and not only_sums(node.constants["weight"])
    }
    return 2 * len({candidate.linear.name for candidate in candidates} & weighted) < len(weighted)
