# SPDX-License-Identifier: Apache-2.0
"""Measure trained LeNets on the MNIST test set.

Usage: ``python -m sim_tests.referees.lenet_table --data DIR MODEL...``.

Every model is compiled and its placed image emulated on all images. Every activation of every image is
compared twice: the spiking network with the float network evaluated in float64, and the neurons on the chip
with the spiking network. Prints the table that docs/systems.md shows; the exit code is 1 after a difference.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mapping.chip import Chip
from mapping.datasets.load import Dataset, batches, load_data, scaled
from mapping.flow import compile_network
from mapping.layout.host_tables import counts_of
from mapping.model.importers.onnx import load_onnx
from mapping.report.activity import Activity, RunTotals
from mapping.report.closed_form import report_closed_form
from mapping.spiking.simulate import compare, simulate
from mapping.targets.files import load_target

__all__ = ["HEAD", "Measured", "main", "measure", "row"]

HEAD = (
    "| spikes | accuracy | input spikes | spikes on chip | operations: physical | logical | dense "
    "| cores `loom` / `kuang2021` | energy on `kuang2021` |\n|---|---|---|---|---|---|---|---|---|"
)


@dataclass(slots=True, kw_only=True)
class Measured:
    """Sums over images: values compared and different, of the network and on the chip."""

    compared: int = 0
    differences: int = 0
    placed: int = 0
    misplaced: int = 0
    activity: Activity = field(default_factory=Activity)
    totals: RunTotals = field(default_factory=RunTotals)


def measure(chip: Chip, data: Dataset) -> Measured:
    """Compare and count on all samples of ``data``, which are in the shape and scale of the network."""
    found, spiking = Measured(), chip.spiking
    for part in batches(data):
        compared, run = compare(spiking, part.x), chip.run(part.x)
        found.compared += compared.neurons
        found.differences += compared.differences
        expected = simulate(spiking, run.input_counts)
        for name, counts in counts_of(chip.image, run.result, len(part.x)).items():
            found.placed += counts.size
            found.misplaced += int(np.count_nonzero(counts != expected[name]))
        found.activity.add(spiking, part)
        found.totals.add(chip, part, run)
    return found


def row(chip: Chip, found: Measured) -> str:
    """Return one row of the table below `HEAD`: means per image."""
    activity, totals = found.activity, found.totals
    form = report_closed_form(chip.spiking, activity, load_target("kuang2021"))
    means = [
        activity.input_spikes / activity.samples,
        activity.total("spikes"),
        totals.total("synaptic_operations") / totals.samples,
        activity.total("logical"),
        activity.total("dense"),
    ]
    levels = max(layer.levels for layer in chip.spiking.layers)
    cores = sum(core is not None for core in chip.image.cores)
    shown = " | ".join(f"{mean:,.1f}" for mean in means)
    return (
        f"| {levels} | {100 * (totals.accuracy or 0):.2f} % | {shown} "
        f"| {cores} / {form['cores']} | {form['energy_j'] * 1e3:.4f} mJ |"
    )


def _measured(path: Path, data: Dataset) -> tuple[str, str, int]:
    """Return a paragraph about a model, its row of the table, and how many values differ."""
    chip = compile_network(load_onnx(path), core="reference", scaling="unit")
    found = measure(chip, scaled(data, "unit", chip.spiking.network)[0])
    told = (
        f"{path.name} sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}\n"
        f"  image {chip.image.digest}\n"
        f"  {found.totals.correct} of {found.totals.samples} correct on the chip, "
        f"{found.activity.float_correct} in float64\n"
        f"  {found.differences} of {found.compared} values of the network differ from the float network\n"
        f"  {found.misplaced} of {found.placed} values on the chip differ from the network"
    )
    return told, row(chip, found), found.differences + found.misplaced


def main(arguments: list[str] | None = None) -> int:
    """Print the table; return 1 if anything differs."""
    parser = argparse.ArgumentParser(prog="python -m sim_tests.referees.lenet_table", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the idx files of MNIST")
    parser.add_argument("models", type=Path, nargs="+", help="files that spikeloom train lenet wrote")
    options = parser.parse_args(arguments)
    data, differences, rows = load_data(f"mnist:{options.data}"), 0, [HEAD]
    for path in options.models:
        told, line, found = _measured(path, data)
        print(told, flush=True)
        rows.append(line)
        differences += found
    print("\n".join(rows))
    return int(differences > 0)


if __name__ == "__main__":
    raise SystemExit(main())
