# SPDX-License-Identifier: Apache-2.0
"""What a program must not ask of a core: the limits of an image (`docs/reference/image.md`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emu.bits import Field, Layout, limits
from emu.errors import SpikeloomError
from emu.known import Known
from emu.spec import STRENGTH_BITS, THRESHOLDS_A_WORD, CoreSpec, SystemSpec
from emu.topology import alive, entries_of, meets_dead
from emu.words import (
    RECTANGLE,
    TABLES,
    Emission,
    Reset,
    Section,
    ladder_layout,
    section_layout,
    spike_layout,
)

if TYPE_CHECKING:
    from emu.image import CoreImage

__all__ = [
    "ImageError",
    "check_cores",
    "check_inputs",
    "check_ways",
    "require_within",
]

Ints = NDArray[np.int64]

_MOST_DECAY = 1 << 12

_TOGETHER = 512
"""Cores whose values are looked at together."""


class ImageError(SpikeloomError, ValueError):
    """An image breaks a limit of the machine; the sentence names the place, the value and the limit."""


def require_within(where: str, name: str, values: NDArray[Any], low: int, high: int) -> None:
    """Refuse values outside ``low`` .. ``high``; the sentence shows the first."""
    if values.size and (values.min() < low or values.max() > high):
        wrong = values[(values < low) | (values > high)]
        raise ImageError(f"{where}: {name} must be {low}..{high}, not {wrong.reshape(-1)[0]}.")


@cache
def _narrow_limits(system: SystemSpec) -> Mapping[str, tuple[int, int]]:
    """Return the limits of the fields that must not use all of their bits, by name."""
    core = system.core
    found = {
        **{c.name: (core.always, core.never) for c in TABLES[Section.THRESHOLD]},
        "reset": (0, len(Reset) - 1),
        "emission": (0, len(Emission) - 1),
        "potential_decay": (0, _MOST_DECAY),
        "current_kept": (0, _MOST_DECAY),
        "threshold_base": (0, core.thresholds - 1),
        "fanout_base": (0, core.fanouts - 1),
        "repeat": (1, limits(TABLES[Section.SCHEDULE][0].field(system))[1]),
        "x0": (0, system.width - 1),
        "x1": (0, system.width - 1),
        "y0": (0, system.height),
        "y1": (0, system.height),
    }
    return MappingProxyType(found)


_NOUNS = {Section.FANOUT: "fan-out ", Section.SCHEDULE: "schedule ", Section.PROFILE: "profile "}


def check_cores(cores: Sequence[CoreImage | None], system: SystemSpec) -> None:
    """Refuse programs of which one breaks a limit of the core, and name the first limit that it breaks.

    Values are looked at for many cores together; the core that has a wrong one is looked for only then. A
    crossbar or a schedule that cores share is looked at once.

    Parameters
    ----------
    cores, system
        The programs by index, None for a core without one, and the sizes.

    Raises
    ------
    ImageError
        If a core breaks a limit.
    """
    known = Known()
    programs = [(index, core) for index, core in enumerate(cores) if core is not None]
    for first in range(0, len(programs), _TOGETHER):
        some = programs[first : first + _TOGETHER]
        within = _values_are_within([core for _, core in some], system)
        for index, core in some:
            where = f"core {index} ({index % system.width}, {index // system.width})"
            _check_core(where, core, system, known, within=within)
            if system.dead is not None:
                y, x = divmod(index, system.width)
                _check_alive(where, (x, y), system)
                check_ways(where, (x, y), core.fanout[:, : len(RECTANGLE)], system)


def _values_are_within(cores: Sequence[CoreImage], system: SystemSpec) -> bool:
    """Tell whether the words of some cores are such that each of them is legal by itself."""
    try:
        for ladder in (False, True):
            own = [core for core in cores if core.is_ladder is ladder]
            if own:
                _check_words("", own, system, ladder=ladder)
    except ImageError:
        return False
    return True


def _check_core(where: str, core: CoreImage, system: SystemSpec, known: Known, *, within: bool) -> None:
    """Refuse a program that breaks a limit; ``within`` tells that its words are known to break none."""
    spec = system.core
    _check_sizes(where, core, system)
    if not known.has(core.crossbar):
        require_within(where, "crossbar", core.crossbar, -1, 1)
    if not within:
        _check_words(where, [core], system, ladder=core.is_ladder)
    require_within(where, "profile", core.profile, 0, len(core.profiles) - 1)
    _check_sums(where, core, spec, known.cells(core.crossbar), known.factor(core))
    if known.is_new(core):
        _check_schedule(where, core, spec)
    if core.is_ladder:
        _check_ladders(where, core, spec)
    else:
        _check_thresholds(where, core)
    _check_fanout(where, core, spec)


def check_inputs(
    elements: NDArray[Any], packets: NDArray[Any], inlets: NDArray[Any], system: SystemSpec
) -> None:
    """Refuse a table of the host's packets that the system cannot take.

    Parameters
    ----------
    elements, packets, inlets
        Those of `emu.image.SystemImage`.
    system : SystemSpec
        The sizes.
    """
    names = (*RECTANGLE, "axon")
    for name, array, wanted in (
        ("input_packet", packets, (len(elements), len(names))),
        ("input_inlet", inlets, (len(elements),)),
    ):
        if array.shape != wanted:
            raise ImageError(f"{name} must have the shape {wanted}, not {array.shape}.")
    bits = {field.name: limits(field) for field in spike_layout(system)}
    bits |= _narrow_limits(system)
    for name, values in zip(names, packets.T, strict=True):
        require_within("inputs", name, values, *bits[name])
    entries = entries_of(system)
    require_within("inputs", "inlet", inlets, 0, len(entries) - 1)
    check_ways("inputs", entries[inlets], packets[:, :-1], system)


def check_ways(
    where: str, start: tuple[int, int] | Ints, rectangles: NDArray[Any], system: SystemSpec
) -> None:
    """Refuse packets that would go over a dead way, or to a core that is dead or cut off (dead.md).

    Parameters
    ----------
    where : str
        What sends them, as the sentence names it.
    start : (x, y) or int64 (packets, 2)
        The router by which they enter, or that of each.
    rectangles : (packets, 4)
        x0, x1, y0, y1.
    system : SystemSpec
        The sizes, and the dead parts.
    """
    met = np.flatnonzero(meets_dead(system, np.array(start), rectangles))
    if len(met):
        x0, x1, y0, y1 = rectangles[met[0]].tolist()
        raise ImageError(
            f"{where}: x {x0}..{x1}, y {y0}..{y1} lies on or beyond a dead part of the system; "
            "map the network around it with 'spikeloom compile --exclude FILE'."
        )


def _check_alive(where: str, place: tuple[int, int], system: SystemSpec) -> None:
    """Refuse a program for a core that is dead or cut off."""
    x, y = place
    if not alive(system)[y, x]:
        raise ImageError(
            f"{where}: a core that is dead, or cut off from the host, holds no program; "
            "map the network around it with 'spikeloom compile --exclude FILE'."
        )


def _check_sizes(where: str, core: CoreImage, system: SystemSpec) -> None:
    spec, extension = system.core, int(core.extension)
    if extension & (extension - 1) or extension > spec.max_extension:
        raise ImageError(
            f"{where}: extension must be a power of two, 1..{spec.max_extension}, not {extension}."
        )
    columns = max(1, core.blocks(system)) * spec.lanes if core.neurons else 0
    sizes = (
        ("axons", core.axons, spec.axons * extension),
        ("columns", columns, spec.columns // extension),
        ("strengths", len(core.strengths), spec.strengths),
        ("thresholds", THRESHOLDS_A_WORD * len(core.ladders) or len(core.thresholds), spec.thresholds),
        ("fan-out entries", len(core.fanout), spec.fanouts),
        ("schedule entries", len(core.schedule), spec.schedule),
        ("profiles", len(core.profiles), spec.profiles),
    )
    for name, used, limit in sizes:
        if used > limit:
            raise ImageError(
                f"{where}: {used} {name} are more than the {limit} of the core; "
                "use a larger core or split the layer."
            )
    for name, lines in (
        ("strength", core.strengths),
        ("schedule entry", core.schedule),
        ("profile", core.profiles),
    ):
        if not len(lines):
            raise ImageError(f"{where}: a core needs at least one {name}.")
    if core.is_ladder and not spec.ladder:
        raise ImageError(f"{where}: the core has no ladders; use a core with the option, or lists.")
    if core.is_ladder and len(core.thresholds):
        raise ImageError(f"{where}: a core has thresholds or ladders, not both.")


def _check_layout(
    where: str, noun: str, layout: Layout, columns: dict[str, NDArray[Any]], system: SystemSpec
) -> None:
    for name, (low, high) in _limits_of(layout, system).items():
        require_within(where, f"{noun}{name}", columns[name], low, high)
    for name in columns.keys() - {part.name for part in layout}:
        if columns[name].any():
            raise ImageError(
                f"{where}: {noun}{name} must be 0, not {columns[name].max()}: the core leaves the option out."
            )


@cache
def _limits_of(layout: Layout, system: SystemSpec) -> Mapping[str, tuple[int, int]]:
    """Return the least and the greatest value of every field of a word."""
    narrow = _narrow_limits(system)
    return MappingProxyType({field.name: narrow.get(field.name, limits(field)) for field in layout})


def _check_words(where: str, cores: Sequence[CoreImage], system: SystemSpec, *, ladder: bool) -> None:
    """Refuse words of some cores, all with ladders or all with lists, that hold what they cannot."""
    strengths = np.concatenate([core.strengths for core in cores])
    require_within(where, "strengths", strengths, *limits(Field("", STRENGTH_BITS, signed=True)))
    for section in TABLES:
        if not (section == Section.THRESHOLD and ladder):
            noun = _NOUNS.get(section, "")
            _check_layout(where, noun, section_layout(system, section), _columns(cores, section), system)
    if ladder:
        columns = _columns(cores, Section.THRESHOLD)
        _check_layout(where, "ladder ", ladder_layout(system), columns, system)


def _columns(cores: Sequence[CoreImage], section: Section) -> dict[str, NDArray[Any]]:
    """Return the words of a memory of some cores by field name, one core after the other."""
    found = [core.columns(section) for core in cores]
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def _check_sums(where: str, core: CoreImage, spec: CoreSpec, cells: Ints, factor: Ints) -> None:
    """No column sum may overflow, whatever payloads come.

    ``cells`` counts those of a column but zeros, ``factor`` what each line is read with.
    """
    if not core.crossbar.size:
        return
    most = factor[0] * cells if (factor == factor[:1]).all() else factor @ (core.crossbar != 0)
    most = most << (spec.payload_bits - 1)
    if most.max(initial=0) > spec.sum_max:
        raise ImageError(
            f"{where}: column {int(most.argmax())} may sum to {int(most.max())}, "
            f"more than the {spec.sum_max} of its sum; split the layer or use a core with wider sums."
        )


def _check_schedule(where: str, core: CoreImage, spec: CoreSpec) -> None:
    entry = core.columns(Section.SCHEDULE)
    if (entry["integrate"].astype(bool) & ~entry["update"].astype(bool)).any():
        raise ImageError(f"{where}: a schedule entry integrates without update: its sums would be lost.")
    fires = entry["fire"] > 0
    if not fires.any() or not core.neurons:
        return
    profile = {name: core.of_profile(name) for name in ("emission", "signed")}
    counts, firsts = entry["threshold_count"][fires], entry["threshold_first"][fires]
    if (profile["emission"] == Emission.COUNT).any():
        require_within(where, "threshold_count with count emission", counts, 0, spec.payload_max)
    if (profile["emission"] == Emission.CONSTANT).any():
        emit = entry["emit"][fires]
        require_within(where, "schedule emit", np.abs(emit), 1, spec.payload_max)
    if profile["signed"].any():
        if not core.is_ladder:
            raise ImageError(f"{where}: signed needs ladders; the core has lists of thresholds.")
        require_within(where, "threshold_first of a signed ladder", firsts, 0, -spec.payload_min)
        if (profile["emission"][profile["signed"] > 0] == Emission.UNARY).any():
            raise ImageError(f"{where}: unary emission cannot send a negative count; use count emission.")


def _check_ladders(where: str, core: CoreImage, spec: CoreSpec) -> None:
    _, step, _, ties = core.ladders.T
    least = ties << (spec.fraction_bits - spec.payload_bits)
    if (step < least).any():
        at = int(np.flatnonzero(step < least)[0])
        raise ImageError(f"{where}: step of ladder {at} must be at least {least[at]}, not {step[at]}.")
    base = core.threshold_base
    require_within(where, "threshold_base", base, 0, THRESHOLDS_A_WORD * (len(core.ladders) - 1))
    if (base % THRESHOLDS_A_WORD).any():
        wrong = base[base % THRESHOLDS_A_WORD != 0]
        raise ImageError(f"{where}: threshold_base of a ladder must be a multiple of 4, not {wrong[0]}.")
    entry = core.columns(Section.SCHEDULE)
    counts = entry["threshold_count"][entry["fire"] > 0]
    if core.neurons:
        require_within(where, "threshold_count of a ladder", counts, 0, spec.payload_max)


def _check_thresholds(where: str, core: CoreImage) -> None:
    entry = core.columns(Section.SCHEDULE)
    fires = entry["fire"] > 0
    firsts, counts = entry["threshold_first"][fires], entry["threshold_count"][fires]
    reach = int((firsts + counts).max(initial=0))
    if not core.neurons or not fires.any():
        return
    require_within(where, "threshold_base", core.threshold_base, 0, len(core.thresholds) - reach)
    begin = (np.unique(core.threshold_base)[:, None].astype(np.int64) + firsts) % THRESHOLDS_A_WORD
    straddles = (begin != 0) & (begin + counts > THRESHOLDS_A_WORD)
    if straddles.any():
        raise ImageError(
            f"{where}: a window of thresholds must begin at a multiple of 4 or lie within four of them: "
            f"threshold_base {np.unique(core.threshold_base)[straddles.any(axis=1)][0]} breaks this."
        )


def _check_fanout(where: str, core: CoreImage, spec: CoreSpec) -> None:
    if not core.connected.any():
        return
    entries, targets = core.columns(Section.SCHEDULE), core.columns(Section.FANOUT)
    counts = entries["threshold_count"][entries["fire"] > 0]
    ends = np.flatnonzero(targets["last"])
    last = int(ends[-1]) if len(ends) else -1
    require_within(where, "fanout_base", core.fanout_base[core.connected], 0, last)
    top = int(targets["axon"].max(initial=0)) + int(counts.max(initial=0)) - 1
    unary = core.of_profile("emission") == Emission.UNARY
    if unary.any() and top >= 1 << spec.flit_axon_bits:
        raise ImageError(
            f"{where}: unary emission reaches axon {top}, "
            f"more than a flit can name ({(1 << spec.flit_axon_bits) - 1})."
        )
