# SPDX-License-Identifier: Apache-2.0
"""What one change of the arguments does to the rate: each is done, emulated and compared."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from emu.gates import inlets_of, outlets_of
from emu.spec import SystemSpec
from mapping.chip import Chip
from mapping.errors import MappingError
from mapping.layout.gates import Gates

__all__ = ["Rated", "changes_of", "rates_after"]

Rated = Callable[[Chip], Mapping[str, Any]]
"""Emulate a chip and return what limits its rate, as of `mapping.report.rate.rate_of`."""


def changes_of(spec: SystemSpec, asked: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the option of each change, and the arguments of `mapping.flow.compile_network` that it changes.

    A link twice as wide, one inlet more, one outlet more, the placer that spares the busiest link, and the
    objective of fewest cycles; those that a system has already, or has no room for, are left out.

    Parameters
    ----------
    spec : SystemSpec
        The system as it is.
    asked : mapping
        The arguments that it was compiled with.
    """
    if spec.links is not None:
        wires = min(2 * spec.links.wires, spec.links.word_bits(spec.flit_bits))
        if wires > spec.links.wires:
            yield f"--wires {wires}", {"wires": wires}
    gates = asked.get("gates", Gates())
    inlets, outlets = len(inlets_of(spec.gates)), len(outlets_of(spec.gates))
    if inlets < 2 * spec.height:
        yield f"--inlets {inlets + 1}", {"gates": replace(gates, inlets=str(inlets + 1))}
    if outlets < spec.width:
        yield f"--outlets {outlets + 1}", {"gates": replace(gates, outlets=str(outlets + 1))}
    if asked.get("placer", "greedy") != "anneal":
        yield "--placer anneal", {"placer": "anneal"}
    if asked.get("objective", "cores") == "cores":
        yield "--objective latency", {"objective": "latency"}


def rates_after(
    spec: SystemSpec, asked: Mapping[str, Any], compiled: Callable[..., Chip], rated: Rated
) -> list[dict[str, Any]]:
    """Return what each change of `changes_of` leads to, as plain data.

    Parameters
    ----------
    spec, asked
        As of `changes_of`.
    compiled : callable
        Compile the network with other arguments.
    rated : callable
        See `Rated`.
    """
    found = []
    for option, changed in changes_of(spec, asked):
        row: dict[str, Any] = {"option": option, "refusal": None}
        try:
            chip = compiled(**{**asked, **changed})
        except MappingError as error:
            found.append(
                {**row, "refusal": str(error), "cores": None, "limit": None, "bound": None, "cycles": None}
            )
            continue
        rate = rated(chip)
        cores = sum(core is not None for core in chip.image.cores)
        first = rate["bounds"][0]
        found.append(
            {**row, "cores": cores, "limit": first["of"], "bound": first["cycles"], "cycles": rate["cycles"]}
        )
    return found
