# SPDX-License-Identifier: Apache-2.0
"""Recordings of event cameras from aedat4 files that may come from anywhere: every length is checked.

The format (iniVation, AEDAT 4.0): a line with the version; a header with the compression, the position of a
table, and the streams as XML; packets, each with its stream and its size; the table, which lists every packet
with its number of elements and its first and last time. Header, packets and table are flatbuffers.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from mapping.datasets.npz import MAX_BYTES
from mapping.errors import MappingError

__all__ = ["EVENT", "read_aedat4"]

EVENT = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1"), ("pad", "u1", 3)])
"""An event as it lies in a packet; ``pad`` is zero."""

_VERSION = b"#!AER-DAT4.0\r\n"
_COMPRESSIONS = ("none", "LZ4", "LZ4 high", "Zstandard", "Zstandard high")
_PLAIN, _LZ4 = (0,), (1, 2)
_RATIO = 255  # no block of LZ4 grows by more


class _DamageError(ValueError):
    """What is wrong with the bytes, as the end of a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Packet:
    stream: int
    start: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    compression: int
    table: int
    streams: ET.Element
    end: int


def read_aedat4(path: Path) -> tuple[NDArray[Any], int, int]:
    """Return the events of a recording and the columns and rows of its sensor.

    Parameters
    ----------
    path : Path
        A file with one stream of events.

    Returns
    -------
    events : `EVENT` (events,)
        As they are stored; neither their order nor their pixels have been looked at.
    width, height : int

    Raises
    ------
    MappingError
        If the file cannot be read, is damaged, too large or packed in another way than LZ4, or has no stream
        of events or several; or if the extra ``events`` is not installed.
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        raise MappingError(f"Data file {path} cannot be read: {error.strerror or error}.") from None
    if size > MAX_BYTES:
        raise MappingError(f"Data file {path} has {size} bytes, above {MAX_BYTES}.")
    try:
        header = _header(data)
        if header.compression in _LZ4:
            _require_lz4(path)
        stream, width, height = _event_stream(header.streams)
        return _events(data, header, stream), width, height
    except (_DamageError, struct.error, UnicodeDecodeError, ET.ParseError) as error:
        reason = str(error) if isinstance(error, _DamageError) else f"its header cannot be read, {error}"
        raise MappingError(f"Data file {path} is damaged or no aedat4 file: {reason}.") from None


def _require_lz4(path: Path) -> None:
    try:
        import lz4.frame  # noqa: F401
    except ImportError:
        raise MappingError(
            f"Data file {path} is packed, and reading it needs lz4, which is not installed: "
            "run pip install 'spikeloom[events]'."
        ) from None


def _number(data: bytes, kind: str, at: int) -> int:
    """Return a number; `struct` alone would read from the end at a negative position."""
    if not 0 <= at <= len(data) - struct.calcsize(kind):
        raise _DamageError(f"a reference points to byte {at} of {len(data)}")
    return int(struct.unpack_from(kind, data, at)[0])


def _root(data: bytes, identifier: bytes) -> int:
    """Return the position of the main table of a flatbuffer with its size in front."""
    if _number(data, "<I", 0) != len(data) - 4 or data[8:12] != identifier:
        raise _DamageError(f"a part of it is no {identifier.decode()} of its size")
    return 4 + _number(data, "<I", 4)


def _field(data: bytes, table: int, index: int) -> int | None:
    """Return the position of a field of a table, None where it is left out."""
    places = table - _number(data, "<i", table)
    if 6 + 2 * index > _number(data, "<H", places):
        return None
    offset = _number(data, "<H", places + 4 + 2 * index)
    return table + offset if offset else None


def _value(data: bytes, table: int, index: int, kind: str, default: int) -> int:
    at = _field(data, table, index)
    return default if at is None else _number(data, kind, at)


def _vector(data: bytes, table: int, index: int, item: int) -> tuple[int, int]:
    """Return where the items of a vector start, and their number."""
    at = _field(data, table, index)
    if at is None:
        return 0, 0
    at += _number(data, "<I", at)
    count = _number(data, "<I", at)
    if at + 4 + count * item > len(data):
        raise _DamageError(f"a list claims {count} items in {len(data)} bytes")
    return at + 4, count


def _header(data: bytes) -> _Header:
    if not data.startswith(_VERSION):
        raise _DamageError(f"it starts with {data[:14]!r} instead of {_VERSION!r}")
    start = len(_VERSION)
    end = start + 4 + _number(data, "<I", start)
    if end > len(data):
        raise _DamageError(f"its header claims {end} bytes and there are {len(data)}")
    part = data[start:end]
    root = _root(part, b"IOHE")
    compression = _value(part, root, 0, "<i", 0)
    if compression not in _PLAIN + _LZ4:
        name = _COMPRESSIONS[compression] if 0 <= compression < len(_COMPRESSIONS) else str(compression)
        raise _DamageError(f"its compression is {name}, supported are none and LZ4")
    table = _value(part, root, 1, "<q", -1)
    if not end <= table < len(data):
        raise _DamageError(
            f"its table of packets should start at byte {table} of {len(data)}, the recording was cut short"
        )
    first, length = _vector(part, root, 2, 1)
    text = part[first : first + length].decode("ascii")
    if "<!" in text:  # declarations could make a short text long
        raise _DamageError("its header declares entities")
    streams = ET.fromstring(text)  # noqa: S314 - without declarations nothing in it is expanded or fetched
    return _Header(compression=compression, table=table, streams=streams, end=end)


def _event_stream(streams: ET.Element) -> tuple[int, int, int]:
    """Return the number of the stream of events and the size of its sensor."""
    found = []
    for node in streams.findall("./node[@name='outInfo']/node"):
        kinds = [attr.text for attr in node.findall("./attr[@key='typeIdentifier']")]
        if kinds == ["EVTS"]:
            sizes = [node.findtext(f"./node[@name='info']/attr[@key='{key}']") for key in ("sizeX", "sizeY")]
            found.append((node.get("name"), *sizes))
    if len(found) != 1:
        raise _DamageError(f"it has {len(found)} streams of events instead of one")
    name, width, height = (_digits(text) for text in found[0])
    return name, width, height


def _digits(text: str | None) -> int:
    if text is None or not text.isdecimal() or len(text) > 5:
        raise _DamageError(f"its stream of events has {text!r} as number, columns or rows")
    return int(text)


def _packets(data: bytes, header: _Header) -> Iterator[_Packet]:
    at = header.end
    while at < header.table:
        stream, size = _number(data, "<i", at), _number(data, "<i", at + 4)
        if size < 0 or at + 8 + size > header.table:
            raise _DamageError(f"the packet at byte {at} claims {size} bytes")
        yield _Packet(stream=stream, start=at + 8, size=size)
        at += 8 + size


def _events(data: bytes, header: _Header, stream: int) -> NDArray[Any]:
    """Return the events of all packets of a stream, after comparing every packet with the table."""
    listed = _table(_unpacked(data[header.table :], header.compression, MAX_BYTES))
    packets = list(_packets(data, header))
    if [(p.stream, p.size) for p in packets] != [row[1:3] for row in listed]:
        raise _DamageError("its packets are not those of its table")
    parts, room = [np.zeros(0, EVENT)], MAX_BYTES
    for packet, (_, _, _, count, first, last) in zip(packets, listed, strict=True):
        if packet.stream != stream:
            continue
        content = _unpacked(data[packet.start : packet.start + packet.size], header.compression, room)
        room -= len(content)
        at, length = _vector(content, _root(content, b"EVTS"), 0, EVENT.itemsize)
        part = np.frombuffer(content, EVENT, length, at) if length else parts[0]
        if length != count or (length and (part["t"][0], part["t"][-1]) != (first, last)):
            raise _DamageError(f"the packet at byte {packet.start} holds other events than its table says")
        if part["pad"].any():
            raise _DamageError(f"the packet at byte {packet.start} has bytes between its events")
        parts.append(part)
    return np.concatenate(parts)


def _table(data: bytes) -> list[tuple[int, ...]]:
    """Return byte, stream, size, elements, first and last time of every packet in the order of the file."""
    start, count = _vector(data, _root(data, b"FTAB"), 0, 4)
    rows = []
    for at in range(start, start + 4 * count, 4):
        row = at + _number(data, "<I", at)
        packet = _field(data, row, 1)
        if packet is None:
            raise _DamageError("its table has a packet without a stream")
        numbers = [_value(data, row, index, "<q", 0) for index in (0, 2, 3, 4)]
        stream, size = _number(data, "<i", packet), _number(data, "<i", packet + 4)
        rows.append((numbers[0], stream, size, *numbers[1:]))
    return sorted(rows)


def _unpacked(data: bytes, compression: int, room: int) -> bytes:
    """Return the content of a packet, at most ``room`` bytes."""
    if compression in _PLAIN:
        return data
    import lz4.frame

    bound = min(_RATIO * len(data), room)
    frame = lz4.frame.LZ4FrameDecompressor()
    try:
        content = bytes(frame.decompress(data, max_length=bound))
    except RuntimeError as error:
        raise _DamageError(f"a packet cannot be unpacked, {error}") from None
    if not frame.eof or frame.unused_data:
        raise _DamageError(f"a packet of {len(data)} bytes unpacks to more than {bound} or ends early")
    return content
