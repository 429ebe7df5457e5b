# SPDX-License-Identifier: Apache-2.0
"""Values of signals, cycle by cycle, as lanes of a WaveDrom diagram.

A diagram is WaveJSON (https://wavedrom.com/tutorial.html): plain dictionaries and lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["COLOURS", "Box", "Lane", "bits", "boxes", "clock", "diagram", "strip"]

Lane = dict[str, Any] | list[Any]
"""One lane, or a named group of lanes: its name, then its lanes."""

Box = tuple[str, str]
"""A label, and the digit of its colour in a ``wave``."""

COLOURS = {"plain": "2", "spike": "3", "token": "5", "control": "4", "reply": "7", "pause": "8"}
"""What a box shows -> WaveDrom's digit of its colour."""


def clock(cycles: int) -> Lane:
    """Return the clock; a cycle begins with a rising edge.

    >>> clock(3)
    {'name': 'clk', 'wave': 'p..'}
    """
    return {"name": "clk", "wave": "p" + "." * (cycles - 1)}


def bits(name: str, values: Sequence[int]) -> Lane:
    """Return a lane of a signal of one bit.

    >>> bits("ready", [1, 1, 0, 1])
    {'name': 'ready', 'wave': '1.01'}
    """
    return {"name": name, "wave": _held([str(value) for value in values])}


def boxes(name: str, values: Sequence[Box | None], ends: Sequence[bool] | None = None) -> Lane:
    """Return a lane of labelled boxes, and a low line where there is None.

    Parameters
    ----------
    name : of the lane.
    values : what each cycle shows.
    ends : whether a box ends with the cycle, even if the next cycle shows the same; never, if None.

    >>> boxes("o", [None, ("a", "3"), ("a", "3"), ("b", "2")])
    {'name': 'o', 'wave': '03.2', 'data': ['a', 'b']}
    >>> boxes("o", [None, ("a", "3"), ("a", "3"), ("b", "2")], [True] * 4)
    {'name': 'o', 'wave': '0332', 'data': ['a', 'a', 'b']}
    """
    wave, data, before, open_box = "", [], None, False
    for cycle, value in enumerate(values):
        if cycle and value == before and (open_box or value is None):
            wave += "."
        else:
            wave += "0" if value is None else value[1]
            data += [] if value is None else [value[0]]
        before, open_box = value, ends is None or not ends[cycle]
    return {"name": name, "wave": wave, "data": data}


def strip(name: str, row: str, names: dict[str, Box]) -> Lane:
    """Return a lane from a row of one letter a cycle; equal letters are one box, ``.`` is none.

    >>> strip("core", ".wwI", {"w": ("wait", "2"), "I": ("INTEGRATE", "3")})
    {'name': 'core', 'wave': '02.3', 'data': ['wait', 'INTEGRATE']}
    """
    return boxes(name, [names.get(letter) for letter in row])


def diagram(lanes: Sequence[Lane], *, first: int, title: str) -> dict[str, Any]:
    """Return a whole diagram.

    Parameters
    ----------
    lanes : from top to bottom.
    first : number of the first cycle.
    title : above it.
    """
    return {"signal": list(lanes), "head": {"text": title, "tick": first}, "config": {"hscale": 1}}


def _held(marks: list[str]) -> str:
    """Write a mark that is equal to the one before as a dot."""
    return "".join(m if i == 0 or m != marks[i - 1] else "." for i, m in enumerate(marks))
