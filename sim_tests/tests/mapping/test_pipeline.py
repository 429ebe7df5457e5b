# SPDX-License-Identifier: Apache-2.0
"""A sample in every step gives what samples one after the other give, where every layer forgets."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from emu.image import CoreImage, SystemImage
from emu.machine import Machine
from emu.spec import preset
from emu.tables import columns_of, table_of
from emu.trace import RunResult
from emu.words import Section
from mapping.chip import Chip, open_chip
from mapping.datasets.load import Dataset, load_data, scaled
from mapping.errors import MappingError
from mapping.flow import compile_network as compiled
from mapping.layout.check import check
from mapping.layout.host_tables import counts_of, outputs_of, stimulus_for
from mapping.layout.pipeline import UnpipelinedError, pipelined, relays
from mapping.model.load import load_network
from mapping.report.pipelining import PIPELINED_SAMPLES, pipelining
from mapping.spiking.network import INPUT, SpikingNetwork
from mapping.spiking.simulate import simulate
from mapping.targets.files import load_target
from sim_tests.generators.large_networks import LARGE, residual
from sim_tests.generators.mapping_networks import (
    Draft,
    compile_network,
    core_spec,
    interpret,
    random_network,
)

SAMPLES = 5


def chain() -> SpikingNetwork:
    """Return three layers, of which the last fires whatever it reads."""
    draft = Draft(shape=(2, 6, 6), levels=3, seed=3)
    draft.conv(4, (3, 3))
    draft.dense(12)
    draft.dense(5)
    edges = draft.layers[-1].edges
    edges.flags.writeable = True
    edges[0] = (-1, 0, 1)
    return draft.network()


def counts_for(spiking: SpikingNetwork, samples: int = SAMPLES) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(1)
    return random.integers(0, spiking.input_levels + 1, (samples, *spiking.shape(INPUT)))


def demand_equal(spiking: SpikingNetwork, image: SystemImage, result: RunResult) -> None:
    expected = simulate(spiking, counts_for(spiking))
    for read in (counts_of, outputs_of):
        found = read(image, result, SAMPLES)
        assert found
        for name, values in found.items():
            assert np.array_equal(values, expected[name]), name
            assert values.any(), name


@pytest.mark.parametrize("cycles", [False, True])
def test_every_neuron_fires_as_without_a_pipeline(cycles: bool) -> None:
    spiking = chain()
    image = pipelined(compile_network(spiking, core_spec()), spiking)
    assert check(image, spiking) == []
    stimulus = stimulus_for(image, counts_for(spiking))
    assert stimulus.steps == SAMPLES + image.meta["period"] - 1
    demand_equal(spiking, image, Machine(image).run(stimulus, cycles=cycles))
    demand_equal(spiking, image, interpret(image, stimulus))


@pytest.mark.parametrize("case", range(10))
def test_networks_without_skips_are_pipelined(case: int) -> None:
    spiking = random_network(case)
    assert relays(spiking, core_spec()) == {}
    image = pipelined(compile_network(spiking, core_spec()), spiking)
    assert check(image, spiking) == []
    demand_equal(spiking, image, Machine(image).run(stimulus_for(image, counts_for(spiking))))


def skipping() -> tuple[SpikingNetwork, SystemImage]:
    """Return a network whose last sum reads the stem, past a layer, and its image."""
    spiking = residual((4,), size=6, blocks=1)
    return spiking, compile_network(spiking, preset("reference"))


def test_skips_are_refused_with_the_cores_of_their_relays() -> None:
    spiking, image = skipping()
    with pytest.raises(
        UnpipelinedError,
        match=r"Layer 'stage0.0.b' reads activations of unlike age\. Pipelined samples would need relay "
        r"neurons on 1 more cores, which are not built: let a sample enter when the one before has left\.",
    ):
        pipelined(image, spiking)


def test_relays_of_a_deep_residual_network() -> None:
    waits = relays(LARGE["resnet18"](), preset("reference"))
    assert waits == {
        "stem": 64,
        "stage0.0.b": 64,
        "stage0.1.b": 64,
        "stage1.0.b": 32,
        "stage1.1.b": 32,
        "stage2.0.b": 16,
        "stage2.1.b": 16,
        "stage3.0.b": 8,
    }


def resting(image: SystemImage) -> SystemImage:
    """Let the core of the last layer rest every other step."""
    at = max(index for index, core in enumerate(image.cores) if core is not None)
    core = image.cores[at]
    assert core is not None
    fields = {
        name: np.append(values, 0) for name, values in columns_of(Section.SCHEDULE, core.schedule).items()
    }
    fields["repeat"][-1] = 1
    longer = replace(core, schedule=table_of(Section.SCHEDULE, fields))
    return image.replace(cores=(*image.cores[:at], longer, *image.cores[at + 1 :]))


@pytest.mark.parametrize(
    ("break_", "kind"),
    [
        (resting, "schedule"),
        (lambda image: image.replace(meta={**image.meta, "interval": 2}), "metadata"),
        (lambda image: image.replace(meta={**image.meta, "interval": True}), "metadata"),
        (lambda image: image.replace(meta={**image.meta, "interval": "1"}), "metadata"),
        (
            lambda image: image.replace(meta={k: v for k, v in image.meta.items() if k != "interval"}),
            "schedule",
        ),
    ],
)
def test_check_finds_a_broken_pipeline(break_: Callable[[SystemImage], SystemImage], kind: str) -> None:
    spiking = chain()
    broken = break_(pipelined(compile_network(spiking, core_spec()), spiking))
    assert check(broken, spiking)[0].kind == kind


def at_once(core: CoreImage) -> CoreImage:
    """Return a core that begins, works and fires in one step."""
    fields = columns_of(Section.SCHEDULE, core.schedule)
    last = {name: values[fields["fire"] != 0] for name, values in fields.items()}
    last["init"] = np.array([fields["init"].max()])
    return replace(core, schedule=table_of(Section.SCHEDULE, last))


def test_check_refuses_a_pipeline_of_unlike_ages() -> None:
    spiking, image = skipping()
    assert check(image, spiking) == []
    cores = tuple(core and at_once(core) for core in image.cores)
    forced = image.replace(cores=cores, meta={**image.meta, "interval": 1})
    assert {violation.kind for violation in check(forced, spiking)} == {"schedule"}


@pytest.fixture(scope="module")
def chip() -> Chip:
    return compiled(load_network("digits"), core="small")


@pytest.fixture(scope="module")
def data(chip: Chip) -> Dataset:
    return scaled(load_data("digits").first(PIPELINED_SAMPLES + 5), "auto", chip.spiking.network)[0]


def test_report_is_that_of_a_full_pipeline(chip: Chip, data: Dataset) -> None:
    target = load_target("loom")
    part = pipelining(chip, data, target, target.energy)
    own = replace(chip, image=pipelined(chip.image, chip.spiking))
    runs = [own.run(data.x[:n], cycles=True).result for n in (PIPELINED_SAMPLES, 1)]
    many, one = (run.elapsed for run in runs)
    assert many is not None
    assert one is not None
    interval = (many - one) / (PIPELINED_SAMPLES - 1)
    assert part["throughput_pipelined_per_s"] == pytest.approx(target.clock_hz / interval, rel=1e-12)
    assert chip.period < part["latency_pipelined_s"] * target.clock_hz / interval < chip.period + 1.2
    alone = chip.run(data.x[1:PIPELINED_SAMPLES]).result
    for name in ("spikes", "synaptic_operations", "packets", "hops", "neuron_updates", "crossbar_words"):
        assert runs[0].total(name) - runs[1].total(name) == alone.total(name), name
    assert part["energy_pipelined_j_low"] < part["energy_pipelined_j"] < part["energy_pipelined_j_high"]


def test_other_outputs_of_a_pipeline_are_refused(
    chip: Chip, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(image: SystemImage, spiking: SpikingNetwork) -> SystemImage:
        right = pipelined(image, spiking)
        return right.replace(input_element=right.input_element[::-1].copy())

    monkeypatch.setattr("mapping.report.pipelining.pipelined", wrong)
    target = load_target("loom")
    with pytest.raises(MappingError, match=r"Pipelined samples give other counts of .*: please report it\."):
        pipelining(chip, data, target, target.energy)


def test_one_sample_fills_no_pipeline(chip: Chip, data: Dataset) -> None:
    target = load_target("loom")
    part = pipelining(chip, data.first(1), target, target.energy)
    assert part == {"pipelining": "One sample fills no pipeline."}


def test_file_of_a_pipelined_chip_runs_alike(chip: Chip, data: Dataset, tmp_path: Any) -> None:
    own = compiled(load_network("digits"), core="small", pipelined=True)
    own.save(tmp_path / "p.spikeloom")
    again = open_chip(tmp_path / "p.spikeloom")
    assert np.array_equal(again.run(data.x).logits, chip.run(data.x).logits)
    assert again.image.digest != chip.image.digest
