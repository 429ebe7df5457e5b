# SPDX-License-Identifier: Apache-2.0
"""Recordings of an event camera for tests: random ones, and aedat4 files written field by field."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lz4.frame
import numpy as np
from numpy.typing import NDArray

from mapping.datasets.aedat4 import EVENT

__all__ = [
    "LABELS",
    "SENSOR",
    "Event",
    "aedat4_bytes",
    "events_npz",
    "naive_frames",
    "random_events",
    "three_npz",
    "three_recordings",
]

SENSOR = (6, 5)
LABELS = [2, 0, 1]

Event = tuple[int, int, int, int]
"""Time, column, row and polarity, 0 or 1."""

_EVTS = """<node name="{0}" path="/mainloop/Recorder/outInfo/{0}/">
<attr key="compression" type="string">LZ4</attr><attr key="typeIdentifier" type="string">{1}</attr>
<node name="info" path="/mainloop/Recorder/outInfo/{0}/info/">
<attr key="sizeX" type="int">{2}</attr><attr key="sizeY" type="int">{3}</attr></node></node>"""


def random_events(rng: np.random.Generator, count: int, width: int, height: int) -> list[Event]:
    """Return events in the order of time, several at a time among them."""
    t = rng.integers(0, 3, count).cumsum()
    x, y, p = (rng.integers(0, most, count) for most in (width, height, 2))
    return [(int(t[i]), int(x[i]), int(y[i]), int(p[i])) for i in range(count)]


def events_npz(path: Path, events: Sequence[Event], **arrays: Any) -> str:
    """Write events to a file in a folder and return its name; arrays are added or, for None, left out."""
    columns = np.array(events, np.int64).reshape(-1, 4)
    stored = dict(zip("txyp", columns.T, strict=True)) | arrays
    file = path / "e.npz"
    np.savez(file, **{name: array for name, array in stored.items() if array is not None})
    return str(file)


def three_recordings(seed: int) -> list[list[Event]]:
    """Return recordings on `SENSOR`, the first with an event in its last pixel."""
    rng = np.random.default_rng(seed)
    recordings = [random_events(rng, count, *SENSOR) for count in (23, 40, 31)]
    recordings[0][0] = (0, 5, 4, 1)
    return recordings


def three_npz(path: Path, seed: int, **arrays: Any) -> str:
    """Write `three_recordings` with `LABELS`."""
    events = [event for recording in three_recordings(seed) for event in recording]
    return events_npz(path, events, **({"offsets": [0, 23, 63, 94], "labels": LABELS} | arrays))


def naive_frames(
    recordings: Sequence[Sequence[Event]], sensor: tuple[int, int], size: tuple[int, int], events: int
) -> tuple[list[Any], list[int]]:
    """Return counts [frame][polarity][row][column] and each frame's recording, one event at a time."""
    frames: list[Any] = []
    of: list[int] = []
    for number, recording in enumerate(recordings):
        length = events or len(recording)
        for start in range(0, len(recording) - length + 1, length):
            frame = [[[0] * size[0] for _ in range(size[1])] for _ in range(2)]
            for _, x, y, p in recording[start : start + length]:
                frame[p][int(y * size[1] / sensor[1])][int(x * size[0] / sensor[0])] += 1
            frames.append(frame)
            of.append(number)
    return frames, of


def _sized(content: bytes) -> bytes:
    return struct.pack("<I", len(content)) + content


def _list(identifier: bytes, count: int, items: bytes) -> bytes:
    """A flatbuffer whose main table has one field, a vector."""
    main = struct.pack("<I4s2x3HiII", 16, identifier, 6, 8, 4, 6, 4, count)
    return _sized(main + items)


def _table(rows: Sequence[tuple[int, ...]]) -> bytes:
    """The table of packets: byte, stream, size, elements, first and last time."""
    offsets, tables = b"", b""
    for row in rows:
        at = 4 * len(rows) + len(tables) + 16
        offsets += struct.pack("<I", at - len(offsets))
        tables += struct.pack("<7H2x", 14, 44, 4, 12, 20, 28, 36) + struct.pack("<iqiiqqq", 16, *row)
    return _list(b"FTAB", len(rows), offsets + tables)


def _header(compression: int, table: int, text: bytes) -> bytes:
    main = struct.pack("<I4s5H2xiiqI", 20, b"IOHE", 10, 20, 4, 8, 16, 12, compression, table, 4)
    return b"#!AER-DAT4.0\r\n" + _sized(main + struct.pack("<I", len(text)) + text)


def aedat4_bytes(
    packets: Sequence[Sequence[Event]],
    *,
    sensor: tuple[int, int] = (6, 5),
    compression: int = 1,
    checked: bool = False,
    kinds: Sequence[str] = ("EVTS", "IMUS"),
    rows: Any = None,
    text: str | None = None,
    edit: Any = None,
) -> bytes:
    """Return an aedat4 file with a packet of events for each list, and one of another stream after each.

    Parameters
    ----------
    packets : events of each packet, all of stream 0.
    sensor, compression, kinds : as the header states them; stream 1 is of the second kind.
    checked : whether the packets of events and others, packed, carry check sums.
    rows : function, optional
        Changes the rows of the table of packets.
    text : str, optional
        The header's XML instead of a right one.
    edit : function, optional
        Changes the content of a packet before it is packed.
    """
    nodes = "".join(_EVTS.format(at, kind, *sensor) for at, kind in enumerate(kinds))
    inside = f'<dv version="2.0"><node name="outInfo" path="/">{nodes}</node></dv>' if text is None else text
    start = len(_header(compression, 0, inside.encode()))
    body, table = b"", []
    for events in packets:
        content = _list(b"EVTS", len(events), _structs(events).tobytes())
        content = content if edit is None else edit(content)
        for stream, data in ((0, content), (1, b"anything")):
            packed = lz4.frame.compress(data, content_checksum=checked) if compression in {1, 2} else data
            times = (len(events), events[0][0], events[-1][0]) if events and not stream else (0, 0, 0)
            table.append((start + len(body) + 8, stream, len(packed), *times))
            body += struct.pack("<ii", stream, len(packed)) + packed
    end = _table(table if rows is None else rows(table))
    end = lz4.frame.compress(end) if compression in {1, 2} else end
    return _header(compression, start + len(body), inside.encode()) + body + end


def _structs(events: Sequence[Event]) -> NDArray[Any]:
    return np.array([(*event, (0, 0, 0)) for event in events], EVENT)
