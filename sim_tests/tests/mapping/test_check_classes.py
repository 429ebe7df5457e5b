# SPDX-License-Identifier: Apache-2.0
"""The check reads and compares a crossbar once a class, and still finds the core that differs."""

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pytest

from emu.image import CoreImage, SystemImage
from emu.spec import preset
from mapping.layout.check import cells, check
from mapping.layout.check.cells import Crossbars
from sim_tests.generators.large_networks import residual
from sim_tests.generators.mapping_networks import compile_network

SPIKING = residual((32,), size=16, blocks=1)
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
    reader, equal = cells._read, Crossbars.equal

    def counted_read(core: CoreImage) -> cells.Crossbar:
        read[id(core.crossbar)] += 1
        return reader(core)

    def counted_equal(self: Crossbars, crossbar: cells.Crossbar, *about: Any) -> bool:
        before = self.compared
        found = equal(self, crossbar, *about)
        compared[id(crossbar.core.crossbar)] += self.compared - before
        return found

    monkeypatch.setattr(cells, "_read", counted_read)
    monkeypatch.setattr(Crossbars, "equal", counted_equal)
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
