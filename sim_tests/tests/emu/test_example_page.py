# SPDX-License-Identifier: Apache-2.0
"""The timing diagrams of `docs/reference/example.md` are what the oracle does."""

import doctest
import re
from pathlib import Path
from typing import Any

import pytest

from emu.image import SystemImage
from emu.trace import Stimulus
from sim_tests.oracle.cycles import Chip
from sim_tests.oracle.machine import stimulus_flits
from sim_tests.oracle.rules import Core, Flit, Mesh

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "example.md"
PORTS = "NESWL"
PHASES = {"INTEGRATE": "I", "FETCH": "F", "DRIVE": "D", "MEMBRANE": "M", "COMPARE": "C", "STORE": "S"}
PHASES |= {"EMIT": "E", "TOKEN": "T"}


class Recorder(Chip):
    """A chip that writes down what every core and port does in every cycle."""

    def __init__(self, image: SystemImage) -> None:
        cores = [Core(index, program, image.spec.core) for index, program in enumerate(image.cores)]
        super().__init__(Mesh(width=image.spec.width, height=image.spec.height), cores)
        self.rows: dict[str, dict[int, str]] = {}
        self.before: list[dict[int, list[Flit]]] = []

    def write(self, row: str, mark: str) -> None:
        """Put a mark at this cycle; there is at most one for each row."""
        if self.now is not None:
            assert self.rows.setdefault(row, {}).setdefault(self.now, mark) == mark

    def cycle(self) -> bool:
        """Spend one cycle; what was at the head before and is not there after was removed."""
        self.before = [{i: list(fifo) for i, fifo in router.fifo.items()} for router in self.routers]
        cores = [(machine.phase, machine.running) for machine in self.machines]
        started = self.now is not None
        active = super().cycle()
        if self.now is None:
            return active
        self.now -= 1
        for at, (phase, running) in enumerate(cores):
            self.write(f"core {at}", (PHASES.get(phase, "w") if running else "p"))
        for at, router in enumerate(self.routers):
            for i, old in self.before[at].items():
                if old and not any(flit is old[0] for flit in router.fifo[i]):
                    self.write(f"router {at} in {PORTS[i]}", "K" if old[0].is_token else "s")
        assert started or self.now == 0
        self.now += 1
        return active

    def depart(self, at: int, leaving: dict[int, Flit]) -> list[tuple[int, int, Flit]]:
        """Write down what leaves, then hand it on."""
        for o, flit in leaving.items():
            self.write(f"router {at} out {PORTS[o]}", "K" if flit.is_token else "s")
        return super().depart(at, leaving)


def record(image: SystemImage, stimulus: Stimulus) -> tuple[dict[str, str], int]:
    """Return the rows of a timing diagram, cycles 0 to the last, and the elapsed cycles."""
    chip = Recorder(image)
    chip.run([stimulus_flits(stimulus, step) for step in range(stimulus.steps)])
    assert chip.elapsed is not None
    return {
        n: "".join(r.get(c, ".") for c in range(chip.elapsed)) for n, r in chip.rows.items()
    }, chip.elapsed


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """Return the names that the code of the page defines."""
    test = doctest.DocTestParser().get_doctest(PAGE.read_text(encoding="utf-8"), {}, PAGE.name, None, 0)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(test, clear_globs=False)
    assert (runner.failures, runner.tries > 20) == (0, True)
    return test.globs


def drawn(block: int) -> dict[str, str]:
    """Return the rows of a diagram of the page."""
    text = re.findall(r"```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[block]
    lines = [line for line in text.splitlines() if not line.startswith(("cycle", " "))]
    return {line[:16].strip(): line[16:] for line in lines}


def test_diagram_of_the_example_is_what_the_oracle_does(page: dict[str, Any]) -> None:
    rows, elapsed = record(page["image"], page["stimulus"])
    expected = drawn(0)
    assert set(expected) == set(rows)
    for name, row in expected.items():
        assert (name, row) == (name, rows[name])
        assert len(row) == elapsed


def test_diagram_of_the_contention_is_what_the_oracle_does(page: dict[str, Any]) -> None:
    for name, first in (("alone, out S", False), ("both, out S", True)):
        rows, _ = record(page["crowd"](first, True), page["make_stimulus"](1))
        shown = drawn(1)[name]
        assert re.sub("[LE]", "s", shown) == rows["router 0 out S"][10 : 10 + len(shown)]
        east = rows["router 0 in E"][10 : 10 + len(shown)]  # its head leaves by S in the same cycle
        assert all((mark == "E") == (head == "s") for mark, head in zip(shown, east, strict=True))


def test_diagram_check_finds_a_moved_mark(page: dict[str, Any]) -> None:
    rows, _ = record(page["crowd"](False, True), page["make_stimulus"](1))
    assert rows != record(page["crowd"](True, True), page["make_stimulus"](1))[0]
