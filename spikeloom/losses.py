# SPDX-License-Identifier: Apache-2.0
"""What a converted network loses, as a table and as JSON (`docs/reference/inspect.md`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mapping.diagnosis.attribution import Attribution
from mapping.diagnosis.input_normalisation import InputNormalisation, TriedNormalisation
from mapping.diagnosis.input_order import InputOrder, OrderCandidate
from mapping.diagnosis.options import Trial
from spikeloom.table import Table
from spikeloom.terminal import share

__all__ = ["loss_json", "loss_table", "normalisation_table", "tried_json"]


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


def normalisation_table(tried: InputNormalisation) -> Table:
    """Return the float network's accuracy with its input normalised in common ways."""
    rows = [[candidate.input, share(candidate.accuracy), candidate.name] for candidate in tried.candidates]
    return Table(
        title=f"float network on {tried.samples} samples, {share(tried.accuracy)} as they are",
        columns=["--input", "accuracy", "which is that of"],
        rows=rows,
        text=["which is that of"],
    )


def tried_json(tried: InputOrder | InputNormalisation | None) -> dict[str, Any] | None:
    """Return what other orders, or normalisations, of the input give."""
    if tried is None:
        return None
    better = tried.better.input if isinstance(tried.better, TriedNormalisation) else None
    better = tried.better.name if isinstance(tried.better, OrderCandidate) else better
    return {
        "samples": tried.samples,
        "accuracy": tried.accuracy,
        "better": better,
        "candidates": [asdict(candidate) for candidate in tried.candidates],
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
