# SPDX-License-Identifier: Apache-2.0
"""The demo: the whole chain on the networks and the digits that install with the project."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mapping.chip import Chip, Inference
from mapping.codes.graded.convert import GradedOptions
from mapping.datasets.calibration import calibration_data
from mapping.datasets.load import CALIBRATION, Dataset, load_data, scaled
from mapping.errors import MappingError
from mapping.flow import compile_network
from mapping.model.load import load_network
from mapping.report.activity import RunTotals, observe
from mapping.report.closed_form import report_closed_form
from mapping.report.emulated import report_machine
from mapping.report.result import Report
from mapping.spiking.simulate import Comparison, compare
from mapping.targets.files import load_target
from spikeloom.bench import export_verilog, spec_of, verify_image
from spikeloom.files import write_text
from spikeloom.terminal import console, layer_table, report_notes, report_table, status

__all__ = ["CORE", "run_demo"]

CORE = "small"
"""Core size of the demo: small enough to simulate its RTL, so that the network spreads over ten cores."""

FLOAT = "digits-float"
"""The ordinary network."""

GRADED = GradedOptions(bits=5, digits=3)
"""How it is quantised: the payload of the small core holds five bits and a sign."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Emulated:
    """The demo's chip on its data, and how its network compares with the float network."""

    chip: Chip
    data: Dataset
    scale: str
    comparison: Comparison
    functional: Inference
    cycles: Inference


def run_demo(*, out: Path, images: int, sim: str) -> int:
    """Run every link of the chain, say what each one shows, and return the exit code of the verification.

    Parameters
    ----------
    out : folder for ``verilog/``, and of each network the image, what was verified, and the report.
    images : digits run in RTL in lock step.
    sim : simulator, or ``auto``.
    """
    image, proof = out / "digits.spikeloom", out / "verification.json"
    emulated = _emulate(image)
    _show_emulation(emulated, image)
    console.print(f"5 RTL      {images} images in lock step, program and state by packets only")
    if code := verify_image(image, "digits", images, {"--sim": sim, "--json": proof}):
        return code
    written = export_verilog(out / "verilog", spec_of(image))
    console.print(f"6 Verilog  {len(written)} files in {out / 'verilog'}")
    with status("writing the report"):
        report = _report(emulated, json.loads(proof.read_text()))
    _tell(report, out / "report", 7)
    return _run_float(emulated.chip, out, images, sim)


def _tell(report: Report, place: Path, link: int) -> None:
    """Write a report as JSON and as a page, and print it."""
    data, page = (place.with_suffix(suffix) for suffix in (".json", ".html"))
    write_text(data, report.to_json())
    write_text(page, report.to_html())
    console.print(f"{f'{link} report':<10} {data}, as a page {page}")
    console.print(report_table(report))
    for note in report_notes(report):
        console.print(note)
    console.print(layer_table(report.targets[0]))


def _run_float(first: Chip, out: Path, images: int, sim: str) -> int:
    """Run an ordinary float network on a chip like the first one, in the graded code, all layers on it."""
    image, proof = out / f"{FLOAT}.spikeloom", out / f"{FLOAT}-verification.json"
    network = load_network(FLOAT)
    data, scale = scaled(load_data("digits"), "auto", network)
    calibration, _ = scaled(calibration_data("digits", CALIBRATION, 0), scale, network)
    spec = first.image.spec
    with status("compiling a float network"):
        chip = compile_network(
            network,
            core=CORE,
            mesh=(spec.width, spec.height),
            scaling=scale,
            samples=calibration.x,
            options=GRADED,
        )
        chip.save(image)
    console.print(
        f"8 float    an ordinary network, {GRADED.bits} bits an activation, {GRADED.digits} digits a weight; "
        f"on the host: {', '.join(chip.spiking.host_layers) or 'nothing'}"
    )
    console.print(f"9 RTL      {images} images in lock step on a chip of the same size, image {image}")
    if code := verify_image(image, "digits", images, {"--sim": sim, "--json": proof}):
        return code
    with status("emulating the float network, cycle-exact"):
        activity = observe(chip.spiking, data)
        part = report_machine(chip, data, load_target("loom"), activity)
    report = Report(
        model=FLOAT,
        data=data.name,
        input=scale,
        seed=0,
        targets=[part],
        float32=activity.single,
        verification=json.loads(proof.read_text()),
    )
    _tell(report, out / FLOAT, 10)
    console.print(f"Open {out / FLOAT}.html in a browser to see these figures drawn.")
    return 0


def _emulate(image: Path) -> _Emulated:
    """Compile the digits network into ``image`` and run it in both modes of the emulator."""
    network = load_network("digits")
    data, scale = scaled(load_data("digits"), "auto", network)
    with status("compiling the digits network") as say:
        chip = compile_network(network, core=CORE, scaling=scale)
        chip.save(image)
        say("comparing the spiking network with the float network")
        comparison = compare(chip.spiking, data.x)
        say("emulating the image, functional")
        functional = chip.run(data.x)
        say("emulating the image, cycle-exact (the first time compiles the emulator)")
        cycles = chip.run(data.x, cycles=True)
    return _Emulated(
        chip=chip, data=data, scale=scale, comparison=comparison, functional=functional, cycles=cycles
    )


def _show_emulation(emulated: _Emulated, image: Path) -> None:
    """Print links 1 to 4 of the chain.

    Raises
    ------
    MappingError : two of them disagree.
    """
    chip, comparison, result = emulated.chip, emulated.comparison, emulated.cycles.result
    spec, cores = chip.image.spec, sum(core is not None for core in chip.image.cores)
    console.print(
        f"1 model    {len(chip.spiking.layers)} ternary layers on chip; "
        f"on the host: {', '.join(chip.spiking.host_layers)}"
    )
    console.print(
        f"2 network  {comparison.neurons:,} activations of {comparison.images} images compared, "
        f"{comparison.differences} differ"
    )
    console.print(
        f"3 chip     {cores} of {spec.width} x {spec.height} cores, every route checked, image {image}"
    )
    if comparison.differences or not np.array_equal(emulated.functional.logits, emulated.cycles.logits):
        raise MappingError(f"The emulated chip differs from the network: {comparison.first}.")
    hops = result.total("hops") / max(1, result.total("packets"))
    console.print(
        f"4 emulator functional and cycle-exact runs agree; {result.elapsed:,} cycles, "
        f"{hops:.1f} hops a packet"
    )


def _report(emulated: _Emulated, verification: Mapping[str, Any]) -> Report:
    chip, data, totals = emulated.chip, emulated.data, RunTotals()
    activity = observe(chip.spiking, data)
    totals.add(chip, data, emulated.cycles)
    parts = [
        report_machine(chip, data, load_target("loom"), activity, totals=totals),
        report_closed_form(chip.spiking, activity, load_target("kuang2021")),
    ]
    return Report(
        model="digits",
        data=data.name,
        input=emulated.scale,
        seed=0,
        targets=parts,
        float32=activity.single,
        verification=verification,
    )
