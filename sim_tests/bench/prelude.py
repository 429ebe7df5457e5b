# SPDX-License-Identifier: Apache-2.0
"""What a chip goes through before a session: dirt, resets in mid-run, and the proof that reset was one.

Registers of a simulated chip have start values, and memories begin empty: a first session from there proves
no reset. So a chip first runs a *foreign* program under heavy traffic and is reset in the middle of it, once
for each `Phase` that the job names. After the first of these resets comes the `knock`: what a chip must and
must not do then. After the last one the session begins at once.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emu.host import Flits, Place, core_flits, flits, pointer_flits, read_request, spike_data, write_flits
from emu.loading import all_cores
from emu.spec import CoreSpec, SystemSpec
from emu.topology import alive
from emu.words import (
    COUNTERS,
    POINTER,
    WRITABLE,
    Activity,
    Control,
    Emission,
    ErrorCause,
    Kind,
    Reset,
    Section,
    counters_of,
    sections_of,
)
from sim_tests.generators.systems import make_core

if TYPE_CHECKING:
    from emu.image import CoreImage
    from sim_tests.bench.session import Session
    from sim_tests.bench.streams import Offer

__all__ = [
    "RESET_CYCLES",
    "Foreign",
    "Phase",
    "draw_resets",
    "foreign_program",
    "knock",
    "read_flits",
    "rehearse",
]

RESET_CYCLES = 1
"""Cycles for which reset is held: one must do. In more, whatever is in a pipeline would leave it unseen."""

STEPS, PACKETS, CROSSED = 3, 4, 2
"""Steps of the foreign run, packets that the host feeds to all cores in each, most crossings of a neuron."""

_NUMBERS_OF_SECTIONS = 1 << POINTER[1].bits

REPLIES = 24
"""Chunks that the knock asks for: the answer takes longer than a token through the mesh and back."""

Rng = np.random.Generator


class Phase(enum.IntEnum):
    """What a chip is doing when reset comes; the first four are the activity of some core."""

    INTEGRATE = Activity.INTEGRATE
    UPDATE = Activity.UPDATE
    SEND_STALL = Activity.SEND_STALL
    TOKEN_WAIT = Activity.TOKEN_WAIT
    LOADING = 5
    PAUSING = 6
    READING = 7


_LATEST = {
    Phase.INTEGRATE: 3,
    Phase.UPDATE: 12,
    Phase.SEND_STALL: 8,
    Phase.TOKEN_WAIT: 4,
    Phase.LOADING: 60,
    Phase.PAUSING: 8,
    Phase.READING: 12,
}
"""Cycles, flits or replies of a phase until reset comes at the latest: every foreign run has as many."""


def draw_resets(seed: int, phases: int = len(Phase)) -> list[tuple[Phase, int]]:
    """Return phases in which reset comes, each with how far into the phase.

    They are in random order, but the last is of a chip at work: it leaves behind the most.

    Parameters
    ----------
    seed : of the choice.
    phases : how many of `Phase`, all different; at least two, as the knock follows the first.

    Raises
    ------
    ValueError : there are fewer or more phases.
    """
    if not 2 <= phases <= len(Phase):
        raise ValueError(f"phases must be 2..{len(Phase)}, not {phases}.")
    rng = np.random.default_rng([seed, 0x7E5E7])
    chosen = [list(Phase)[at] for at in rng.permutation(len(Phase)).tolist()]
    last = next(phase for phase in chosen if phase <= Phase.TOKEN_WAIT)
    chosen = [*[phase for phase in chosen if phase != last][: phases - 1], last]
    return [(phase, int(rng.integers(1, _LATEST[phase] + 1))) for phase in chosen]


def _everywhere(spec: SystemSpec) -> Place:
    return (0, spec.width - 1, 0, spec.height - 1)


def _to_all(spec: SystemSpec, kind: Kind, data: NDArray[np.integer]) -> list[Flits]:
    """Return flits to all cores that are alive: in each rectangle of them all the data."""
    return [flits(spec, kind, place, data) for place in all_cores(spec)]


def _write_all(spec: SystemSpec, section: int, chunks: NDArray[np.uint16], address: int = 0) -> list[Flits]:
    """Return packets that write chunks in all cores that are alive."""
    return [part for place in all_cores(spec) for part in write_flits(spec, place, section, chunks, address)]


def _foreign_core(rng: Rng, spec: SystemSpec) -> CoreImage:
    """Return a program with every option of the core, whose neurons fire in almost every step.

    They send to all cores, dead ones too, and to the gateway, and leave behind potentials, currents and
    refractory counts.
    """
    core, k = spec.core, int(rng.integers(1, min(2, spec.core.strengths) + 1))
    neurons = int(rng.integers(2, min(5, core.columns // k + 1)))
    crossed = min(CROSSED, core.payload_max)
    extreme = (core.potential_min, core.potential_max + 1)
    return make_core(
        _foreign_cells(rng, core, neurons * k),
        strengths=rng.integers(-100, 100, k),
        bias=rng.integers(-9, 10, neurons),
        v0=rng.integers(*extreme, neurons),
        potential=rng.integers(*extreme, neurons),
        current=rng.integers(*extreme, neurons) * core.synaptic_current,
        reset=rng.integers(0, len(Reset), neurons),
        emission=rng.choice([Emission.UNARY, Emission.CONSTANT], neurons),
        potential_decay=rng.integers(0, 4097, neurons) * core.decay,
        current_kept=rng.integers(0, 4097, neurons) * core.synaptic_current,
        refractory_period=rng.integers(0, core.refractory_max + 1, neurons) * (np.arange(neurons) > 0),
        fanout=[[*_everywhere(spec), 0, False], [0, 0, 0, spec.height, 0, True]],
        schedule=[[1, 0, 1, 1, 1, 0, crossed, 1, 1], [2, 1, 1, 1, 1, 0, crossed, -1, -1]],
        **_foreign_quantisers(rng, core),
    )


def _foreign_cells(rng: Rng, core: CoreSpec, columns: int) -> NDArray[np.int64]:
    """Return two axons of cells that are not zero, or only one if their sum might overflow."""
    cells = rng.choice([-1, 1], (2, columns))
    return cells if 1 << core.payload_bits <= core.sum_max else cells * [[1], [0]]


def _foreign_quantisers(rng: Rng, core: CoreSpec) -> dict[str, object]:
    """Return thresholds that every potential crosses, as a list or a ladder."""
    if core.ladder and rng.random() < 0.5:
        return {"ladders": [[core.always, 0, 0, 0]]}
    return {"thresholds": [core.always] * CROSSED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A program that is not the image's, as flits: to load it, to run it, to read from a core after it."""

    load: list[int]
    run: list[int]
    read: list[int]


