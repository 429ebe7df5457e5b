# SPDX-License-Identifier: Apache-2.0
"""The naive oracle's time: routers and cores one cycle after the other.

Every cycle has two halves: everything is decided from the state at its start, then everything is applied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress, product

from emu.rectangles import Place
from emu.trace import ACTIVITY_COUNTERS, HostPace
from sim_tests.oracle.links import Lane, Link, SharedLink
from sim_tests.oracle.rules import FEEDS, OPPOSITE, Core, E, Flit, L, Mesh, N, S, W, wanted

__all__ = ["Chip", "CoreMachine", "Router"]

FIFO = 2
LONGEST_RUN = 10_000_000


@dataclass(slots=True)
class Router:
    """State of one router (network.md, one cycle of a router)."""

    at: int
    mesh: Mesh
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    fifo: dict[int, list[Flit]] = field(default_factory=dict)
    served: dict[int, set[int]] = field(default_factory=dict)
    taken: dict[int, set[int]] = field(default_factory=dict)
    pause: dict[int, bool] = field(default_factory=dict)
    pointer: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.inputs = [i for i in range(5) if self.mesh.has_input(self.at, i)]
        self.outputs = [o for o in range(5) if self.mesh.has_output(self.at, o)]
        self.fifo = {i: [] for i in self.inputs}
        self.served = {i: set() for i in self.inputs}
        self.taken = {o: set() for o in self.outputs}
        self.pause = dict.fromkeys(self.outputs, False)
        self.pointer = dict.fromkeys(self.outputs, 0)

    def any_complete(self) -> bool:
        """Whether an output holds the tokens of all inputs that feed it."""
        return any(self.taken[o] == FEEDS[o] & set(self.inputs) for o in self.outputs)

    def cycle(self, ready: set[int], counts: Counter[str]) -> tuple[dict[int, Flit], bool]:
        """Execute router 2 to 6; return what leaves by each output, and whether anything changed."""
        # Everything is decided from the old state (heads, taken, served, pointer) and applied below.
        complete = [o for o in self.outputs if self.taken[o] == FEEDS[o] & set(self.inputs)]
        heads = {i: self.fifo[i][0] for i in self.inputs if self.fifo[i]}
        fed = {i: [o for o in self.outputs if i in FEEDS[o]] for i in heads}
        intake = [i for i in heads if heads[i].is_token and not any(i in self.taken[o] for o in fed[i])]
        wants = {
            i: wanted(i, *self.mesh.place(self.at), h.rectangle) for i, h in heads.items() if not h.is_token
        }
        leaving = {o: Flit(pause=self.pause[o]) for o in complete if o in ready}  # router 3
        granted: dict[int, int] = {}
        for o in ready - set(complete):  # router 4 and 5
            asking = [i for i in wants if o in wants[i] - self.served[i] and i not in self.taken[o]]
            if asking:
                granted[o] = min(asking, key=lambda i: (i - self.pointer[o]) % 5)
                leaving[o] = heads[granted[o]]
        for o in leaving:
            self.pointer[o] = (granted[o] + 1) % 5 if o in granted else 0
            if o not in granted:
                self.taken[o], self.pause[o] = set(), False
        for i in intake:  # router 2
            for o in fed[i]:
                self.taken[o].add(i)
                self.pause[o] |= bool(heads[i].pause)
            self.fifo[i].pop(0)
        changed = bool(leaving or intake)
        for i, out in wants.items():
            absent = out - set(self.outputs) - self.served[i]
            counts["router_errors"] += len(absent) + (not out)
            self.served[i] |= absent | {o for o in granted if granted[o] == i}
            if self.served[i] == out:  # router 6
                self.fifo[i].pop(0)
                self.served[i] = set()
                changed = True
        return leaving, changed


class CoreMachine:
    """One core in time: the phases of cycles.md around the rules of `Core`."""

    def __init__(self, core: Core) -> None:
        self.core, self.spec = core, core.spec
        self.phase, self.left = "TOKEN", 1  # at reset each core sends its token
        self.running = False
        self.unpaused = True  # until the pause token is seen in WAIT
        self.token: bool | None = None  # the token that left by L in the last cycle: its pause flag
        self.block = 0
        self.coming: list[tuple[int, int]] = []  # (cycles of the walk until it reaches the emitter, neuron)
        self.packets: list[Flit] = []  # in the emitter

    def accept(self, flit: Flit) -> None:
        """Take what leaves the router by L; a step token swaps the banks at once (rule 1)."""
        if flit.pause is None:
            self.core.receive(flit)
            return
        assert self.phase == "WAIT", "a token must meet a core that waits"
        self.token = flit.pause
        if not flit.pause:
            self.core.swap()

    def cycle(self, full: bool) -> tuple[str, Flit | None]:
        """Spend one cycle: return its activity, and the flit that enters the router."""
        if self.phase == "WAIT":
            activity = "token_wait" if self.running else "paused"
            if self.token is not None:
                self.see_token()
            return activity, None
        if self.phase == "INTEGRATE":
            self.left -= 1
            if self.left == 0:
                self.begin_walk()
            return "integrate", None
        if self.phase == "WALK":
            return self.walk(full)
        if full:
            return "send_stall" if self.running else "paused", None
        self.phase = "WAIT"
        return "token_wait" if self.running else "paused", Flit(pause=False)

    def see_token(self) -> None:
        """Leave WAIT: rules 2 to 4."""
        self.running, self.unpaused, self.token = not self.token, not self.token, None
        if not self.running or not self.core.enabled:
            self.phase = "TOKEN"
            return
        self.core.integrate()
        self.block = 0
        self.next_block()

    def next_block(self) -> None:
        """Integrate and walk the next block, or send the token; the schedule advances there (rule 9)."""
        if not self.core.walks() or self.block == self.core.blocks:
            self.phase = "TOKEN"
            self.core.advance()
        elif self.core.now()["integrate"]:
            self.phase, self.left = "INTEGRATE", len(self.core.current) + self.spec.integrate_fill
        else:
            self.begin_walk()

    def begin_walk(self) -> None:
        """Let the neurons of a block enter the pipeline, one every II cycles."""
        now, m = self.core.now(), self.core.block
        words = 1 if self.core.p["ladders"] else -(-now["threshold_count"] // 4)
        drive = self.core.k
        compare = max(words, 1) if now["fire"] else 1
        own = range(self.block * m, min((self.block + 1) * m, self.core.neurons))
        first = self.spec.walk_fill + drive + compare - 2
        self.coming = [(first + at * max(drive, compare), i) for at, i in enumerate(own)]
        self.phase = "WALK"

    def walk(self, full: bool) -> tuple[str, Flit | None]:
        """Spend a cycle of the walk: the pipeline moves unless a sender meets a busy emitter."""
        self.coming = [(left - 1, i) for left, i in self.coming]
        if self.coming and self.coming[0][0] == 0:
            if not self.packets:
                self.packets = self.core.visit(self.coming.pop(0)[1])
            elif self.sends(self.coming[0][1]):
                self.coming = [(left + 1, i) for left, i in self.coming]  # it stands still
            else:
                self.core.visit(self.coming.pop(0)[1])
        activity, flit = "update", None
        if self.packets:
            activity = "send_stall" if full else "update"
            if not full:
                flit = self.packets.pop(0)
                self.core.counts["packets"] += 1
        if not self.packets and not self.coming:
            self.block += 1
            self.next_block()
        return activity, flit

    def sends(self, i: int) -> bool:
        """Whether neuron ``i`` will send, found on a copy of what a visit changes."""
        core = self.core
        kept = core.counts.copy(), {name: list(values) for name, values in core.state.items()}
        spikes, visits = len(core.spikes), len(core.visits)
        found = bool(core.visit(i))
        core.counts, core.state = kept
        del core.spikes[spikes:], core.visits[visits:]
        return found


class Chip:
    """All routers and cores, the host, and the clock."""

    def __init__(
        self, mesh: Mesh, cores: list[Core], pace: HostPace | None = None, flit_bits: int = 0
    ) -> None:
        self.mesh, self.cores = mesh, cores
        self.shared: dict[tuple[int, int, int], SharedLink[Flit]] = {}
        self.links = dict(self.make_links(flit_bits))
        self.clock = 0  # counts all cycles since the reset
        self.pace = pace or HostPace()
        self.fed: int | None = None  # cycles since the host offered its first flit
        self.routers = [Router(at=core.index, mesh=mesh) for core in cores]
        self.machines = [CoreMachine(core) for core in cores]
        self.alive = [mesh.is_alive(core.index) for core in cores]
        for machine, alive in zip(self.machines, self.alive, strict=True):
            if not alive:  # it is not there (dead.md)
                machine.phase, machine.unpaused = "WAIT", False
        self.host: dict[tuple[int, int], list[Flit]] = {inlet: [] for inlet in mesh.inlets()}
        self.now: int | None = None  # the cycle, None before the first step token entered the mesh
        self.elapsed: int | None = None
        self.outputs: list[tuple[int, ...]] = []
        self.gateways: dict[int, list[int]] = {core: [] for core in mesh.outlets()}
        self.finish: list[list[int]] = []
        self.injected: list[tuple[int, int, Flit]] = []  # by router and input

    def make_links(self, flit_bits: int) -> Iterator[tuple[tuple[int, int], Link[Flit] | Lane[Flit]]]:
        """Yield the links by router and output; a shared link has a lane for each router of its side."""
        size = self.mesh.links
        for at, o in product(range(len(self.cores)), (N, E, S, W)):
            if size is None or not self.mesh.is_link(at, o):
                continue
            if not size.shared:
                yield (at, o), Link(-(-flit_bits // size.wires), size.latency, size.depth)
                continue
            (column, x), (row, y) = map(divmod, self.mesh.place(at), (size.width, size.height))
            lanes = size.width if o in {N, S} else size.height
            bits = flit_bits + (max(size.width, size.height) - 1).bit_length()
            link = SharedLink[Flit](lanes, -(-bits // size.wires), size.latency, size.depth)
            link = self.shared.setdefault((column, row, o), link)
            yield (at, o), link.lanes[x if o in {N, S} else y]

    def run(self, stimulus: list[list[list[Flit]]], load: Sequence[Place]) -> None:
        """Reset, settle, load, clear the counters, feed everything and run until nothing moves.

        ``stimulus`` has the flits of each step, those of each inlet by themselves.
        """
        self.settle()
        self.load(load)
        for core in self.cores:
            core.counts.clear()
        self.finish = []
        assert not any(self.gateways.values()), "an outlet's first token needs the host's"
        for step in stimulus:
            for ((at, i), queue), flits in zip(self.host.items(), step, strict=True):
                self.injected += [(at, i, flit) for flit in flits]
                queue += [*flits, Flit(pause=False)]
        for queue in self.host.values():
            queue.append(Flit(pause=True))
        self.fed = 0
        self.settle()
        self.check(len(stimulus))

    def load(self, places: Sequence[Place]) -> None:
        """Let control packets come to all cores, as the last of a load; what they would write is there."""
        for place in places:
            next(iter(self.host.values())).append(Flit(rectangle=place, stray=True))
            self.settle()

    def settle(self) -> None:
        """Spend cycles until nothing moves."""
        for _ in range(LONGEST_RUN):
            if not self.cycle():
                return
        raise AssertionError("a run must terminate")

    def cycle(self) -> bool:
        """Spend one cycle; return whether anything can still happen."""
        room = [{i for i in router.inputs if len(router.fifo[i]) < FIFO} for router in self.routers]
        pushes = self.offers(room)
        active = bool(pushes)
        for at, machine in enumerate(self.machines):
            active |= machine.phase != "WAIT" or machine.token is not None
            activity, sent = machine.cycle(L not in room[at])
            if self.now is not None and self.elapsed is None and self.alive[at]:
                machine.core.counts[activity] += 1
            if sent is not None:
                pushes.append((at, L, sent))
                self.note(at, sent)
        for at, router in enumerate(self.routers):
            if any(router.fifo.values()) or router.any_complete():
                leaving, changed = router.cycle(self.ready(at, room), self.cores[at].counts)
                active |= changed or not self.host_takes()
                pushes += self.depart(at, leaving)
        for shared in self.shared.values():
            shared.grant(self.clock)
        active |= any(link.busy(self.clock) for link in self.links.values())
        pushes += self.arrivals(room)
        for at, i, flit in pushes:
            self.routers[at].fifo[i].append(flit)
        self.clock += 1
        if self.now is not None:
            if self.elapsed is None and not any(machine.unpaused for machine in self.machines):
                self.elapsed = self.now + 1
            self.now += 1
        self.fed = None if self.fed is None else self.fed + 1
        return active

    def offers(self, room: list[set[int]]) -> list[tuple[int, int, Flit]]:
        """Return what the host's inlets feed; the first token begins the time."""
        pushes: list[tuple[int, int, Flit]] = []
        for (at, i), queue in self.host.items():
            if queue and i in room[at]:
                pushes.append((at, i, queue.pop(0)))
                if self.now is None and pushes[-1][2].is_token:
                    self.now = 0
        return pushes

    def host_takes(self) -> bool:
        """Whether the host takes a flit in this cycle."""
        return self.fed is None or self.pace.accepts(self.fed)

    def note(self, at: int, flit: Flit) -> None:
        """Record what entered a router from its core: a packet, or the token of a step."""
        if not flit.is_token:
            self.injected.append((at, L, flit))
        elif self.now is not None and self.machines[at].running:
            step = self.cores[at].step - 1
            self.finish += [[-1] * len(self.cores)] * (step + 1 - len(self.finish))
            self.finish[step] = [self.now if core == at else c for core, c in enumerate(self.finish[step])]

    def ready(self, at: int, room: list[set[int]]) -> set[int]:
        """Router 1: the present outputs that lead to a FIFO with room, to the core or to the host."""
        ready = set()
        for o in self.routers[at].outputs:
            beyond = self.mesh.neighbour(at, o) if o != L else None
            if (at, o) in self.links:
                free = self.links[at, o].ready(self.clock)
            elif self.mesh.is_exit(at, o):
                free = self.host_takes()
            else:
                free = beyond is None or OPPOSITE[o] in room[beyond]
            ready |= {o} if free else set()
        return ready

    def depart(self, at: int, leaving: dict[int, Flit]) -> list[tuple[int, int, Flit]]:
        """Hand on what leaves a router; return what enters another one."""
        pushes: list[tuple[int, int, Flit]] = []
        for o, flit in leaving.items():
            if o == L:
                self.machines[at].accept(flit)
                continue
            self.cores[at].counts["token_hops" if flit.is_token else "hops"] += not flit.stray
            beyond = self.mesh.neighbour(at, o)
            if (at, o) in self.links:
                self.links[at, o].send(self.clock, flit)
                self.cores[at].counts["crossings"] += not flit.stray
            elif beyond is not None:
                pushes.append((beyond, OPPOSITE[o], flit))
            elif flit.is_token:
                assert self.now is not None, "an outlet's first token needs the host's"
                self.gateways[at].append(self.now)
            else:
                tokens = len(self.gateways[at])
                assert flit.due == tokens, "a spike must leave between its two tokens"
                self.outputs.append((tokens - 1, flit.axon, flit.payload))
        return pushes

    def arrivals(self, room: list[set[int]]) -> list[tuple[int, int, Flit]]:
        """Let inputs with room take what their links offer."""
        pushes = []
        for (at, o), link in self.links.items():
            beyond, i = self.mesh.neighbour(at, o), OPPOSITE[o]
            if beyond is not None and i in room[beyond] and link.offered(self.clock) is not None:
                pushes.append((beyond, i, link.pass_on(self.clock)))
        return pushes

    def check(self, steps: int) -> None:
        """Assert exactly-once delivery, one token per step, and that the activities sum to the run."""
        width, height, ways = self.mesh.width, self.mesh.height, self.injected
        rectangles, lost = [flit.rectangle for _, _, flit in ways], 0
        for core, alive in zip(self.cores, self.alive, strict=True):
            x, y = self.mesh.place(core.index)
            here = [x0 <= x <= x1 and y0 <= y <= y1 for x0, x1, y0, y1 in rectangles]
            copies = sum(alive and self.mesh.reaches(at, i, (x, y)) for at, i, _ in compress(ways, here))
            lost += sum(here) - copies
            assert core.counts["deliveries"] + core.counts["errors"] == copies, "delivered exactly once"
            assert sum(core.counts[name] for name in ACTIVITY_COUNTERS) == (self.elapsed if alive else 0)
            assert core.step == (steps if alive else 0)
        south = [(way, way[2].rectangle) for way in ways if way[2].rectangle[3] >= height]
        outside = [(way, x) for way, (x0, x1, _, _) in south for x in range(x0, min(x1, width - 1) + 1)]
        columns = {self.mesh.place(core)[0] for core in self.gateways}
        going = [(x in columns, self.mesh.reaches(at, i, (x, height))) for (at, i, _), x in outside]
        led_out = sum(map(all, going))
        assert len(self.outputs) == led_out, "the columns of outlets lead to the host"
        if not lost and all(x0 <= x1 and y0 <= y1 for x0, x1, y0, y1 in rectangles):
            errors = sum(core.counts["router_errors"] for core in self.cores)
            east = sum(flit.rectangle[i != E] >= width for _, i, flit in ways)  # beyond the last column
            assert errors == len(going) - led_out + east
        assert {len(tokens) for tokens in self.gateways.values()} == {steps + 1}
        assert len(self.finish) == steps
        assert all((c >= 0) == alive for row in self.finish for c, alive in zip(row, self.alive, strict=True))
