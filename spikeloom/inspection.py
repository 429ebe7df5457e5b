# SPDX-License-Identifier: Apache-2.0
"""`spikeloom inspect`: structure, check and diagnosis of a model or an image, as tables and as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from emu.trace import RunResult
from mapping.chip import Chip
from mapping.datasets.load import Dataset, load_data, scale_text, scaled
from mapping.diagnosis.difference import Difference
from mapping.diagnosis.finding import DIFFERENCE, WARNING, Finding
from mapping.diagnosis.findings import find, image_findings
from mapping.diagnosis.input_scale import InputScale, Scaling
from mapping.diagnosis.input_tried import InputTried, try_inputs
from mapping.diagnosis.layers import Diagnosis, Emulate, LayerDiagnosis, SumRange, diagnose
from mapping.diagnosis.losses import find_losses
from mapping.diagnosis.options import Trial, settings, try_options
from mapping.errors import MappingError
from mapping.layout.host_tables import stimulus_for
from mapping.model.load import load_network
from spikeloom.conversion import Asked, Converter
from spikeloom.files import check_places, write_text
from spikeloom.losses import loss_json, loss_table, normalisation_table, tried_json
from spikeloom.structure import Subject, open_image, open_model, show_structure
from spikeloom.table import Table
from spikeloom.terminal import console, number, share, status

__all__ = [
    "SCHEMA",
    "Study",
    "activity_table",
    "comparison_table",
    "inspect",
    "inspection_json",
    "operations_table",
    "sums_table",
]

SCHEMA = "spikeloom.inspect/1"

VIOLATIONS = 100
"""Violations that are listed in the JSON; their number is always given."""

_COLOURS = {DIFFERENCE: "red", WARNING: "yellow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What data showed.

    Parameters
    ----------
    data, scale, told : str
        Their name, how they were scaled (``--input``), and that in words.
    diagnosis : Diagnosis
        What each layer did.
    tried : InputTried
        What other orders and normalisations of the input, and scales of layers, give.
    trials : tuple of Trial
        Other conversions that were tried, the one that is inspected first; empty if none was.
    """

    data: str
    scale: str
    told: str
    diagnosis: Diagnosis
    tried: InputTried
    trials: tuple[Trial, ...] = ()


def inspect(
    source: str,
    *,
    asked: Asked | None = None,
    data: str | None = None,
    samples: int | None = None,
    how: str | None = None,
    json_file: Path | None = None,
) -> int:
    """Print what is in a model or an image, and with data what each layer does; return the exit code.

    The code is 1 if the source is an image that differs from its network, else 0.

    Raises
    ------
    MappingError
        If the model, the image or the data cannot be used.
    """
    if data is None and (json_file, samples, how) != (None, None, None):
        raise MappingError("Give --data too: --input, --samples and --json are about what layers do on data.")
    check_places(json_file)
    with status("reading") as say:
        given = None if data is None else load_data(data).first(samples)
        if source.endswith(".spikeloom"):
            subject = open_image(source)
        else:
            subject = open_model(_model(source, data, given, how, asked or Asked()), say)
        study = None if given is None else _study(subject, given, how, say)
    findings = _findings(subject, study)
    if json_file is not None and study is not None:
        write_text(json_file, inspection_json(subject, study, findings))
    _show(subject, study, findings)
    return int(any(finding.level == DIFFERENCE for finding in findings))


def _model(source: str, data: str | None, given: Dataset | None, how: str | None, asked: Asked) -> Converter:
    """Return what converts a model with samples of the data, scaled as is asked for."""
    network = load_network(source)
    chosen = how if given is None else scaled(given, how or "auto", network)[1]
    return Converter(network=network, asked=asked, data=data, how=chosen)


def _study(subject: Subject, data: Dataset, how: str | None, say: Callable[[str], None]) -> Study:
    chip, spiking, converter = subject.chip, subject.spiking, subject.converter
    if converter is not None:
        given, chosen = scaled(data, converter.how or "auto", spiking.network)
    else:
        given, chosen = cast("Chip", chip).prepare(data, how)
    asked = how or (chip.image.meta.get("scaling") if chip and converter is None else None)
    diagnosis = diagnose(
        spiking,
        given.x,
        given.y,
        image=chip.image if chip is not None and subject.readable else None,
        emulate=_emulator(subject),
        scaling=Scaling(how=chosen, pixels=data.pixels),
        progress=say,
    )
    say("trying other orders and normalisations of the input, and scales of layers")
    tried = try_inputs(spiking.network, data, chosen, asked, diagnosis.input_scale.choice)
    return Study(
        data=data.name,
        scale=chosen,
        told=scale_text(data, chosen, asked),
        diagnosis=diagnosis,
        tried=tried,
        trials=_trials(subject, diagnosis, tried, given),
    )


