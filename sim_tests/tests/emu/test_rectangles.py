# SPDX-License-Identifier: Apache-2.0
"""Rectangles that cover given cores: each core once, no other, and no more of them than rows or columns."""

from collections import Counter

import numpy as np

from emu.rectangles import area, bounds, cells_of, strips

MESH = [(x, y) for y in range(5) for x in range(7)]


def test_a_cover_holds_each_core_once_and_no_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for share in rng.uniform(0.05, 1.0, 200):
        cells = [cell for cell in MESH if rng.random() < share] or MESH[:1]
        places = strips(cells)
        held = Counter(cell for place in places for cell in cells_of(place))
        assert held == Counter(cells)
        assert sum(map(area, places)) == len(cells)


def test_the_direction_with_fewer_rectangles_is_taken() -> None:
    comb = [(x, 0) for x in range(4)] + [(0, 1), (2, 1)]
    along_x, along_y = [(0, 3, 0, 0), (0, 0, 1, 1), (2, 2, 1, 1)], [(0, 0, 0, 3), (1, 1, 0, 0), (1, 1, 2, 2)]
    assert strips(comb) == along_x
    assert strips((y, x) for x, y in comb) == along_y


def test_whole_mesh_is_one_rectangle_and_bounds_hold_all() -> None:
    assert strips(MESH) == [(0, 6, 0, 4)]
    assert bounds([(3, 1), (1, 4), (2, 2)]) == (1, 3, 1, 4)
    assert area((1, 3, 1, 4)) == 12
