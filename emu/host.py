# SPDX-License-Identifier: Apache-2.0
"""What the host sends through the gateway: the load, the run and the read-back of an image, as flits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from emu.bits import Layout, limits, pack, places
from emu.chunks import core_chunks
from emu.image import CoreImage, SystemImage
from emu.loading import Burst, load_bursts, pointer_bursts, write_bursts
from emu.rectangles import Place
from emu.spec import SystemSpec
from emu.trace import Stimulus
from emu.words import (
    RECTANGLE,
    TOKEN,
    Control,
    Kind,
    Section,
    flit_layout,
    section_chunks,
    spike_layout,
)

__all__ = [
    "Flits",
    "Place",
    "core_flits",
    "flits",
    "load_flits",
    "pointer_flits",
    "read_request",
    "run_flits",
    "spike_data",
    "write_flits",
]

Flits = NDArray[np.uint64]
"""Flits as integers, in sending order."""


def _words(layout: Layout, fields: Mapping[str, NDArray[np.integer]]) -> Flits:
    """Return one word per row of fields; a field that is not named is zero. All values must fit."""
    at = places(layout)
    words = np.zeros(np.broadcast_shapes(*(values.shape for values in fields.values())), np.uint64)
    for field in layout:
        if field.name in fields:
            bits = fields[field.name].astype(np.int64) & (1 << field.bits) - 1
            words |= bits.astype(np.uint64) << np.uint64(at[field.name])
    return words


def flits(spec: SystemSpec, kind: Kind, place: Place, data: NDArray[np.integer]) -> Flits:
    """Return one flit per data word, all of one kind to one rectangle."""
    values = {"kind": int(kind), **dict(zip(RECTANGLE, place, strict=True))}
    fields = {name: np.array([value]) for name, value in values.items()}
    return _words(flit_layout(spec), fields | {"data": np.asarray(data)})


def _sent(spec: SystemSpec, bursts: Iterable[Burst]) -> list[Flits]:
    return [flits(spec, burst.kind, burst.place, burst.data) for burst in bursts]


def pointer_flits(spec: SystemSpec, place: Place, section: int, address: int) -> list[Flits]:
    """Return the packets that set the chunk pointer of the cores of a rectangle."""
    return _sent(spec, pointer_bursts(place, section, address))


def write_flits(
    spec: SystemSpec, place: Place, section: int, chunks: NDArray[np.uint16], address: int = 0
) -> list[Flits]:
    """Return the packets that write chunks from an address on, none if there is no chunk."""
    return _sent(spec, write_bursts(place, section, chunks, address))


def core_flits(spec: SystemSpec, place: Place, core: CoreImage) -> Iterator[Flits]:
    """Yield the packets that load a program into the cores of a rectangle and, last, enable them."""
    for section, chunks in core_chunks(core, spec).items():
        yield from write_flits(spec, place, section, chunks)
    yield from write_flits(spec, place, Section.CONTROL, np.array([1], np.uint16), Control.ENABLE)


def load_flits(image: SystemImage) -> Flits:
    """Return the control packets that load an image into a chip after reset and clear its counters."""
    return np.concatenate(_sent(image.spec, load_bursts(image)))


def spike_data(spec: SystemSpec, axon: NDArray[np.int64], payload: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the data of spike flits.

    Raises
    ------
    ValueError
        If an axon or payload does not fit its bits.
    """
    layout, values = spike_layout(spec), {"axon": axon, "payload": payload}
    for field in layout:
        low, high = limits(field)
        wrong = values[field.name][(values[field.name] < low) | (values[field.name] > high)]
        if wrong.size:
            raise ValueError(f"Stimulus {field.name} must be {low}..{high}, not {wrong[0]}.")
    return _words(layout, values).astype(np.int64)


def run_flits(spec: SystemSpec, stimulus: Stimulus, inlet: int = 0) -> tuple[Flits, int]:
    """Return the stream of a run at one inlet, and the position of its first step token in it.

    The stream is: stimulus of step 0, step token 0, stimulus of step 1, ..., the last step token, the pause
    token. All inlets have the same tokens.
    """
    here = stimulus.inlet == inlet
    *rectangle, axon, payload = stimulus.packet[here].T
    layout = flit_layout(spec)
    fields = dict(zip(RECTANGLE, rectangle, strict=True))
    fields |= {"kind": stimulus.kind[here], "data": spike_data(spec, axon, payload)}
    token, pause = (
        np.uint64(pack(layout, dict.fromkeys(RECTANGLE, 0) | {"kind": Kind.TOKEN, "data": data}))
        for data in (pack(TOKEN, {"pause": 0}), pack(TOKEN, {"pause": 1}))
    )
    ends = np.searchsorted(stimulus.step[here], np.arange(stimulus.steps), side="right")
    stream = np.insert(_words(layout, fields), ends, token)
    return np.append(stream, pause), int(ends[0])


def read_request(spec: SystemSpec, index: int, section: Section, words: int) -> tuple[Flits, int]:
    """Return the packets that read ``words`` words of a core's memory, and how many chunks come back."""
    x, y = index % spec.width, index // spec.width
    chunks = words * section_chunks(spec, section)
    place = (x, x, y, y)
    return np.concatenate(
        [*pointer_flits(spec, place, section, 0), flits(spec, Kind.READ, place, np.array([chunks]))]
    ), chunks
