# SPDX-License-Identifier: Apache-2.0
"""The image: the program of every core of a chip, checked (`docs/reference/image.md`)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.chunks import Packer
from emu.legal import ImageError, check_cores, check_inputs, require_within
from emu.spec import THRESHOLDS_A_WORD, SystemSpec
from emu.tables import columns_of
from emu.words import LADDER, RECTANGLE, TABLES, Section

__all__ = ["FIELDS", "CoreImage", "ImageError", "SystemImage"]

_TOGETHER = 64
"""Cores that are packed at a time."""

_PER_NEURON = {c.name: c.dtype for section in (Section.NEURON, Section.STATE) for c in TABLES[section]}
_LISTS = {Section.FANOUT: "fanout", Section.SCHEDULE: "schedule", Section.PROFILE: "profiles"}

FIELDS: dict[str, tuple[str, int]] = {
    "strengths": ("int16", 1),
    **{name: (dtype, 1) for name, dtype in _PER_NEURON.items()},
    "thresholds": (TABLES[Section.THRESHOLD][0].dtype, 1),
    "ladders": (LADDER[0].dtype, 2),
    **dict.fromkeys(_LISTS.values(), ("int32", 2)),
    "pooled": ("bool", 1),
    "extension": ("int32", 0),
    "shifts": (TABLES[Section.SHIFT][0].dtype, 1),
    "lines": ("int32", 1),
    "crossbar": ("int8", 2),
}
"""Field name -> dtype and number of dimensions of a core's arrays."""


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only array whose memory nobody else can write: itself, or a copy.

    A read-only view does not do: its base may be writeable.
    """
    base: Any = array
    while isinstance(base, np.ndarray) and not base.flags.writeable:
        base = base.base
    if base is None or isinstance(base, bytes):
        return array
    copy = array.copy()
    copy.flags.writeable = False
    return copy


@lru_cache(maxsize=4096)
def _zeros(count: int, dtype: str) -> NDArray[Any]:
    """Return zeros that all cores share."""
    zeros = np.zeros(count, dtype)
    zeros.flags.writeable = False
    return zeros


_ZERO: Any = object()
"""Stands for an array that is not given: zero for each neuron, row or packet."""

_HOST = {"input_element": 1, "input_packet": 2, "output_element": 1, "input_inlet": 1}
"""Tables of the host, and their dimensions."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CoreImage:
    """The program of one core; arrays as listed in `docs/reference/image.md`, made read-only.

    An array of the neurons or rows that has a default is zero for each of them if it is not given. A core
    compares with ladders if it has any, with lists of thresholds otherwise. Cores whose crossbars differ in
    the order of the axons alone share one ``crossbar``; ``lines`` has for each axon the line of it, -1 for
    none. By default line i is axon i.

    Raises
    ------
    ImageError
        If an array has a wrong number of dimensions or sizes that do not agree.
    """

    crossbar: NDArray[np.int8]
    strengths: NDArray[np.int16]
    bias: NDArray[np.int64]
    v0: NDArray[np.int64] = _ZERO
    potential: NDArray[np.int64] = _ZERO
    current: NDArray[np.int64] = _ZERO
    refractory: NDArray[np.int64] = _ZERO
    profile: NDArray[np.int32] = _ZERO
    connected: NDArray[np.bool_]
    threshold_base: NDArray[np.int32]
    fanout_base: NDArray[np.int32]
    thresholds: NDArray[np.int64]
    ladders: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, len(LADDER)), np.int64))
    fanout: NDArray[np.int32]
    schedule: NDArray[np.int32]
    profiles: NDArray[np.int32]
    pooled: NDArray[np.bool_]
    extension: NDArray[np.int32] = field(default_factory=lambda: np.array(1, np.int32))
    shifts: NDArray[np.uint8] = _ZERO
    lines: NDArray[np.int32] = _ZERO

    def __post_init__(self) -> None:
        extension = int(np.asarray(self.extension).reshape(-1)[0]) if np.size(self.extension) else 0
        if extension < 1:
            raise ImageError(f"extension must be at least 1, not {extension}.")
        if self.lines is _ZERO:
            object.__setattr__(self, "lines", np.arange(len(self.crossbar), dtype=np.int32))
        rows = -(-len(self.lines) // extension)
        for name, (dtype, dimensions) in FIELDS.items():
            given = getattr(self, name)
            if given is _ZERO:
                object.__setattr__(self, name, _zeros(rows if name == "shifts" else len(self.bias), dtype))
                continue
            array = np.asarray(given, dtype, order="C")
            if array.ndim != dimensions:
                raise ImageError(f"{name} must have {dimensions} dimensions, not {array.ndim}.")
            object.__setattr__(self, name, _frozen(array))
        self._check_lengths(rows)

    def _check_lengths(self, rows: int) -> None:
        neurons, axons = len(self.bias), len(self.lines)
        counts = {**dict.fromkeys(_PER_NEURON, (neurons, "neurons"))}
        counts |= {"pooled": (axons, "axons"), "shifts": (rows, "rows")}
        for name, (wanted, noun) in counts.items():
            found = len(getattr(self, name))
            if found != wanted:
                raise ImageError(f"{name} must have one entry for each of the {wanted} {noun}, not {found}.")
        if len(self.crossbar) > axons:
            raise ImageError(
                f"crossbar must have at most a line for each of the {axons} axons, not {len(self.crossbar)}."
            )
        require_within("crossbar", "lines", self.lines, -1, len(self.crossbar) - 1)
        columns = neurons * len(self.strengths)
        if self.crossbar.shape[1] != columns:
            raise ImageError(
                f"crossbar must have {columns} columns (neurons x strengths), not {self.crossbar.shape[1]}."
            )
        tables = {name: TABLES[section] for section, name in _LISTS.items()} | {"ladders": LADDER}
        for name, fields in tables.items():
            if getattr(self, name).shape[1] != len(fields):
                names = ", ".join(c.name for c in fields)
                raise ImageError(
                    f"{name} must have {len(fields)} columns ({names}), not {getattr(self, name).shape[1]}."
                )

    @property
    def axons(self) -> int:
        """Axons in use, extended ones: rows times the extension, or less."""
        return len(self.lines)

    @property
    def cells(self) -> NDArray[np.int8]:
        """The cells of every axon, int8 (axons, neurons x strengths): the crossbar in the axons' order."""
        if np.array_equal(self.lines, np.arange(len(self.crossbar))):
            return self.crossbar
        cells = np.zeros((self.axons, self.crossbar.shape[1]), np.int8)
        used = self.lines >= 0
        cells[used] = self.crossbar[self.lines[used]]
        return cells

    @property
    def neurons(self) -> int:
        """Neurons in use."""
        return len(self.bias)

    @property
    def is_ladder(self) -> bool:
        """Whether the neurons compare with ladders."""
        return len(self.ladders) > 0

    def of_profile(self, name: str) -> NDArray[np.int32]:
        """Return a field of every neuron's profile, int32 (n,)."""
        return columns_of(Section.PROFILE, self.profiles)[name][self.profile]

    def neurons_per_block(self, spec: SystemSpec) -> int:
        """Return m, how many neurons a block of columns holds: none lies across two."""
        return max(1, spec.core.lanes // max(1, len(self.strengths)))

    def blocks(self, spec: SystemSpec) -> int:
        """Return B, how many blocks of columns the neurons take."""
        return -(-self.neurons // self.neurons_per_block(spec))

    def columns(self, section: Section) -> dict[str, NDArray[Any]]:
        """Return the words of a memory by field name, as `emu.words.TABLES` has them; not of the crossbar.

        The words of the threshold memory are ladders (`emu.words.LADDER`) in a core that has some.
        """
        if section in _LISTS:
            return columns_of(section, getattr(self, _LISTS[section]))
        if section == Section.THRESHOLD:
            return self._threshold_words()
        if section == Section.SHIFT:
            return {TABLES[section][0].name: self.shifts}
        return {c.name: getattr(self, c.name) for c in TABLES[section]}

    def _threshold_words(self) -> dict[str, NDArray[Any]]:
        if self.is_ladder:
            return {c.name: self.ladders[:, i] for i, c in enumerate(LADDER)}
        words = -(-len(self.thresholds) // THRESHOLDS_A_WORD)
        padded = np.zeros(words * THRESHOLDS_A_WORD, np.int64)
        padded[: len(self.thresholds)] = self.thresholds
        return columns_of(Section.THRESHOLD, padded.reshape(words, THRESHOLDS_A_WORD))

    def fanout_of(self, neuron: int) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield (x0, x1, y0, y1, axon) of each fan-out entry of a neuron."""
        if not self.connected[neuron]:
            return
        entries = columns_of(Section.FANOUT, self.fanout[self.fanout_base[neuron] :])
        packet = zip(*(entries[name].tolist() for name in (*RECTANGLE, "axon", "last")), strict=True)
        for *place, last in packet:
            yield tuple(place)
            if last:
                return


def _hash(sha: Any, pieces: Sequence[bytes | NDArray[np.uint16]]) -> None:
    """Add pieces to a hash; other threads run meanwhile."""
    for piece in pieces:
        sha.update(piece)


@dataclass(frozen=True, kw_only=True, eq=False)
class SystemImage:
    """A checked program for every core of a chip, with the tables that connect it to the host.

    Parameters
    ----------
    spec : SystemSpec
        Sizes of the chip.
    cores : tuple[CoreImage or None, ...]
        One entry per core in index order; None is a disabled core.
    input_element : int32 (p,)
        Which input element stimulus packet p carries.
    input_packet : int32 (p, 5)
        Its x0, x1, y0, y1, axon.
    input_inlet : int32 (p,)
        The inlet by which it enters, the first one by default.
    output_element : int32 (o,)
        The output element of each gateway axon, -1 where unused.
    meta : Mapping[str, Any]
        JSON data: name, timesteps of a sample, versions and so on.
    attachments : Mapping[str, NDArray[Any]]
        Arrays of the host's part (layers that run outside the chip).

    Raises
    ------
    ImageError
        If a limit of the machine is broken; the sentence names the core, field, value and limit.
    """

    spec: SystemSpec
    cores: tuple[CoreImage | None, ...]
    input_element: NDArray[np.int32]
    input_packet: NDArray[np.int32]
    output_element: NDArray[np.int32]
    meta: Mapping[str, Any] = field(default_factory=dict)
    attachments: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    input_inlet: NDArray[np.int32] = _ZERO

    def __post_init__(self) -> None:
        if self.input_inlet is _ZERO:
            object.__setattr__(self, "input_inlet", _zeros(len(self.input_packet), "int32"))
        for name, dimensions in _HOST.items():
            array = np.array(getattr(self, name), np.int32, ndmin=dimensions)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        attachments = {name: _frozen(np.asarray(array)) for name, array in self.attachments.items()}
        object.__setattr__(self, "attachments", attachments)
        if len(self.cores) != self.spec.cores:
            raise ImageError(
                f"image must have one entry for each of the {self.spec.cores} cores, not {len(self.cores)}."
            )
        check_inputs(self.input_element, self.input_packet, self.input_inlet, self.spec)
        check_cores(self.cores, self.spec)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the sizes and the chip bytes, hexadecimal."""
        sha = hashlib.sha256(repr(sorted(self.spec.to_dict().items())).encode())
        with ThreadPoolExecutor(1) as hasher:  # hashes some cores while the next ones are packed
            before = hasher.submit(_hash, sha, ())
            for pieces in self._chip_bytes():
                before.result()
                before = hasher.submit(_hash, sha, pieces)
            before.result()
        return sha.hexdigest()

    def _chip_bytes(self) -> Iterator[list[bytes | NDArray[np.uint16]]]:
        """Yield what the digest is of, some cores at a time."""
        packer = Packer(self.spec)
        for at in range(0, len(self.cores), _TOGETHER):
            some = self.cores[at : at + _TOGETHER]
            packed = iter(packer.several([core for core in some if core is not None]))
            pieces: list[bytes | NDArray[np.uint16]] = []
            for core in some:
                pieces.append(b"\1" if core is not None else b"\0")
                for chunks in next(packed).values() if core is not None else ():
                    pieces += (len(chunks).to_bytes(8, "little"), np.ascontiguousarray(chunks, "<u2"))
            yield pieces

    def replace(self, **changes: Any) -> SystemImage:
        """Return a copy with the given fields replaced, checked again; other packets enter by inlet 0."""
        if "input_packet" in changes:
            changes.setdefault("input_inlet", _ZERO)
        return dataclasses.replace(self, **changes)
