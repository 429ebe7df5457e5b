# SPDX-License-Identifier: Apache-2.0
"""Random machines of several chips: small ones whose links, gates and dead parts are odd in every way."""

from __future__ import annotations

from typing import Any

import numpy as np

from emu.dead import DeadSpec
from emu.gates import GateSpec
from emu.links import LinkSpec
from emu.spec import CoreSpec, SpecError, SystemSpec
from sim_tests.generators.pool import PLAIN

__all__ = ["MOST_CORES", "random_machine"]

MOST_CORES = 9
"""Cores of a random machine, at most."""

_CHIPS = ((1, 1), (2, 1), (1, 2), (3, 1), (1, 3), (2, 2))
"""Columns and rows of cores of a chip."""

Rng = np.random.Generator


def random_machine(seed: int, core: CoreSpec = PLAIN) -> SystemSpec:
    """Return the sizes of several chips of a core, joined by links.

    Chips are down to one core, in a row, a column or a block. Links are of a router or shared by a side, from
    a wire to a whole flit, from a depth of one, up to twenty cycles. There are up to five inlets and four
    outlets, and in half of all machines dead cores and ways.

    >>> random_machine(1) == random_machine(1)
    True
    """
    rng = np.random.default_rng([seed, 0x5EC])
    while True:
        width, height = _CHIPS[int(rng.integers(len(_CHIPS)))]
        across, down = (int(number) for number in rng.integers(1, 5, 2))
        columns, rows = width * across, height * down
        if across * down == 1 or columns * rows > MOST_CORES:
            continue
        try:
            spec = SystemSpec(core=core, width=columns, height=rows)
            links = _links(rng, spec, width, height)
            return SystemSpec(
                core=core,
                width=columns,
                height=rows,
                links=links,
                gates=_gates(rng, spec) if rng.random() < 0.6 else None,
                dead=_dead(rng, spec) if rng.random() < 0.5 else None,
            )
        except SpecError:  # what is dead leaves nothing, or a gate is there twice: draw again
            continue


def _links(rng: Rng, spec: SystemSpec, width: int, height: int) -> LinkSpec:
    """Return links between chips of a size."""
    sizes: dict[str, Any] = {"width": width, "height": height, "shared": bool(rng.random() < 0.5)}
    sizes |= {"latency": int(rng.choice([2, 2, 3, 7, 20])), "depth": int(rng.choice([1, 1, 2, 3, 9]))}
    most = LinkSpec(wires=1, **sizes).word_bits(spec.flit_bits)
    return LinkSpec(wires=int(rng.choice([1, 2, 5, 9, most])), **sizes)


def _gates(rng: Rng, spec: SystemSpec) -> GateSpec:
    """Return some inlets and outlets beside the first ones."""
    inlets = {(int(rng.integers(spec.height)), "WE"[int(rng.integers(2))]) for _ in range(rng.integers(5))}
    outlets = {int(rng.integers(spec.width)) for _ in range(rng.integers(4))}
    return GateSpec(inlets=tuple(sorted(inlets - {(0, "W")})), outlets=tuple(sorted(outlets - {0})))


def _dead(rng: Rng, spec: SystemSpec) -> DeadSpec:
    """Return up to two dead cores and two dead ways."""

    def place() -> tuple[int, int]:
        return int(rng.integers(spec.width)), int(rng.integers(spec.height))

    cores = [place() for _ in range(rng.integers(3))]
    ports = [(*place(), "NESW"[int(rng.integers(4))]) for _ in range(rng.integers(3))]
    return DeadSpec(cores=tuple(cores), ports=tuple(ports))
