# SPDX-License-Identifier: Apache-2.0
"""Groups of rows are added in 8 and 16 bits only where every sum fits these."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emu import functional
from emu.balance import Balance
from emu.kernels.beside import SMALL
from emu.machine import Machine
from emu.spec import CoreSpec, SystemSpec
from emu.trace import diff
from emu.words import Emission, Kind, Reset
from sim_tests.generators.systems import make_core, make_stimulus, make_system
from sim_tests.oracle.machine import run_oracle

STEPS = 8
SOFT = CoreSpec(
    axons=2200,
    columns=8,
    lanes=8,
    payload_bits=5,
    potential_bits=24,
    strengths=1,
    thresholds=4,
    fanouts=8,
    schedule=2,
    sum_bits=28,
    axon_shifts=True,
)


@pytest.fixture(autouse=True)
def _abreast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every image run abreast that can."""
    monkeypatch.setattr(functional, "BUSY", np.inf)
    monkeypatch.setattr(functional, "LEAST_LANES", 1)


def summed(cells: Any, **fields: Any) -> tuple[NDArray[np.int64], int]:
    """Return the potentials of one sample of `SMALL` on every axon, and whether its core is narrow."""
    core = make_core(cells, thresholds=[SOFT.never], reset=Reset.CLEAR, **fields)
    image = make_system(SystemSpec(core=SOFT, width=1, height=1), core)
    machine = Machine(image, balance=Balance(cells_per_group=0))
    assert machine._source.abreast
    rows = [(step, 0, 0, 0, 0, axon, SMALL) for step in range(STEPS) for axon in range(len(cells))]
    potentials = machine.run(make_stimulus(STEPS, rows), potentials=True).potentials
    assert potentials is not None
    every = potentials[:, 3].reshape(STEPS, -1)
    assert (every == every[0]).all()
    return every[0], int(machine._source.groups.narrow[0])


def test_soft_payload_of_a_shifted_row_is_not_added_in_eight_bits() -> None:
    rng = np.random.default_rng(6)
    cells, shifts = rng.integers(-1, 2, (40, 3)), rng.integers(8, size=40)
    sums, narrow = summed(cells, shifts=shifts)
    assert (sums.tolist(), narrow) == (((SMALL << shifts) @ cells).tolist(), 0)


@pytest.mark.parametrize("rows", [2184, 2185])
def test_column_whose_sum_fits_16_bits_is_narrow(rows: int) -> None:
    sums, narrow = summed(np.ones((rows, 1)))
    assert (sums.tolist(), narrow) == ([SMALL * rows], int(SMALL * rows < 1 << 15))


def test_count_below_zero_is_not_added_in_eight_bits() -> None:
    """Eight rows of -20 are beyond 8 bits; no count above zero and no packet of the host is as large."""
    spec = SystemSpec(core=replace(SOFT, payload_bits=6, ladder=True, signed_ladder=True), width=2, height=1)
    sender = make_core(
        np.zeros((1, 8)),
        bias=-100,
        signed=1,
        emission=Emission.COUNT,
        reset=Reset.CLEAR,
        ladders=[[0, 1 << spec.core.fraction_bits, 0, 0]],
        fanout=[[1, 1, 0, 0, axon, True] for axon in range(8)],
        fanout_base=np.arange(8),
        schedule=[[1, 0, 0, 1, 1, 20, 1], [1, 0, 0, 1, 0, 0, 0]],
    )
    taker = make_core(np.ones((8, 1)), reset=Reset.CLEAR, schedule=[[2, 0, 1, 1, 0, 0, 0]])
    machine = Machine(make_system(spec, sender, taker), balance=Balance(cells_per_group=0))
    assert (machine._source.abreast, machine._source.groups.narrow.tolist()) == (True, [1, 1])
    visits = machine.run(make_stimulus(2 * STEPS), potentials=True).potentials
    assert visits is not None
    assert visits[visits[:, 1] == 1][:, 3].tolist() == [0, -160] * STEPS


def test_digits_that_are_not_folded_do_not_run_abreast() -> None:
    """The first of three strengths alone would fit 32 bits."""
    spec = replace(SOFT, strengths=3, columns=64)
    core = make_core(np.ones((300, 3)), strengths=[1, 2047, 2047], shifts=[7] * 300, reset=Reset.CLEAR)
    source = Machine(make_system(SystemSpec(core=spec, width=1, height=1), core))._source
    assert (source.period, source.program.weight_at.tolist(), source.abreast) == (1, [-1], False)


def test_strays_between_packets_of_a_table_change_no_other_packet() -> None:
    table = np.array([(0, 1, 0, 0, axon) for axon in range(2)], np.int32)
    spec = SystemSpec(core=replace(SOFT, payload_bits=4), width=2, height=1)
    cores = [make_core(np.eye(2), reset=Reset.CLEAR, thresholds=[spec.core.never])] * 2
    image = make_system(spec, *cores).replace(input_packet=table, input_element=np.arange(2))
    places = [(step, *place) for step in range(STEPS) for place in [*table.tolist(), (1, 1, 0, 0, 0)]]
    del places[-2]  # the last step ends before the table does
    rows = [(*place, place[0] - 3) for place in places]
    kind = [Kind.WRITE if step and x0 else Kind.SPIKE for step, x0, *_ in places]
    stimulus = replace(make_stimulus(STEPS, rows), kind=np.array(kind))
    machine = Machine(image, balance=Balance(cells_per_group=0))
    assert (machine._source.abreast, len(machine._source.slots)) == (True, 2)
    run = machine.run(stimulus, potentials=True)
    assert diff(run_oracle(image, stimulus, cycles=False), run) is None
    assert run.counters["errors"].tolist() == [0, STEPS - 1]
