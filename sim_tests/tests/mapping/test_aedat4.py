# SPDX-License-Identifier: Apache-2.0
"""aedat4 recordings: files written field by field, a published one, and every kind of damage."""

import struct
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lz4.frame
import numpy as np
import pytest

from mapping.datasets.aedat4 import read_aedat4
from mapping.datasets.load import load_data
from mapping.errors import MappingError
from sim_tests.generators.event_files import Event, aedat4_bytes, naive_frames, random_events
from spikeloom.cli import main

DAVIS = "events/davis.aedat4"
CASES = 1000


def events(count: int = 90, seed: int = 5) -> list[Event]:
    return random_events(np.random.default_rng(seed), count, 6, 5)


def written(path: Path, data: bytes) -> Path:
    file = path / "r.aedat4"
    file.write_bytes(data)
    return file


@pytest.mark.parametrize("compression", [0, 1, 2])
@pytest.mark.parametrize("size", [(6, 5), (4, 2)])
def test_frames_are_counts_of_single_events(tmp_path: Path, compression: int, size: tuple[int, int]) -> None:
    made = events()
    data = aedat4_bytes([made[:40], [], made[40:41], made[41:]], compression=compression)
    source = f"{written(tmp_path, data)}:events=20,size={size[0]}x{size[1]}"
    got = load_data(source)
    expected = np.array(naive_frames([made], (6, 5), size, 20)[0])
    assert (got.name, got.x.shape, got.y, got.events) == (source, (4, 2, *size[::-1]), None, True)
    assert (got.x == expected).all()


def test_sensor_is_that_of_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, aedat4_bytes([events()], sensor=(9, 8)))
    assert load_data(f"{file}:events=all").x.shape == (1, 2, 8, 9)
    assert load_data(f"{file}:events=all,sensor=9x8").x.shape == (1, 2, 8, 9)


def _claim(index: int, value: int) -> Callable[[Any], Any]:
    """A change of one column of the table's first row."""
    return lambda rows: [(*rows[0][:index], value, *rows[0][index + 1 :]), *rows[1:]]


def _poke(at: int, kind: str, value: int) -> Callable[[bytes], bytes]:
    def poke(content: bytes) -> bytes:
        changed = bytearray(content)
        struct.pack_into(kind, changed, at, value)
        return bytes(changed)

    return poke


