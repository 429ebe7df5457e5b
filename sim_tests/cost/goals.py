# SPDX-License-Identifier: Apache-2.0
"""What the parts of a core may cost at most, and how fast their clocks must be (`docs/cost.md`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from emu.spec import CoreSpec, SystemSpec, preset
from rtl.component import Component
from rtl.core import Neurocore
from rtl.counters import CounterFile
from rtl.crossbar import Crossbar
from rtl.events import EventScheduler
from rtl.neuron import Walk
from rtl.router import Router
from sim_tests.cost.ecp5 import Cost

__all__ = ["GOALS", "PARTS", "Goal", "build", "plain"]

PARTS: dict[str, Callable[[SystemSpec], Component]] = {
    "core": Neurocore,
    "router": Router,
    "events": EventScheduler,
    "crossbar": Crossbar,
    "walk": Walk,
    "counters": CounterFile,
}
"""Name on the command line -> what is built for a chip's sizes."""


def build(part: str, core: CoreSpec) -> Component:
    """Return a part of a chip of 4 x 3 such cores."""
    return PARTS[part](SystemSpec(core=core, width=4, height=3))


def plain(core: CoreSpec) -> CoreSpec:
    """Return a core without the options that add rules: lists only, no state but the potential."""
    return replace(
        core,
        max_extension=1,
        axon_shifts=False,
        ladder=False,
        signed_ladder=False,
        synaptic_current=False,
        decay=False,
        refractory_bits=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A part, and the limits of its cost; None is no limit.

    Parameters
    ----------
    part, core : what is measured.
    logic, registers : at most.
    megahertz : at least, with every seed of the placer; the part is routed only if there is such a limit.
    """

    part: str
    core: CoreSpec
    logic: int | None = None
    registers: int | None = None
    megahertz: float | None = None

    def missed(self, cost: Cost) -> Iterator[str]:
        """Yield a clause for each limit that a cost does not keep."""
        if self.logic is not None and cost.logic > self.logic:
            yield f"takes {cost.logic} LUT4 with carries, not {self.logic} at most"
        if self.registers is not None and cost.registers > self.registers:
            yield f"takes {cost.registers} registers, not {self.registers} at most"
        slowest = min(cost.megahertz, default=0.0)
        if self.megahertz is not None and slowest < self.megahertz:
            yield f"runs at {slowest:.1f} MHz with the worst seed, not at {self.megahertz:.0f} or more"


_SMALL, _REFERENCE = preset("small"), preset("reference")

GOALS = {
    "core of small": Goal(part="core", core=_SMALL, megahertz=100),
    "router of small": Goal(part="router", core=_SMALL, megahertz=100),
    "core of small without options": Goal(part="core", core=plain(_SMALL), logic=5040, registers=2105),
    "events of reference without extension": Goal(
        part="events", core=replace(_REFERENCE, max_extension=1), logic=1499
    ),
}
"""Row of the table -> its goal."""
