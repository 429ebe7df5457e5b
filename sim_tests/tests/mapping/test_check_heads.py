# SPDX-License-Identifier: Apache-2.0
"""What arrives is kept once for cores on which all paths end alike, and no core is taken for another."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from emu.image import CoreImage
from mapping.layout.check import check
from mapping.layout.check.arrivals import deliveries_of
from mapping.layout.check.frame import Frame
from mapping.layout.check.synapses import Plain
from mapping.layout.check.tables import placed_cores
from mapping.spiking.network import SpikingNetwork
from sim_tests.generators.mapping_networks import Draft, compile_network, core_spec


def _blocks() -> SpikingNetwork:
    draft = Draft(shape=(2, 6, 6))
    draft.conv(24, (3, 3), pads=(1, 1, 1, 1))
    draft.conv(8, (1, 1))
    return draft.network()


SPIKING = _blocks()
IMAGE = compile_network(SPIKING, core_spec(columns=64))


def _alike() -> list[list[int]]:
    """Return the groups of several cores that the host's packets reach together alone."""
    width = IMAGE.spec.width
    reached: dict[int, set[tuple[int, ...]]] = {}
    for packet in IMAGE.input_packet.tolist():
        x0, x1, y0, y1, _ = packet
        for core in (y * width + x for y in range(y0, y1 + 1) for x in range(x0, x1 + 1)):
            reached.setdefault(core, set()).add((x0, x1, y0, y1))
    groups: dict[frozenset[tuple[int, ...]], list[int]] = {}
    for core, rectangles in sorted(reached.items()):
        groups.setdefault(frozenset(rectangles), []).append(core)
    return [cores for cores in groups.values() if len(cores) > 1]


def _program(index: int) -> CoreImage:
    core = IMAGE.cores[index]
    assert core is not None
    return core


def _delivered() -> dict[int, Counter[tuple[int, int]]]:
    """Return how often each axon and source meet at every core: a packet, on each core of its rectangle."""
    width, frame = IMAGE.spec.width, Frame.of(SPIKING)
    found: dict[int, Counter[tuple[int, int]]] = {}
    packets = [
        (int(element), *packet)
        for element, packet in zip(IMAGE.input_element, IMAGE.input_packet.tolist(), strict=True)
    ]
    for placed in placed_cores(IMAGE):
        for neuron, element in enumerate(placed.elements.tolist()):
            source = int(frame.first[placed.layer + 1]) + element
            packets += [(source, *packet) for packet in placed.core.fanout_of(neuron)]
    for source, x0, x1, y0, y1, axon in packets:
        for y in range(y0, min(y1 + 1, IMAGE.spec.height)):
            for x in range(x0, x1 + 1):
                found.setdefault(y * width + x, Counter())[axon, source] += 1
    return found


def test_cores_alike_have_one_head_and_every_core_what_arrives_at_it() -> None:
    cores = placed_cores(IMAGE)
    deliveries, lost = deliveries_of(IMAGE, Frame.of(SPIKING), cores)
    assert not lost
    heads = {core.index: deliveries.head(core.index) for core in cores}
    assert len(set(heads.values())) < len(heads)
    for group in _alike():
        assert {heads[core] for core in group} == {group[0]}
    arrived: dict[int, Counter[tuple[int, int]]] = {}
    for layer in range(len(SPIKING.layers)):
        arrivals = deliveries.take(layer)
        at = np.repeat(np.arange(len(arrivals.axon)), np.diff(arrivals.begin))
        rows = (arrivals.core[at], arrivals.axon[at], arrivals.source, arrivals.times)
        for core, axon, source, times in zip(*(row.tolist() for row in rows), strict=True):
            arrived.setdefault(core, Counter())[axon, source] = times
    assert {core: arrived[head] for core, head in heads.items()} == _delivered()


@pytest.mark.parametrize("member", [0, -1])
def test_a_core_with_fewer_axons_than_those_alike_is_found(member: int) -> None:
    index = _alike()[0][member]
    core, short = _program(index), _program(index).axons - 1
    cores = [*IMAGE.cores]
    cores[index] = dataclasses.replace(
        core, lines=core.lines[:short], pooled=core.pooled[:short], shifts=core.shifts[:short]
    )
    image = IMAGE.replace(cores=tuple(cores))
    _, lost = deliveries_of(image, Frame.of(SPIKING), placed_cores(image))
    assert [(one.kind, one.core, one.axon) for one in lost] == [("axon-out-of-range", index, short)]


def test_every_core_alike_that_a_packet_misses_is_named() -> None:
    packets = IMAGE.input_packet.copy()
    x0, x1, y0, y1 = packets[0, :4].tolist()
    packets[0, 4] = 1 << 9
    reached = [y * IMAGE.spec.width + x for y in range(y0, y1 + 1) for x in range(x0, x1 + 1)]
    assert len(reached) > 1
    found = check(IMAGE.replace(input_packet=packets), SPIKING)
    assert [one.core for one in found if one.kind == "axon-out-of-range"] == reached


def test_places_are_those_among_the_inputs_that_are_asked_for() -> None:
    element = np.array([2, 5, 7])
    plain = Plain(axon=np.arange(3), element=element, distinct=np.ones(3, np.int64))
    for inputs in ([2, 5, 7], [0, 2, 3, 7], [9]):
        wanted = [inputs.index(one) if one in inputs else -1 - one for one in element.tolist()]
        assert plain.places(np.array(inputs)).tolist() == wanted
