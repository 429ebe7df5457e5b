# SPDX-License-Identifier: Apache-2.0
"""A whole chip: the host's stream at its pins, and the barrier of the worked example."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

from emu.host import load_flits, run_flits
from rtl.system import top_of
from sim_tests.diagrams.cores import core_at_work
from sim_tests.diagrams.lanes import COLOURS, Box, Lane, clock, diagram, strip
from sim_tests.diagrams.recorder import PORTS, record
from sim_tests.diagrams.streams import listen, stream_lanes

__all__ = ["EXAMPLE", "barrier", "example", "example_texts", "host"]

EXAMPLE = Path(__file__).parents[2] / "docs" / "reference" / "example.md"
MARKS: dict[str, Box] = {"K": ("K", COLOURS["token"]), "s": ("s", COLOURS["spike"])}
PHASE: dict[str, Box] = {"w": ("wait", "2"), "I": ("I", "9"), "T": ("T", "5")}
PHASE |= {"W": ("walk", "6"), "N": ("N", "6"), "E": ("E", "3")}


def example() -> dict[str, Any]:
    """Run the code of `docs/reference/example.md` and return the names that it defines.

    Raises
    ------
    ValueError : the page does not show what its code does.
    """
    test = doctest.DocTestParser().get_doctest(EXAMPLE.read_text(encoding="utf-8"), {}, EXAMPLE.name, None, 0)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(test, clear_globs=False)
    if runner.failures or runner.tries <= 20:
        raise ValueError(f"{EXAMPLE.name} must show what its code does; {runner.failures} examples differ.")
    return test.globs


def barrier() -> dict[str, Any]:
    """The end of step 0 and the begin of step 1 of the example: every token, taken and leaving."""
    names = example()
    rows, _ = record(names["image"], names["stimulus"])
    first, last = 22, 37
    lanes: list[Lane] = [clock(last - first)]
    for core in range(2):
        shown = {name: row[first:last] for name, row in rows.items() if name.split()[1] == str(core)}
        lanes.append(strip(f"core {core}", shown.pop(f"core {core}"), PHASE))
        for way in ("in", "out"):
            named = {name[-1]: row for name, row in shown.items() if name.split()[2] == way}
            lanes.append([way, *(strip(port, named[port], MARKS) for port in PORTS if port in named)])
        lanes.append({})
    return diagram(lanes[:-1], first=first, title="Two cores end step 0 and begin step 1")


def example_texts() -> list[str]:
    """Return the diagrams of `docs/reference/example.md` as text: the run, and the contention."""
    names = example()
    rows, elapsed = record(names["image"], names["stimulus"])
    order = [f"core {core}" for core in range(2)]
    order += [f"router {at} {port}" for at in range(2) for port in _ways(rows, at)]
    run = [*_scale(range(elapsed)), *(f"{name:<16}{rows[name]}" for name in order)]
    cycles = range(15, 29)
    contention = _scale(cycles)[-2:]
    for title, first in (("alone, out S", False), ("both, out S", True)):
        rows, _ = record(names["crowd"](first, True), names["make_stimulus"](1))
        contention.append(f"{title:<16}{_named(rows, cycles)}")
    return ["".join(f"{line.rstrip()}\n" for line in lines) for lines in (run, contention)]


def _ways(rows: dict[str, str], at: int) -> list[str]:
    """Return the inputs and outputs of a router in which something moves."""
    ways = [f"{way} {port}" for way in ("in", "out") for port in PORTS]
    return [way for way in ways if f"router {at} {way}" in rows]


def _scale(cycles: range) -> list[str]:
    """Return the numbers of cycles, tens above ones; a ten is written where it begins."""
    tens = "".join(str(c // 10) if c % 10 == 0 or cycles.start else " " for c in cycles)
    return [f"{'cycle':<16}{tens}", f"{'':<16}{''.join(str(c % 10) for c in cycles)}"]


def _named(rows: dict[str, str], cycles: range) -> str:
    """Return output S of router 0, a packet named by the input whose head leaves in the same cycle."""
    marks = zip(rows["router 0 out S"], rows["router 0 in E"], strict=True)
    named = ["E" if out == head == "s" else "L" if out == "s" else out for out, head in marks]
    return "".join(named[cycle] if cycle < len(named) else "." for cycle in cycles)


def host() -> dict[str, Any]:
    """The pins of a chip of one core during its first step."""
    image, stimulus = core_at_work()
    load, (words, at) = load_flits(image).tolist(), run_flits(image.spec, stimulus)
    begin, first, last = len(load) + 100, -at - 1, 31
    offers = [*enumerate(load), *((begin, int(word)) for word in words)]
    seen = listen(
        top_of(image.spec, instances=False), {"host_i": offers}, cycles=begin + at + last, hears=["host_o"]
    )[begin - 1 :]
    lanes = [
        clock(last - first),
        ["in", *stream_lanes(image.spec, seen, "host_i", "host_i")],
        ["out", *stream_lanes(image.spec, seen, "host_o", "host_o", ready=False)],
    ]
    return diagram(lanes, first=first, title="The host offers a run; the gateway takes what has room")