OTHER = "its packets are not those of its table"
CUT = "the recording was cut short"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"compression": 3}, "its compression is Zstandard, supported are none and LZ4"),
        ({"compression": 9}, "its compression is 9, supported are none and LZ4"),
        ({"kinds": ("IMUS", "IMUS")}, "it has 0 streams of events instead of one"),
        ({"kinds": ("EVTS", "EVTS")}, "it has 2 streams of events instead of one"),
        ({"sensor": (-1, 5)}, "its stream of events has '-1' as number, columns or rows"),
        ({"sensor": (123456, 5)}, "its stream of events has '123456' as number, columns or rows"),
        ({"text": "<dv>"}, "its header cannot be read, no element found: line 1, column 4"),
        ({"text": "<dv>\u00e9</dv>"}, "its header cannot be read, 'ascii' codec can't decode byte 0xc3"),
        ({"text": '<!DOCTYPE d [<!ENTITY a "b">]><dv>&a;</dv>'}, "its header declares entities"),
        ({"rows": lambda rows: rows[:-1]}, OTHER),
        ({"rows": _claim(1, 1)}, OTHER),
        ({"rows": _claim(2, 1)}, OTHER),
        ({"rows": _claim(3, 89)}, "holds other events than its table says"),
        ({"rows": _claim(4, 10**6)}, "holds other events than its table says"),
        ({"rows": _claim(5, 10**6)}, "holds other events than its table says"),
        ({"edit": _poke(45, "<B", 1)}, "has bytes between its events"),
        ({"edit": _poke(0, "<I", 9)}, "a part of it is no EVTS of its size"),
        ({"edit": _poke(8, "<I", 9)}, "a part of it is no EVTS of its size"),
        ({"edit": _poke(4, "<I", 2**32 - 1)}, "a reference points to byte 4294967299 of"),
        ({"edit": _poke(20, "<i", 1000)}, "a reference points to byte -980 of"),
        ({"edit": _poke(28, "<I", 2**32 - 1)}, "a list claims 4294967295 items in"),
    ],
)
def test_damage_is_named(tmp_path: Path, options: dict[str, Any], reason: str) -> None:
    file = written(tmp_path, aedat4_bytes([events()], **options))
    with pytest.raises(MappingError) as error:
        load_data(str(file))
    assert str(error.value).startswith(f"Data file {file} is damaged or no aedat4 file: ")
    assert reason in str(error.value)
    assert str(error.value).endswith(".")


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda _, __: b"", "it starts with b'' instead of b'#!AER-DAT4.0\\r\\n'"),
        (lambda _, __: b"#!AER-DAT3.1\r\nabc", "it starts with b'#!AER-DAT3.1\\r\\n' instead of"),
        (lambda data, _: data[:16], "a reference points to byte 14 of 16"),
        (lambda data, _: data[:40], "bytes and there are 40"),
        (lambda data, table: data[:table], CUT),
        (lambda data, table: data.replace(struct.pack("<q", table), struct.pack("<q", -1)), CUT),
        (lambda data, table: data[:table] + data[table + 1 :], "a packet cannot be unpacked, LZ4"),
        (lambda data, _: data[:-1], "unpacks to more than"),
        (lambda data, _: data + b"a", "unpacks to more than"),
    ],
)
def test_cut_files_are_named(tmp_path: Path, edit: Callable[[bytes, int], bytes], reason: str) -> None:
    whole = aedat4_bytes([events()])
    file = written(tmp_path, edit(whole, whole.rindex(struct.pack("<I", 0x184D2204))))
    with pytest.raises(MappingError) as error:
        load_data(str(file))
    assert str(error.value).startswith(f"Data file {file} is damaged or no aedat4 file: ")
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("made", "options", "message"),
    [
        ([(0, 6, 0, 1)], "", "Event 0 of {} is at x 6 and y 0, outside the sensor of 6 x 5."),
        ([(0, 0, -1, 1)], "", "Event 0 of {} is at x 0 and y -1, outside the sensor of 6 x 5."),
        ([(0, 0, 0, 2)], "", "Event 0 of {} has the polarity 2; polarities are 0 and 1, or -1 and 1."),
        (
            [(5, 0, 0, 1), (3, 0, 0, 1)],
            "",
            "Event 1 of {} is at time 3, after one at 5: sort the events of each recording by time.",
        ),
        ([], "", "Data file {} holds no events."),
        (
            [(0, 0, 0, 1)],
            ":sensor=7x5",
            "Data file {} states a sensor of 6 x 5: sensor=WxH is for npz files.",
        ),
    ],
)
def test_unusable_events_are_refused(tmp_path: Path, made: list[Event], options: str, message: str) -> None:
    file = written(tmp_path, aedat4_bytes([made]))
    with pytest.raises(MappingError) as error:
        load_data(f"{file}{options}")
    assert str(error.value) == message.format(file)


def test_packet_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, aedat4_bytes([events(4000)]))
    size = len(aedat4_bytes([events(4000)], compression=0))
    monkeypatch.setattr("mapping.datasets.aedat4.MAX_BYTES", 40_000)
    with pytest.raises(MappingError, match=r"a packet of \d+ bytes unpacks to more than 40000 or ends early"):
        load_data(str(file))
    file.write_bytes(aedat4_bytes([events(4000)], compression=0))
    with pytest.raises(MappingError) as error:
        load_data(str(file))
    assert str(error.value) == f"Data file {file} has {size} bytes, above 40000."


def test_missing_file_is_one_sentence() -> None:
    with pytest.raises(MappingError) as error:
        load_data("none.aedat4")
    assert str(error.value) == "Data file none.aedat4 cannot be read: No such file or directory."


def test_missing_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = written(tmp_path, aedat4_bytes([events()]))
    monkeypatch.setitem(sys.modules, "lz4", None)
    monkeypatch.setitem(sys.modules, "lz4.frame", None)
    assert main(["estimate", "digits", "--data", str(packed)]) == 2
    assert capsys.readouterr().err == (
        f"spikeloom: Data file {packed} is packed, and reading it needs lz4, which is not installed: run pip "
        "install 'spikeloom[events]'.\n"
    )
    packed.write_bytes(aedat4_bytes([events()], compression=0))
    assert load_data(f"{packed}:events=all").x.sum() == 90


