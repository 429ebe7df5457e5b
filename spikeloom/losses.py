# SPDX-License-Identifier: Apache-2.0
"""What a converted network loses, as a table and as JSON (`docs/reference/inspect.md`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mapping.diagnosis.attribution import Attribution
from mapping.diagnosis.input_order import InputOrder
from mapping.diagnosis.options import Trial
from spikeloom.table import Table
from spikeloom.terminal import share

__all__ = ["loss_json", "loss_table", "order_json"]


def loss_table(attribution: Attribution) -> Table:
    """Return what each part of a converted network loses, all parts before it included."""
    rows = []
    for part in attribution.parts:
        loss = part.loss
        cells = [f"{loss.logit_error:.4f}", share(loss.agreement), share(loss.accuracy), share(part.share)]
        rows.append([part.layer, part.part, *cells])
    first = (
        "error 0" if attribution.float_accuracy is None else f"accuracy {share(attribution.float_accuracy)}"
    )
    return Table(
        title=f"loss on {attribution.samples} samples with all parts so far as on the chip (none: {first})",
        columns=["layer", "part", "error", "agreement", "accuracy", "share"],
        rows=rows,
        text=["part"],
    )


def order_json(order: InputOrder | None) -> dict[str, Any] | None:
    """Return what other orders of the input give."""
    if order is None:
        return None
    return {
        "samples": order.samples,
        "accuracy": order.accuracy,
        "better": None if order.better is None else order.better.name,
        "candidates": [asdict(candidate) for candidate in order.candidates],
    }


def loss_json(attribution: Attribution | None, trials: Sequence[Trial]) -> dict[str, Any] | None:
    """Return what the parts of a network lose, and what the options that were tried change."""
    if attribution is None:
        return None
    worst = attribution.worst
    return {
        "samples": attribution.samples,
        "float_accuracy": attribution.float_accuracy,
        "worst": {"layer": worst.layer, "part": worst.part},
        "parts": [
            {"layer": p.layer, "part": p.part, **asdict(p.loss), "share": p.share, "factor": p.factor}
            for p in attribution.parts
        ],
        "options": [{"option": t.option, **asdict(t.loss), "columns": t.columns} for t in trials],
    }