def _trials(subject: Subject, diagnosis: Diagnosis, tried: InputTried, given: Dataset) -> tuple[Trial, ...]:
    """Try options that may help a model, unless its input or a layer is wrong, which no option mends."""
    converter, attribution = subject.converter, diagnosis.attribution
    elsewhere = diagnosis.input_scale.better or tried.better
    if converter is None or attribution is None or elsewhere:
        return ()
    ways = settings(converter.asked.setting, attribution, converter.spec, converter.available)
    return try_options(subject.spiking, ways, converter.spiking, given.x, given.y)


def _emulator(subject: Subject) -> Emulate | None:
    chip = subject.chip
    if chip is None or not subject.readable:
        return None
    sound: Chip = chip

    def emulate(counts: NDArray[np.int32]) -> RunResult:
        return sound.machine.run(stimulus_for(sound.image, counts), threads=os.cpu_count() or 1)

    return emulate


def _findings(subject: Subject, study: Study | None) -> list[Finding]:
    found = []
    if study is not None:
        losses = find_losses(subject.spiking, study.diagnosis, study.tried, study.trials)
        found = find(study.diagnosis, losses)
    if subject.chip is None:
        return found
    return [*image_findings(subject.chip.image, subject.chip.on_chip, subject.violations), *found]


def _show(subject: Subject, study: Study | None, findings: Sequence[Finding]) -> None:
    show_structure(subject)
    if study is not None:
        diagnosis = study.diagnosis
        console.print(activity_table(diagnosis, study.data))
        if diagnosis.network is not None or diagnosis.image is not None:
            console.print(comparison_table(diagnosis))
        console.print(operations_table(diagnosis))
        console.print(sums_table(diagnosis))
        if diagnosis.attribution is not None:
            console.print(loss_table(diagnosis.attribution))
        if study.tried.normalisation is not None:
            console.print(normalisation_table(study.tried.normalisation))
        console.print(f"Input: {study.told}")
        work = share(subject.spiking.host_share)
        console.print(f"{_accuracies(diagnosis)} ({work} of the multiply-adds on the host)")
    for finding in findings:
        console.print(f"{finding.level}: {finding.text}", style=_COLOURS.get(finding.level))


def _accuracies(diagnosis: Diagnosis) -> str:
    parts = [("float64", diagnosis.ann_accuracy), ("spiking network", diagnosis.accuracy)]
    if diagnosis.image is not None:
        parts.append(("emulated image", diagnosis.image_accuracy))
    return "accuracy: " + ", ".join(f"{name} {share(value)}" for name, value in parts)


def comparison_table(diagnosis: Diagnosis) -> Table:
    """Return how many activations of each layer were compared, and how many differ."""
    emulated = diagnosis.image is not None
    rows = []
    for layer in diagnosis.layers:
        cells = [layer.name, number(layer.neurons * diagnosis.samples), _different(layer.network)]
        cells += [number(layer.float32_differs), *([_different(layer.image)] if emulated else [])]
        rows.append(cells)
    names = ["layer", "activations", "differ from float64", "float32 differs"]
    names += ["image differs"] if emulated else []
    return Table(title="activations", columns=names, rows=rows)


def _different(difference: Difference | None) -> str:
    return "-" if difference is None else number(difference.different)


def activity_table(diagnosis: Diagnosis, data: str) -> Table:
    """Return how much each layer fires: spikes per inference, rates, and neurons that never change."""
    rows = []
    for layer in diagnosis.layers:
        shares = (share(layer.rate), share(layer.clipped_share))
        neurons = (layer.neurons, layer.silent, layer.full)
        rows.append([layer.name, number(layer.spikes), *shares, *map(number, neurons)])
    return Table(
        title=f"{data}, {diagnosis.samples} samples: spikes per inference",
        columns=["layer", "spikes", "rate", "at top", "neurons", "silent", "full"],
        rows=rows,
    )


def operations_table(diagnosis: Diagnosis) -> Table:
    """Return the synaptic operations of each layer per inference, and how often potentials saturated."""
    emulated = diagnosis.image is not None
    rows = []
    for layer in diagnosis.layers:
        if layer.sums is not None:
            counts = [layer.operations_logical, layer.operations_dense]
            counts += [layer.operations_physical, layer.saturations] if emulated else []
            rows.append([layer.name, *map(number, counts)])
    names = ["layer", "logical", "dense", *(["physical", "saturations, total"] if emulated else [])]
    return Table(title="synaptic operations per inference", columns=names, rows=rows)


