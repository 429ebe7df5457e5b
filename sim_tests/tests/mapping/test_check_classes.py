# SPDX-License-Identifier: Apache-2.0
"""The check reads and compares a crossbar once a class, and still finds the core that differs."""

import dataclasses
import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emu.image import CoreImage, ImageError, SystemImage
from emu.spec import preset
from mapping.layout.check import Violation, cells, check
from mapping.layout.check.cells import Crossbar
from mapping.spiking.network import Pool, SpikingNetwork
from sim_tests.generators.large_networks import residual
from sim_tests.generators.mapping_networks import Draft, compile_network, core_spec

SPIKING = residual((16,), size=16, blocks=1)
IMAGE = compile_network(SPIKING, preset("reference"))


def _classes(image: SystemImage) -> dict[int, list[int]]:
    """Return the cores of every crossbar that is one object."""
    found: dict[int, list[int]] = {}
    for index, core in enumerate(image.cores):
        if core is not None:
            found.setdefault(id(core.crossbar), []).append(index)
    return found


def _edited(index: int, **fields: Any) -> SystemImage:
    core = IMAGE.cores[index]
    assert core is not None
    cores = [*IMAGE.cores]
    cores[index] = dataclasses.replace(core, **fields)
    return IMAGE.replace(cores=tuple(cores))


def test_crossbars_are_read_and_compared_once_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    read, compared = Counter[int](), Counter[int]()
    reader, held = cells._read, Crossbar.held

    def counted_read(core: CoreImage) -> Crossbar:
        read[id(core.crossbar)] += 1
        return reader(core)

    def counted_held(self: Crossbar, *lines: Any) -> Any:
        compared[id(self.core.crossbar)] += 1
        return held(self, *lines)

    monkeypatch.setattr(cells, "_read", counted_read)
    monkeypatch.setattr(Crossbar, "held", counted_held)
    classes = _classes(IMAGE)
    assert check(IMAGE, SPIKING) == []
    assert len(classes) < sum(map(len, classes.values())) // 2
    assert read == compared == dict.fromkeys(classes, 1)


@pytest.mark.parametrize("member", [0, -1])
def test_a_core_of_a_class_that_reads_its_lines_in_another_order_is_found(member: int) -> None:
    index = max(_classes(IMAGE).values(), key=len)[member]
    core = IMAGE.cores[index]
    assert core is not None
    used = np.flatnonzero(core.lines >= 0)
    lines = core.lines.copy()
    lines[used[:2]] = lines[used[1::-1]]
    found = check(_edited(index, lines=lines), SPIKING)
    assert {(one.kind, one.core) for one in found} == {("wrong-weight", index)}
    assert {one.axon for one in found} <= set(used[:2].tolist())


@pytest.mark.parametrize("member", [0, -1])
def test_a_core_of_a_class_with_other_weights_is_found(member: int) -> None:
    index = max(_classes(IMAGE).values(), key=len)[member]
    core = IMAGE.cores[index]
    assert core is not None
    crossbar = core.crossbar.copy()
    crossbar[0, 0] = -1 if crossbar[0, 0] == 1 else crossbar[0, 0] + 1
    found = check(_edited(index, crossbar=crossbar), SPIKING)
    assert [(one.kind, one.core, one.neuron) for one in found] == [("wrong-weight", index, 0)]


def test_a_core_of_a_class_with_other_strengths_is_found() -> None:
    index = max(_classes(IMAGE).values(), key=len)[-1]
    core = IMAGE.cores[index]
    assert core is not None
    strengths = core.strengths.copy()
    strengths[-1] += 1
    found = check(_edited(index, strengths=strengths), SPIKING)
    assert {one.core for one in found} == {index}
    assert {one.kind for one in found} == {"neuron-settings", "wrong-weight"}


