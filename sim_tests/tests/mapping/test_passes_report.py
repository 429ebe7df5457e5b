# SPDX-License-Identifier: Apache-2.0
"""What a report says of a network in passes: every pass, and batches that share the loads."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikeloom
from emu.loading import load_totals
from mapping.flow import compile_passes
from mapping.passes import Passes
from mapping.report.passes import BATCHES
from mapping.targets.files import load_target
from spikeloom.cli import main

SAMPLES = 12
GIVEN = ["estimate", "digits", "--data", "digits", "--core", "small", "--samples", "5"]


@pytest.fixture(scope="module")
def report() -> spikeloom.Report:
    network, data = spikeloom.load_network("digits"), spikeloom.load_data("digits").first(SAMPLES)
    return spikeloom.estimate(network, data, core="small", passes=(4, 2))


@pytest.fixture(scope="module")
def part(report: spikeloom.Report) -> dict[str, Any]:
    return dict(report.to_dict()["targets"][0])


@pytest.fixture(scope="module")
def passes() -> Passes:
    return compile_passes(spikeloom.load_network("digits"), core="small", mesh=(4, 2))


def test_every_pass_tells_its_own_run_and_its_own_load(part: dict[str, Any], passes: Passes) -> None:
    data, _ = passes.prepare(spikeloom.load_data("digits").first(SAMPLES))
    rows, loom = part["breakdown"]["passes"], load_target("loom")
    for row, image, run, kept in zip(
        rows, passes.images, passes.run(data.x, cycles=True), passes.kept(), strict=True
    ):
        load = load_totals(image)
        assert row["cores"] == sum(core is not None for core in image.cores)
        assert row["timesteps"] == image.meta["period"]
        assert row["cycles"] == (run.result.elapsed or 0) / SAMPLES
        assert row["seconds"] == row["cycles"] / loom.clock_hz
        assert row["load_bits"] == load.flits * image.spec.flit_bits
        assert (row["loading"]["flits"], row["loading"]["cycles"]) == (load.flits, load.cycles)
        assert row["kept_bits"] == kept
        assert row["energy_j_low"] < row["energy_j"] < row["energy_j_high"]
    assert part["cores"] == sum(row["cores"] for row in rows) == 10
    assert part["timesteps"] == sum(row["timesteps"] for row in rows)
    assert part["image_digest"] == passes.digest


def test_passes_together_are_the_figures_of_the_target(part: dict[str, Any]) -> None:
    rows, loading = part["breakdown"]["passes"], part["breakdown"]["loading"]
    for end in ("", "_low", "_high"):
        assert part[f"energy_j{end}"] == pytest.approx(sum(row[f"energy_j{end}"] for row in rows), rel=1e-12)
    assert part["throughput_per_s"] == pytest.approx(1 / sum(row["seconds"] for row in rows), rel=1e-12)
    for key in ("flits", "arrivals", "hops", "cycles", "energy_j", "seconds"):
        assert loading[key] == pytest.approx(sum(row["loading"][key] for row in rows), rel=1e-12)
    timeline = part["breakdown"]["timeline"]
    assert [row["step"] for row in timeline] == [0, 1]
    assert [row["layers"] for row in timeline] == [["conv1.sum"], ["conv2.sum", "dense.sum"]]
    assert timeline[-1]["end_s"] == part["latency_s"]
    assert timeline[0]["end_s"] == timeline[1]["begin_s"]


def test_batch_shares_the_loads(part: dict[str, Any]) -> None:
    rows = part["breakdown"]["passes"]
    assert [batch["samples"] for batch in part["breakdown"]["batches"]] == list(BATCHES)
    for batch in part["breakdown"]["batches"]:
        n = batch["samples"]
        for end in ("", "_low", "_high"):
            each = sum(row[f"energy_j{end}"] + row["loading"][f"energy_j{end}"] / n for row in rows)
            assert batch[f"energy_j{end}"] == pytest.approx(each, rel=1e-12)
        seconds = sum(row["seconds"] + row["loading"]["seconds"] / n for row in rows)
        assert batch["seconds"] == pytest.approx(seconds, rel=1e-12)
        assert batch["throughput_per_s"] == 1 / batch["seconds"]
        loads = sum(row["loading"]["energy_j"] for row in rows) / n
        assert batch["loading_share"] == pytest.approx(loads / batch["energy_j"], rel=1e-12)
        assert batch["kept_bytes"] == -(-n * max(row["kept_bits"] for row in rows) // 8)


def test_network_is_the_same_as_without_passes(part: dict[str, Any]) -> None:
    network, data = spikeloom.load_network("digits"), spikeloom.load_data("digits").first(SAMPLES)
    (whole,) = spikeloom.estimate(network, data, core="small").to_dict()["targets"]
    for key in ("accuracy", "spikes_input", "columns", "neurons", "synapses", "host_share"):
        assert part[key] == whole[key], key
    for key in ("spikes", "synaptic_operations"):
        assert part[key] == pytest.approx(whole[key], rel=1e-12), key
    require_equal_layers(part, whole)


def test_packets_are_what_hosts_and_cores_send(part: dict[str, Any], passes: Passes) -> None:
    """Recounted from what a run feeds and fires; the whole network's are fewer, for it keeps nothing."""
    network, data = spikeloom.load_network("digits"), spikeloom.load_data("digits").first(SAMPLES)
    (whole,) = spikeloom.estimate(network, data, core="small").to_dict()["targets"]
    chip = spikeloom.compile_network(network, core="small")
    x = chip.prepare(data)[0].x
    fed, sent = len(chip.stimulus(x).step), int(chip.run(x).result.counters["packets"].sum())
    assert (whole["packets_input"], whole["packets"]) == (fed / SAMPLES, sent / SAMPLES)
    runs = passes.run(passes.prepare(data)[0].x)
    sent = sum(int(run.result.counters["packets"].sum()) for run in runs)
    assert part["packets"] == pytest.approx(sent / SAMPLES, rel=1e-12)
    assert part["packets_input"] > whole["packets_input"]


