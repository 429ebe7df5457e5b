# SPDX-License-Identifier: Apache-2.0
"""The emulator of a pass goes with it where passes are many, and results are the same."""

import weakref
from typing import Any

import numpy as np
import pytest

from emu.machine import Machine
from mapping import chip, passes
from mapping.spiking.network import INPUT
from sim_tests.generators.mapping_networks import core_spec, random_network
from sim_tests.generators.pass_networks import in_passes


@pytest.mark.parametrize(("most", "together"), [(8, 1), (1, 0)])
def test_emulators_of_many_passes_are_not_kept(
    most: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``together`` is whether the machines of all passes are there after a run."""
    alive: weakref.WeakSet[Machine] = weakref.WeakSet()
    seen: list[int] = []

    class Watched(Machine):
        def run(self, *given: Any, **options: Any) -> Any:
            alive.add(self)
            seen.append(len(alive))
            return super().run(*given, **options)

    monkeypatch.setattr(chip, "Machine", Watched)
    monkeypatch.setattr(passes, "KEPT", most)
    spiking = random_network(0)
    run = in_passes(spiking, core_spec(), (2, 2))
    count = len(run.images)
    assert 1 < count <= 8
    counts = np.full((2, *spiking.shape(INPUT)), spiking.input_levels)
    done, outputs = run.emulated(counts)
    assert max(seen) == (count if together else 1)
    assert len(alive) == together * count
    again, same = run.emulated(counts)
    assert all(np.array_equal(outputs[name], same[name]) for name in outputs)
    assert [result.steps for _, result in again] == [result.steps for _, result in done]
