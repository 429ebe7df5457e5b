# SPDX-License-Identifier: Apache-2.0
"""The naive oracle: run an image with the plainest possible reading of the contract.

`sim_tests/oracle/rules.py` has the rules of a step, `sim_tests/oracle/cycles.py` the routers and the phases
of a core. The rules without time are run here: packets are delivered in any order.

The reading chosen where the contract is silent: ``token_hops`` counts until nothing moves, so that every
output N, E, S, W that is present passes one token per step and one for the pause; a packet of the host to
the gateway itself comes out in the step before the one it was sent for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emu.image import SystemImage
from emu.loading import all_cores
from emu.trace import ACTIVITY_COUNTERS, VISIT, RunResult, Stimulus
from emu.words import STATE_FIELDS, Kind, counters_of
from sim_tests.oracle.cycles import Chip
from sim_tests.oracle.rules import OPPOSITE, Core, E, Flit, L, Mesh, N, S, W, wanted

__all__ = ["run_oracle"]

Row = tuple[int, ...]


def run_oracle(
    image: SystemImage,
    stimulus: Stimulus,
    *,
    cycles: bool,
    potentials: bool = True,
    shuffle: int | None = None,
) -> RunResult:
    """Run an image.

    Parameters
    ----------
    image, stimulus : what to run.
    cycles : whether every cycle is simulated; otherwise only the numbered rules are.
    potentials : whether the result holds the stored V of every visit.
    shuffle : seed of another order of delivery of the packets of each step; without cycles only.
    """
    spec = image.spec
    mesh = Mesh(width=spec.width, height=spec.height, links=spec.links, dead=spec.dead, gates=spec.gates)
    cores = [Core(index, program, image.spec.core) for index, program in enumerate(image.cores)]
    if cycles:
        chip = Chip(mesh, cores, stimulus.host, image.spec.flit_bits)
        inlets = range(len(mesh.inlets()))
        flits = [[stimulus_flits(stimulus, t, i) for i in inlets] for t in range(stimulus.steps)]
        chip.run(flits, all_cores(spec))
        outputs, tokens = chip.outputs, list(zip(*chip.gateways.values(), strict=True))
    else:
        outputs = run_functional(mesh, cores, stimulus, shuffle)
    state = {n: np.array([v for core in cores for v in core.state[n]], np.int64) for n in STATE_FIELDS}
    own = counters_of(image.spec)
    names = [name for name in own if cycles or name not in ACTIVITY_COUNTERS]
    return RunResult(
        mode="cycle" if cycles else "functional",
        steps=stimulus.steps,
        spikes=table([row for core in cores for row in core.spikes], 4),
        outputs=table(outputs, 3),
        counters={name: np.array([core.counts[name] for core in cores], np.int64) for name in names},
        state=state,
        visits=table([row for core in cores for row in core.visits], len(VISIT)) if potentials else None,
        finish=np.array(chip.finish, np.int64) if cycles else None,
        gateway=np.array(tokens, np.int64).max(axis=1) if cycles else None,
        elapsed=chip.elapsed if cycles else None,
        outlets=np.array(tokens, np.int64) if cycles and len(chip.gateways) > 1 else None,
        engine="oracle",
    )


def table(rows: list[Row], columns: int) -> NDArray[np.int64]:
    """Return rows sorted, as int64 (rows, columns)."""
    return np.array(sorted(rows), np.int64).reshape(-1, columns)


def stimulus_flits(stimulus: Stimulus, step: int, inlet: int) -> list[Flit]:
    """Return the stimulus of one step at one inlet."""
    columns = (stimulus.step, stimulus.packet, stimulus.kind, stimulus.inlet)
    packets = zip(*(column.tolist() for column in columns), strict=True)
    return [
        Flit(rectangle=tuple(row[:4]), axon=row[4], payload=row[5], due=step, stray=kind != Kind.SPIKE)
        for at, row, kind, entry in packets
        if at == step and entry == inlet
    ]


def deliver(mesh: Mesh, cores: list[Core], flight: tuple[int, int, Flit], outputs: list[Row]) -> None:
    """Carry a flit that is in (router, input) to all its destinations, without time."""
    at, i, flit = flight
    x, y = mesh.place(at)
    out = wanted(i, x, y, flit.rectangle)
    counts = cores[at].counts
    counts["router_errors"] += not out
    for o in out:
        if not mesh.has_output(at, o):
            counts["router_errors"] += 1
        elif o == L:
            cores[at].receive(flit)
        else:
            counts["hops"] += not flit.stray
            counts["crossings"] += mesh.is_link(at, o) and not flit.stray
            beyond = mesh.neighbour(at, o)
            if beyond is None:
                outputs.append((flit.due - 1, flit.axon, flit.payload))
            else:
                deliver(mesh, cores, (beyond, OPPOSITE[o], flit), outputs)


def run_functional(mesh: Mesh, cores: list[Core], stimulus: Stimulus, shuffle: int | None) -> list[Row]:
    """Rules 1 to 9, all cores step by step, packets delivered in any order; return the gateway's output."""
    outputs: list[Row] = []
    flying: list[tuple[int, int, Flit]] = []  # (router, input, flit)
    order = np.random.default_rng(shuffle)
    for step in range(stimulus.steps):
        for inlet, (at, i) in enumerate(mesh.inlets()):
            flying += [(at, i, flit) for flit in stimulus_flits(stimulus, step, inlet)]
        carry(mesh, cores, flying, outputs, None if shuffle is None else order)
        flying = [(core.index, L, flit) for core in cores for flit in core.execute()]
        for source, _, _ in flying:
            cores[source].counts["packets"] += 1
    carry(mesh, cores, flying, outputs, None if shuffle is None else order)
    for core in cores:  # every output passes one token per token of the gateway: its steps and the pause
        ways = sum(mesh.has_output(core.index, o) for o in (N, E, S, W))
        core.counts["token_hops"] = ways * (stimulus.steps + 1)
        over = sum(mesh.is_link(core.index, o) and mesh.has_output(core.index, o) for o in (N, E, S, W))
        core.counts["crossings"] += over * (stimulus.steps + 1)
    return outputs


def carry(
    mesh: Mesh,
    cores: list[Core],
    flying: list[tuple[int, int, Flit]],
    outputs: list[Row],
    order: np.random.Generator | None,
) -> None:
    """Deliver all packets of a step, in the given order or in a random one."""
    places = range(len(flying)) if order is None else order.permutation(len(flying))
    for place in places:
        deliver(mesh, cores, flying[place], outputs)
