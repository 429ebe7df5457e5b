# SPDX-License-Identifier: Apache-2.0
"""What every core and every port does in every cycle of a run of the naive oracle."""

from __future__ import annotations

from emu.image import SystemImage
from emu.loading import all_cores
from emu.trace import Stimulus
from sim_tests.oracle.cycles import Chip, CoreMachine
from sim_tests.oracle.machine import stimulus_flits
from sim_tests.oracle.rules import Core, Flit, Mesh

__all__ = ["PHASES", "PORTS", "record"]

PORTS = "NESWL"
"""Ports in the order of their numbers."""

PHASES = {"WAIT": "w", "INTEGRATE": "I", "WALK": "W", "TOKEN": "T"}
"""Phase -> its letter. Every cycle of a paused core is ``p``.

In the walk ``N`` is a cycle in which a neuron reaches the emitter, ``E`` one in which a packet is offered.
"""


class _Recorder(Chip):
    """A chip that writes down what every core and port does in every cycle."""

    def __init__(self, image: SystemImage) -> None:
        cores = [Core(index, program, image.spec.core) for index, program in enumerate(image.cores)]
        super().__init__(Mesh(width=image.spec.width, height=image.spec.height), cores)
        self.rows: dict[str, dict[int, str]] = {}
        self.before: list[dict[int, list[Flit]]] = []

    def write(self, row: str, mark: str) -> None:
        """Put a mark at this cycle; there is at most one for each row."""
        if self.now is not None:
            assert self.rows.setdefault(row, {}).setdefault(self.now, mark) == mark

    def cycle(self) -> bool:
        """Spend one cycle; what was at the head before and is not there after was removed."""
        self.before = [{i: list(fifo) for i, fifo in router.fifo.items()} for router in self.routers]
        cores = [_begun(machine) for machine in self.machines]
        started = self.now is not None
        active = super().cycle()
        if self.now is None:
            return active
        self.now -= 1
        for at, begun in enumerate(cores):
            self.write(f"core {at}", _letter(self.machines[at], *begun))
        for at, router in enumerate(self.routers):
            for i, old in self.before[at].items():
                if old and not any(flit is old[0] for flit in router.fifo[i]):
                    self.write(f"router {at} in {PORTS[i]}", "K" if old[0].is_token else "s")
        assert started or self.now == 0
        self.now += 1
        return active

    def depart(self, at: int, leaving: dict[int, Flit]) -> list[tuple[int, int, Flit]]:
        """Write down what leaves, then hand it on."""
        for o, flit in leaving.items():
            self.write(f"router {at} out {PORTS[o]}", "K" if flit.is_token else "s")
        return super().depart(at, leaving)


def _begun(machine: CoreMachine) -> tuple[str, int, int]:
    """Return the letter of a core's phase, and how many neurons and packets it has counted."""
    counts = machine.core.counts
    return PHASES[machine.phase] if machine.running else "p", counts["neuron_updates"], counts["packets"]


def _letter(machine: CoreMachine, phase: str, visits: int, packets: int) -> str:
    """Return the letter of a cycle that began so, after it: a cycle of the walk tells what happened."""
    counts = machine.core.counts
    if phase == "W" and (machine.packets or counts["packets"] > packets):
        return "E"
    return "N" if phase == "W" and counts["neuron_updates"] > visits else phase


def record(image: SystemImage, stimulus: Stimulus) -> tuple[dict[str, str], int]:
    """Return the rows of a timing diagram, cycles 0 to the last, and the elapsed cycles.

    The rows are ``core 0``, one letter of `PHASES` a cycle; ``router 0 in W``, the cycle in which a token
    (``K``) or a spike (``s``) is removed from that input; ``router 0 out S``, the cycle in which it leaves.
    Any other cycle is a dot.
    """
    chip = _Recorder(image)
    chip.run([[stimulus_flits(stimulus, step, 0)] for step in range(stimulus.steps)], all_cores(image.spec))
    elapsed = chip.elapsed
    assert elapsed is not None
    return {n: "".join(r.get(c, ".") for c in range(elapsed)) for n, r in chip.rows.items()}, elapsed
