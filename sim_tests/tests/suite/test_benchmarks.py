# SPDX-License-Identifier: Apache-2.0
"""The benchmarks measure what they say: workloads, options, peers; no time is asserted."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from emu.kernels import state
from emu.machine import Machine
from emu.words import Reset
from mapping.datasets.load import load_data
from mapping.flow import compile_network
from mapping.layout.emit import emit
from mapping.layout.host_tables import stimulus_for
from mapping.layout.objective import OBJECTIVES, latency_of, step_of
from mapping.layout.place import PLACERS
from mapping.layout.route import fit
from mapping.model.load import load_network
from mapping.spiking.network import SpikingNetwork
from sim_tests.benchmarks import __main__ as bench
from sim_tests.benchmarks import chain, functional, lenet, mapping, objectives, peers, phases
from sim_tests.benchmarks import placement as placement_rows
from sim_tests.benchmarks.measure import Options, Row, best
from sim_tests.generators.large_networks import residual
from sim_tests.generators.mapping_networks import Draft, core_spec


def test_best_runs_once_more_than_it_measures() -> None:
    ticks = iter(range(100))
    runs: list[int] = []
    assert best(lambda: runs.append(1), lambda: float(next(ticks) ** 2)) == 1.0
    assert len(runs) == 6


def test_eleven_cores_have_the_operations_they_state() -> None:
    image, stimulus = functional.eleven_cores(Reset.SUBTRACT)
    run = Machine(image).run(stimulus)
    assert sum(core is not None for core in image.cores) == 11
    assert 220_000 < run.total("synaptic_operations") / run.steps < 240_000


def test_dense_core_has_a_fifth_of_its_rows_active() -> None:
    image, stimulus, rows = functional.dense_core(0.2, Reset.CLEAR)
    core = image.cores[0]
    assert core is not None
    assert core.crossbar.shape == (1152, 1024)
    assert {len(active) for active in rows} == {230}
    assert len(stimulus.packet) == 230 * stimulus.steps


def test_mapping_has_cores_and_every_stage_or_the_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    large = {"small": lambda: residual((4, 8), size=8, blocks=1), "wide": lambda: _wide(2000)}
    monkeypatch.setattr(mapping, "LARGE", large)
    found = list(mapping.rows(Options(networks=("small", "wide"))))
    stages = ("partition", "place", "route", "emit", "check", "save", "report", "read", "load")
    names = ["small on reference cores"]
    names += [f"small: {name}" for name in (*stages, "all that a command does")]
    names += ["wide on reference cores", "wide: partition", "wide: all that a command does"]
    assert [row.name for row in found] == names
    # 25 neurons of five digits lie in a block: three layers of 256 neurons take two cores, four take one
    assert re.fullmatch(
        r"10 cores of 4 x 3; loaded by [\d,]+ flits, core by core by [\d,]+; a file of [\d,]+ bytes",
        str(found[0].value),
    )
    assert "needs" in found[11].value


def _wide(levels: int) -> SpikingNetwork:
    draft = Draft(shape=(4,), levels=levels)
    return draft.network(draft.dense(2))


def test_chain_says_what_it_needs() -> None:
    assert list(chain.rows(Options())) == [Row("compile, run and estimate", chain.HOW)]


def test_chain_has_every_stage_and_the_ratio_of_estimate_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def taken(arguments: list[str]) -> float:
        asked.append(arguments)
        return {"run": 2.0, "estimate": 5.0}[arguments[0]]

    monkeypatch.setattr(chain, "_processor_time", taken)
    ticks = iter((10.0, 14.0, 20.0, 29.0))
    options = Options(model="digits-float", on="digits", samples=3, clock=lambda: next(ticks))
    found = list(chain.rows(options))
    names = [row.name for row in found]
    assert names[:-4] == [
        f"compile: {name}"
        for name in ("data", "convert", "partition", "place", "route", "emit", "check", "save")
    ]
    assert found[-4:] == [
        Row("run, 3 samples", "4.00 s"),
        Row("estimate, the same samples", "9.00 s", "2.25", "run"),
        Row("run as a command, processor time", "2.00 s"),
        Row("estimate as a command, processor time", "5.00 s", "2.50", "run"),
    ]
    assert [line[0] for line in asked] == ["run", "estimate"] * 3
    assert all(line[-4:] == ["--data", "digits", "--samples", "3"] for line in asked)


def test_processor_time_of_a_command_is_that_of_its_process() -> None:
    assert 0.05 < chain._processor_time(["--version"]) < 60
    with pytest.raises(subprocess.CalledProcessError):
        chain._processor_time(["estimate", "nothing.onnx", "--data", "digits"])


def test_lenet_says_how_to_get_it() -> None:
    assert list(lenet.rows(Options())) == [Row("LeNet, four spikes", lenet.HOW)]


def test_phases_are_the_whole_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    chip = compile_network(load_network("digits"), core="small")
    x = load_data("digits").first(5).shaped(chip.input_shape).x
    found = phases.shares(chip, x)
    assert tuple(found) == phases.PHASES
    assert sum(found.values()) == pytest.approx(1)
    monkeypatch.setattr(state, "SPIKES", state.NEURON_UPDATES)
    with pytest.raises(RuntimeError, match="the phases fire"):
        phases.shares(chip, x)


@pytest.mark.parametrize("name", peers.PEERS)
def test_peer_that_is_not_installed(name: str, tmp_path: Path) -> None:
    hidden = tmp_path / "python"
    hidden.write_text(f'#!/bin/sh\nexec {sys.executable} -I "$@"\n')
    hidden.chmod(0o755)
    assert peers.time_of_peer(hidden, name, np.ones((2, 2), np.int8)) is None


def test_peer_with_other_operations_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peers.PEERS, "json", "def run(): pass\n")
    with pytest.raises(RuntimeError, match=r"json in .* failed: AssertionError: other synaptic operations"):
        peers.time_of_peer(Path(sys.executable), "json", np.ones((2, 2), np.int8))


@pytest.mark.parametrize("neurons", [8, 27])
def test_step_of_a_placement_is_that_of_the_emulator(neurons: int) -> None:
    draft = Draft(shape=(20,))
    draft.dense(neurons, density=1.0)
    spiking, spec = draft.network(), core_spec()
    parts, placement, routes = fit(spiking, spec)
    image = emit(spiking, parts, placement, routes, name="n")
    run = Machine(image).run(stimulus_for(image, np.ones((1, 20), np.int64)), cycles=True)
    worked = sum(run.total(activity) for activity in ("integrate", "update"))
    assert len(parts.cores) == 1
    assert run.total("send_stall") == 0
    assert worked == step_of(spiking.layers[0], spec, parts.cores) == latency_of(parts)


def test_objectives_have_cores_and_cycles(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"small": lambda: residual((4, 8), size=8, blocks=1)}
    monkeypatch.setattr(objectives, "LARGE", small)
    monkeypatch.setattr(objectives, "_lenet", small["small"])
    found = list(objectives.rows(Options(networks=("small",))))
    names = [f"{name}, {objective}" for name in ("lenet", "small") for objective in OBJECTIVES]
    assert [row.name for row in found] == names
    told = re.compile(r"(\d+) cycles on (\d+) cores, ([\d.]+) uJ")
    figures = [told.fullmatch(row.value) for row in found]
    (fewest, cores, first), (cycles, more, other), (_, _, least) = (
        map(float, one.groups()) for one in figures[3:] if one
    )
    assert cores == 10
    assert more <= 2 * cores
    assert cycles < fewest
    assert 0 < least <= min(first, other)
    ratios = [float(row.ratio) for row in found[3:]]
    assert ratios == pytest.approx([1, other / first, least / first], abs=0.02)


def test_placement_compares_every_placer(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the input enters by one inlet: more packets than any core sends."""
    draft = Draft(shape=(400,))
    for width in (300, 8, 8):
        draft.dense(width, density=0.2)
    monkeypatch.setattr(placement_rows, "LARGE", {"chain": draft.network})
    found = list(placement_rows.rows(Options(networks=("chain",))))
    assert [row.name.rsplit(", ")[1].split(":")[0] for row in found] == ["step of the busiest core", *PLACERS]
    form = r"(\d+) cycles, (\d+) with the input, \d+ hops, [\d.]+ s"
    told = [re.fullmatch(form, str(row.value)) for row in found[1:]]
    busiest = [(int(one[1]), int(one[2])) for one in told if one]
    assert len(busiest) == len(PLACERS)
    assert all(0 < sent < 400 <= whole for sent, whole in busiest)


def test_section_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        bench.main(["speed"])
    assert caught.value.code == 2
    assert "section must be one of functional, lenet, " in capsys.readouterr().err


def test_table_of_a_section(capsys: pytest.CaptureFixture[str]) -> None:
    bench.main(["lenet"])
    assert "not given" in capsys.readouterr().out
