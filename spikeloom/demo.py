# SPDX-License-Identifier: Apache-2.0
"""The demo: the whole chain on the network and the digits that install with the project."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from mapping.datasets.load import load_data, scaled
from mapping.errors import MappingError
from mapping.flow import compile_network
from mapping.model.load import load_network
from mapping.report.activity import RunTotals, observe
from mapping.report.closed_form import report_closed_form
from mapping.report.machine import Report, report_machine
from mapping.spiking.simulate import compare
from mapping.targets.files import load_target
from spikeloom.bench import export_verilog, verify_image
from spikeloom.files import write_text
from spikeloom.terminal import console, layer_table, report_notes, report_table, status

__all__ = ["CORE", "run_demo"]

CORE = "small"
"""Core size of the demo: small enough to simulate its RTL, so that the network spreads over ten cores."""


def run_demo(*, out: Path, images: int, sim: str) -> int:
    """Run every link of the chain, say what each one shows, and return the exit code of the verification.

    Parameters
    ----------
    out : folder for ``digits.spikeloom``, ``verification.json``, ``verilog/`` and ``report.json``.
    images : digits run in RTL in lock step.
    sim : simulator, or ``auto``.
    """
    network = load_network("digits")
    data, chosen = scaled(load_data("digits"), "auto", network)
    with status("compiling the digits network") as say:
        chip = compile_network(network, core=CORE, scaling=chosen)
        image = out / "digits.spikeloom"
        chip.save(image)
        say("comparing the spiking network with the float network")
        comparison = compare(chip.spiking, data.x)
        say("emulating the image, functional")
        functional = chip.run(data.x)
        say("emulating the image, cycle-exact (the first time compiles the emulator)")
        cycles = chip.run(data.x, cycles=True)
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
    if comparison.differences or not np.array_equal(functional.logits, cycles.logits):
        raise MappingError(f"The emulated chip differs from the network: {comparison.first}.")
    hops = cycles.result.total("hops") / max(1, cycles.result.total("packets"))
    console.print(
        f"4 emulator functional and cycle-exact runs agree; {cycles.result.elapsed:,} cycles, "
        f"{hops:.1f} hops a packet"
    )
    console.print(f"5 RTL      {images} images in lock step, program and state by packets only", end="\n")
    proof = out / "verification.json"
    code = verify_image(image, "digits", images, {"--sim": sim, "--json": proof})
    if code:
        return code
    written = export_verilog(out / "verilog", image=image, preset_name=CORE, mesh=(1, 1), changes={})
    console.print(f"6 Verilog  {len(written)} files in {out / 'verilog'}")
    loom, kuang = load_target("loom"), load_target("kuang2021")
    with status("writing the report"):
        activity, totals = observe(chip.spiking, data), RunTotals()
        totals.add(data, cycles.result, cycles.logits)
        parts = [
            report_machine(chip, data, loom, activity, totals=totals),
            report_closed_form(chip.spiking, activity, kuang),
        ]
    verification = json.loads(proof.read_text())
    report = Report(
        model="digits",
        data=data.name,
        input=chosen,
        seed=0,
        targets=parts,
        float32=activity.single,
        verification=verification,
    )
    write_text(out / "report.json", report.to_json())
    console.print(f"7 report   {out / 'report.json'}")
    console.print(report_table(report))
    for note in report_notes(report):
        console.print(note)
    console.print(layer_table(report.targets[0]))
    return 0
