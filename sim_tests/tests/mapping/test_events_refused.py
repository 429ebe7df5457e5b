# SPDX-License-Identifier: Apache-2.0
"""Every refusal of an npz file of events, and files damaged at random."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mapping.datasets.events import MAX_AXIS
from mapping.datasets.load import load_data
from mapping.errors import MappingError
from sim_tests.generators.event_files import events_npz, three_npz
from sim_tests.robustness.mutations import damage_arrays, damage_bytes
from spikeloom.cli import main

ONE = {"t": [0, 1], "x": [0, 1], "y": [0, 1], "p": [0, 1]}
"""Two events on the diagonal."""


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"x": [0.5, 1.5]}, "", "Array x of {} must hold 2 integers, one per event, not float64 (2,)."),
        ({"y": [0]}, "", "Array y of {} must hold 2 integers, one per event, not int64 (1,)."),
        ({"p": [[0, 1]]}, "", "Array p of {} must hold 2 integers, one per event, not int64 (1, 2)."),
        ({"t": ["a", "b"]}, "", "Array t of {} must hold 2 numbers, one per event, not <U1 (2,)."),
        ({"y": None}, "", "Data file {} has the arrays t, x and p of events and no array y."),
        (
            {"x": None},
            "",
            (
                "Data file {} has no array x, only t, y, p; store the samples under that name, and labels "
                "as y, with numpy.savez('data.npz', x=samples, y=labels)."
            ),
        ),
        (dict.fromkeys("txyp", np.zeros(0, np.int64)), "", "Data file {} holds no events."),
        ({"x": [0, -1]}, "", "Event 1 of {} is at x -1 and y 1, outside the sensor of 1 x 2."),
        (
            {"y": [7, 1]},
            "sensor=2x7",
            "Event 0 of {} is at x 0 and y 7, outside the sensor of 2 x 7; sensor=WxH gives another size.",
        ),
        (
            {"x": np.array([0, 2**64 - 1], np.uint64)},
            "",
            f"Sensor of {{}} must have at most {MAX_AXIS} columns and rows, not {2**64} x 2.",
        ),
        ({"p": [0, 2]}, "", "Event 1 of {} has the polarity 2; polarities are 0 and 1, or -1 and 1."),
        (
            {"p": np.array([255, 1], np.uint8)},
            "",
            "Event 0 of {} has the polarity 255; polarities are 0 and 1, or -1 and 1.",
        ),
        ({"p": [-1, 0]}, "", "Event 0 of {} has the polarity -1; polarities are 0 and 1, or -1 and 1."),
        (
            {"t": [3, 1]},
            "",
            "Event 1 of {} is at time 1, after one at 3: sort the events of each recording by time.",
        ),
        ({"t": [0, np.nan]}, "", "Event 1 of {} has the time nan; times must be finite."),
        (
            {"offsets": [0.0, 2.0]},
            "",
            "Array offsets of {} must hold integers, one more than there are recordings, not float64 (2,).",
        ),
        (
            {"offsets": [0]},
            "",
            "Array offsets of {} must hold integers, one more than there are recordings, not int64 (1,).",
        ),
        (
            {"offsets": [0, 3]},
            "",
            "Array offsets of {} must go from 0 to the number of events, 2, not from 0 to 3.",
        ),
        (
            {"offsets": [1, 2]},
            "",
            "Array offsets of {} must go from 0 to the number of events, 2, not from 1 to 2.",
        ),
        (
            {"offsets": [0, 1, 1, 2]},
            "",
            (
                "Array offsets of {} must rise, every recording having events, and recording 1 goes from 1 "
                "to 1."
            ),
        ),
        (
            {"offsets": np.array([0, 2**64 - 1, 2], np.uint64)},
            "",
            (
                "Array offsets of {} must rise, every recording having events, and recording 1 goes from "
                "18446744073709551615 to 2."
            ),
        ),
        (
            {"offsets": [0, 1, 2], "labels": [1]},
            "",
            (
                "Array labels of {} must hold 2 integer labels, not int64 (1,); give one integer a sample, "
                "or leave labels out."
            ),
        ),
        (
            {"offsets": [0, 1, 2], "labels": np.array([1, 2**63], np.uint64)},
            "",
            (
                "Labels in array labels of {} must not be huge, and sample 1 has 9223372036854775808; number "
                "the classes from 0."
            ),
        ),
        (
            {},
            "",
            (
                "Recording 0 of {} has 2 events and a frame takes 5000: take fewer with events=N, or the "
                "whole recording with events=all."
            ),
        ),
        (
            {"offsets": [0, 1, 2]},
            "sensor=60000x60000",
            (
                "Frames of {} would hold 115200000000 bytes, above 2147483648: take more events a frame "
                "with events=N, or smaller frames with size=WxH."
            ),
        ),
        (
            {},
            "sensor=2x2,size=2x3",
            "Frames of {} must not be larger than the sensor of 2 x 2, not 2 x 3.",
        ),
        (
            {},
            "size=1x1",
            "Data file {} does not state its sensor, which size=WxH needs: give sensor=WxH too.",
        ),
        *(
            (
                {},
                text,
                (
                    "Options of event files are events=N or events=all, sensor=WxH and size=WxH, each once, "
                    f"above zero and separated by commas, not {text!r}."
                ),
            )
            for text in (
                "5000",
                "events=0",
                "events=2,events=3",
                "size=0x2",
                "size=2",
                "events=1,",
                "size=-1x2",
            )
        ),
    ],
)
def test_unusable_events_are_refused(
    tmp_path: Path, arrays: dict[str, Any], options: str, message: str
) -> None:
    source = events_npz(tmp_path, [], **(ONE | arrays))
    with pytest.raises(MappingError) as error:
        load_data(f"{source}:{options}" if options else source)
    assert str(error.value) == message.format(source)


def test_options_are_for_events(tmp_path: Path) -> None:
    source = events_npz(tmp_path, [], t=None, p=None, x=np.ones((2, 3)), y=[0, 1])
    with pytest.raises(MappingError) as error:
        load_data(f"{source}:events=3")
    assert str(error.value) == f"Data file {source} holds no events and takes no options, not 'events=3'."
    assert load_data(f"{source}:").x.shape == (2, 3)


def test_an_npz_of_rows_may_have_other_arrays(tmp_path: Path) -> None:
    other = np.array([object()])
    source = events_npz(tmp_path, [], x=np.ones((2, 3)), y=[0, 1], t=other, p=other, labels=other)
    assert not load_data(source).events


def test_damaged_events_are_refused_or_counted(tmp_path: Path, seed: int) -> None:
    source = Path(three_npz(tmp_path, 3))
    whole, ends = source.read_bytes(), {"refused": 0, "counted": 0}
    for case in range(600):
        rng = np.random.default_rng([seed, case])
        source.write_bytes((damage_arrays if case % 2 else damage_bytes)(whole, rng))
        try:
            data = load_data(str(source))
        except MappingError as error:
            sentence = str(error)
            assert sentence.endswith("."), f"case {case}: {sentence}"
            ends["refused"] += 1
            continue
        ends["counted"] += 1
        if data.events:
            assert (data.x >= 0).all(), f"case {case}"
            assert (data.x == np.floor(data.x)).all(), f"case {case}"
            assert data.x.sum() <= len(whole), f"case {case}"
            assert data.x.sum(axis=(1, 2, 3)).min() >= 1, f"case {case}"
    assert min(ends.values()) > 10, ends


def test_bad_events_end_with_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = events_npz(tmp_path, [], **ONE)
    assert main(["estimate", "digits", "--data", source]) == 2
    assert capsys.readouterr().err.startswith("spikeloom: Recording 0 of ")
