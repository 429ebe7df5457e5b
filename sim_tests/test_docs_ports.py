# SPDX-License-Identifier: Apache-2.0
"""The ports in the theory of operation are those of the code."""

import re
from pathlib import Path

import pytest

from emu.spec import SystemSpec, preset
from rtl.chip import Chip
from rtl.component import Component
from rtl.core import Neurocore
from rtl.counters import CounterFile, StickyCause
from rtl.crossbar import Crossbar
from rtl.events import EventScheduler
from rtl.gateway import Gateway
from rtl.neuron import Walk
from rtl.program import Programmer
from rtl.router import Router
from rtl.schedule import Schedule

PAGE = Path(__file__).parent.parent / "docs" / "theory_of_operation.md"
SIZED = (Chip, Gateway, Router, Neurocore, EventScheduler, Crossbar, Walk, Schedule, CounterFile)
PLAIN = (Programmer, StickyCause)


def documented(text: str, block: str) -> list[str]:
    """Return the names in the first column of the table of a block."""
    section = re.search(rf"^## {block}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    rows = re.findall(r"^\| (`[^|]*) \|", section.group(1), re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def build(block: type[Component]) -> Component:
    """Return a block that nobody will elaborate."""
    spec = SystemSpec(core=preset("tiny"), width=2, height=1)
    component = block(spec) if block in SIZED else block()
    component._MustUse__silence = True
    return component


@pytest.mark.parametrize("block", [*SIZED, *PLAIN], ids=lambda block: block.__name__)
def test_page_lists_the_ports_of_the_block(block: type[Component]) -> None:
    if not PAGE.is_file():
        pytest.skip("not a checkout")
    members = sorted(build(block).signature.members)
    assert sorted(documented(PAGE.read_text(encoding="utf-8"), block.__name__)) == members


def test_documented_reads_only_the_ports_of_its_block() -> None:
    text = "## A\n| port |\n|---|\n| `x`, `y` | in `z` |\n\n## B\n| `w` | out |\n"
    assert documented(text, "A") == ["x", "y"]
    assert documented(text, "B") == ["w"]
