# SPDX-License-Identifier: Apache-2.0
"""Every spike code on the hardware: equal to the emulator, and to the answer of its own formula."""

import pytest

from emu.machine import Machine
from emu.trace import diff
from sim_tests.bench.amaranth_engine import run_pysim
from sim_tests.bench.job import prepare
from sim_tests.bench.scoreboard import BenchError
from sim_tests.generators.code_programs import PROGRAMS
from sim_tests.tests.emu.test_codes import require_answer


@pytest.mark.parametrize("code", PROGRAMS)
def test_code_gives_the_answer_of_its_formula_in_hardware(code: str) -> None:
    program = PROGRAMS[code]()
    expected = Machine(program.image).run(program.stimulus, cycles=True, potentials=True)
    result = run_pysim(prepare(program.image, program.stimulus, expected, phases=2))
    assert not isinstance(result, BenchError), result
    assert diff(expected, result) is None
    require_answer(program, result)
