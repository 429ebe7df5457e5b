# SPDX-License-Identifier: Apache-2.0
"""Limits that depend on an extension, a sum or a window: the last legal program and the first illegal."""

from typing import Any

import numpy as np
import pytest

from emu.image import ImageError
from emu.spec import CoreSpec, SystemSpec, preset
from sim_tests.generators.systems import make_core, make_system

TINY = preset("tiny")
FOLDED = CoreSpec(
    axons=8,
    columns=32,
    lanes=8,
    payload_bits=4,
    potential_bits=12,
    strengths=1,
    thresholds=16,
    fanouts=2,
    schedule=2,
    sum_bits=10,
    max_extension=4,
    axon_shifts=True,
)


def refused(core: CoreSpec, crossbar: Any, **fields: Any) -> str | None:
    """Return the sentence that refuses a core, without its place, None if the core is legal."""
    try:
        make_system(SystemSpec(core=core, width=1, height=1), make_core(crossbar, **fields))
    except ImageError as error:
        return str(error).removeprefix("core 0 (0, 0): ")
    return None


@pytest.mark.parametrize(
    ("extension", "axons", "neurons", "message"),
    [
        (2, 16, 16, None),
        (4, 32, 8, None),
        (2, 17, 16, "17 axons are more than the 16 of the core"),
        (1, 9, 16, "9 axons are more than the 8 of the core"),
        (2, 16, 17, "24 columns are more than the 16 of the core"),
        (4, 32, 9, "16 columns are more than the 8 of the core"),
    ],
)
def test_extension_gives_axons_and_takes_columns(
    extension: int, axons: int, neurons: int, message: str | None
) -> None:
    found = refused(FOLDED, np.zeros((axons, neurons)), extension=extension)
    way_out = "; use a larger core or split the layer."
    assert found == (None if message is None else message + way_out)


@pytest.mark.parametrize(("cells", "most"), [([0, 0, 1, 1], None), ([1, 0, 0, 0], 512), ([0, 1, 0, 0], 512)])
def test_sum_counts_the_shift_of_the_row_of_each_axon(cells: list[int], most: int | None) -> None:
    """Axons 0 and 1 are row 0, shifted by 6: 8 x 64 is one more than a sum of 10 bits holds."""
    found = refused(FOLDED, np.reshape(cells, (4, 1)), extension=2, shifts=[6, 0])
    told = f"column 0 may sum to {most}, more than the 511 of its sum"
    assert (found and found.partition(";")[0]) == (None if most is None else told)


def test_sum_counts_the_shifts_of_each_core() -> None:
    tame, wild = (make_core(np.ones((4, 1)), extension=2, shifts=shifts) for shifts in ([0, 0], [6, 0]))
    with pytest.raises(ImageError, match=r"core 1 .* column 0 may sum to 1040, more than the 511"):
        make_system(SystemSpec(core=FOLDED, width=2, height=1), tame, wild)


@pytest.mark.parametrize(
    ("first", "count", "legal"), [(1, 3, True), (1, 4, False), (3, 2, False), (4, 9, True)]
)
def test_window_within_a_word_or_from_its_beginning(first: int, count: int, legal: bool) -> None:
    schedule = [[1, 0, 1, 1, 1, first, count]]
    found = refused(TINY, [[1]], thresholds=[TINY.never] * 16, schedule=schedule)
    assert (found is None) == legal
    assert legal or "must begin at a multiple of 4 or lie within four of them" in str(found)
