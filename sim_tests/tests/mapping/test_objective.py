# SPDX-License-Identifier: Apache-2.0
"""With cores to spare a sample takes fewer cycles, never fewer than a bound, and gives the same outputs."""

import numpy as np
import pytest
from numpy.typing import NDArray

from emu.dead import DeadSpec
from emu.machine import Machine
from mapping.errors import MappingError
from mapping.layout.check import check
from mapping.layout.emit import emit
from mapping.layout.host_tables import outputs_of, stimulus_for
from mapping.layout.objective import OBJECTIVES, Cuts, fastest, latency_of, step_of
from mapping.layout.partition import Partition, partition
from mapping.layout.place import TooManyCoresError
from mapping.layout.route import fit
from mapping.layout.site import Site
from mapping.spiking.matrices import layer_matrix
from mapping.spiking.network import SpikingNetwork
from sim_tests.generators.mapping_networks import Draft, core_spec, random_network

SPEC = core_spec(axons=128, fanouts=512)


def stack() -> SpikingNetwork:
    """Return convolutions and a dense layer that take some cores each."""
    draft = Draft(shape=(2, 8, 8), seed=2)
    draft.conv(6, (3, 3))
    draft.conv(8, (3, 3))
    return draft.network(draft.dense(40, density=0.6))


def fewest(parts: Partition) -> int:
    """Return cycles that no cut takes fewer than: a core scans what its largest neuron reads, once."""
    spec, steps = parts.spec, dict[int, int]()
    for part in parts.layers:
        layer = parts.spiking.layer(part.name)
        digits = len(layer.strengths)
        inputs = int(np.count_nonzero(layer_matrix(layer).toarray(), axis=1).max())
        least = inputs + spec.integrate_fill + spec.walk_fill + digits + 1 - 2
        steps[part.depth] = max(steps.get(part.depth, 0), least)
    return sum(steps.values())


@pytest.mark.parametrize("spiking", [stack(), random_network(3), random_network(8)], ids=["stack", "3", "8"])
def test_latency_falls_between_its_bounds(spiking: SpikingNetwork) -> None:
    least = partition(spiking, SPEC)
    before = latency_of(least)
    for times in (1, 2, 3):
        most = times * len(least.cores)
        plans = [*fastest(Cuts(least), most), {}]
        parts = partition(spiking, SPEC, caps=plans[0])
        assert len(parts.cores) <= most
        assert fewest(parts) <= latency_of(parts) <= before
        before = latency_of(parts)


def test_latency_of_a_known_network_stays() -> None:
    least = partition(stack(), SPEC)
    caps = next(fastest(Cuts(least), None))
    parts = partition(stack(), SPEC, caps=caps)
    assert (len(least.cores), len(parts.cores)) == (14, 20)
    assert (latency_of(least), latency_of(parts)) == (1190, 757)


def test_cycles_of_the_emulator_fall_and_outputs_stay() -> None:
    spiking = stack()
    counts = np.random.default_rng(4).integers(1, 4, (3, 2, 8, 8))
    outputs: list[NDArray[np.integer]] = []
    cycles: list[int] = []
    for objective in ("cores", "latency"):
        image = emit(spiking, *fit(spiking, SPEC, Site(objective=objective)), name="n")
        assert check(image, spiking) == []
        run = Machine(image).run(stimulus_for(image, counts), cycles=True)
        outputs.append(outputs_of(image, run, 3)[spiking.outputs[0]])
        assert run.finish is not None
        cycles.append(int(run.finish.max()))
    assert np.array_equal(outputs[0], outputs[1])
    assert outputs[0].any()
    assert cycles[1] < cycles[0]


def test_a_step_is_that_of_the_layer_that_takes_longest_at_its_depth() -> None:
    spiking = stack()
    parts = partition(spiking, SPEC)
    steps = [step_of(spiking.layer(part.name), parts.spec, parts.of(part)) for part in parts.layers]
    assert len({part.depth for part in parts.layers}) == len(steps)
    assert latency_of(parts) == sum(steps)


def test_a_mesh_with_no_core_to_spare_is_filled_as_for_the_fewest_cores() -> None:
    spiking = stack()
    cores = len(partition(spiking, SPEC).cores)
    site = Site(mesh=(cores, 1), objective="latency")
    assert site.cores == cores
    assert len(fit(spiking, SPEC, site)[0].cores) == cores
    with pytest.raises(TooManyCoresError, match=f"{cores} cores"):
        fit(spiking, SPEC, Site(mesh=(cores - 1, 1), objective="latency"))


def test_excluded_cores_are_none_to_spare() -> None:
    cores = len(partition(stack(), SPEC).cores)
    wide = Site(mesh=(cores, 2), objective="latency")
    dead = DeadSpec(cores=tuple((x, 1) for x in range(cores)))
    assert len(fit(stack(), SPEC, wide)[0].cores) > cores
    narrow = Site(mesh=(cores, 2), dead=dead, objective="latency")
    assert narrow.cores == cores
    assert len(fit(stack(), SPEC, narrow)[0].cores) == cores


def test_objective_must_have_a_name_that_is_known() -> None:
    with pytest.raises(
        MappingError, match=r"^Objective must be one of cores, latency, energy, not 'speed'\.$"
    ):
        Site(objective="speed")
    assert OBJECTIVES == ("cores", "latency", "energy")
