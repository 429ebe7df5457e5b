# SPDX-License-Identifier: Apache-2.0
"""What a converted network loses, as a table and as JSON (`docs/reference/inspect.md`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mapping.diagnosis.attribution import Attribution
from mapping.diagnosis.input_normalisation import InputNormalisation
from mapping.diagnosis.input_trial import InputTrial
from mapping.diagnosis.input_tried import InputTried
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


def tried_json(tried: InputTried) -> dict[str, Any]:
    """Return what other orders and normalisations of the input, and other scales of layers, give."""
    order, normalisation, scale = tried.order, tried.normalisation, tried.layer_scale
    return {
        "input_order": order and {**_told(order), "better": order.better and order.better.name},
        "input_normalisation": normalisation
        and {**_told(normalisation), "better": normalisation.better and normalisation.better.input},
        "layer_scale": scale
        and {
            **_told(scale),
            "cross_entropy": scale.cross_entropy,
            "better": scale.better and asdict(scale.better),
            "alike": [asdict(layer) for layer in scale.alike],
        },
    }


def _told(trial: InputTrial[Any]) -> dict[str, Any]:
    """Return what all trials tell."""
    candidates = [asdict(candidate) for candidate in trial.candidates]
    return {"samples": trial.samples, "accuracy": trial.accuracy, "candidates": candidates}


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
