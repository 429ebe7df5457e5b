# SPDX-License-Identifier: Apache-2.0
"""Play a table of inputs into a hardware block in Amaranth's simulator and write its outputs down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from amaranth.hdl import ResetInserter, Signal, Value
from amaranth.sim import Simulator

from emu.bits import pack, unpack
from emu.chunks import core_chunks
from emu.image import CoreImage
from emu.spec import SystemSpec
from emu.words import Section, flit_layout
from rtl.component import Component

__all__ = ["Bench", "Row", "flit", "member", "parse", "play", "program_rows", "widths"]

LONGEST = 20_000
"""Cycles after which a block under test is taken to hang: rows may wait for it to be done."""

Row = Mapping[str, int]
"""Inputs of one cycle by name; what is not named is zero, or as held."""


def member(component: Any, path: str) -> Value:
    """Return the signal at a path such as ``o.3.payload.kind``: names and array places joined by dots."""
    for part in path.split("."):
        component = component[int(part)] if part.isdigit() else getattr(component, part)
    return Value.cast(component)


def play(
    component: Component, rows: Iterable[Row], watch: Sequence[str], *, hold: Row | None = None
) -> list[dict[str, int]]:
    """Return the watched signals of every cycle, sampled after the inputs of that cycle have settled.

    Parameters
    ----------
    component : a block with one clock; simulation begins with its reset state.
    rows : inputs, one mapping a cycle; ``rst`` is the reset. A generator may look at the list that this
        function fills: it is asked for a row when all earlier cycles are over; see ``trace`` of `Bench`.
    watch : paths of the signals to write down.
    hold : inputs that keep a value unless a row names them.
    """
    return Bench(component, watch, hold=hold).run(rows)


class Bench:
    """A block under test with what was seen of it so far; `play` for inputs that depend on outputs.

    ``inserter`` gives the block's registers a reset: all that have one, unless a test knows better.
    """

    def __init__(
        self,
        component: Component,
        watch: Sequence[str],
        *,
        hold: Row | None = None,
        inserter: Callable[[Signal], Callable[[Component], Any]] = ResetInserter,
    ) -> None:
        self._component, self._hold, self._inserter = component, dict(hold or {}), inserter
        self._watch = {path: member(component, path) for path in watch}
        self.trace: list[dict[str, int]] = []

    def run(self, rows: Iterable[Row]) -> list[dict[str, int]]:
        """Play the rows; return ``trace``.

        Raises
        ------
        AssertionError : there are more than `LONGEST` rows.
        """
        reset = Signal()
        targets = {"rst": reset} | {path: member(self._component, path) for path in self._hold}

        async def process(context: Any) -> None:
            driven: dict[str, int] = {}
            for row in rows:
                assert len(self.trace) < LONGEST, f"the block is not done after {LONGEST} cycles"
                wanted = self._hold | dict(row)
                for path in {**driven, **wanted}:
                    value = wanted.get(path, 0)
                    if driven.get(path) != value:
                        if path not in targets:
                            targets[path] = member(self._component, path)
                        context.set(targets[path], value)
                driven = wanted
                self.trace.append({path: context.get(signal) for path, signal in self._watch.items()})
                await context.tick()

        simulator: Any = Simulator(self._inserter(reset)(self._component))
        simulator.add_clock(1e-6)
        simulator.add_testbench(process)
        simulator.run()
        return self.trace


def flit(spec: SystemSpec, **fields: int) -> int:
    """Return a flit as an integer; fields that are not given are zero."""
    layout = flit_layout(spec)
    return pack(layout, {field.name: 0 for field in layout} | fields)


def parse(spec: SystemSpec, word: int) -> dict[str, int]:
    """Return the fields of a flit."""
    return unpack(flit_layout(spec), word)


def program_rows(core: CoreImage, spec: SystemSpec, *sections: Section) -> list[Row]:
    """Return the rows that write the given memories of a core through a block's ``program`` port."""
    return [
        {"program.strobe": 1, "program.section": section, "program.address": at, "program.chunk": int(chunk)}
        for section, chunks in core_chunks(core, spec).items()
        if section in sections
        for at, chunk in enumerate(chunks)
    ]


def widths(component: Component, *paths: str) -> list[int]:
    """Return the bits of the named signals of a block that is only looked at, not simulated."""
    return [len(member(component, path)) for path in paths]