def sums_table(diagnosis: Diagnosis) -> Table:
    """Return the sums that each layer can reach and has seen, and what this makes of its thresholds."""
    rows = []
    for layer in diagnosis.layers:
        if layer.sums is not None:
            sums = layer.sums
            ranges = [f"{number(low)} .. {number(high)}" for low, high in (sums.reachable, sums.observed)]
            counts = (sums.thresholds, sums.unreachable, sums.never_reached)
            rows.append([layer.name, *ranges, *map(number, counts)])
    names = ["layer", "reachable sums", "observed sums", "thresholds", "unreachable", "not reached"]
    return Table(title="sums and thresholds", columns=names, rows=rows)


def inspection_json(subject: Subject, study: Study, findings: Sequence[Finding]) -> str:
    """Return an inspection as JSON text (docs/reference/inspect.md); equal ones give equal text."""
    chip, diagnosis = subject.chip, study.diagnosis
    content = {
        "schema": SCHEMA,
        "version": version("spikeloom"),
        "model": subject.spiking.name,
        "image_digest": None if chip is None else chip.image.digest,
        "data": study.data,
        "input": study.scale,
        "samples": diagnosis.samples,
        "ann_accuracy": diagnosis.ann_accuracy,
        "accuracy": diagnosis.accuracy,
        "image_accuracy": diagnosis.image_accuracy,
        "host_layers": [
            {
                "name": layer.name,
                "reason": layer.reason,
                "remedy": layer.remedy or None,
                "share": layer.share,
            }
            for layer in subject.spiking.host
        ],
        "host_share": subject.spiking.host_share,
        "network": _difference(diagnosis.network),
        "image": _difference(diagnosis.image),
        "output": _difference(diagnosis.output),
        "image_output": _difference(diagnosis.image_output),
        "layers": [_layer(layer) for layer in diagnosis.layers],
        "input_scale": _input_scale(diagnosis.input_scale),
        **tried_json(study.tried),
        "attribution": loss_json(diagnosis.attribution, study.trials),
        "violations": None if chip is None else _violations(subject),
        "errors": diagnosis.errors,
        "findings": [
            {"level": f.level, "kind": f.kind, "layer": f.layer, "neuron": f.neuron, "text": f.text}
            for f in findings
        ],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _difference(difference: Difference | None) -> dict[str, Any] | None:
    if difference is None:
        return None
    first = difference.first
    return {
        "compared": difference.compared,
        "different": difference.different,
        "first": None
        if first is None
        else {
            "layer": first.layer,
            "image": first.image,
            "neuron": first.neuron,
            "expected": first.expected,
            "got": first.got,
        },
    }


def _layer(layer: LayerDiagnosis) -> dict[str, Any]:
    return {
        "name": layer.name,
        "kind": layer.kind,
        "neurons": layer.neurons,
        "levels": layer.levels,
        "network": _difference(layer.network),
        "image": _difference(layer.image),
        "float32_differs": layer.float32_differs,
        "spikes": layer.spikes,
        "rate": layer.rate,
        "zero_share": layer.zero_share,
        "clipped_share": layer.clipped_share,
        "silent": layer.silent,
        "full": layer.full,
        "sums": _sums(layer.sums),
        "synaptic_operations": layer.operations_physical,
        "synaptic_operations_logical": layer.operations_logical,
        "synaptic_operations_dense": layer.operations_dense,
        "saturations": layer.saturations,
    }


def _sums(sums: SumRange | None) -> dict[str, Any] | None:
    if sums is None:
        return None
    return {
        "reachable": list(sums.reachable),
        "observed": list(sums.observed),
        "thresholds": sums.thresholds,
        "unreachable": sums.unreachable,
        "never_reached": sums.never_reached,
    }


def _input_scale(scale: InputScale) -> dict[str, Any]:
    return {
        "samples": scale.samples,
        "better": None if scale.better is None else scale.better.factor,
        "choice": scale.choice,
        "candidates": [
            {
                "factor": candidate.factor,
                "accuracy": candidate.accuracy,
                "zero_share": candidate.zero_share,
                "top_share": candidate.top_share,
                "constant_share": candidate.constant_share,
            }
            for candidate in scale.candidates
        ],
    }


def _violations(subject: Subject) -> dict[str, Any]:
    listed = [
        {"kind": v.kind, "core": v.core, "neuron": v.neuron, "axon": v.axon, "message": v.message}
        for v in subject.violations[:VIOLATIONS]
    ]
    return {"count": len(subject.violations), "listed": listed}
