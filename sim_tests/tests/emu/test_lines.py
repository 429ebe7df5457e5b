# SPDX-License-Identifier: Apache-2.0
"""Cores that read one crossbar, each in the order of its own axons."""

import dataclasses

import numpy as np
import pytest

from emu.image import ImageError
from emu.machine import Machine
from emu.spec import SystemSpec, preset
from emu.trace import diff
from sim_tests.generators.systems import make_core, make_stimulus, make_system
from sim_tests.oracle.machine import run_oracle


def test_lines_order_the_crossbar_of_a_core() -> None:
    core = make_core([[1, -1], [0, 1]], thresholds=[4], lines=[1, -1, 0])
    assert (core.axons, core.cells.tolist()) == (3, [[0, 1], [0, 0], [1, -1]])
    plain = make_core([[0, 1], [0, 0], [1, -1]], thresholds=[4])
    spec = SystemSpec(core=preset("tiny"), width=1, height=1)
    assert make_system(spec, core).digest == make_system(spec, plain).digest


def test_oracle_reads_the_line_of_an_axon() -> None:
    core = make_core([[1, -1], [0, 1]], thresholds=[4], fanout=[[0, 0, 1, 1, 7, True]], lines=[1, -1, 0])
    system = make_system(SystemSpec(core=preset("tiny"), width=1, height=1), core)
    packets = [(step, 0, 0, 0, 0, axon, 2 + axon) for step in range(2) for axon in range(3)]
    stimulus = make_stimulus(3, packets)
    expected = run_oracle(system, stimulus, cycles=True)
    assert expected.total("synaptic_operations") == 2 * 3
    assert diff(expected, Machine(system).run(stimulus, cycles=True, potentials=True)) is None


@pytest.mark.parametrize("line", [-2, 2])
def test_line_that_the_crossbar_does_not_have_is_refused(line: int) -> None:
    with pytest.raises(ImageError) as error:
        dataclasses.replace(make_core([[1], [0]]), lines=np.array([0, line]))
    assert str(error.value) == f"crossbar: lines must be -1..1, not {line}."


def test_crossbar_of_more_lines_than_axons_is_refused() -> None:
    core = make_core([[1], [0]])
    with pytest.raises(ImageError) as error:
        dataclasses.replace(core, crossbar=np.zeros((3, 1), np.int8))
    assert str(error.value) == "crossbar must have at most a line for each of the 2 axons, not 3."
