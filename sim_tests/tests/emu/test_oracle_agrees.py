# SPDX-License-Identifier: Apache-2.0
"""Emulator and oracle, written independently, agree on every value; planted faults are found."""

import dataclasses
from typing import Any

import pytest

from emu.image import SystemImage
from emu.machine import Machine
from emu.spec import SystemSpec, preset
from emu.trace import Stimulus, compared, diff
from emu.words import TABLES, Emission, Reset, Section
from sim_tests.generators.systems import make_core, make_stimulus, make_system, random_system
from sim_tests.oracle.machine import run_oracle

TWO = SystemSpec(core=preset("tiny"), width=2, height=1)
SQUARE = SystemSpec(core=preset("tiny"), width=2, height=2)
SEEDS = range(200)
PROFILE = [c.name for c in TABLES[Section.PROFILE]]


@pytest.mark.parametrize("seed", SEEDS)
def test_emulator_equals_oracle(seed: int) -> None:
    image, stimulus = random_system(seed)
    expected = run_oracle(image, stimulus, cycles=True)
    machine = Machine(image)
    for cycles in (False, True):
        got = machine.run(stimulus, cycles=cycles, potentials=True)
        assert diff(expected, got) is None
        assert got.visits is not None
        assert compared(expected, got) > 0


@pytest.mark.parametrize("seed", range(30))
def test_emulator_equals_the_oracle_without_time(seed: int) -> None:
    image, stimulus = random_system(seed)
    expected = run_oracle(image, stimulus, cycles=False)
    assert diff(expected, Machine(image).run(stimulus, potentials=True)) is None


def loop() -> tuple[SystemImage, Stimulus]:
    """Return two cores in which every cell, word and entry matters."""
    schedule = [[1, 0, 1, 1, 1, 0, 2]]
    fields: dict[str, Any] = {"thresholds": [2, 5], "schedule": schedule, "strengths": [1, 3], "bias": 1}
    first = make_core([[1, 1], [-1, 1]], fanout=[[1, 1, 0, 0, 0, False], [0, 0, 1, 1, 5, True]], **fields)
    second = make_core([[1, 0], [1, 1]], fanout=[[0, 0, 0, 0, 0, True]], **fields)
    rows = [(step, 0, 0, 0, 0, 1, 2) for step in range(4)]
    return make_system(TWO, first, second), make_stimulus(4, rows)


FAULTS = [
    ("crossbar", (0, 1), 0),
    ("crossbar", (1, 0), 1),
    ("strengths", (1,), 2),
    ("bias", (0,), 0),
    ("potential", (0,), 1),
    ("profiles", (0, PROFILE.index("reset")), Reset.ZERO),
    ("profiles", (0, PROFILE.index("emission")), Emission.COUNT),
    ("profiles", (0, PROFILE.index("refractory_period")), 1),
    ("profiles", (0, PROFILE.index("potential_decay")), 4096),
    ("profiles", (0, PROFILE.index("current_kept")), 4096),
    ("refractory", (0,), 7),
    ("shifts", (1,), 1),
    ("connected", (0,), False),
    ("thresholds", (0,), 6),
    ("thresholds", (1,), 6),
    ("fanout", (0, 4), 1),
    ("fanout", (0, 5), 1),
    ("fanout", (1, 4), 6),
    ("fanout", (0, 0), 0),
    ("schedule", (0, 6), 1),
    ("schedule", (0, 1), 1),
    ("schedule", (0, 2), 0),
]


@pytest.mark.parametrize("cycles", [False, True], ids=["functional", "cycle"])
@pytest.mark.parametrize(("name", "place", "value"), FAULTS)
def test_comparison_finds_a_planted_fault(
    name: str, place: tuple[int, ...], value: int, cycles: bool
) -> None:
    image, stimulus = loop()
    core = image.cores[0]
    assert core is not None
    array = getattr(core, name).copy()
    assert array[place] != value
    array[place] = value
    faulty = image.replace(cores=(dataclasses.replace(core, **{name: array}), image.cores[1]))
    expected = run_oracle(image, stimulus, cycles=cycles)
    assert diff(expected, Machine(image).run(stimulus, cycles=cycles, potentials=True)) is None
    assert diff(expected, Machine(faulty).run(stimulus, cycles=cycles, potentials=True)) is not None


def test_comparison_finds_a_planted_axon_of_the_stimulus() -> None:
    image, stimulus = loop()
    packet = stimulus.packet.copy()
    packet[0, 4] = 0
    other = Stimulus(steps=stimulus.steps, step=stimulus.step, packet=packet)
    expected = run_oracle(image, stimulus, cycles=True)
    assert diff(expected, Machine(image).run(other, cycles=True, potentials=True)) is not None


def test_emulator_equals_oracle_on_what_the_host_sends_itself() -> None:
    stimulus = make_stimulus(2, [(0, 0, 1, 0, 2, 0, 1), (1, 0, 0, 2, 2, 3, -1)])
    image = make_system(SQUARE, *[make_core([[1]])] * 4)
    for cycles in (False, True):
        expected = run_oracle(image, stimulus, cycles=cycles)
        assert expected.outputs.tolist() == [[-1, 0, 1], [0, 3, -1]]
        assert diff(expected, Machine(image).run(stimulus, cycles=cycles)) is None


@pytest.mark.parametrize("name", [0, 65535, 65536, 70000, (1 << 24) - 2])
@pytest.mark.parametrize("by_count", [False, True])
def test_emulator_equals_oracle_on_any_name_at_the_gateway(name: int, by_count: bool) -> None:
    core = dataclasses.replace(preset("tiny"), gateway_axons=1 << 24)
    spec = SystemSpec(core=core, width=1, height=1)
    fields: dict[str, Any] = {"thresholds": [0, 1], "schedule": [[1, 0, 1, 1, 1, 0, 2]]}
    fields["emission"] = Emission.COUNT if by_count else Emission.UNARY
    sender = make_core([[1]], fanout=[[0, 0, 1, 1, name, True]], **fields)
    image, stimulus = make_system(spec, sender), make_stimulus(1, [(0, 0, 0, 0, 0, 0, 7)])
    sent = [[0, name, 2]] if by_count else [[0, name, 1], [0, name + 1, 1]]
    for cycles in (False, True):
        run = Machine(image).run(stimulus, cycles=cycles)
        assert run.outputs.tolist() == sent
        assert diff(run_oracle(image, stimulus, cycles=cycles), run) is None