def foreign_program(seed: int, spec: SystemSpec) -> Foreign:
    """Return a program of a few neurons, the same for all cores, under as much traffic as it can make."""
    rng = np.random.default_rng([seed, 0xD127])
    run: list[Flits] = []
    for pause in [0] * STEPS + [1]:
        axons = rng.permutation([0, 1] * (PACKETS // 2))
        run += _to_all(spec, Kind.SPIKE, spike_data(spec, axons, np.full(PACKETS, 1)))
        run.append(flits(spec, Kind.TOKEN, _everywhere(spec), np.array([pause])))
    present = np.flatnonzero(alive(spec))
    asked = int(present[rng.integers(len(present))])
    read, _ = read_request(spec, asked, Section.COUNTER, len(counters_of(spec)))
    core, zero = _foreign_core(rng, spec), np.zeros(1, np.uint16)
    load = [part for place in all_cores(spec) for part in core_flits(spec, place, core)]
    for section in (Section.STATUS, Section.COUNTER):  # as every host does: reset leaves them
        load += _write_all(spec, section, zero)
    return Foreign(load=np.concatenate(load).tolist(), run=np.concatenate(run).tolist(), read=read.tolist())


def read_flits(spec: SystemSpec, place: Place, section: int, address: int, chunks: int) -> list[int]:
    """Return the packets that read chunks of one core from an address on."""
    read = flits(spec, Kind.READ, place, np.array([chunks]))
    out: list[int] = np.concatenate([*pointer_flits(spec, place, section, address), read]).tolist()
    return out


def rehearse(session: Session, phase: Phase, count: int) -> Iterator[Offer]:
    """Run the foreign program until the chip is ``count`` cycles, flits or replies deep in a phase.

    A chip that never gets there lets the session's deadline pass.
    """
    foreign = foreign_program(session.job.seed, session.job.spec)
    told = len(foreign.load) + len(foreign.run) + len(foreign.read)
    session.enter(f"the foreign run until {phase.name.lower()}", 4 * told + 4 * session.settle)
    if phase == Phase.LOADING:
        yield from session.send(foreign.load[:count])
        return
    session.accept = phase != Phase.SEND_STALL
    yield from session.idle(session.settle)
    yield from session.send(foreign.load)
    if phase in {Phase.PAUSING, Phase.READING}:
        yield from session.send(foreign.run)
        if phase == Phase.PAUSING:
            yield from session.idle(count)
            return
        while not session.gateway.pauses:
            yield None
        yield from session.send(foreign.read)
        while len(session.gateway.replies) < count:
            yield None
        return
    sending = session.send(foreign.run)
    while count:
        yield next(sending, None)
        count -= phase in session.activities()


class _Knock:
    """What the host does to a chip that has just been reset, and what it must answer."""

    def __init__(self, session: Session) -> None:
        self._session, self._spec = session, session.job.spec
        self._rng = np.random.default_rng([session.job.seed, 0x4070C])
        present = np.flatnonzero(alive(self._spec))
        self._core = int(present[self._rng.integers(len(present))])

    def _place(self) -> Place:
        x, y = self._core % self._spec.width, self._core // self._spec.width
        return (x, x, y, y)

    def _clear(self) -> list[int]:
        """Return the writes that clear counters and causes of all cores, at any address of theirs."""
        zero, parts = np.zeros(1, np.uint16), []
        for section, words in ((Section.COUNTER, 4 * len(counters_of(self._spec))), (Section.STATUS, 4)):
            parts += _write_all(self._spec, section, zero, int(self._rng.integers(words)))
        out: list[int] = np.concatenate(parts).tolist()
        return out

    def _request(self, section: int, address: int, chunks: int) -> list[int]:
        return read_flits(self._spec, self._place(), section, address, chunks)

    def _ask(self, *expected: int) -> Iterator[Offer]:
        """Read the errors counter and the first causes of core and router, and compare."""
        told: list[int] = []
        at = 4 * COUNTERS.index("errors")
        for section, address, chunks in ((Section.COUNTER, at, 3), (Section.STATUS, 0, 2)):
            yield from self._session.read(self._request(section, address, chunks), chunks)
            told += self._session.gateway.replies
        if told != list(expected):
            raise self._session.failure(
                f"after reset core {self._core} tells errors and causes {told}, not {list(expected)}"
            )

    def _forbidden(self) -> Iterator[Offer]:
        """Write what can only be read, and read what is not there: zeros, and an error for each packet."""
        session, present = self._session, sections_of(self._spec)
        absent = [section for section in range(_NUMBERS_OF_SECTIONS) if section not in present]
        fixed = [section for section in present if section not in WRITABLE]
        for section in (int(self._rng.choice(fixed)), int(self._rng.choice(absent))):
            write = write_flits(self._spec, self._place(), section, np.ones(1, np.uint16), 1)
            yield from session.send(np.concatenate(write).tolist())
        yield from session.read(self._request(section, 0, 2), 2)
        if any(session.gateway.replies):
            raise session.failure(f"section {section} is absent but reads {session.gateway.replies}")
        yield from self._ask(3, 0, 0, ErrorCause.SECTION, 0)

    def _registers(self) -> list[int]:
        """Return writes to the registers of all cores, but for axons and enable: still they are disabled."""
        values = np.ones(Control.PER_BLOCK - Control.NEURONS + 1, np.uint16)
        parts = _write_all(self._spec, Section.CONTROL, values, Control.NEURONS)
        out: list[int] = np.concatenate(parts).tolist()
        return out

    def _barrier(self) -> Iterator[Offer]:
        """Send steps and a pause right behind a request: the replies come first, and nothing else."""
        session, steps = self._session, int(self._rng.integers(1, 3))
        yield from session.send(self._registers())
        token, pause = (flits(self._spec, Kind.TOKEN, self._place(), np.array([p])).tolist() for p in (0, 1))
        session.gateway.replies.clear()
        yield from session.send([*self._request(Section.COUNTER, 0, REPLIES), *token * steps, *pause])
        while len(session.gateway.tokens) < 2:  # the first is the one that every core sends at reset
            yield None
        if (replies := len(session.gateway.replies)) != REPLIES:
            raise session.failure(f"core {self._core} ended a step with {replies} of {REPLIES} replies sent")
        while not session.gateway.pauses:
            yield None
        yield from session.idle(session.settle)
        tokens, outputs = len(session.gateway.tokens), len(session.gateway.outputs)
        if tokens != steps + 1 or outputs or len(session.gateway.replies) != REPLIES:
            raise session.failure(
                f"after reset the chip put out {tokens} tokens and {outputs} spikes, not {steps + 1} and none"
            )

    def run(self) -> Iterator[Offer]:
        """Yield what is offered in every cycle."""
        session = self._session
        axon, payload = np.array([0]), np.array([self._spec.core.payload_max])
        spikes = np.concatenate(_to_all(self._spec, Kind.SPIKE, spike_data(self._spec, axon, payload)))
        session.enter("the knock after reset", 600 + 16 * session.settle)
        yield from session.idle(session.settle)
        yield from session.send([*self._clear(), *spikes.tolist()])
        yield from session.idle(session.settle)
        yield from self._ask(1, 0, 0, ErrorCause.AXON, 0)
        yield from session.send(self._clear())
        yield from self._ask(0, 0, 0, ErrorCause.NONE, 0)
        yield from self._forbidden()
        yield from session.send(self._clear())
        yield from self._barrier()


def knock(session: Session) -> Iterator[Offer]:
    """Prove that reset disabled every core and emptied what may be empty; then the chip is as after reset.

    A spike on the first axon of every core must be an error there and nothing else; clearing works at every
    address; a section that is absent reads as zero; step tokens that come right behind a read let it finish
    and pass disabled cores.

    Raises
    ------
    BenchError : the chip answers otherwise.
    """
    yield from _Knock(session).run()
