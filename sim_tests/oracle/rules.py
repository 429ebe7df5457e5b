# SPDX-License-Identifier: Apache-2.0
"""The rules of the naive oracle: the contract pages, written down once more as plainly as possible.

Slow on purpose: lists, dicts and integers, every cycle of every router and core one after the other. Comments
cite the numbered rules of `docs/reference/machine.md` ("rule 1" to "rule 9"), the router rules of
`docs/reference/network.md` ("router 1" to "router 6") and the phases of `docs/reference/cycles.md`. Only
types are shared with the emulator, nothing with the hardware, so that three readings can be compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from emu.image import CoreImage
from emu.spec import CoreSpec
from emu.words import STATE_FIELDS, Reset, Section

__all__ = ["FEEDS", "OPPOSITE", "Core", "E", "Flit", "L", "Mesh", "N", "S", "W", "wanted"]

N, E, S, W, L = range(5)
FEEDS = {N: {S, E, W, L}, E: {W, L}, S: {N, E, W, L}, W: {E, L}, L: {N, E, S, W, L}}
"""Output -> the inputs that feed it (network.md, ports and routes)."""

OPPOSITE = {N: S, E: W, S: N, W: E}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flit:
    """A spike, a token if ``pause`` is not None, or a ``stray``: a control packet at the wrong time.

    ``due`` is the step that integrates a spike.
    """

    rectangle: tuple[int, int, int, int] = (0, 0, 0, 0)
    axon: int = 0
    payload: int = 0
    pause: bool | None = None
    due: int = 0
    stray: bool = False

    @property
    def is_token(self) -> bool:
        """Whether this flit is a token."""
        return self.pause is not None


def wanted(i: int, x: int, y: int, rectangle: tuple[int, int, int, int]) -> set[int]:
    """Return the outputs that a flit from input ``i`` wants at router (x, y)."""
    x0, x1, y0, y1 = rectangle
    out: set[int] = set()
    if i in (L, W) and x1 > x:
        out.add(E)
    if i in (L, E) and x0 < x:
        out.add(W)
    column = i in (N, S) or x0 <= x <= x1
    if i != S and column and y1 > y:
        out.add(S)
    if i != N and column and y0 < y:
        out.add(N)
    if column and y0 <= y <= y1:
        out.add(L)
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """Who is attached to whom."""

    width: int
    height: int

    def place(self, core: int) -> tuple[int, int]:
        """Return (x, y) of a core."""
        return core % self.width, core // self.width

    def neighbour(self, core: int, o: int) -> int | None:
        """Return the core behind output ``o`` (N, E, S, W), or None."""
        x, y = self.place(core)
        x, y = {N: (x, y - 1), E: (x + 1, y), S: (x, y + 1), W: (x - 1, y)}[o]
        return y * self.width + x if 0 <= x < self.width and 0 <= y < self.height else None

    def is_exit(self, core: int, o: int) -> bool:
        """Whether output ``o`` leads to the gateway: the south port of router (0, height - 1)."""
        return o == S and self.place(core) == (0, self.height - 1)

    def has_output(self, core: int, o: int) -> bool:
        """Whether something is attached to output ``o``."""
        return o == L or self.is_exit(core, o) or self.neighbour(core, o) is not None

    def has_input(self, core: int, i: int) -> bool:
        """Whether something is attached to input ``i``; the gateway is at the west port of router (0, 0)."""
        return i == L or (i == W and core == 0) or self.neighbour(core, i) is not None


def words(columns: Mapping[str, NDArray[Any]]) -> list[dict[str, int]]:
    """Return each word of a memory as its fields."""
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


class Core:
    """State of one core and rules 1 to 9; ``program`` is None for a disabled core."""

    def __init__(self, index: int, program: CoreImage | None, spec: CoreSpec) -> None:
        self.index, self.spec, self.counts = index, spec, Counter[str]()
        self.enabled = program is not None
        self.p: dict[str, Any] = {}
        self.schedule: list[dict[str, int]] = []
        self.targets: list[dict[str, int]] = []
        if program is not None:
            self.p = {name: getattr(program, name).tolist() for name in program.__dataclass_fields__}
            self.schedule = words(program.columns(Section.SCHEDULE))
            self.targets = words(program.columns(Section.FANOUT))
        self.axons = len(self.p["crossbar"]) if self.enabled else 0  # register after reset: 0
        self.neurons = len(self.p["bias"]) if self.enabled else 0
        self.state: dict[str, list[int]] = {name: list(self.p.get(name, [])) for name in STATE_FIELDS}
        self.entry = self.repetition = self.step = 0
        self.collecting: dict[int, int] = {}
        self.current: dict[int, int] = {}
        self.sums: list[int] = []
        self.spikes: list[tuple[int, ...]] = []
        self.visits: list[tuple[int, ...]] = []

    def receive(self, flit: Flit) -> None:
        """Sink a spike packet (machine.md, receiving)."""
        assert flit.due == self.step, "a spike must be integrated in the step after its emission"
        if flit.stray or flit.axon >= self.axons:
            self.counts["errors"] += 1
            return
        self.counts["deliveries"] += 1
        if flit.axon in self.collecting:
            self.counts["merges"] += 1
        self.collecting[flit.axon] = max(flit.payload, self.collecting.get(flit.axon, flit.payload))

    def swap(self) -> None:
        """Rule 1; ``step`` becomes the number of step tokens received."""
        self.current, self.collecting = self.collecting, {}
        self.step += 1

    def now(self) -> dict[str, int]:
        """Rule 3: the schedule entry of this step."""
        return self.schedule[self.entry]

    def walks(self) -> bool:
        """Rule 5: whether neurons are visited in this step."""
        now = self.now()
        return bool(now["init"] or now["update"] or now["fire"])

    def integrate(self) -> None:
        """Rule 4."""
        self.sums = [0] * (self.neurons * len(self.p["strengths"]))
        if not self.now()["integrate"]:
            return
        for r, value in self.current.items():
            for c in range(len(self.sums)):
                cell = self.p["crossbar"][r][c]
                self.sums[c] += value * cell
                self.counts["synaptic_operations"] += cell != 0

    def sat(self, value: int) -> int:
        """Clip to a potential; a clipped value is one saturation (rules 6 and 7)."""
        clipped = min(max(value, self.spec.potential_min), self.spec.potential_max)
        self.counts["saturations"] += clipped != value
        return clipped

    def visit(self, i: int) -> list[Flit]:
        """Rules 6 to 8 for neuron ``i``: its packets in order."""
        now, p = self.now(), self.p
        self.counts["neuron_updates"] += 1  # rule 5
        kept = 0 if p["reset"][i] == Reset.CLEAR else self.state["potential"][i]  # rule 6
        base = p["v0"][i] if now["init"] else kept
        k = len(p["strengths"])
        drive = sum(p["strengths"][d] * self.sums[i * k + d] for d in range(k))
        v = self.sat(base + p["bias"][i] + drive) if now["update"] else base
        first, count = now["threshold_first"], now["threshold_count"] if now["fire"] else 0  # rule 7
        thetas = [p["thresholds"][p["threshold_base"][i] + j] for j in range(first, first + count)]
        crossed = [theta for theta in thetas if v >= theta]
        c = len(crossed)
        if c > 0 and p["reset"][i] == Reset.ZERO:
            v = 0
        if c > 0 and p["reset"][i] == Reset.SUBTRACT:
            v = self.sat(v - crossed[-1])
        self.state["potential"][i] = v
        self.visits.append((self.step - 1, self.index, i, *(self.state[name][i] for name in STATE_FIELDS)))
        self.counts["spikes"] += c
        if c > 0:
            self.spikes.append((self.step - 1, self.index, i, c))
        return self.emit(i, c)

    def emit(self, i: int, c: int) -> list[Flit]:
        """Rule 8; the packets are for the next step."""
        packets: list[Flit] = []
        if c == 0 or not self.p["connected"][i]:
            return packets
        at, last = self.p["fanout_base"][i], 0
        while not last:
            target = self.targets[at]
            at, axon, last = at + 1, target["axon"], target["last"]
            place = (target["x0"], target["x1"], target["y0"], target["y1"])
            burst = [(axon, c)] if self.p["count_emission"][i] else [(axon + m, 1) for m in range(c)]
            packets += [Flit(rectangle=place, axon=a, payload=v, due=self.step) for a, v in burst]
        return packets

    def advance(self) -> None:
        """Rule 9: the schedule position."""
        self.repetition += 1
        if self.repetition == self.now()["repeat"]:
            self.repetition = 0
            self.entry = (self.entry + 1) % len(self.schedule)

    def execute(self) -> list[Flit]:
        """All rules of one step token at once."""
        self.swap()
        if not self.enabled:  # rule 2
            return []
        self.integrate()
        packets = [flit for i in range(self.neurons) if self.walks() for flit in self.visit(i)]
        self.advance()
        return packets
