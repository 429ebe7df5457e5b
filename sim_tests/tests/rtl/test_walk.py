# SPDX-License-Identifier: Apache-2.0
"""Random programs, random column sums, a router that refuses: every visit, packet and cycle of a walk."""

import random

import pytest

from emu.image import CoreImage
from emu.spec import CoreSpec, SystemSpec
from sim_tests.generators.pool import POOL
from sim_tests.generators.systems import make_core, random_system
from sim_tests.tests.rtl.walks import Ready, Step, always, play, predict

SYSTEMS = list({spec.core: spec for spec in POOL}.values())
SEEDS = range(5)


def program(spec: SystemSpec, seed: int) -> CoreImage:
    """Return a random program that has neurons."""
    for attempt in range(50):
        image, _ = random_system(1000 * seed + attempt, spec=spec)
        for core in image.cores:
            if core is not None and core.neurons:
                return core
    raise AssertionError("no program has neurons")


def draw(rng: random.Random, spec: SystemSpec, core: CoreImage) -> list[Step]:
    """Return steps with small, large and extreme sums, some of them without a cycle between the blocks."""
    k, per_block = len(core.strengths), core.neurons_per_block(spec)
    steps = []
    for _ in range(rng.randint(2, 5)):
        reach = rng.choice([0, 5, 60, spec.core.sum_max])
        blocks = []
        for block in range(core.blocks(spec)):
            size = min(per_block, core.neurons - block * per_block)
            blocks.append([rng.randint(-reach, reach) for _ in range(size * k)])
        gaps = [rng.choice([0, 0, 1, 7]) for _ in blocks]
        gaps[0] += 1
        steps.append(Step(blocks, gaps))
    return steps


def router(rng: random.Random) -> Ready:
    """Return a router that refuses packets now and then, or never."""
    share = rng.choice([1.0, 0.9, 0.5, 0.2])
    pattern = [rng.random() < share for _ in range(997)]
    pattern[0] = True
    return always if share == 1 else lambda cycle: pattern[cycle % len(pattern)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("spec", SYSTEMS, ids=lambda spec: f"{spec.core.axons}x{spec.core.columns}")
def test_walk_does_what_the_contract_says_in_its_cycles(spec: SystemSpec, seed: int) -> None:
    rng = random.Random(seed)
    core = program(spec, seed)
    steps, ready = draw(rng, spec, core), router(rng)
    assert play(core, spec, steps, ready) == predict(core, spec, steps, ready)


CROWD = CoreSpec(
    axons=16,
    columns=128,
    lanes=64,
    payload_bits=5,
    potential_bits=14,
    strengths=2,
    thresholds=64,
    fanouts=32,
    schedule=4,
    synaptic_current=True,
    decay=True,
    refractory_bits=2,
)
"""Blocks of more neurons than the walk has stages: neurons enter while others wait at the emitter."""


def crowd(rng: random.Random, k: int) -> CoreImage:
    """Return a program of two full blocks whose neurons have little in common."""
    n = 2 * CROWD.lanes // k
    kinds = [
        (rng.randrange(5), rng.choice([0, 2]), rng.choice([0, 3000]), rng.randrange(3)) for _ in range(8)
    ]
    chosen = [rng.choice(kinds) for _ in range(n)]
    names = ("reset", "emission", "potential_decay", "refractory_period")
    return make_core(
        [[0] * (n * k)],
        strengths=[rng.randint(1, 3) for _ in range(k)],
        bias=[rng.randint(-40, 40) for _ in range(n)],
        potential=[rng.randint(-100, 100) for _ in range(n)],
        v0=[rng.randint(-100, 100) for _ in range(n)],
        thresholds=[rng.randint(0, 150) for _ in range(64)],
        threshold_base=[4 * rng.randrange(14) for _ in range(n)],
        fanout=[[0, 1, 0, 1, axon, rng.random() < 0.7] for axon in range(31)] + [[0, 0, 0, 0, 31, True]],
        fanout_base=[rng.randrange(32) for _ in range(n)],
        connected=[rng.random() < 0.8 for _ in range(n)],
        schedule=[[2, 0, 1, 1, 1, 0, rng.choice([3, 8]), -9, 5], [1, 1, 1, 1, 1, 1, 3, 7, -5]],
        **{name: list(column) for name, column in zip(names, zip(*chosen, strict=True), strict=True)},
    )


@pytest.mark.parametrize("k", [1, 2])
def test_full_block_stands_still_as_a_whole(k: int) -> None:
    rng = random.Random(k)
    spec, core = SystemSpec(core=CROWD, width=2, height=2), crowd(rng, k)
    steps = draw(rng, spec, core)
    pattern = [rng.random() < 0.6 for _ in range(101)]

    def ready(cycle: int) -> bool:
        return pattern[cycle % len(pattern)]

    said = predict(core, spec, steps, ready)
    assert len(said.packets) > len(said.stored) // 4 > len(said.done)
    assert play(core, spec, steps, ready) == said