def test_a_core_of_a_class_with_another_shift_is_found() -> None:
    index = max(_classes(IMAGE).values(), key=len)[-1]
    core = IMAGE.cores[index]
    assert core is not None
    shifts = core.shifts.copy()
    shifts[int(np.flatnonzero(core.lines >= 0)[0]) // int(core.extension)] = 1
    found = check(_edited(index, shifts=shifts), SPIKING)
    assert {(one.kind, one.core) for one in found} == {("wrong-weight", index)}


def _pooled() -> SpikingNetwork:
    """Return a convolution behind a pool, whose cores compare with lists, and one that reads it."""
    draft = Draft(shape=(1, 16, 16), seed=4)
    pool = Pool(kernel=(2, 2), stride=(2, 2), pads=(0, 0, 0, 0))
    draft.conv(2, (3, 3), pads=(1, 1, 1, 1))
    return draft.network(draft.conv(3, (2, 2), pools=(pool,)))


POOLED = _pooled()
LISTED = compile_network(POOLED, core_spec())


def _apart(image: SystemImage) -> SystemImage:
    """Return an image of the same cells in which no two cores share a crossbar, so each is looked at."""
    cores = [
        None if core is None else dataclasses.replace(core, crossbar=core.crossbar.copy())
        for core in image.cores
    ]
    return image.replace(cores=tuple(cores))


def _turned(core: CoreImage, name: str, at: int) -> NDArray[Any]:
    """Return a field of a core that differs in one place."""
    array: NDArray[Any] = getattr(core, name).copy()
    place = at % array.size
    if name == "lines":
        array[place] = -1 if array[place] >= 0 else 0
    elif array.dtype == np.bool_:
        array[place] = ~array[place]
    else:
        array.reshape(-1)[place] += 1
    return array


COMMON = {"strengths", "bias", "v0", "potential", "profiles", "schedule", "lines", "fanout_base", "connected"}


@pytest.mark.parametrize(
    ("image", "spiking", "fields"),
    [
        (IMAGE, SPIKING, COMMON | {"ladders", "shifts", "current"}),
        (LISTED, POOLED, COMMON | {"thresholds", "threshold_base", "pooled"}),
    ],
    ids=["ladders", "lists"],
)
def test_a_core_is_found_as_if_it_shared_its_crossbar_with_none(
    image: SystemImage, spiking: SpikingNetwork, fields: set[str]
) -> None:
    members = max(_classes(image).values(), key=len)
    for name in sorted(fields):
        noticed: list[Violation] = []
        for index, at in ((members[0], 0), (members[len(members) // 2], 11), (members[-1], 3)):
            core = image.cores[index]
            assert core is not None
            cores = [*image.cores]
            try:
                cores[index] = dataclasses.replace(core, **{name: _turned(core, name, at)})
                edited = image.replace(cores=tuple(cores))
            except ImageError:
                continue  # no image at all
            found = check(edited, spiking)
            assert found == check(_apart(edited), spiking)
            noticed += found
        assert noticed, name


def test_cores_that_are_wrong_alike_are_all_found() -> None:
    members = max(_classes(LISTED).values(), key=len)
    cores = [*LISTED.cores]
    for index in members:
        core = cores[index]
        assert core is not None
        cores[index] = dataclasses.replace(core, bias=core.bias + 1)
    found = check(LISTED.replace(cores=tuple(cores)), POOLED)
    assert {one.core for one in found} == set(members)


def test_a_core_of_other_outputs_on_the_same_crossbar_is_found() -> None:
    table = LISTED.attachments["placed"].copy()
    index = max(_classes(LISTED).values(), key=len)[-1]
    own = np.flatnonzero(table[:, 2] == index)
    table[own, 3] = table[own[::-1], 3]
    turned = LISTED.replace(attachments={"placed": table})
    found = check(turned, POOLED)
    assert found == check(_apart(turned), POOLED)
    assert ("wrong-weight", index) in {(one.kind, one.core) for one in found}


def test_a_core_of_a_class_to_which_a_source_sends_twice_is_found() -> None:
    inside = [members for members in _classes(LISTED).values() if len(members) == 4]
    index = inside[0][-1]
    x, y = index % LISTED.spec.width, index // LISTED.spec.width
    x0, x1, y0, y1, _ = LISTED.input_packet.T
    row = int(np.flatnonzero((x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1))[0])
    packet = [x, x, y, y, LISTED.input_packet[row, 4]]
    doubled = LISTED.replace(
        input_element=np.insert(LISTED.input_element, row, LISTED.input_element[row]),
        input_packet=np.insert(LISTED.input_packet, row, packet, axis=0),
        input_inlet=np.insert(LISTED.input_inlet, row, LISTED.input_inlet[row]),
    )
    found = check(doubled, POOLED)
    assert [(one.kind, one.core, one.axon) for one in found] == [("duplicate-delivery", index, packet[4])]


def test_a_core_that_reads_elsewhere_than_its_class_is_found() -> None:
    one, other = max(_classes(LISTED).values(), key=len)[-2:]
    table = LISTED.attachments["placed"].copy()
    core = table[:, 2].copy()
    table[core == one, 2], table[core == other, 2] = other, one
    turned = LISTED.replace(attachments={"placed": table})
    found = check(turned, POOLED)
    assert found == check(_apart(turned), POOLED)
    assert {one, other} <= {violation.core for violation in found}


def test_a_core_of_a_class_with_synapses_beyond_what_arrives_is_found() -> None:
    index = max(_classes(LISTED).values(), key=len)[-1]
    core = LISTED.cores[index]
    assert core is not None
    cores = [*LISTED.cores]
    cores[index] = dataclasses.replace(
        core,
        lines=np.append(core.lines, core.crossbar.any(axis=1).argmax()),
        pooled=np.append(core.pooled, False),
        shifts=np.zeros(core.axons + 1, np.uint8),
    )
    found = check(LISTED.replace(cores=tuple(cores)), POOLED)
    assert [(one.kind, one.core, one.axon) for one in found] == [("unfed-axon", index, core.axons)]


def test_a_core_with_the_crossbar_of_another_class_is_found() -> None:
    noticed = 0
    for own, others in itertools.permutations(_classes(LISTED).values(), 2):
        core, other = LISTED.cores[own[0]], LISTED.cores[others[0]]
        assert core is not None
        assert other is not None
        if core.crossbar.shape != other.crossbar.shape:
            continue
        cores = [*LISTED.cores]
        cores[own[0]] = dataclasses.replace(core, crossbar=other.crossbar)
        edited = LISTED.replace(cores=tuple(cores))
        found = check(edited, POOLED)
        assert found == check(_apart(edited), POOLED)
        noticed += {(one.kind, one.core) for one in found} == {("wrong-weight", own[0])}
    assert noticed
