# SPDX-License-Identifier: Apache-2.0
"""The image: the program of every core of a chip, checked (`docs/reference/image.md`)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.bits import Field, chunks_of, limits
from emu.errors import SpikeloomError
from emu.spec import STRENGTH_BITS, CoreSpec, SystemSpec
from emu.words import (
    CONTROL_STRENGTHS,
    RECTANGLE,
    TABLES,
    Control,
    Reset,
    Section,
    columns_of,
    section_layout,
    section_words,
    spike_layout,
)

__all__ = ["FIELDS", "CoreImage", "ImageError", "SystemImage", "core_chunks"]

_PER_NEURON = {c.name: c.dtype for section in (Section.NEURON, Section.STATE) for c in TABLES[section]}
_LISTS = {Section.FANOUT: "fanout", Section.SCHEDULE: "schedule"}

FIELDS: dict[str, tuple[str, int]] = {
    "strengths": ("int16", 1),
    **{name: (dtype, 1) for name, dtype in _PER_NEURON.items()},
    "thresholds": (TABLES[Section.THRESHOLD][0].dtype, 1),
    **dict.fromkeys(_LISTS.values(), ("int32", 2)),
    "pooled": ("bool", 1),
    "crossbar": ("int8", 2),
}
"""Field name -> dtype and number of dimensions of a core's arrays."""


class ImageError(SpikeloomError, ValueError):
    """An image breaks a limit of the machine; the sentence names the place, the value and the limit."""


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


_ZERO: Any = object()
"""Stands for a field of the neurons that is not given: zero for each of them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CoreImage:
    """The program of one core; arrays as listed in `docs/reference/image.md`, made read-only.

    A field of the neurons that has a default is zero for each of them if it is not given.

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
    reset: NDArray[np.uint8]
    count_emission: NDArray[np.bool_]
    connected: NDArray[np.bool_]
    threshold_base: NDArray[np.int32]
    fanout_base: NDArray[np.int32]
    thresholds: NDArray[np.int64]
    fanout: NDArray[np.int32]
    schedule: NDArray[np.int32]
    pooled: NDArray[np.bool_]

    def __post_init__(self) -> None:
        for name, (dtype, dimensions) in FIELDS.items():
            given = getattr(self, name)
            array = np.ascontiguousarray(np.zeros(len(self.bias)) if given is _ZERO else given, dtype)
            if array.ndim != dimensions:
                raise ImageError(f"{name} must have {dimensions} dimensions, not {array.ndim}.")
            object.__setattr__(self, name, _frozen(array))
        neurons = len(self.bias)
        for name in _PER_NEURON:
            if len(getattr(self, name)) != neurons:
                raise ImageError(
                    f"{name} must have one entry for each of the {neurons} neurons, "
                    f"not {len(getattr(self, name))}."
                )
        if self.crossbar.shape[1] != neurons * len(self.strengths):
            columns = neurons * len(self.strengths)
            raise ImageError(
                f"crossbar must have {columns} columns (neurons x strengths), not {self.crossbar.shape[1]}."
            )
        if len(self.pooled) != len(self.crossbar):
            raise ImageError(
                f"pooled must have one entry for each of the {len(self.crossbar)} axons, "
                f"not {len(self.pooled)}."
            )
        for section, name in _LISTS.items():
            found, wanted = getattr(self, name).shape[1], len(TABLES[section])
            if found != wanted:
                names = ", ".join(c.name for c in TABLES[section])
                raise ImageError(f"{name} must have {wanted} columns ({names}), not {found}.")

    @property
    def axons(self) -> int:
        """Axon rows in use."""
        return len(self.crossbar)

    @property
    def neurons(self) -> int:
        """Neurons in use."""
        return len(self.bias)

    def columns(self, section: Section) -> dict[str, NDArray[Any]]:
        """Return the words of a memory by field name, as `emu.words.TABLES` has them; not of the crossbar."""
        if section in _LISTS:
            return columns_of(section, getattr(self, _LISTS[section]))
        if section == Section.THRESHOLD:
            return {TABLES[section][0].name: self.thresholds}
        return {c.name: getattr(self, c.name) for c in TABLES[section]}

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


def _within(where: str, name: str, values: NDArray[Any], low: int, high: int) -> None:
    """Refuse values outside ``low`` .. ``high``; the sentence shows the first."""
    wrong = values[(values < low) | (values > high)]
    if wrong.size:
        raise ImageError(f"{where}: {name} must be {low}..{high}, not {wrong.reshape(-1)[0]}.")


def _check_sizes(where: str, core: CoreImage, spec: CoreSpec) -> None:
    """Refuse a program that a memory of the core cannot hold."""
    sizes = (
        ("axons", core.axons, spec.axons),
        ("columns", core.crossbar.shape[1], spec.columns),
        ("strengths", len(core.strengths), spec.strengths),
        ("thresholds", len(core.thresholds), spec.thresholds),
        ("fan-out entries", len(core.fanout), spec.fanouts),
        ("schedule entries", len(core.schedule), spec.schedule),
    )
    for name, used, limit in sizes:
        if used > limit:
            raise ImageError(
                f"{where}: {used} {name} are more than the {limit} of the core; "
                "use a larger core or split the layer."
            )
    if not len(core.strengths) or not len(core.schedule):
        raise ImageError(f"{where}: strengths and schedule need at least one entry each.")


