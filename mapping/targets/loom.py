# SPDX-License-Identifier: Apache-2.0
"""Our own machine: its image is emulated, cycle by cycle."""

from __future__ import annotations

from collections.abc import Mapping

from emu.spec import CoreSpec
from mapping.targets.energy import estimate_energy, resized
from mapping.targets.model import Cost, Work
from mapping.targets.target import Quantity, Target

__all__ = ["Loom", "energy_table"]


class Loom:
    """The model `loom`: counts and cycles of the emulator, which equals the hardware."""

    unary = False
    patched = False

    def array(self, _: Target) -> None:
        """Return None: a mesh is as large as the network needs."""

    def cost(self, target: Target, work: Work) -> Cost:
        """Return what one inference costs: every core of the mesh is clocked and leaks, used or not."""
        run = work.emulated()
        table = energy_table(target, run.core)
        seconds = run.cycles / target.clock_hz
        events = {name: run.events[name] for name in table if name in run.events}
        layers = {
            layer: {name: own[name] for name in table if name in own} for layer, own in run.layers.items()
        }
        return Cost(
            cores=run.used,
            chips=run.chips,
            steps=run.steps,
            step_s=None,
            latency_s=run.latency_s,
            throughput_per_s=1 / seconds,
            operations=run.counters["synaptic_operations"],
            energy=estimate_energy(events, seconds, run.mesh, table, layers=layers),
        )


def energy_table(target: Target, core: CoreSpec) -> Mapping[str, Quantity]:
    """Return the energy table of a target for the size of core that an image has."""
    return target.energy if target.core is None else resized(target.energy, target.core, core)
