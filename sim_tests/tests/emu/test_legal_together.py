# SPDX-License-Identifier: Apache-2.0
"""Limits are looked at for many cores together, and the sentence still names the core that breaks one."""

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emu import legal
from emu.image import CoreImage, ImageError, SystemImage
from emu.spec import SystemSpec, preset
from emu.tables import table_of
from emu.words import Section

SPEC = SystemSpec(core=preset("tiny"), width=25, height=24)


def program() -> CoreImage:
    """Return a core of two neurons, one of which sends to a core."""
    return CoreImage(
        crossbar=np.array([[1, -1], [0, 1]], np.int8),
        strengths=np.array([1], np.int16),
        bias=np.zeros(2, np.int64),
        connected=np.array([True, False]),
        threshold_base=np.zeros(2, np.int32),
        fanout_base=np.zeros(2, np.int32),
        thresholds=np.array([1], np.int64),
        fanout=table_of(
            Section.FANOUT, {"x0": [1], "x1": [1], "y0": [1], "y1": [1], "axon": [0], "last": [1]}
        ),
        schedule=table_of(
            Section.SCHEDULE,
            {"repeat": [1], "integrate": [1], "update": [1], "fire": [1], "threshold_count": [1]},
        ),
        profiles=table_of(Section.PROFILE, {"reset": [0]}),
        pooled=np.zeros(2, np.bool_),
    )


PROGRAM = program()


def image(**wrong: CoreImage) -> SystemImage:
    """Return an image of one program on all cores, with some replaced, ``c7`` by its index."""
    cores = [PROGRAM] * SPEC.cores
    for name, core in wrong.items():
        cores[int(name[1:])] = core
    nothing: dict[str, Any] = {"input_element": np.zeros(0, np.int32)}
    nothing |= {"input_packet": np.zeros((0, 5), np.int32), "output_element": np.zeros(0, np.int32)}
    return SystemImage(spec=SPEC, cores=tuple(cores), **nothing)


def with_threshold(value: int) -> CoreImage:
    return dataclasses.replace(PROGRAM, thresholds=np.array([value], np.int64))


@pytest.mark.parametrize("index", [0, 511, 512, 599])
def test_core_with_a_wrong_word_is_named(index: int) -> None:
    most = SPEC.core.never
    where = rf"core {index} \({index % 25}, {index // 25}\)"
    with pytest.raises(
        ImageError, match=rf"^{where}: threshold\d must be -?\d+\.\.{most}, not {most + 1}\.$"
    ):
        image(**{f"c{index}": with_threshold(most + 1)})


def test_first_of_two_wrong_cores_is_named() -> None:
    wrong = with_threshold(SPEC.core.never + 1)
    with pytest.raises(ImageError, match=r"^core 530 "):
        image(c599=wrong, c530=wrong)
    with pytest.raises(ImageError, match=r"^core 513 .*crossbar must be -1\.\.1, not 2\.$"):
        image(c530=wrong, c513=dataclasses.replace(PROGRAM, crossbar=np.array([[2, 0], [0, 0]], np.int8)))


def test_what_cores_share_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Counter[str]()
    within, schedule = legal.require_within, legal._check_schedule

    def counted(where: str, name: str, values: NDArray[Any], low: int, high: int) -> None:
        asked[name] += 1
        within(where, name, values, low, high)

    def counted_schedule(*about: Any) -> None:
        asked["a schedule"] += 1
        schedule(*about)

    monkeypatch.setattr(legal, "require_within", counted)
    monkeypatch.setattr(legal, "_check_schedule", counted_schedule)
    image()
    assert (asked["crossbar"], asked["a schedule"], asked["bias"]) == (1, 1, 2)


def test_a_second_schedule_is_looked_at() -> None:
    table = PROGRAM.schedule.copy()
    table[0, 3] = 0  # integrates without update
    with pytest.raises(ImageError, match=r"^core 40 \(15, 1\): a schedule entry integrates without update"):
        image(c40=dataclasses.replace(PROGRAM, schedule=table))
