# SPDX-License-Identifier: Apache-2.0
"""The check finds nothing in sound images and names every fault that is planted in one."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emu.image import CoreImage, SystemImage
from emu.tables import column
from emu.words import Emission, Section
from mapping.errors import MappingError
from mapping.layout.check import KINDS, Violation, check, require
from mapping.spiking.network import SpikingNetwork
from sim_tests.generators.mapping_networks import Draft, compile_network, core_spec, random_network

SPIKING = random_network(5)
IMAGE = compile_network(SPIKING, core_spec(), mesh=(5, 4))


@pytest.mark.parametrize("offset", range(6))
def test_check_finds_nothing_in_a_sound_image(seed: int, offset: int) -> None:
    spiking = random_network(seed + offset)
    assert check(compile_network(spiking, core_spec(fanouts=64)), spiking) == []


def _cores_of(layer: int) -> list[int]:
    table = IMAGE.attachments["placed"]
    return sorted(set(table[table[:, 0] == layer, 2].tolist()))


def _core(index: int) -> CoreImage:
    core = IMAGE.cores[index]
    assert core is not None
    return core


def _with_core(index: int, core: CoreImage | None) -> SystemImage:
    return IMAGE.replace(cores=(*IMAGE.cores[:index], core, *IMAGE.cores[index + 1 :]))


def _edited(index: int, field: str, edit: Callable[[NDArray[Any]], None]) -> SystemImage:
    """Return the image with one array of one core edited in place."""
    array = getattr(_core(index), field).copy()
    edit(array)
    return _with_core(index, dataclasses.replace(_core(index), **{field: array}))


FIRST, SECOND, LAST = _cores_of(0)[0], _cores_of(1)[0], _cores_of(3)[0]


def _moved_rectangle() -> SystemImage:
    def edit(fanout: NDArray[Any]) -> None:
        fanout[0, :4] = [0, 0, 0, 0]

    return _edited(FIRST, "fanout", edit)


def _rectangle_outside() -> SystemImage:
    def edit(fanout: NDArray[Any]) -> None:
        fanout[0, 0:4] = [2, 2, 4, 4]

    return _edited(FIRST, "fanout", edit)


def _rectangle_over_a_disabled_core() -> SystemImage:
    index = next(i for i, core in enumerate(IMAGE.cores) if core is None)
    x, y = index % IMAGE.spec.width, index // IMAGE.spec.width

    def edit(fanout: NDArray[Any]) -> None:
        fanout[0, :4] = [x, x, y, y]

    return _edited(FIRST, "fanout", edit)


def _neuron_disconnected() -> SystemImage:
    connected = int(np.flatnonzero(_core(FIRST).connected)[0])

    def edit(flags: NDArray[Any]) -> None:
        flags[connected] = False

    return _edited(FIRST, "connected", edit)


def _entry_dropped() -> SystemImage:
    """Skip the first entry of a list of several."""
    core = _core(FIRST)
    several = next(n for n in range(core.neurons) if len(list(core.fanout_of(n))) > 1)

    def edit(bases: NDArray[Any]) -> None:
        bases[several] += 1

    return _edited(FIRST, "fanout_base", edit)


def _input_dropped() -> SystemImage:
    return IMAGE.replace(input_element=IMAGE.input_element[1:], input_packet=IMAGE.input_packet[1:])


def _input_doubled() -> SystemImage:
    return IMAGE.replace(
        input_element=np.concatenate((IMAGE.input_element[:1], IMAGE.input_element)),
        input_packet=np.concatenate((IMAGE.input_packet[:1], IMAGE.input_packet)),
    )


def _cell(old: int, new: int) -> Callable[[], SystemImage]:
    def edit(crossbar: NDArray[Any]) -> None:
        row = np.flatnonzero(crossbar.any(axis=1))[0]
        column = np.flatnonzero(crossbar[row] == old)[0]
        crossbar[row, column] = new

    return lambda: _edited(SECOND, "crossbar", edit)


def _row_without_source() -> SystemImage:
    def edit(lines: NDArray[Any]) -> None:
        lines[np.flatnonzero(lines < 0)[0]] = 0

    index = next(i for i in _cores_of(0) + _cores_of(1) if (_core(i).lines < 0).any())
    return _edited(index, "lines", edit)


def _wrong_axon() -> SystemImage:
    def edit(fanout: NDArray[Any]) -> None:
        fanout[0, 4] += 1

    return _edited(FIRST, "fanout", edit)


def _axon_beyond() -> SystemImage:
    def edit(fanout: NDArray[Any]) -> None:
        fanout[0, 4] = 4095

    return _edited(FIRST, "fanout", edit)


def _doubled_entry() -> SystemImage:
    core = _core(FIRST)
    first = np.concatenate((core.fanout[:1], core.fanout))
    first[0, 5] = 0
    base = np.where(core.fanout_base > 0, core.fanout_base + 1, 0)
    return _with_core(FIRST, dataclasses.replace(core, fanout=first, fanout_base=base))


def _threshold_swapped() -> SystemImage:
    def edit(thresholds: NDArray[Any]) -> None:
        thresholds[:2] = thresholds[1::-1]

    index = next(i for i in _cores_of(1) if abs(int(np.diff(_core(i).thresholds[:2])[0])) > 0)
    return _edited(index, "thresholds", edit)


def _threshold_base() -> SystemImage:
    def edit(bases: NDArray[Any]) -> None:
        bases[:] = 0

    return _edited(SECOND, "threshold_base", edit)


def _pooled_lost() -> SystemImage:
    def edit(pooled: NDArray[Any]) -> None:
        pooled[:] = False

    index = next(i for i in _cores_of(1) if _core(i).pooled.any())
    return _edited(index, "pooled", edit)


def _last_lost() -> SystemImage:
    def edit(fanout: NDArray[Any]) -> None:
        fanout[np.flatnonzero(fanout[:, 5])[0], 5] = 0

    return _edited(FIRST, "fanout", edit)


def _step_shifted() -> SystemImage:
    return _edited(LAST, "schedule", lambda schedule: schedule.__setitem__((slice(None), 0), [1, 2]))


def _fewer_thresholds() -> SystemImage:
    return _edited(LAST, "schedule", lambda schedule: schedule.__setitem__((-1, 6), 2))


def _core_disabled() -> SystemImage:
    table = IMAGE.attachments["placed"]
    assert SECOND in table[:, 2]
    return _with_core(SECOND, None)


def _core_disabled_without_trace() -> SystemImage:
    """Put the program of a core on another, free one, table included, and leave the packets as they are."""
    free = next(i for i, core in enumerate(IMAGE.cores) if core is None)
    cores, table = list(IMAGE.cores), IMAGE.attachments["placed"].copy()
    cores[free], cores[SECOND] = cores[SECOND], None
    table[table[:, 2] == SECOND, 2] = free
    return IMAGE.replace(cores=tuple(cores), attachments={"placed": table})


def _bias() -> SystemImage:
    return _edited(FIRST, "bias", lambda bias: bias.__setitem__(0, 1))


def _strength() -> SystemImage:
    return _edited(FIRST, "strengths", lambda strengths: strengths.__setitem__(0, -1))


def _unary() -> SystemImage:
    unary = column(Section.PROFILE, "emission")
    return _edited(LAST, "profiles", lambda rows: rows.__setitem__((0, unary), Emission.UNARY))


def _output(column: int, value: int) -> Callable[[], SystemImage]:
    return lambda: _edited(LAST, "fanout", lambda fanout: fanout.__setitem__((0, column), value))


def _output_doubled() -> SystemImage:
    core = _core(LAST)
    fanout = np.concatenate((core.fanout[:1], core.fanout))
    fanout[0, 5] = 0
    base = np.where(core.fanout_base > 0, core.fanout_base + 1, 0)
    return _with_core(LAST, dataclasses.replace(core, fanout=fanout, fanout_base=base))


def _table_swapped() -> SystemImage:
    table = IMAGE.attachments["placed"].copy()
    table[:2, 2:] = table[1::-1, 2:]
    return IMAGE.replace(attachments={"placed": table})


def _table_repeats() -> SystemImage:
    table = IMAGE.attachments["placed"].copy()
    table[0, 2:] = table[1, 2:]
    return IMAGE.replace(attachments={"placed": table})


def _period() -> SystemImage:
    return IMAGE.replace(meta={**IMAGE.meta, "period": 9})


def _input_beyond() -> SystemImage:
    elements = IMAGE.input_element.copy()
    elements[0] = 10_000
    return IMAGE.replace(input_element=elements)


def _output_order() -> SystemImage:
    return IMAGE.replace(output_element=IMAGE.output_element[::-1])


def _output_step() -> SystemImage:
    outputs = [{**entry, "step": 0} for entry in IMAGE.meta["outputs"]]
    return IMAGE.replace(meta={**IMAGE.meta, "outputs": outputs})


FAULTS: list[tuple[Callable[[], SystemImage], str]] = [
    (_moved_rectangle, "missing-connection"),
    (_rectangle_outside, "outside-mesh"),
    (_rectangle_over_a_disabled_core, "disabled-destination"),
    (_neuron_disconnected, "missing-connection"),
    (_entry_dropped, "missing-connection"),
    (_input_dropped, "missing-connection"),
    (_input_doubled, "duplicate-delivery"),
    (_cell(1, -1), "wrong-weight"),
    (_cell(-1, 0), "wrong-weight"),
    (_cell(0, 1), "wrong-weight"),
    (_row_without_source, "unfed-axon"),
    (_wrong_axon, "extra-connection"),
    (_axon_beyond, "axon-out-of-range"),
    (_doubled_entry, "duplicate-delivery"),
    (_threshold_swapped, "thresholds"),
    (_threshold_base, "thresholds"),
    (_pooled_lost, "unpooled-merge"),
    (_last_lost, "unterminated-list"),
    (_step_shifted, "schedule"),
    (_fewer_thresholds, "schedule"),
    (_core_disabled, "placed-table"),
    (_core_disabled_without_trace, "disabled-destination"),
    (_bias, "neuron-settings"),
    (_strength, "neuron-settings"),
    (_unary, "neuron-settings"),
    (_output(4, 1), "output-missing"),
    (_output(4, 1), "output-extra"),
    (_output_doubled, "output-duplicate"),
    (_table_swapped, "wrong-weight"),
    (_table_repeats, "placed-table"),
    (_period, "metadata"),
    (_output_step, "metadata"),
    (_input_beyond, "metadata"),
    (_output_order, "metadata"),
]


@pytest.mark.parametrize(("fault", "kind"), FAULTS)
def test_check_names_a_planted_fault(fault: Callable[[], SystemImage], kind: str) -> None:
    assert check(IMAGE, SPIKING) == []
    assert kind in {violation.kind for violation in check(fault(), SPIKING)}


def test_every_kind_of_violation_is_described_and_planted() -> None:
    root = Path(__file__).parents[3]
    page = (root / "docs" / "reference" / "mapping.md").read_text(encoding="utf-8")
    described = re.findall(r"`([a-z]+(?:-[a-z]+)*)`(?:, | \|)", page.split("| kind | meaning |")[1])
    assert tuple(described) == KINDS
    assert set(KINDS) == {kind for _, kind in FAULTS} | {"extra-delivery", "duplicate-connection"}


def test_table_that_places_a_neuron_twice_is_named() -> None:
    neurons = sum(layer.neurons for layer in SPIKING.layers)
    text = f"it must name the network's {neurons} neurons and the cores' {neurons} once each"
    assert [str(found) for found in check(_table_repeats(), SPIKING)] == [f"placed-table: {text}"]


def test_check_finds_a_core_with_neurons_of_two_layers() -> None:
    draft = Draft(shape=(4,))
    draft.dense(2)
    draft.dense(2)
    image = compile_network(draft.network(), core_spec())
    table = image.attachments["placed"].copy()
    table[[1, 2], 2:] = table[[2, 1], 2:]
    found = check(image.replace(attachments={"placed": table}), draft.network())
    assert {str(violation) for violation in found} == {
        f"placed-table: core {core}: it has neurons of two layers"
        for core in sorted(set(table[:, 2].tolist()))
    }


def _one_to_one(weights: int) -> tuple[SystemImage, SpikingNetwork]:
    """Return an image of one core that reads two elements, the second with the given weight."""
    draft = Draft(shape=(2,))
    draft.dense(2, density=1.0)
    weight = draft.layers[-1].only.weight
    weight.flags.writeable = True
    weight[:, 1] = weights
    return compile_network(draft.network(), core_spec()), draft.network()


def test_check_finds_a_delivery_that_nobody_needs() -> None:
    image, spiking = _one_to_one(0)
    core = image.cores[0]
    assert core is not None
    wide = dataclasses.replace(
        core, lines=np.array([0, -1]), pooled=np.zeros(2, np.bool_), shifts=np.zeros(2, np.uint8)
    )
    extra = image.replace(
        cores=(wide,), input_element=[0, 1], input_packet=[[0, 0, 0, 0, 0], [0, 0, 0, 0, 1]]
    )
    assert [str(v) for v in check(extra, spiking)] == [
        "extra-delivery: core 0, axon 1: input 1 has no weight on this core"
    ]


def test_check_finds_an_input_on_two_axons() -> None:
    image, spiking = _one_to_one(1)
    packets = image.input_packet[[0, 0, 1]].copy()
    packets[1, 4] = 1
    packets[2, 4] = 2
    core = image.cores[0]
    assert core is not None
    wide = dataclasses.replace(
        core, lines=core.lines[[0, 0, 1]], pooled=np.zeros(3, np.bool_), shifts=np.zeros(3, np.uint8)
    )
    doubled = image.replace(cores=(wide,), input_element=[0, 0, 1], input_packet=packets)
    assert [v.kind for v in check(doubled, spiking)] == ["duplicate-connection"]


def test_require_names_the_first_violation_and_their_number() -> None:
    found = check(_cell(1, -1)(), SPIKING)
    with pytest.raises(MappingError) as error:
        require(_cell(1, -1)(), SPIKING)
    assert len(found) == 1
    assert str(error.value) == (
        f"The image differs from its network in 1 places, the first is {found[0]}; compile the model again."
    )
    require(IMAGE, SPIKING)


def test_violation_reads_as_kind_place_and_message() -> None:
    violation = Violation(kind="wrong-weight", message="it is 1 and must be -1", core=3, neuron=0, axon=7)
    assert str(violation) == "wrong-weight: core 3, neuron 0, axon 7: it is 1 and must be -1"
    assert str(Violation(kind="metadata", message="no")) == "metadata: no"
