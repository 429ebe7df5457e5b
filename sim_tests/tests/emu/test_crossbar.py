# SPDX-License-Identifier: Apache-2.0
"""Each way of integration of a core equals a product; equal crossbars and weights are stored once."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from emu.balance import Balance
from emu.functional import Source
from emu.machine import Machine
from emu.spec import CoreSpec, SystemSpec, preset
from emu.words import Reset
from sim_tests.generators.systems import make_core, make_stimulus, make_system

TINY = preset("tiny")
LONG = CoreSpec(
    axons=300,
    columns=64,
    lanes=8,
    payload_bits=6,
    potential_bits=24,
    strengths=2,
    thresholds=8,
    fanouts=8,
    schedule=4,
)


def integrated(cells: Any, payload: Any) -> tuple[list[int], int]:
    """Return potentials and synaptic operations of a core after one step with a payload on each axon."""
    axons = np.flatnonzero(payload)
    rows = [(0, 0, 0, 0, 0, int(axon), int(payload[axon])) for axon in axons]
    image = make_system(
        SystemSpec(core=LONG, width=1, height=1), make_core(cells, reset=0, thresholds=[LONG.never])
    )
    run = Machine(image).run(make_stimulus(1, rows))
    return run.state["potential"].tolist(), run.total("synaptic_operations")


def patterns() -> dict[str, Any]:
    """Return payloads that are integrated in bit planes, value by value, and as products."""
    rng = np.random.default_rng(2)
    some = rng.random(300) < 0.2
    return {
        "planes, one value": np.ones(300, int),
        "planes, values": rng.integers(2, 4, 300),
        "values, few": np.where(some, rng.integers(1, 5, 300), 0),
        "values, negative": np.where(some, rng.integers(-3, 0, 300), 0),
        "values, many": np.where(np.arange(300) < 150, 31, 0),
        "products": rng.integers(-32, 32, 300),
        "products, few": np.where(some, rng.integers(-32, 32, 300), 0),
    }


@pytest.mark.parametrize("name", patterns())
@pytest.mark.parametrize("cells", ["random", "ones"])
def test_column_sums_are_a_product(name: str, cells: str) -> None:
    payload = patterns()[name]
    shape = (300, 9)
    crossbar = np.random.default_rng(3).integers(-1, 2, shape) if cells == "random" else np.ones(shape, int)
    operations = int(np.count_nonzero(crossbar[payload != 0]))
    assert integrated(crossbar, payload) == ((payload @ crossbar).tolist(), operations)


def test_equal_crossbars_are_stored_once() -> None:
    cells = np.random.default_rng(4).integers(-1, 2, (3, 4))
    cores = [make_core(cells.copy()), make_core(-cells), make_core(cells.copy())]
    program = Source(make_system(SystemSpec(core=TINY, width=3, height=1), *cores)).program
    assert program.cell_at.tolist() == [0, 12, 0]
    assert (len(program.cells), len(program.planes)) == (24, 2 * 2 * 4)


def test_equal_weights_are_stored_once() -> None:
    cells = np.random.default_rng(4).integers(-1, 2, (3, 4))
    cores = [make_core(part, strengths=[1, 3]) for part in (cells, -cells, cells.copy())]
    program = Source(make_system(SystemSpec(core=TINY, width=3, height=1), *cores)).program
    assert program.weight_at.tolist() == [0, 6, 0]
    assert program.weights[:6].tolist() == (cells[:, ::2] + 3 * cells[:, 1::2]).reshape(-1).tolist()
    assert (len(program.weights), len(program.cells), len(program.planes)) == (12, 0, 0)


def test_drives_beyond_32_bits_are_not_folded() -> None:
    """A drive of 300 x 255 x 2^7 x 4091 saturates a potential of 32 bits; one of 2044 x 255 x 2^7 fits."""
    wide = dataclasses.replace(
        LONG, payload_bits=9, potential_bits=32, strengths=3, sum_bits=28, axon_shifts=True
    )
    cells = np.zeros((300, 6), int)
    cells[:, :3], cells[0, 4:] = 1, 1
    core = make_core(
        cells, strengths=[2047, 2047, -3], shifts=[7] * 300, thresholds=[wide.never], reset=Reset.CLEAR
    )
    machine = Machine(make_system(SystemSpec(core=wide, width=1, height=1), core))
    run = machine.run(make_stimulus(1, [(0, 0, 0, 0, 0, axon, 255) for axon in range(300)]))
    assert run.state["potential"].tolist() == [wide.potential_max, 2044 * 255 * 128]
    assert machine._source.program.weight_at.tolist() == [-1]


def test_widest_shifted_payload_is_counted_in_planes() -> None:
    """A payload of 8 bits, shifted by 7, takes 15 planes of one bit each."""
    wide = dataclasses.replace(LONG, payload_bits=9, potential_bits=32, sum_bits=28, axon_shifts=True)
    cells = np.random.default_rng(5).integers(-1, 2, (300, 3))
    core = make_core(cells, shifts=[7] * 300, thresholds=[wide.never], reset=Reset.CLEAR)
    machine = Machine(
        make_system(SystemSpec(core=wide, width=1, height=1), core), balance=Balance(rows_per_plane=1)
    )
    run = machine.run(make_stimulus(1, [(0, 0, 0, 0, 0, axon, 255) for axon in range(300)]))
    assert run.state["potential"].tolist() == (cells.sum(axis=0) * (255 << 7)).tolist()
