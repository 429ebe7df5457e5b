# SPDX-License-Identifier: Apache-2.0
"""What limits every layer, as tables: its cores, and its time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spikeloom.table import Table
from spikeloom.terminal import number, share

__all__ = ["explanations", "limit_tables"]

Rows = Sequence[Mapping[str, Any]]


def explanations(target: Mapping[str, Any]) -> list[Table]:
    """Return what limits the layers of a target of a report, in passes of each pass, and its rate."""
    name, breakdown = target["target"], target["breakdown"]
    found = limit_tables(breakdown["limits"], name) if breakdown.get("limits") else []
    for at, row in enumerate(breakdown.get("passes", ())):
        found += limit_tables(row["limits"], f"{name}, pass {at}")
    if breakdown.get("changes"):
        found.append(_change_table(breakdown["changes"], breakdown["rate"]["bounds"][0], name))
    return found


def limit_tables(rows: Rows, of: str, *, worst: bool = False) -> list[Table]:
    """Return what limits the cores of each layer, and what limits its time.

    Parameters
    ----------
    rows : sequence of mapping
        ``breakdown.limits`` of a target of a report.
    of : str
        What they are of: a target, or an image.
    worst : bool
        Their cycles are bounds of an image that was not emulated.
    """
    time = "at worst, all axons present and all neurons firing" if worst else "per inference"
    return [
        Table(
            title=f"What limits the cores of each layer ({of}): used of a core, copies held, cores saved by "
            "twice as much",
            columns=["layer", "cores", "axons", "columns", "inputs", "weights", "limit", "saved"],
            rows=[_cores(row) for row in rows],
            text=["limit"],
        ),
        Table(
            title=f"What limits the time of each layer ({of}): cycles of its busiest part of a kind, {time}",
            columns=["layer", *rows[0]["cycles"], "limit"],
            rows=[
                [row["name"], *map(number, row["cycles"].values()), row["bound"] or "none"] for row in rows
            ],
            text=["limit"],
        ),
    ]


def _change_table(changes: Rows, first: Mapping[str, Any], of: str) -> Table:
    """Return what single changes do to the rate.

    Parameters
    ----------
    changes : sequence of mapping
        ``breakdown.changes`` of a target of a report.
    first : mapping
        The first of its ``breakdown.rate.bounds``.
    of : str
        The target.
    """
    return Table(
        title=f"What one change does to the rate ({of}): its limit, cycles of that and how many fewer, and "
        "cycles of an inference",
        columns=["change", "limit", "cycles", "fewer", "inference", "cores", "refused"],
        rows=[_change(row, first["cycles"]) for row in changes],
        text=["limit", "refused"],
    )


def _change(row: Mapping[str, Any], now: float) -> list[str]:
    fewer = None if row["refusal"] else now - row["bound"]
    figures = (row["bound"], fewer, row["cycles"], row["cores"])
    return [row["option"], row["limit"] or "-", *map(number, figures), row["refusal"] or ""]


def _cores(row: Mapping[str, Any]) -> list[str]:
    used, copies, limit = row["used"], row["copies"], row["limit"]
    return [
        row["name"],
        number(row["cores"]),
        share(used["axons"]),
        share(used["columns"]),
        number(copies["inputs"]),
        number(copies["weights"]),
        limit or ("-" if set(row["saves"].values()) == {None} else "none"),
        number(row["saves"][limit]) if limit else "-",
    ]
