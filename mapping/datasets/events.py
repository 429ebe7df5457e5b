# SPDX-License-Identifier: Apache-2.0
"""Recordings of event cameras as the frames of counts that a network reads."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.datasets.aedat4 import read_aedat4
from mapping.datasets.npz import MAX_BYTES
from mapping.errors import MappingError

__all__ = [
    "DEFAULT_EVENTS",
    "THREE_SIGMA",
    "Options",
    "Recordings",
    "aedat4_recordings",
    "frames",
    "npz_recordings",
    "three_sigma",
]

DEFAULT_EVENTS = 5000
"""Events of a frame of a single recording (Rueckauer 2020, section 4.2)."""

THREE_SIGMA = "3sigma"
"""Name of the scale that `three_sigma` computes, among the values of ``--input``."""

MAX_AXIS = 2**16
"""Most columns and rows of a sensor."""

_OPTION = re.compile(r"events=(?P<events>all|\d{1,18})|(?P<name>sensor|size)=(?P<w>\d{1,6})x(?P<h>\d{1,6})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What follows the name of an event file.

    Parameters
    ----------
    events : int or None
        Events of a frame, 0 for all of a recording, None for the default.
    sensor, size : (columns, rows) or None
        Of the sensor of an npz file, and of the frames.
    """

    events: int | None = None
    sensor: tuple[int, int] | None = None
    size: tuple[int, int] | None = None

    @classmethod
    def parse(cls, text: str) -> "Options":
        """Read options, for example ``events=2000,size=64x64``; no text gives the defaults.

        Raises
        ------
        MappingError
            If they are not options, or one is given twice or is zero.
        """
        values: dict[str, Any] = {}
        for part in text.split(",") if text else ():
            match = _OPTION.fullmatch(part)
            name = "" if match is None else match["name"] or "events"
            if match is None or name in values:
                raise cls._wrong(text)
            numbers = (
                [0] if match["events"] == "all" else [int(n) for n in match.group("events", "w", "h") if n]
            )
            if match["events"] != "all" and min(numbers) < 1:
                raise cls._wrong(text)
            values[name] = numbers[0] if name == "events" else tuple(numbers)
        return cls(**values)

    @staticmethod
    def _wrong(text: str) -> MappingError:
        return MappingError(
            "Options of event files are events=N or events=all, sensor=WxH and size=WxH, each once, above "
            f"zero and separated by commas, not {text!r}."
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recordings:
    """The events of one or many recordings, in range and in order.

    Parameters
    ----------
    source : str
        The file, for messages.
    x, y : int64 (events,)
        Columns and rows.
    on : bool (events,)
    offsets : int64 (recordings + 1,)
        Where each recording starts, and the number of events.
    sensor : (columns, rows)
    many : bool
        Whether the file says where its recordings start.
    """

    source: str
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    on: NDArray[np.bool_]
    offsets: NDArray[np.int64]
    sensor: tuple[int, int]
    many: bool


def aedat4_recordings(path: Path, options: Options) -> Recordings:
    """Read the recording of an aedat4 file.

    Raises
    ------
    MappingError
        If the file is not usable (see `mapping.datasets.aedat4.read_aedat4`), its events are out of order or
        outside the sensor, or the options give another sensor.
    """
    events, *sensor = read_aedat4(path)
    size = (sensor[0], sensor[1])
    if options.sensor not in {None, size}:
        raise MappingError(
            f"Data file {path} states a sensor of {size[0]} x {size[1]}: sensor=WxH is for npz files."
        )
    return _recordings(str(path), {name: events[name] for name in "txyp"}, size)


def npz_recordings(path: Path, arrays: Mapping[str, NDArray[Any]], options: Options) -> Recordings:
    """Check the arrays of an npz file.

    Parameters
    ----------
    path : Path
        The file, for messages.
    arrays : mapping
        Arrays ``t``, ``x``, ``p``, ``y`` and perhaps ``offsets``.
    options : Options
        With the size of the sensor, if it is not one more than the largest coordinates.

    Raises
    ------
    MappingError
        If they are no recordings, or frames of another size are wanted and the sensor's size is not given.
    """
    if "y" not in arrays:
        raise MappingError(f"Data file {path} has the arrays t, x and p of events and no array y.")
    if options.size is not None and options.sensor is None:
        raise MappingError(
            f"Data file {path} does not state its sensor, which size=WxH needs: give sensor=WxH too."
        )
    return _recordings(str(path), arrays, options.sensor)


def _recordings(
    source: str, arrays: Mapping[str, NDArray[Any]], sensor: tuple[int, int] | None
) -> Recordings:
    _check_kinds(source, arrays)
    count = len(arrays["t"])
    x, y = arrays["x"], arrays["y"]
    width, height = sensor or (int(x.max()) + 1, int(y.max()) + 1)
    if max(width, height) > MAX_AXIS:
        raise MappingError(
            f"Sensor of {source} must have at most {MAX_AXIS} columns and rows, not {width} x {height}."
        )
    at = _first((x < 0) | (x >= width) | (y < 0) | (y >= height))
    if at is not None:
        hint = "; sensor=WxH gives another size" if sensor and source.endswith(".npz") else ""
        raise MappingError(
            f"Event {at} of {source} is at x {x[at]} and y {y[at]}, outside the sensor of "
            f"{width} x {height}{hint}."
        )
    offsets = _offsets(source, arrays.get("offsets"), count)
    _check_order(source, arrays["t"], offsets)
    return Recordings(
        source=source,
        x=x.astype(np.int64),
        y=y.astype(np.int64),
        on=_on(source, arrays["p"]),
        offsets=offsets,
        sensor=(width, height),
        many="offsets" in arrays,
    )


def _first(wrong: NDArray[np.bool_]) -> int | None:
    return int(np.argmax(wrong)) if wrong.any() else None


def _check_kinds(source: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    count = arrays["t"].size
    for name, kinds in (("t", "iuf"), ("x", "iu"), ("y", "iu"), ("p", "iub")):
        array = arrays[name]
        if array.dtype.kind not in kinds or array.shape != (count,):
            wanted = "numbers" if name == "t" else "integers"
            raise MappingError(
                f"Array {name} of {source} must hold {count} {wanted}, one per event, "
                f"not {array.dtype} {array.shape}."
            )
    if not count:
        raise MappingError(f"Data file {source} holds no events.")


def _on(source: str, p: NDArray[Any]) -> NDArray[np.bool_]:
    at = _first((p != 1) & (p != 0) & (p != (-1 if p.dtype.kind == "i" else 0)))
    if at is None and p.dtype.kind == "i" and (p == 0).any():
        at = _first(p == -1)
    if at is not None:
        raise MappingError(
            f"Event {at} of {source} has the polarity {p[at]}; polarities are 0 and 1, or -1 and 1."
        )
    return np.asarray(p == 1)


def _offsets(source: str, offsets: NDArray[Any] | None, count: int) -> NDArray[np.int64]:
    if offsets is None:
        return np.array([0, count])
    if offsets.dtype.kind not in "iu" or offsets.ndim != 1 or len(offsets) < 2:
        raise MappingError(
            f"Array offsets of {source} must hold integers, one more than there are recordings, "
            f"not {offsets.dtype} {offsets.shape}."
        )
    if offsets[0] != 0 or offsets[-1] != count:
        raise MappingError(
            f"Array offsets of {source} must go from 0 to the number of events, {count}, "
            f"not from {offsets[0]} to {offsets[-1]}."
        )
    at = _first(offsets[1:] <= offsets[:-1])
    if at is not None:
        raise MappingError(
            f"Array offsets of {source} must rise, every recording having events, and recording {at} goes "
            f"from {offsets[at]} to {offsets[at + 1]}."
        )
    return offsets.astype(np.int64)


def _check_order(source: str, t: NDArray[Any], offsets: NDArray[np.int64]) -> None:
    at = _first(~np.isfinite(t))
    if at is not None:
        raise MappingError(f"Event {at} of {source} has the time {t[at]}; times must be finite.")
    falls = t[1:] < t[:-1]
    falls[offsets[1:-1] - 1] = False  # a recording may start before the end of another
    at = _first(falls)
    if at is not None:
        raise MappingError(
            f"Event {at + 1} of {source} is at time {t[at + 1]}, after one at {t[at]}: sort the events of "
            "each recording by time."
        )


def frames(recordings: Recordings, options: Options) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Count the events of every frame.

    Parameters
    ----------
    recordings : Recordings
    options : Options
        Events of a frame and size of the frames.

    Returns
    -------
    counts : float64 (frames, 2, rows, columns)
        Integers; index 0 are events of decreasing brightness, 1 of increasing.
    recording : int64 (frames,)
        The recording of each frame.

    Raises
    ------
    MappingError
        If a recording is shorter than a frame, or frames are larger than the sensor or too many.
    """
    width, height = options.size or recordings.sensor
    columns, rows = recordings.sensor
    if width > columns or height > rows:
        raise MappingError(
            f"Frames of {recordings.source} must not be larger than the sensor of {columns} x {rows}, "
            f"not {width} x {height}."
        )
    frame, recording = _frame_of_events(recordings, _events(recordings, options))
    size = len(recording) * 2 * height * width * 8
    if size > MAX_BYTES:
        raise MappingError(
            f"Frames of {recordings.source} would hold {size} bytes, above {MAX_BYTES}: take more events a "
            "frame with events=N, or smaller frames with size=WxH."
        )
    used = frame >= 0
    x, y = recordings.x[used] * width // columns, recordings.y[used] * height // rows
    cell = ((frame[used] * 2 + recordings.on[used]) * height + y) * width + x
    # with weights the sums are float64 at once, so that the conversion copies nothing
    counts = np.bincount(cell, weights=np.ones(len(cell)), minlength=size // 8)
    return counts.astype(np.float64, copy=False).reshape(-1, 2, height, width), recording


def _events(recordings: Recordings, options: Options) -> int:
    """Return the events of a frame, 0 for all of a recording."""
    wanted = options.events
    if wanted is None:
        wanted = 0 if recordings.many else DEFAULT_EVENTS
    lengths = np.diff(recordings.offsets)
    short = _first(lengths < wanted)
    if short is not None:
        raise MappingError(
            f"Recording {short} of {recordings.source} has {lengths[short]} events and a frame takes "
            f"{wanted}: take fewer with events=N, or the whole recording with events=all."
        )
    return wanted


def _frame_of_events(recordings: Recordings, events: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the frame of each event, -1 for those left over, and the recording of each frame."""
    lengths = np.diff(recordings.offsets)
    index = np.arange(len(lengths))
    if not events:
        return np.repeat(index, lengths), index
    of_recording = lengths // events
    place = np.arange(len(recordings.x)) - np.repeat(recordings.offsets[:-1], lengths)
    frame = place // events
    left_over = frame >= np.repeat(of_recording, lengths)
    frame += np.repeat(np.cumsum(of_recording) - of_recording, lengths)
    return np.where(left_over, -1, frame), np.repeat(index, of_recording)


def three_sigma(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Limit the counts of each frame to three deviations above the mean, and divide by the largest.

    Mean and deviation are those of the counts that are not zero; the limit is rounded down, so that limited
    counts are counts (Rueckauer 2020, section 4.2: clipping comes before scaling).

    Parameters
    ----------
    counts : float64 (frames, ...)
        Integers, not negative.

    Returns
    -------
    float64, between 0 and 1
    """
    result = np.zeros_like(counts)
    for frame, count in zip(result, counts, strict=True):
        values = count[count > 0].astype(np.int64)
        if len(values):
            limited = np.minimum(count, _limit(len(values), int(values.sum()), int((values**2).sum())))
            frame[...] = limited / limited.max()
    return result


def _limit(n: int, total: int, squares: int) -> int:
    """Return the mean plus three deviations of n numbers, rounded down, exactly."""
    return (total + math.isqrt(9 * (n * squares - total**2))) // n
