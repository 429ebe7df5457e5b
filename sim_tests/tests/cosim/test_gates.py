# SPDX-License-Identifier: Apache-2.0
"""A network that is fed by several inlets and read by several outlets, on the hardware."""

from pathlib import Path

import numpy as np

from emu.container import save_image
from emu.gates import GateSpec
from emu.machine import Machine
from emu.trace import diff
from mapping.layout.emit import emit
from mapping.layout.gates import Gates
from mapping.layout.route import fit
from mapping.layout.site import Site
from rtl.export import chip_verilog
from sim_tests.bench.engines import run_jobs
from sim_tests.bench.images import image_systems
from sim_tests.bench.job import prepare
from sim_tests.bench.scoreboard import BenchError
from sim_tests.conftest import require_engine
from sim_tests.generators.mapping_networks import Draft, core_spec


def test_network_of_several_gates_is_equal_on_emulator_and_hardware(tmp_path: Path) -> None:
    """Events that nobody gave enter by the inlets of the image's own table, and leave by both outlets."""
    require_engine("icarus")
    draft = Draft(shape=(6,), seed=3)
    spiking = draft.network(draft.dense(48))
    gates = Gates(inlets="0W,1E", outlets="0,1")
    parts, placement, routes = fit(spiking, core_spec(), Site(mesh=(2, 2), gates=gates))
    image = emit(spiking, parts, placement, routes, name="gates")
    assert image.spec.gates == GateSpec(inlets=((1, "E"),), outlets=(1,))
    save_image(image, tmp_path / "gates.spikeloom")
    (system,), _ = image_systems(tmp_path / "gates.spikeloom", None, 1)
    table = set(map(tuple, np.column_stack((image.input_packet, image.input_inlet)).tolist()))
    sent = np.column_stack((system.stimulus.packet[:, :5], system.stimulus.inlet)).tolist()
    assert {tuple(row) for row in sent} <= table
    assert set(system.stimulus.inlet.tolist()) == {0, 1}
    expected = Machine(image).run(system.stimulus, cycles=True, potentials=True)
    columns = [core.fanout[:, :2].tolist() for core in image.cores if core is not None]
    assert sorted(ends for core in columns for ends in core) == [[0, 0]] * 24 + [[1, 1]] * 24
    job = prepare(image, system.stimulus, expected)
    (result,) = run_jobs(chip_verilog(image.spec), [job], engine="icarus")
    assert not isinstance(result, BenchError), result
    assert diff(expected, result) is None
