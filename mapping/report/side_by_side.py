# SPDX-License-Identifier: Apache-2.0
"""Targets and published systems in one list, each figure marked as what it is."""

from collections.abc import Mapping, Sequence
from typing import Any

from mapping.report.keys import AT_LEAST

__all__ = ["PUBLISHED", "side_by_side", "what"]

PUBLISHED = "published"
"""Kind of figures that others printed."""

_SHARED = ("accuracy", "latency_s", "throughput_per_s", "energy_j")
_OURS = ("cores", "chips", "area_mm2", "energy_j_low", "energy_j_high")


def side_by_side(
    targets: Sequence[Mapping[str, Any]], published: Sequence[Mapping[str, Any]] | None
) -> list[dict[str, Any]] | None:
    """Return a row for each target that took the network and each published system; None for a single row.

    Keys are ``system``; ``kind`` of accuracy, cores and times (``cycle-exact``, ``closed-form`` or
    ``published``) and ``energy_kind``; the figures; ``what`` and ``source`` of what is published; and
    ``note``, what else to know of the figures. A figure that is not known is None.
    """
    ours = [_ours(target) for target in targets if target["refusal"] is None]
    rows = [*ours, *map(_theirs, published or ())]
    return rows if len(rows) > 1 else None


def _ours(target: Mapping[str, Any]) -> dict[str, Any]:
    row = {"system": target["target"], "kind": target["kind"], "energy_kind": target["energy_kind"]}
    row |= {key: target[key] for key in (*_SHARED, *_OURS)}
    note = None if target["cores_least"] is None else AT_LEAST
    return row | {"what": None, "note": note, "source": None}


def _theirs(system: Mapping[str, Any]) -> dict[str, Any]:
    row = {"system": system["system"], "kind": PUBLISHED, "energy_kind": PUBLISHED}
    row |= {key: system[key] for key in _SHARED} | dict.fromkeys(_OURS)
    return row | {key: system[key] for key in ("what", "note", "source")}


def what(row: Mapping[str, Any]) -> str:
    """Return what the figures of a row are, in words.

    >>> what({"kind": "closed-form", "energy_kind": "modelled", "what": None, "note": None})
    'closed-form, joules modelled'
    >>> what({"kind": "published", "energy_kind": "published", "what": "measured chip", "note": None})
    'published, measured chip'
    """
    note = "" if row["note"] is None else f"; {row['note']}"
    kind = row["what"] if row["kind"] == PUBLISHED else f"joules {row['energy_kind']}"
    return f"{row['kind']}, {kind}{note}"