def require_equal_layers(part: dict[str, Any], whole: dict[str, Any]) -> None:
    layers = zip(part["breakdown"]["layers"], whole["breakdown"]["layers"], strict=True)
    for row, other in layers:
        assert row.keys() == other.keys()
        assert row["name"] == other["name"]
        for key in ("spikes", "synaptic_operations", "synaptic_operations_logical"):
            assert row[key] == pytest.approx(other[key], rel=1e-12)


def test_slices_of_a_layer_add_up() -> None:
    network, data = spikeloom.load_network("digits"), spikeloom.load_data("digits").first(3)
    (part,) = spikeloom.estimate(network, data, core="article", passes=(1, 1)).to_dict()["targets"]
    (whole,) = spikeloom.estimate(network, data, core="article").to_dict()["targets"]
    names = [name for row in part["breakdown"]["passes"] for name, *_ in row["layers"]]
    assert len(names) > len(set(names)) or len(names) == len(whole["breakdown"]["layers"])
    require_equal_layers(dict(part), dict(whole))


def test_text_and_page_tell_the_batches(report: spikeloom.Report) -> None:
    text, page = str(report), report.to_html()
    assert "Not pipelined on loom: A network in passes takes a batch at a time." in text
    assert "With its 2 loads an inference on loom takes, in a batch of 100, " in text
    for pointer in ("passes/0/energy_j", "passes/1/loading/energy_j", "batches/3/kept_bytes"):
        assert f'data-from="/targets/0/breakdown/{pointer}"' in page
    assert "closed form" not in page


def test_estimate_prints_and_writes_the_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = tmp_path / "r.json"
    assert main([*GIVEN, "--passes", "4x2", "--json", str(told), "--html", str(tmp_path / "r.html")]) == 0
    out = capsys.readouterr().out
    assert "Passes (loom), per inference, and to load once" in out
    assert "bits to load" in out
    (target,) = json.loads(told.read_text())["targets"]
    assert len(target["breakdown"]["passes"]) == 2
    assert np.isfinite([batch["energy_j"] for batch in target["breakdown"]["batches"]]).all()


def test_passes_are_not_explored(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["estimate", "digits-float", "--data", "digits", "--passes", "4x2", "--explore", "--samples", "5"]
    assert main(given) == 2
    told = "Bits and digits are explored without passes: leave out --passes or --explore."
    assert capsys.readouterr().err == f"spikeloom: {told}\n"
