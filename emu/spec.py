# SPDX-License-Identifier: Apache-2.0
"""Sizes of a system, validated, and every width derived from them (`docs/reference/machine.md`)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from emu.errors import SpikeloomError

__all__ = [
    "CHUNK_BITS",
    "COUNTER_BITS",
    "FIFO_DEPTH",
    "PRESETS",
    "CoreSpec",
    "SpecError",
    "SystemSpec",
    "preset",
]

CHUNK_BITS = 16
"""Bits of memory that one programming packet carries."""

COUNTER_BITS = 48
"""Width of every hardware counter."""

FIFO_DEPTH = 2
"""Flits that one router input holds; two sustain one flit a cycle."""

STRENGTH_BITS = 8
PRESENCE_WORD = 32


class SpecError(SpikeloomError, ValueError):
    """A size breaks a limit of the machine; the sentence names the size, the limit and the value."""


def bits_for(count: int) -> int:
    """Return the address bits of ``count`` places (at least one).

    >>> [bits_for(n) for n in (1, 2, 3, 256, 257)]
    [1, 1, 2, 8, 9]
    """
    return max(1, (count - 1).bit_length())


def signed_bits(magnitude: int) -> int:
    """Return the width of a two's complement number that holds -magnitude..magnitude.

    >>> signed_bits(127), signed_bits(128)
    (8, 9)
    """
    return magnitude.bit_length() + 1


def chunks_for(bits: int) -> int:
    """Return how many 16-bit chunks a word of ``bits`` takes, rounded up to a power of two.

    >>> [chunks_for(b) for b in (1, 16, 17, 33)]
    [1, 1, 2, 4]
    """
    chunks = -(-bits // CHUNK_BITS)
    return 1 << (chunks - 1).bit_length()


def _require_integers(**values: object) -> None:
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} must be an integer, not {value!r}.")


def _require(condition: bool, noun: str, rule: str, value: object) -> None:
    if not condition:
        raise SpecError(f"{noun} must be {rule}, not {value!r}.")


def _power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreSpec:
    """Sizes of one neurocore; all cores of a system are the same module.

    Parameters
    ----------
    axons : int
        Crossbar rows, 2..4096.
    columns : int
        Crossbar columns, a multiple of ``lanes``, 8..4096; ``columns / lanes`` a power of two.
    lanes : int
        Columns read in one cycle, a power of two, 8..64.
    payload_bits : int
        Width of a packet's signed payload, 2..9.
    potential_bits : int
        Width of the membrane potential, 8..32.
    strengths : int
        Most columns that one neuron may join (k), 1..8.
    thresholds, fanouts, schedule : int
        Words of the threshold, fan-out and schedule memories.
    gateway_axons : int
        Axon ids that a packet can name at the gateway, at least; 0 asks for no more than a flit has anyway,
        up to 2^24. A wider flit is the only consequence.

    Raises
    ------
    SpecError
        If a size breaks its rule; the sentence names the size, the rule and the value.
    """

    axons: int
    columns: int
    lanes: int
    payload_bits: int
    potential_bits: int
    strengths: int
    thresholds: int
    fanouts: int
    schedule: int
    gateway_axons: int = 0

    def __post_init__(self) -> None:
        _require_integers(**dataclasses.asdict(self))
        _require(2 <= self.axons <= 4096, "axons", "2..4096", self.axons)
        _require(8 <= self.columns <= 4096, "columns", "8..4096", self.columns)
        _require(_power_of_two(self.lanes) and 8 <= self.lanes <= 64, "lanes", "8, 16, 32 or 64", self.lanes)
        whole = self.columns % self.lanes == 0 and _power_of_two(self.columns // self.lanes)
        _require(whole, "columns", f"a power of two times the {self.lanes} lanes", self.columns)
        _require(2 <= self.payload_bits <= 9, "payload_bits", "2..9", self.payload_bits)
        _require(8 <= self.potential_bits <= 32, "potential_bits", "8..32", self.potential_bits)
        _require(1 <= self.strengths <= 8, "strengths", "1..8", self.strengths)
        _require(2 <= self.thresholds <= 65536, "thresholds", "2..65536", self.thresholds)
        _require(2 <= self.fanouts <= 65536, "fanouts", "2..65536", self.fanouts)
        _require(2 <= self.schedule <= 256, "schedule", "2..256", self.schedule)
        _require(0 <= self.gateway_axons <= 1 << 24, "gateway_axons", "0..16777216", self.gateway_axons)

    @property
    def axon_bits(self) -> int:
        """Address bits of an axon row."""
        return bits_for(self.axons)

    @property
    def words(self) -> int:
        """Words of one crossbar row, ``lanes`` columns each."""
        return self.columns // self.lanes

    @property
    def payload_max(self) -> int:
        """Largest payload, 2^(payload_bits - 1) - 1."""
        return (1 << (self.payload_bits - 1)) - 1

    @property
    def payload_min(self) -> int:
        """Smallest payload, -2^(payload_bits - 1)."""
        return -(1 << (self.payload_bits - 1))

    @property
    def sum_bits(self) -> int:
        """Width of a column sum: holds axons x 2^(payload_bits - 1), so it cannot overflow."""
        return signed_bits(self.axons << (self.payload_bits - 1))

    @property
    def drive_bits(self) -> int:
        """Width of a drive: strengths x 2^(strength bits - 1) column sums of the largest size."""
        largest = self.axons << (self.payload_bits - 1)
        return signed_bits(self.strengths * (1 << (STRENGTH_BITS - 1)) * largest)

    @property
    def potential_max(self) -> int:
        """Largest membrane potential."""
        return (1 << (self.potential_bits - 1)) - 1

    @property
    def potential_min(self) -> int:
        """Smallest membrane potential."""
        return -(1 << (self.potential_bits - 1))

    @property
    def threshold_bits(self) -> int:
        """Width of a threshold, one bit more than a potential, so that "never" can be written."""
        return self.potential_bits + 1

    @property
    def never(self) -> int:
        """Threshold that no potential reaches (potential_max + 1)."""
        return self.potential_max + 1

    @property
    def always(self) -> int:
        """Threshold that every potential reaches (potential_min)."""
        return self.potential_min

    @property
    def data_bits(self) -> int:
        """Data bits of a flit: a chunk, or an axon and a payload."""
        axon_bits = max(self.axon_bits, bits_for(self.gateway_axons))
        return max(CHUNK_BITS, axon_bits + self.payload_bits)

    @property
    def flit_axon_bits(self) -> int:
        """Axon bits of a flit: all data bits that the payload leaves."""
        return self.data_bits - self.payload_bits


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemSpec:
    """One chip: ``width`` x ``height`` equal cores, a router each, one gateway.

    Core (x, y) has index ``y * width + x``; x grows eastwards, y southwards. The gateway feeds the west
    port of router (0, 0) and takes output from the south port of router (0, height - 1), where it has the
    coordinates (0, height).
    """

    core: CoreSpec
    width: int
    height: int

    def __post_init__(self) -> None:
        _require_integers(width=self.width, height=self.height)
        _require(1 <= self.width <= 64, "width", "1..64", self.width)
        _require(1 <= self.height <= 63, "height", "1..63", self.height)

    @property
    def cores(self) -> int:
        """Number of cores (and routers)."""
        return self.width * self.height

    @property
    def x_bits(self) -> int:
        """Bits of an x coordinate."""
        return bits_for(self.width)

    @property
    def y_bits(self) -> int:
        """Bits of a y coordinate, the gateway's row included."""
        return bits_for(self.height + 1)

    @property
    def gateway(self) -> tuple[int, int]:
        """Coordinates (x, y) at which the gateway takes packets."""
        return (0, self.height)

    def to_dict(self) -> dict[str, Any]:
        """Return the sizes as plain data; `from_dict` reads them back.

        A flit of the usual width is not mentioned, so that images keep their digest.
        """
        sizes = dataclasses.asdict(self)
        if not self.core.gateway_axons:
            del sizes["core"]["gateway_axons"]
        return sizes

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SystemSpec:
        """Build a spec from `to_dict`'s data; unknown or missing keys raise ``TypeError``."""
        rest = {key: value for key, value in data.items() if key != "core"}
        return cls(core=CoreSpec(**data["core"]), **rest)


PRESETS: dict[str, CoreSpec] = {
    "tiny": CoreSpec(
        axons=32,
        columns=32,
        lanes=8,
        payload_bits=4,
        potential_bits=12,
        strengths=4,
        thresholds=128,
        fanouts=64,
        schedule=8,
    ),
    "small": CoreSpec(
        axons=256,
        columns=256,
        lanes=16,
        payload_bits=6,
        potential_bits=18,
        strengths=4,
        thresholds=1024,
        fanouts=1024,
        schedule=32,
    ),
    "reference": CoreSpec(
        axons=1152,
        columns=1024,
        lanes=32,
        payload_bits=9,
        potential_bits=24,
        strengths=8,
        thresholds=4096,
        fanouts=8192,
        schedule=64,
    ),
}
"""Named core sizes; ``small`` holds the demo, ``reference`` has the crossbar of Kuang et al. (2021)."""


def preset(name: str) -> CoreSpec:
    """Return the core preset called ``name``.

    >>> preset("reference").sum_bits
    20
    """
    if name not in PRESETS:
        raise SpecError(f"Core preset must be one of {', '.join(PRESETS)}, not {name!r}.")
    return PRESETS[name]
