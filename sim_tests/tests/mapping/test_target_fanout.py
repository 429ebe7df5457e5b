# SPDX-License-Identifier: Apache-2.0
"""How many cores read an element, against every synapse one by one."""

import math

import numpy as np
import pytest

from mapping.targets.fanout import most_readers
from mapping.targets.patches import CoreLimits, LayerShape, best_patch

Place = tuple[int, ...]


def brute_readers(shape: LayerShape, cut: tuple[int, int, int], pools: tuple[LayerShape, ...]) -> int:
    """Return the most inputs of cores that one element of the source is, synapse by synapse."""
    wide, high, deep = cut
    each = shape.output[2] // shape.groups
    whole = max(1, deep // each)
    inputs: set[tuple[Place, Place]] = set()
    for y, x, c in np.ndindex(*shape.output):
        group, inside = divmod(c, each)
        core = (y // high, x // wide, group // whole, 0 if whole > 1 else inside // deep)
        for point in window(shape, y, x):
            fan_in = range(group * shape.fan_in, (group + 1) * shape.fan_in)
            inputs |= {(core, (*point, channel)) for channel in fan_in}
    counts: dict[Place, int] = {}
    for _, place in inputs:
        for source in through(pools, place, shape):
            counts[source] = counts.get(source, 0) + 1
    return max(counts.values())


def window(shape: LayerShape, y: int, x: int) -> list[tuple[int, int]]:
    """Return the points inside the map that an output reads."""
    top, left = (0, 0) if shape.pads is None else shape.pads[:2]
    rows = [y * shape.steps[0] - top + tap * shape.gaps[0] for tap in range(shape.taps[0])]
    columns = [x * shape.steps[1] - left + tap * shape.gaps[1] for tap in range(shape.taps[1])]
    return [
        (row, column)
        for row in rows
        for column in columns
        if 0 <= row < shape.input[0] and 0 <= column < shape.input[1]
    ]


def through(
    pools: tuple[LayerShape, ...], place: tuple[int, ...], reader: LayerShape
) -> list[tuple[int, ...]]:
    """Return the elements of the source that pools bring to one input."""
    places = [place]
    if pools and reader.kind == "fc":  # the map is flattened, channels first
        _, _, flat = place
        channel, pixel = divmod(flat, math.prod(pools[-1].output[:2]))
        places = [(*divmod(pixel, pools[-1].output[1]), channel)]
    for pool in reversed(pools):
        places = [(*point, c) for y, x, c in places for point in window(pool, y, x)]
    return places


def random_layer(random: np.random.Generator) -> LayerShape:
    """Return a convolution with random sizes."""
    groups = int(random.choice([1, 1, 2, 3]))
    kernel, step, gap = (tuple(map(int, random.integers(1, 4, 2))) for _ in range(3))
    pads = tuple(map(int, random.integers(0, 2, 4)))
    sides = tuple(map(int, random.integers(8, 12, 2)))
    ends = zip(sides, pads[:2], pads[2:], kernel, gap, step, strict=True)
    out = [(side + a + b - (taps - 1) * by - 1) // down + 1 for side, a, b, taps, by, down in ends]
    return LayerShape(
        name="c",
        kind="conv",
        input=(sides[0], sides[1], groups * int(random.integers(1, 3))),
        output=(out[0], out[1], groups * int(random.integers(1, 6))),
        kernel=(kernel[0], kernel[1]),
        stride=(step[0], step[1]),
        dilation=(gap[0], gap[1]),
        pads=(pads[0], pads[1], pads[2], pads[3]),
        groups=groups,
    )


@pytest.mark.parametrize("case", range(40))
def test_readers_are_those_of_every_synapse(case: int) -> None:
    random = np.random.default_rng(case)
    shape = random_layer(random)
    limits = CoreLimits(axons=200, columns=int(random.integers(2, 60)), point_columns=1)
    cut = best_patch(shape, limits)
    assert cut is not None
    height, width, channels = shape.input
    size, step = int(random.integers(1, 4)), int(random.integers(1, 3))
    before = (height * step + size - step, width * step + size - step, channels)
    pool = LayerShape(name="p", kind="pool", input=before, output=shape.input, kernel=size, stride=step)
    pools = (pool,) if random.random() < 0.5 else ()
    assert most_readers(shape, cut, pools) == brute_readers(shape, cut.patch_out, pools)


def test_readers_of_a_flattened_map_are_all_cores_of_the_dense_layer() -> None:
    pool = LayerShape(name="p", kind="pool", input=(5, 5, 2), output=(2, 2, 2), kernel=3, stride=2)
    shape = LayerShape(name="d", kind="fc", input=(1, 1, 8), output=(1, 1, 9))
    cut = best_patch(shape, CoreLimits(axons=8, columns=4, point_columns=1))
    assert cut is not None
    assert most_readers(shape, cut, (pool,)) == brute_readers(shape, cut.patch_out, (pool,)) == 3 * 4
