# SPDX-License-Identifier: Apache-2.0
"""Every memory of a chip after a run: what was loaded must still be there, chunk for chunk.

State words, counters and status change in a run; the session reads and compares them by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emu.chunks import core_chunks
from emu.image import CoreImage, SystemImage
from emu.spec import CHUNK_BITS, SystemSpec
from emu.topology import alive
from emu.words import Control, Section
from sim_tests.bench.prelude import read_flits

if TYPE_CHECKING:
    from sim_tests.bench.session import Session
    from sim_tests.bench.streams import Offer

__all__ = ["Held", "compare_memories", "expected_memories", "identity_chunks", "memory_fault"]

MOST_CHUNKS = (1 << CHUNK_BITS) - 1
"""Chunks that one *read* packet asks for at most."""

Held = tuple[int, Section, NDArray[np.uint16]]
"""A core, one of its sections, and what its chunks hold from address 0 on."""

_MAGIC, _CONTRACT = 0x5350, 3


def identity_chunks(spec: SystemSpec, index: int) -> NDArray[np.uint16]:
    """Return what the identity section of a core tells (`docs/reference/network.md`)."""
    core = spec.core
    options = [core.axon_shifts, core.ladder, core.signed_ladder, core.synaptic_current, core.decay]
    told = [_MAGIC, _CONTRACT, core.axons, core.columns, core.lanes, core.payload_bits, core.potential_bits]
    told += [core.sum_bits, core.strengths, core.thresholds // 4, core.fanouts - 1, core.schedule]
    told += [core.profiles, core.max_extension]
    told += [sum(1 << bit for bit, present in enumerate(options) if present) + 256 * core.refractory_bits]
    told += [index % spec.width, index // spec.width]
    return np.array(told, np.uint16)


def _held_by(core: CoreImage | None, spec: SystemSpec) -> Iterator[tuple[Section, NDArray[np.uint16]]]:
    """Yield the sections of a core that a run leaves alone; reset forgets enable and axons at most."""
    if core is None:
        yield Section.CONTROL, np.zeros(Control.AXONS_HIGH + 1, np.uint16)
        return
    for section, chunks in core_chunks(core, spec).items():
        if section == Section.CONTROL:
            chunks[Control.ENABLE] = 1
        if section != Section.STATE and len(chunks):
            yield section, chunks


def expected_memories(image: SystemImage) -> list[Held]:
    """Return what the sections of all cores hold after the image was loaded and run, but for dead ones."""
    held: list[Held] = []
    for index in np.flatnonzero(alive(image.spec)).tolist():
        core = image.cores[index]
        held += [(index, section, chunks) for section, chunks in _held_by(core, image.spec)]
        held.append((index, Section.IDENTITY, identity_chunks(image.spec, index)))
    return held


def memory_fault(held: Held, address: int, told: list[int]) -> str | None:
    """Return how the chunks that a core tells from an address on differ, None if they do not."""
    core, section, chunks = held
    expected = chunks[address : address + len(told)].tolist()
    if told == expected:
        return None
    at = next(i for i, (a, b) in enumerate(zip(told, expected, strict=True)) if a != b)
    return (
        f"chunk {address + at} of {section.name.lower()} of core {core} reads {told[at]:#06x}, "
        f"not {expected[at]:#06x}"
    )


def compare_memories(session: Session) -> Iterator[Offer]:
    """Read every section back and compare it; all replies of a section come before the next request.

    Raises
    ------
    BenchError : a chunk is not what it must be.
    """
    spec = session.job.spec
    for held in session.job.memories():
        core, section, chunks = held
        place = (core % spec.width,) * 2 + (core // spec.width,) * 2
        for address in range(0, len(chunks), MOST_CHUNKS):
            count = min(MOST_CHUNKS, len(chunks) - address)
            session.enter(
                f"read-back of {section.name.lower()} of core {core}", 16 * count + 4 * session.settle
            )
            yield from session.read(read_flits(spec, place, section, address, count), count)
            if (fault := memory_fault(held, address, list(session.gateway.replies))) is not None:
                raise session.failure(fault)
