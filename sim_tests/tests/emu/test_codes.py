# SPDX-License-Identifier: Apache-2.0
"""Every spike code on oracle and emulator, against the answer of its own formula."""

import pytest

from emu.machine import Machine
from emu.trace import RunResult, diff
from sim_tests.generators.code_programs import PROGRAMS, CodeProgram
from sim_tests.oracle.machine import run_oracle


def require_answer(program: CodeProgram, result: RunResult) -> None:
    """Demand the answer of a code."""
    if program.spikes is not None:
        assert result.spikes.tolist() == program.spikes
    if program.potentials is not None:
        assert result.state["potential"].tolist() == program.potentials
    assert program.spikes is not None or program.potentials is not None


@pytest.mark.parametrize("code", PROGRAMS)
def test_code_gives_the_answer_of_its_formula(code: str) -> None:
    program = PROGRAMS[code]()
    machine = Machine(program.image)
    for cycles in (False, True):
        result = run_oracle(program.image, program.stimulus, cycles=cycles)
        require_answer(program, result)
        own = machine.run(program.stimulus, cycles=cycles, potentials=True)
        assert diff(result, own) is None
        require_answer(program, own)


def test_answers_differ_from_each_other_and_from_nothing() -> None:
    """A wrong answer is noticed: those of two codes are exchanged."""
    rate, refractory = PROGRAMS["rate, reset to zero"](), PROGRAMS["refractory"]()
    result = Machine(rate.image).run(rate.stimulus)
    with pytest.raises(AssertionError):
        require_answer(refractory, result)
