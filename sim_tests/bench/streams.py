# SPDX-License-Identifier: Apache-2.0
"""What the host offers: a stream of flits at each inlet, with equal tokens in all of them."""

from __future__ import annotations

from collections.abc import Sequence

from emu.bits import unpack
from emu.gates import inlets_of
from emu.spec import SystemSpec
from emu.words import TOKEN, Kind, flit_layout
from sim_tests.bench.scoreboard import BenchError

__all__ = ["Offer", "Streams", "is_token", "spikes_of", "split", "streams_of"]

Offer = tuple[int | None, ...] | None
"""A flit for each inlet or None; None for nothing at all."""

_KIND = (1 << 3) - 1
"""The kind of a flit is in its lowest bits."""


def is_token(flit: int) -> bool:
    """Return whether a flit is a token."""
    return flit & _KIND == Kind.TOKEN


def _pauses(spec: SystemSpec, flits: Sequence[int]) -> list[int]:
    """Return the pause flags of the tokens of a stream."""
    data = [unpack(flit_layout(spec), flit)["data"] for flit in flits if is_token(flit)]
    return [unpack(TOKEN, token)["pause"] for token in data]


class Streams:
    """Streams under way: which flit is offered at each inlet next.

    Parameters
    ----------
    spec : sizes of the system.
    streams : of each inlet, the first one first.

    Raises
    ------
    BenchError : the tokens of two inlets do not agree, so that the barrier would hang or a core would pause
        at one host's word alone.
    """

    def __init__(self, spec: SystemSpec, streams: Sequence[Sequence[int]]) -> None:
        self._streams, self._at = streams, [0] * len(streams)
        first = _pauses(spec, streams[0])
        for inlet, stream in enumerate(streams):
            if (found := _pauses(spec, stream)) != first:
                raise BenchError(
                    f"the tokens for inlet {inlet} carry the pause flags {found}, those for inlet 0 {first}; "
                    "feed equal tokens at all inlets"
                )

    @property
    def offered(self) -> Offer:
        """The next flit of each inlet, None where no more comes; None at the end of all."""
        found = tuple(
            stream[at] if at < len(stream) else None
            for stream, at in zip(self._streams, self._at, strict=True)
        )
        return found if any(flit is not None for flit in found) else None

    def take(self, ready: int) -> bool:
        """Go on where an offer is taken, by a bit of each inlet; return whether a token was among them."""
        token = False
        for inlet, flit in enumerate(self.offered or ()):
            if flit is not None and ready >> inlet & 1:
                self._at[inlet] += 1
                token = token or is_token(flit)
        return token


def streams_of(spec: SystemSpec, flits: Sequence[int]) -> Streams:
    """Return what enters by the first inlet; by the others come the same tokens."""
    further = len(inlets_of(spec.gates)) - 1
    tokens = [flit for flit in flits if is_token(flit)] if further else []
    return Streams(spec, [flits, *[tokens] * further])


def _parts(spec: SystemSpec, run: Sequence[int]) -> list[list[int]]:
    """Return the streams of a run by inlet: they follow one another, each with a pause at its end."""
    streams, inlets = [list[int]()], len(inlets_of(spec.gates))
    for flit in run:
        streams[-1].append(flit)
        if len(streams) < inlets and _pauses(spec, [flit]) == [1]:
            streams.append([])
    return streams


def split(spec: SystemSpec, run: Sequence[int]) -> Streams:
    """Return the streams of a run, which are one behind the other."""
    return Streams(spec, _parts(spec, run))


def spikes_of(spec: SystemSpec, run: Sequence[int]) -> list[int]:
    """Return how many spikes of a run enter by each inlet."""
    return [sum(flit & _KIND == Kind.SPIKE for flit in stream) for stream in _parts(spec, run)]
