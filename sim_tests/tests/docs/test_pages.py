# SPDX-License-Identifier: Apache-2.0
"""What pages list is all there is: ports of the hardware, pages, words, named tests."""

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from emu.spec import SystemSpec, preset
from rtl.blocks import Blocks
from rtl.chip import Chip
from rtl.component import Component
from rtl.core import Neurocore
from rtl.counters import CounterFile, StickyCause
from rtl.crossbar import Crossbar
from rtl.emission import Emitter
from rtl.events import EventScheduler
from rtl.gateway import Gateway
from rtl.neuron import Walk
from rtl.program import Programmer
from rtl.router import Router
from rtl.schedule import Schedule
from sim_tests.bench.reports import json_report
from sim_tests.bench.systems import Outcome
from spikeloom.cli import main

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGE = DOCS / "theory_of_operation.md"
RESULTS = DOCS / "reference" / "results.md"
NAMED = re.compile(r"`pytest (sim_tests/[\w/]+\.py) -k (\w+)`")
CORE = (Neurocore, EventScheduler, Crossbar, Walk, Emitter, Schedule, Programmer, CounterFile)
SIZED = (Chip, Gateway, Router, *CORE)
PLAIN = (StickyCause,)


def documented(text: str, block: str) -> list[str]:
    """Return the names in the first column of the table of a block."""
    section = re.search(rf"^## {re.escape(block)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    rows = re.findall(r"^\| (`[^|]*) \|", section.group(1), re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def build(block: type[Component]) -> Component:
    """Return a block that nobody will elaborate."""
    spec = SystemSpec(core=preset("tiny"), width=2, height=1)
    if block is Blocks:
        return block(spec.core)
    return block(spec) if block in SIZED else block()


def unlisted(index: Path) -> list[str]:
    """Return the pages beside and below an index that it does not link."""
    text = index.read_text(encoding="utf-8")
    pages = (
        path.relative_to(index.parent).as_posix() for path in index.parent.rglob("*.md") if path != index
    )
    return sorted(page for page in pages if f"]({page})" not in text)


def misplaced(glossary: str) -> list[str]:
    """Return the words of a glossary that are out of order or there twice."""
    words = [word.lower() for word in re.findall(r"^\*\*(.+?)\.\*\*", glossary, re.MULTILINE)]
    assert words
    return [b for a, b in pairwise(words) if a >= b]


def untested(page: str) -> list[str]:
    """Return the tests that a page names and that no test's name matches."""
    named = NAMED.findall(page)
    texts = {path: (ROOT / path).read_text(encoding="utf-8") for path, _ in named}
    return [key for path, key in named if not re.search(rf"def test_\w*{key}", texts[path])]


@pytest.mark.parametrize("block", [*SIZED, Blocks, *PLAIN], ids=lambda block: block.__name__)
def test_page_lists_the_ports_of_the_block(block: type[Component]) -> None:
    if not PAGE.is_file():
        pytest.skip("not a checkout")
    members = sorted(build(block).signature.members)
    assert sorted(documented(PAGE.read_text(encoding="utf-8"), block.__name__)) == members


def test_documented_reads_only_the_ports_of_its_block() -> None:
    text = "## A\n| port |\n|---|\n| `x`, `y` | in `z` |\n\n## B\n| `w` | out |\n"
    assert documented(text, "A") == ["x", "y"]
    assert documented(text, "B") == ["w"]


@pytest.mark.skipif(not DOCS.is_dir(), reason="not a checkout")
def test_pages_are_listed_ordered_and_tested() -> None:
    assert unlisted(DOCS / "index.md") == []
    assert misplaced((DOCS / "glossary.md").read_text(encoding="utf-8")) == []
    systems = (DOCS / "systems.md").read_text(encoding="utf-8")
    assert len(NAMED.findall(systems)) > 5
    assert untested(systems) == []


def test_lists_find_planted_gaps(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# A\n")
    (tmp_path / "b.md").write_text("# B\n")
    index = tmp_path / "index.md"
    index.write_text("[a](a.md)\n")
    assert unlisted(index) == ["b.md"]
    assert misplaced("**Axon.** A\n\n**Core.** B\n\n**Cell.** C\n\n**Cell.** D\n") == ["cell", "cell"]
    assert untested("`pytest sim_tests/tests/docs/test_pages.py -k find_planted_gap`") == []
    assert untested("`pytest sim_tests/tests/docs/test_pages.py -k gone`") == ["gone"]


@pytest.mark.skipif(not DOCS.is_dir(), reason="not a checkout")
def test_page_lists_what_a_run_writes(tmp_path: Path) -> None:
    page = RESULTS.read_text(encoding="utf-8")
    image, told, trace = (tmp_path / name for name in ("a.spikeloom", "a.json", "a.npz"))
    assert main(["compile", "digits", "-o", str(image), "--core", "small"]) == 0
    outputs = ["--json", str(told), "--trace", str(trace)]
    assert main(["run", str(image), "--data", "digits", "--samples", "1", "--cycles", *outputs]) == 0
    assert sorted(json.loads(told.read_text())) == sorted(documented(page, "`run --json`: `spikeloom.run/1`"))
    with np.load(trace) as arrays:
        names = {"counter_NAME" if name.startswith("counter_") else name for name in arrays.files}
    assert sorted(names) == sorted(documented(page, "`run --trace`: arrays of an npz file"))


@pytest.mark.skipif(not DOCS.is_dir(), reason="not a checkout")
def test_page_lists_what_a_verification_writes() -> None:
    spec = SystemSpec(core=preset("tiny"), width=2, height=1)
    outcome = Outcome(name="a", spec=spec, steps=1, compared=1, failure=None)
    told = json.loads(json_report([outcome], "pysim", None))
    names = documented(RESULTS.read_text(encoding="utf-8"), "`verify --json`: `spikeloom.verify/1`")
    assert sorted(names) == sorted(told)
