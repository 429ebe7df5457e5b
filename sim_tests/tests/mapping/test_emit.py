# SPDX-License-Identifier: Apache-2.0
"""An image computes its network on every neuron, whoever executes it, and is the same every time."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from emu.image import SystemImage
from emu.machine import Machine
from emu.spec import preset
from emu.trace import RunResult, Stimulus
from mapping.errors import MappingError
from mapping.layout.check import check
from mapping.layout.emit import emit
from mapping.layout.host_tables import counts_of, outputs_of, stimulus_for
from mapping.layout.route import fit
from mapping.layout.site import Site
from mapping.spiking.network import INPUT, SpikingNetwork
from mapping.spiking.simulate import simulate
from sim_tests.generators.mapping_networks import (
    Draft,
    compile_network,
    core_spec,
    digits_like,
    interpret,
    random_network,
)

SPECS = [
    {},
    {"axons": 32, "columns": 16},
    {"columns": 8, "thresholds": 16, "fanouts": 64},
    {"axons": 256, "columns": 64, "fanouts": 32},
]


def _counts(spiking: SpikingNetwork, samples: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.integers(0, spiking.input_levels + 1, (samples, *spiking.shape(INPUT)))


def _demand_equal(spiking: SpikingNetwork, image: SystemImage, result: RunResult, counts: np.ndarray) -> None:
    """Demand that every neuron fired, and every output left, as in the network; and that something fired."""
    expected = simulate(spiking, counts)
    fired, left = counts_of(image, result, len(counts)), outputs_of(image, result, len(counts))
    assert list(fired) == [layer.name for layer in spiking.layers]
    assert list(left) == list(spiking.outputs)
    for name, values in fired.items():
        assert np.array_equal(values, expected[name]), name
        assert values.any(), name
    for name, values in left.items():
        assert np.array_equal(values, expected[name]), name
    assert sum(int(values.sum()) for values in fired.values()) == result.spikes[:, 3].sum()


@pytest.mark.parametrize("sizes", SPECS)
@pytest.mark.parametrize("case", range(4))
def test_image_interpreted_equals_the_network(case: int, sizes: dict[str, int]) -> None:
    spiking = random_network(case)
    image = compile_network(spiking, core_spec(**sizes))
    assert check(image, spiking) == []
    counts = _counts(spiking, 2, case)
    _demand_equal(spiking, image, interpret(image, stimulus_for(image, counts)), counts)


@pytest.mark.parametrize("case", range(4, 10))
def test_image_emulated_equals_the_network(case: int) -> None:
    spiking = random_network(case)
    image = compile_network(spiking, core_spec())
    counts = _counts(spiking, 5, case)
    result = Machine(image).run(stimulus_for(image, counts))
    _demand_equal(spiking, image, result, counts)
    assert result.total("errors") == result.total("router_errors") == 0


def test_image_of_the_digits_network_emulated_equals_the_network() -> None:
    spiking = digits_like()
    image = compile_network(spiking, preset("small"))
    assert check(image, spiking) == []
    counts = _counts(spiking, 3, 0)
    result = Machine(image).run(stimulus_for(image, counts))
    _demand_equal(spiking, image, result, counts)
    assert result.total("merges") > 0


def test_image_stores_equal_thresholds_and_entries_once() -> None:
    image = compile_network(digits_like(), preset("small"))
    core = image.cores[0]
    assert core is not None
    assert len(core.thresholds) == 4 * len(np.unique(core.threshold_base))
    assert core.neurons == 6 * 16
    assert len(core.fanout) < core.neurons


def test_image_connects_no_neuron_without_readers() -> None:
    draft = Draft(shape=(4,))
    first = draft.dense(8)
    draft.dense(3, source=first)
    layer = draft.layers[-1]
    layer.only.weight.flags.writeable = True
    layer.only.weight[:, 2] = 0
    image = compile_network(draft.network(), core_spec())
    core = image.cores[0]
    assert core is not None
    assert not core.connected[2]
    assert check(image, draft.network()) == []


def test_image_of_a_core_without_weights_still_fires() -> None:
    draft = Draft(shape=(4,))
    draft.dense(3, density=0.0)
    layer = draft.layers[-1]
    layer.edges.flags.writeable = True
    layer.edges[:] = (-1, 0, 1)
    spiking = draft.network()
    image = compile_network(spiking, core_spec())
    assert check(image, spiking) == []
    counts = _counts(spiking, 1, 0)
    _demand_equal(spiking, image, interpret(image, stimulus_for(image, counts)), counts)


def test_emit_repeats_itself() -> None:
    spiking = random_network(3)
    parts, placement, routes = fit(spiking, core_spec(), Site(seed=5))
    images = [emit(spiking, parts, placement, routes, name="twice") for _ in range(2)]
    images.append(compile_network(random_network(3), core_spec(), seed=5))
    assert len({image.digest for image in images}) == 1


@pytest.mark.slow
def test_emit_does_not_depend_on_hash_seeds() -> None:
    program = (
        "from sim_tests.generators.mapping_networks import *\n"
        "image = compile_network(random_network(3), core_spec(), seed=5)\n"
        "print(image.digest, image.input_packet.tobytes().hex(), image.meta)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": value},
            cwd=Path(__file__).parents[3],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for value in ("0", "1", "2024")
    }
    assert len(outputs) == 1
    assert compile_network(random_network(3), core_spec(), seed=5).digest in outputs.pop()


@pytest.fixture
def image() -> SystemImage:
    draft = Draft(shape=(4,))
    draft.dense(3, density=1.0)
    draft.dense(3, density=1.0)
    return compile_network(draft.network(), core_spec())


def test_stimulus_sends_a_count_as_payload_in_the_first_step_of_its_sample(image: SystemImage) -> None:
    stimulus = stimulus_for(image, np.array([[0, 2, 0, 0], [1, 0, 0, 3]]))
    assert stimulus.steps == 4
    assert stimulus.step.tolist() == [0, 2, 2]
    assert stimulus.packet.tolist() == [[0, 0, 0, 0, 1, 2], [0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 3, 3]]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.zeros((2, 5), int), "counts must be integers of shape (samples, 4), not int64 (2, 5)"),
        (np.zeros((2, 4)), "counts must be integers of shape (samples, 4), not float64 (2, 4)"),
        (np.zeros((0, 4), int), "counts must have at least one sample, not 0"),
        (np.full((1, 4), 4), "counts must be in 0..3, not 4..4"),
    ],
)
def test_stimulus_refuses_counts_that_do_not_fit(
    image: SystemImage, counts: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole text is compared
        stimulus_for(image, counts)
    assert str(error.value) == message


def _result(steps: int, outputs: list[list[int]]) -> RunResult:
    empty = np.zeros((0, 4), np.int64)
    table = np.array(outputs, np.int64).reshape(-1, 3)
    return RunResult(mode="functional", steps=steps, spikes=empty, outputs=table, counters={}, state={})


def test_outputs_are_read_in_the_step_of_their_layer(image: SystemImage) -> None:
    outputs = outputs_of(image, _result(4, [[1, 0, 2], [3, 2, 1]]), 2)
    assert outputs["dense1"].tolist() == [[2, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("outputs", "place"),
    [
        ([[0, 1, 2]], "Gateway axon 1 sent payload 2 in step 0"),
        ([[1, 3, 2]], "Gateway axon 3 sent payload 2 in step 1"),
        ([[1, 0, 2], [1, 0, 3]], "Gateway axon 0 sent payload 2 in step 1"),
    ],
)
def test_outputs_refuse_what_no_layer_sends(image: SystemImage, outputs: list[list[int]], place: str) -> None:
    with pytest.raises(MappingError) as error:
        outputs_of(image, _result(2, outputs), 1)
    assert str(error.value) == (
        f"{place}, where the image expects no packet or only one: compile the model again."
    )


@pytest.mark.parametrize("reader", [outputs_of, counts_of])
def test_outputs_refuse_a_run_of_other_samples(image: SystemImage, reader: Callable[..., object]) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole text is compared
        reader(image, _result(4, []), 3)
    assert str(error.value) == "samples must be such that the run has 6 steps for 3, not 4"


def test_stimulus_is_a_stimulus(image: SystemImage) -> None:
    assert isinstance(stimulus_for(image, np.zeros((1, 4), int)), Stimulus)