def _damage(data: bytes, rng: np.random.Generator) -> bytes:
    """Cut, or flip a bit anywhere or among the first or last bytes."""
    kind = int(rng.integers(4))
    if kind == 0:
        return data[: int(rng.integers(len(data)))]
    at = int(rng.integers(len(data) if kind == 1 else min(4000, len(data))))
    changed = bytearray(data)
    changed[len(data) - 1 - at if kind == 3 else at] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def damaged(path: Path, data: bytes, seed: int, cases: int) -> Counter[str]:
    """Read damaged copies; an accepted one has the events of the original but for the bits of some."""
    original = read_aedat4(written(path, data))
    ends: Counter[str] = Counter()
    for case in range(cases):
        copy = _damage(data, np.random.default_rng([seed, case]))
        file = written(path, copy)
        try:
            got = read_aedat4(file)
            load_data(f"{file}:events=all")
        except MappingError as error:
            text = str(error)
            assert text.endswith("."), f"case {case}: {text}"
            assert text.isprintable(), f"case {case}: {text}"
            ends["refused"] += 1
            continue
        assert len(copy) == len(data), f"case {case}: a cut file was read"
        assert len(got[0]) == len(original[0]), f"case {case}: events are missing"
        same = got[1:] == original[1:] and (got[0] == original[0]).all()
        ends["equal" if same else "other bits"] += 1
    return ends


@pytest.mark.parametrize("compression", [0, 1])
def test_damaged_copies_are_refused_or_read(tmp_path: Path, seed: int, compression: int) -> None:
    made = events(300)
    ends = damaged(
        tmp_path, aedat4_bytes([made[:100], made[100:]], compression=compression), seed, CASES // 2
    )
    assert ends["refused"] > CASES // 8


def test_check_sums_are_compared(tmp_path: Path) -> None:
    whole = aedat4_bytes([events(300)], checked=True)
    original = read_aedat4(written(tmp_path, whole))[0]
    refused = 0
    at = whole.index(struct.pack("<I", 0x184D2204))
    (size,) = struct.unpack_from("<i", whole, at - 4)
    for bit in range(0, 8 * size, 21):
        changed = bytearray(whole)
        changed[at + bit // 8] ^= 1 << bit % 8
        try:
            got = read_aedat4(written(tmp_path, bytes(changed)))[0]
        except MappingError:
            refused += 1
        else:  # a repetition may be copied from elsewhere
            assert (got == original).all()
    assert refused > 700


def published(data_dir: Path) -> Path:
    if not (data_dir / DAVIS).is_file():
        pytest.skip(f"SPIKELOOM_DATA names no folder with {DAVIS}")
    return data_dir / DAVIS


@pytest.mark.slow
def test_damaged_copies_of_a_published_file(data_dir: Path, tmp_path: Path, seed: int) -> None:
    ends = damaged(tmp_path, published(data_dir).read_bytes(), seed, CASES)
    assert ends["refused"] > CASES // 4
    assert ends["equal"] > 0  # images and inertial samples are passed over


def naive_events(data: bytes) -> list[Event]:
    """Unpack every packet of stream 0 and read its events as structures, 16 bytes each at its end."""
    at = 18 + struct.unpack_from("<I", data, 14)[0]
    found = []
    while data[at : at + 4] != struct.pack("<I", 0x184D2204):
        stream, size = struct.unpack_from("<ii", data, at)
        if stream == 0:
            content = lz4.frame.decompress(data[at + 8 : at + 8 + size])
            found += [
                (t, x, y, int(p))
                for t, x, y, p in struct.iter_unpack(
                    "<qhh?3x", content[32 : 32 + (len(content) - 32) // 16 * 16]
                )
            ]
        at += 8 + size
    return found


def test_published_recording_is_counted_one_by_one(data_dir: Path) -> None:
    file = published(data_dir)
    expected = naive_events(file.read_bytes())
    assert len(expected) == 117_667  # as its publisher says
    default = load_data(str(file))
    assert default.x.shape == (23, 2, 260, 346)
    assert (default.x == np.array(naive_frames([expected], (346, 260), (346, 260), 5000)[0])).all()
    small = load_data(f"{file}:events=2000,size=64x64")
    assert (small.x == np.array(naive_frames([expected], (346, 260), (64, 64), 2000)[0])).all()
