# SPDX-License-Identifier: Apache-2.0
"""Random programs, random column sums, a router that refuses: every visit, packet and cycle of a walk."""

import random

import pytest

from emu.image import CoreImage
from emu.spec import SystemSpec
from sim_tests.generators.pool import POOL
from sim_tests.generators.systems import random_system
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
