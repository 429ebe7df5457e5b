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
from functools import cache
from typing import Any

from numpy.typing import NDArray

from emu.dead import DeadSpec
from emu.gates import GateSpec
from emu.image import CoreImage
from emu.links import LinkSpec
from emu.spec import CoreSpec
from emu.words import STATE_FIELDS, Emission, Reset, Section

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


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """Who is attached to whom; ``dead`` is as dead.md has it, ``gates`` as network.md."""

    width: int
    height: int
    links: LinkSpec | None = None
    dead: DeadSpec | None = None
    gates: GateSpec | None = None

    def inlets(self) -> list[tuple[int, int]]:
        """Return core and port of every inlet, the first one first."""
        further = self.gates.inlets if self.gates is not None else ()
        ends = [((y + 1) * self.width - 1, E) if side == "E" else (y * self.width, W) for y, side in further]
        return [(0, W), *ends]

    def outlets(self) -> list[int]:
        """Return the core of every outlet, whose port S it is."""
        last = (self.height - 1) * self.width
        return [last + x for x in (0, *(self.gates.outlets if self.gates is not None else ()))]

    def place(self, core: int) -> tuple[int, int]:
        """Return (x, y) of a core."""
        return core % self.width, core // self.width

    def neighbour(self, core: int, o: int) -> int | None:
        """Return the core behind output ``o`` (N, E, S, W), or None."""
        x, y = self.place(core)
        x, y = {N: (x, y - 1), E: (x + 1, y), S: (x, y + 1), W: (x - 1, y)}[o]
        return y * self.width + x if 0 <= x < self.width and 0 <= y < self.height else None

    def is_link(self, core: int, o: int) -> bool:
        """Whether output ``o`` leads to a core of another chip (links.md)."""
        beyond = self.neighbour(core, o) if o != L else None
        if self.links is None or beyond is None:
            return False
        (x, y), (to_x, to_y) = self.place(core), self.place(beyond)
        w, h = self.links.width, self.links.height
        return (x // w, y // h) != (to_x // w, to_y // h)

    def is_exit(self, core: int, o: int) -> bool:
        """Whether output ``o`` leads to the host."""
        return o == S and core in self.outlets()

    def works(self, core: int, o: int) -> bool:
        """Whether a way to a neighbour is not dead, told at its west or north end (dead.md, rule 1)."""
        beyond = self.neighbour(core, o)
        if self.dead is None or beyond is None:
            return beyond is not None
        x, y = self.place(core if o in (E, S) else beyond)
        return (x, y, "E" if o in (E, W) else "S") not in self.dead.ports

    def reaches(self, core: int, i: int, target: tuple[int, int]) -> bool:
        """Whether a packet for one place, in input ``i`` of a router, meets no dead way on its way."""
        x, y = self.place(core)
        for o in wanted(i, x, y, (target[0], target[0], target[1], target[1])) - {L}:
            beyond = self.neighbour(core, o)
            if beyond is not None and not (self.works(core, o) and self.reaches(beyond, OPPOSITE[o], target)):
                return False
        return True

    def is_alive(self, core: int) -> bool:
        """Whether a core is neither dead nor cut off (dead.md, rule 2)."""
        if self.dead is None:
            return True
        here = self.place(core)
        heard = self.reaches(0, W, here) and self.reaches(core, L, (0, self.height))
        return heard and here not in self.dead.cores

    @cache  # noqa: B019 - a mesh of a test lives as long as the test
    def has_output(self, core: int, o: int) -> bool:
        """Whether something is attached to output ``o``, and some input feeds it (dead.md, rule 3)."""
        if o == L:
            return self.is_alive(core)
        attached = self.is_exit(core, o) or self.works(core, o)
        return attached and any(self.has_input(core, i) for i in FEEDS[o])

    def has_input(self, core: int, i: int) -> bool:
        """Whether something is attached to input ``i``."""
        if i == L:
            return self.is_alive(core)
        if (core, i) in self.inlets():
            return True
        before = self.neighbour(core, i)
        return before is not None and self.has_output(before, OPPOSITE[i])


def words(columns: Mapping[str, NDArray[Any]]) -> list[dict[str, int]]:
    """Return each word of a memory as its fields."""
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def kept(x: int, share: int) -> int:
    """Return x share / 4096, rounded towards zero (rule 6)."""
    rest = abs(x) * share // 4096
    return rest if x >= 0 else -rest


class Core:
    """State of one core and rules 1 to 9; ``program`` is None for a disabled core."""

    def __init__(self, index: int, program: CoreImage | None, spec: CoreSpec) -> None:
        self.index, self.spec, self.counts = index, spec, Counter[str]()
        self.enabled = program is not None
        self.p: dict[str, Any] = {}
        self.schedule: list[dict[str, int]] = []
        self.targets: list[dict[str, int]] = []
        self.profiles: list[dict[str, int]] = []
        if program is not None:
            self.p = {name: getattr(program, name).tolist() for name in program.__dataclass_fields__}
            self.schedule = words(program.columns(Section.SCHEDULE))
            self.targets = words(program.columns(Section.FANOUT))
            self.profiles = words(program.columns(Section.PROFILE))
        self.axons = len(self.p["lines"]) if self.enabled else 0  # register after reset: 0
        self.neurons = len(self.p["bias"]) if self.enabled else 0
        self.k = len(self.p["strengths"]) if self.enabled else 1
        self.block = spec.lanes // self.k  # m, neurons of a block
        self.state: dict[str, list[int]] = {name: list(self.p.get(name, [])) for name in STATE_FIELDS}
        self.entry = self.repetition = self.step = 0
        self.collecting: dict[int, int] = {}
        self.current: dict[int, int] = {}
        self.sums: list[int] = []
        self.spikes: list[tuple[int, ...]] = []
        self.visits: list[tuple[int, ...]] = []

    @property
    def blocks(self) -> int:
        """B, blocks of columns in use."""
        return -(-self.neurons // self.block)

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
        """Rule 3: whether neurons are visited in this step."""
        now = self.now()
        return self.neurons > 0 and bool(now["init"] or now["update"] or now["fire"])

    def integrate(self) -> None:
        """Rule 4."""
        self.sums = [0] * (self.neurons * self.k)
        if not self.walks() or not self.now()["integrate"]:
            return
        self.counts["crossbar_words"] += len(self.current) * self.blocks
        for axon, value in self.current.items():
            shifted = value << self.p["shifts"][axon // self.p["extension"]]
            line = self.p["lines"][axon]
            for column in range(len(self.sums)):
                cell = self.p["crossbar"][line][column] if line >= 0 else 0
                self.sums[column] += shifted * cell
                self.counts["synaptic_operations"] += cell != 0
        limit = self.spec.sum_max
        assert all(-limit <= s <= limit for s in self.sums), "an image must not let a sum overflow"

    def sat(self, value: int) -> int:
        """Clip to a potential; a clipped value is one saturation (rules 6 and 7)."""
        clipped = min(max(value, self.spec.potential_min), self.spec.potential_max)
        self.counts["saturations"] += clipped != value
        return clipped

    def visit(self, i: int) -> list[Flit]:
        """Rules 6 to 8 for neuron ``i``: its packets in order."""
        self.counts["neuron_updates"] += 1  # rule 5
        profile = self.profiles[self.p["profile"][i]]
        v, u, q = self.membrane(i, profile)
        c, last = 0, 0
        if self.now()["fire"]:
            c, last = self.count(i, profile, v)
            self.counts["thresholds"] += 1 if self.p["ladders"] else self.now()["threshold_count"]
            if q > 0:
                c = 0
                q -= q != self.spec.refractory_max
        if c != 0:
            v = self.reset(profile["reset"], v, c, last)
            q = profile["refractory_period"]
        for name, value in zip(STATE_FIELDS, (v, u, q), strict=True):
            self.state[name][i] = value
        self.visits.append((self.step - 1, self.index, i, v, u, q))
        self.counts["spikes"] += abs(c)
        if c != 0:
            self.spikes.append((self.step - 1, self.index, i, c))
        return self.emit(i, profile, c)

    def membrane(self, i: int, profile: dict[str, int]) -> tuple[int, int, int]:
        """Rule 6: V, U and q before the comparison."""
        now, p = self.now(), self.p
        stored, u, q = (self.state[name][i] for name in STATE_FIELDS)
        if now["init"]:
            u, q, base = 0, 0, p["v0"][i]
        elif profile["reset"] == Reset.CLEAR:
            base = 0
        else:
            base = kept(stored, 4096 - profile["potential_decay"]) if now["update"] else stored
        if not now["update"]:
            return (stored if q > 0 else base), u, q
        drive = sum(p["strengths"][d] * self.sums[i * self.k + d] for d in range(self.k))
        if profile["current_kept"]:
            u = drive = self.sat(kept(u, profile["current_kept"]) + drive)
        else:
            u = 0
        if q > 0:
            return stored, u, q
        return self.sat(base + drive + p["bias"][i]), u, q

    def count(self, i: int, profile: dict[str, int], v: int) -> tuple[int, int]:
        """Rule 7, quantisers: c and the last threshold."""
        first, count = self.now()["threshold_first"], self.now()["threshold_count"]
        base = self.p["threshold_base"][i]
        if not self.p["ladders"]:
            thetas = [self.p["thresholds"][base + j] for j in range(first, first + count)]
            crossed = [theta for theta in thetas if v >= theta]
            return len(crossed), crossed[-1] if crossed else 0
        theta0, a, b, ties = self.p["ladders"][base // 4]
        bits = self.spec.payload_bits

        def threshold(j: int) -> int:
            return int(theta0 + ((j * a + b + ties * (j % 2) * 2**bits) >> (2 * bits)))

        low = -first if profile["signed"] else 0
        c = low + sum(v >= threshold(j) for j in range(low + 1, count + 1))
        return c, threshold(c if c > 0 else c + 1)

    def reset(self, how: int, v: int, c: int, last: int) -> int:
        """Rule 7: what a neuron that fired keeps."""
        value = self.now()["reset_value"]
        if how == Reset.ZERO:
            return 0
        if how == Reset.SUBTRACT:
            return self.sat(v - last)
        if how == Reset.VALUE:
            return value
        if how == Reset.SUBTRACT_VALUE:
            return self.sat(v - value if c > 0 else v + value)
        return v

    def emit(self, i: int, profile: dict[str, int], c: int) -> list[Flit]:
        """Rule 8; the packets are for the next step."""
        packets: list[Flit] = []
        if c == 0 or not self.p["connected"][i]:
            return packets
        at, last = self.p["fanout_base"][i], 0
        while not last:
            target = self.targets[at]
            at, axon, last = at + 1, target["axon"], target["last"]
            place = (target["x0"], target["x1"], target["y0"], target["y1"])
            if profile["emission"] == Emission.COUNT:
                burst = [(axon, c)]
            elif profile["emission"] == Emission.UNARY:
                burst = [(axon + m, 1) for m in range(c)]
            else:
                burst = [(axon, self.now()["emit"] if c > 0 else -self.now()["emit"])]
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