def _narrow(system: SystemSpec) -> dict[str, tuple[int, int]]:
    """Return the limits of the fields that must not use all of their bits."""
    core = system.core
    return {
        "threshold": (core.always, core.never),
        "reset": (0, len(Reset) - 1),
        "threshold_base": (0, core.thresholds - 1),
        "fanout_base": (0, core.fanouts - 1),
        "repeat": (1, limits(TABLES[Section.SCHEDULE][0].field(system))[1]),
        "x0": (0, system.width - 1),
        "x1": (0, system.width - 1),
        "y0": (0, system.height),
        "y1": (0, system.height),
    }


_INPUT = (*RECTANGLE, "axon")
_NOUNS = {Section.FANOUT: "fan-out ", Section.SCHEDULE: "schedule "}


def _check_values(where: str, core: CoreImage, system: SystemSpec) -> None:
    """Refuse values that do not fit their fields."""
    _within(where, "crossbar", core.crossbar, -1, 1)
    _within(where, "strengths", core.strengths, *limits(Field("", STRENGTH_BITS, signed=True)))
    narrow = _narrow(system)
    for section in TABLES:
        columns = core.columns(section)
        for bits in section_layout(system, section):
            low, high = narrow.get(bits.name, limits(bits))
            _within(where, f"{_NOUNS.get(section, '')}{bits.name}", columns[bits.name], low, high)


def _check_lists(where: str, core: CoreImage, spec: CoreSpec) -> None:
    """Refuse neurons that would read beyond their thresholds or fan-out entries."""
    entries, targets = core.columns(Section.SCHEDULE), core.columns(Section.FANOUT)
    fires = entries["fire"] > 0
    counts = entries["threshold_count"][fires]
    reach = int((entries["threshold_first"][fires] + counts).max(initial=0))
    if core.neurons and fires.any():
        _within(where, "threshold_base", core.threshold_base, 0, len(core.thresholds) - reach)
        if core.count_emission.any():
            _within(where, "threshold_count with count emission", counts, 0, spec.payload_max)
    if core.connected.any():
        ends = np.flatnonzero(targets["last"])
        _within(where, "fanout_base", core.fanout_base[core.connected], 0, int(ends[-1]) if len(ends) else -1)
        top = int(targets["axon"].max(initial=0)) + int(counts.max(initial=0)) - 1
        if not core.count_emission.all() and top >= 1 << spec.flit_axon_bits:
            raise ImageError(
                f"{where}: unary emission reaches axon {top}, "
                f"more than a flit can name ({(1 << spec.flit_axon_bits) - 1})."
            )


def core_chunks(core: CoreImage, spec: SystemSpec) -> dict[Section, NDArray[np.uint16]]:
    """Return every section of a core as the chunks that the loader sends (all but ``enable``)."""
    control = np.zeros(section_words(spec, Section.CONTROL), np.uint16)
    control[Control.AXONS] = core.axons
    control[Control.NEURONS] = core.neurons
    control[Control.STRENGTHS] = len(core.strengths)
    control[Control.SCHEDULE] = len(core.schedule)
    control[Control.WORDS] = -(-core.crossbar.shape[1] // spec.core.lanes)
    control[CONTROL_STRENGTHS : CONTROL_STRENGTHS + len(core.strengths)] = core.strengths.view(np.uint16)
    out = {Section.CONTROL: control, Section.CROSSBAR: _crossbar_chunks(core, spec)}
    out |= {section: chunks_of(section_layout(spec, section), core.columns(section)) for section in TABLES}
    return dict(sorted(out.items()))


def _crossbar_chunks(core: CoreImage, spec: SystemSpec) -> NDArray[np.uint16]:
    """Return whole rows of cells, unused columns zero, so that chunk addresses are consecutive."""
    cells = np.zeros((core.axons, spec.core.columns), np.uint8)
    cells[:, : core.crossbar.shape[1]] = np.where(core.crossbar < 0, 3, core.crossbar)
    bits = np.stack((cells & 1, cells >> 1), axis=-1).reshape(-1)
    return np.packbits(bits, bitorder="little").view("<u2")


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

    def __post_init__(self) -> None:
        for name, dimensions in (("input_element", 1), ("input_packet", 2), ("output_element", 1)):
            array = np.array(getattr(self, name), np.int32, ndmin=dimensions)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        attachments = {name: _frozen(np.asarray(array)) for name, array in self.attachments.items()}
        object.__setattr__(self, "attachments", attachments)
        if len(self.cores) != self.spec.cores:
            raise ImageError(
                f"image must have one entry for each of the {self.spec.cores} cores, not {len(self.cores)}."
            )
        shape = (len(self.input_element), len(_INPUT))
        if self.input_packet.shape != shape:
            raise ImageError(f"input_packet must have the shape {shape}, not {self.input_packet.shape}.")
        bits = {field.name: limits(field) for field in spike_layout(self.spec)} | _narrow(self.spec)
        for name, values in zip(_INPUT, self.input_packet.T, strict=True):
            _within("inputs", name, values, *bits[name])
        for index, core in enumerate(self.cores):
            if core is not None:
                where = f"core {index} ({index % self.spec.width}, {index // self.spec.width})"
                _check_sizes(where, core, self.spec.core)
                _check_values(where, core, self.spec)
                _check_lists(where, core, self.spec.core)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the sizes and the chip bytes, hexadecimal."""
        sha = hashlib.sha256(repr(sorted(self.spec.to_dict().items())).encode())
        for core in self.cores:
            sha.update(b"\1" if core is not None else b"\0")
            for chunks in core_chunks(core, self.spec).values() if core is not None else ():
                sha.update(len(chunks).to_bytes(8, "little") + chunks.astype("<u2").tobytes())
        return sha.hexdigest()

    def replace(self, **changes: Any) -> SystemImage:
        """Return a copy with the given fields replaced, checked again."""
        return dataclasses.replace(self, **changes)
