# SPDX-License-Identifier: Apache-2.0
"""Sizes of a system, validated, and every width derived from them (`docs/reference/machine.md`)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from emu.dead import DeadSpec
from emu.gates import GateSpec
from emu.links import LinkSpec
from emu.sizes import (
    OPTIONS,
    SpecError,
    bits_for,
    check_flit,
    check_options,
    check_sizes,
    require,
    require_integers,
    require_truths,
    signed_bits,
)

__all__ = ["CHUNK_BITS", "COUNTER_BITS", "FIFO_DEPTH", "PRESETS"]
__all__ += ["CoreSpec", "SpecError", "SystemSpec", "preset"]

CHUNK_BITS = 16
"""Bits of memory that one programming packet carries."""

COUNTER_BITS = 48
"""Width of every hardware counter."""

FIFO_DEPTH = 2
"""Flits that one router input holds; two sustain one flit a cycle."""

KIND_BITS, STRENGTH_BITS, DELTA_BITS = 3, 12, 13
PRESENCE_WORD, THRESHOLDS_A_WORD = 64, 4
MOST_ACROSS, MOST_FLIT_BITS, MOST_STEPS = 512, 64, 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreSpec:
    """Sizes of one neurocore; all cores of a system are the same module.

    Parameters
    ----------
    axons, columns : int
        Crossbar rows, 2..4096, and columns, 8..4096, a power of two times ``lanes``.
    lanes : int
        Columns read in one cycle, a power of two, 8..128.
    payload_bits, potential_bits : int
        Width of a packet's signed payload, 2..9, and of membrane potential and synaptic current, 8..32.
    strengths : int
        Most columns that one neuron may join (k), 1..8.
    thresholds : int
        Of the threshold memory, a multiple of 4: a word holds four.
    fanouts, schedule, profiles : int
        Words of the fan-out, schedule and profile memories.
    gateway_axons : int
        Axon ids that a packet can name at the gateway, at least, up to 2^24; 0 asks for what a flit has.
    sum_bits : int
        Width of a column sum; 0 asks for what every axon with the extreme payload needs.
    max_extension : int
        Option; most extended axons of a crossbar row, a power of two up to ``columns / lanes``.
    axon_shifts : bool
        Option; a row's values may be shifted left by 0..7 bits.
    ladder, signed_ladder : bool
        Options; thresholds of one step width, found without a list, and such that count below zero.
    synaptic_current, decay : bool
        Options; a neuron has a second state variable U, and V loses a share of itself in every update.
    refractory_bits : int
        Option; width of the refractory counter, 2..8; 0 leaves it out.

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
    profiles: int = 8
    gateway_axons: int = 0
    sum_bits: int = 0
    max_extension: int = 1
    axon_shifts: bool = False
    ladder: bool = False
    signed_ladder: bool = False
    synaptic_current: bool = False
    decay: bool = False
    refractory_bits: int = 0

    def __post_init__(self) -> None:
        values = asdict(self)
        options = {name: values.pop(name) for name in OPTIONS}
        require_integers(**values)
        require_truths(**options)
        check_sizes(self)
        if self.sum_bits == 0:
            widest = signed_bits(self.axons << (self.payload_bits - 1))
            object.__setattr__(self, "sum_bits", widest)
        check_options(self)

    def resized(self, **changes: Any) -> CoreSpec:
        """Return a core with other sizes; sums that were as wide as all axons need stay so.

        >>> preset("tiny").sum_bits, preset("tiny").resized(axons=1024).sum_bits
        (10, 15)
        """
        widest = signed_bits(self.axons << (self.payload_bits - 1))
        own = {"sum_bits": 0} if self.sum_bits == widest else {}
        return replace(self, **own | changes)

    @property
    def extended_axons(self) -> int:
        """Most axons of a core: crossbar rows times the largest extension."""
        return self.axons * self.max_extension

    @property
    def axon_bits(self) -> int:
        """Address bits of an axon."""
        return bits_for(self.extended_axons)

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
    def sum_max(self) -> int:
        """Largest magnitude of a column sum."""
        return (1 << (self.sum_bits - 1)) - 1

    @property
    def drive_bits(self) -> int:
        """Width of a drive: strengths x 2^(strength bits - 1) column sums of the largest size."""
        return signed_bits(self.strengths << (STRENGTH_BITS - 1 + self.sum_bits - 1))

    @property
    def fraction_bits(self) -> int:
        """Bits of a ladder's step behind the point: F = 2 payload_bits."""
        return 2 * self.payload_bits

    @property
    def refractory_max(self) -> int:
        """Largest refractory count, which never decreases: fire once."""
        return (1 << self.refractory_bits) - 1

    @property
    def presence_levels(self) -> int:
        """Levels of presence words below the summary of an event bank.

        A bit of a word of a level above says whether a word of the level below holds any.
        """
        return 1 if self.extended_axons <= PRESENCE_WORD * PRESENCE_WORD else 2

    @property
    def integrate_fill(self) -> int:
        """Cycles that a block's integration takes beyond one for each event (FI).

        From the summary to the first event two cycles a level and one; two to its word of cells and into
        the registers behind, one to add.
        """
        return 3 + 2 * self.presence_levels

    @property
    def walk_fill(self) -> int:
        """Cycles from the last cycle of integration to the first neuron at the emitter (FW).

        Decays add a stage for their products, a ladder one for each bit that it decides.
        """
        rungs = self.payload_bits - (not self.signed_ladder)
        return 9 + self.multiplies + (rungs if self.ladder else 0)

    @property
    def multiplies(self) -> bool:
        """Whether potentials or currents decay: whether a neuron's state meets a multiplier."""
        return self.decay or self.synaptic_current

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
    """A mesh of ``width`` x ``height`` equal cores, a router each; cut into chips by ``links``.

    With ``dead`` it has straps for parts that do not work (dead.md). Core (x, y) has index ``y * width + x``.
    The host feeds router (0, 0) from the west and takes from the south of (0, height - 1), and at ``gates``.
    """

    core: CoreSpec
    width: int
    height: int
    links: LinkSpec | None = None
    dead: DeadSpec | None = None
    gates: GateSpec | None = None

    def __post_init__(self) -> None:
        require_integers(width=self.width, height=self.height)
        for name, size in (("width", self.width), ("height", self.height)):
            require(1 <= size <= MOST_ACROSS, name, f"1..{MOST_ACROSS}", size)
        check_flit(self.flit_bits, MOST_FLIT_BITS)
        if self.links is not None:
            self.links.check(self.width, self.height, self.flit_bits)
        if self.gates is not None:
            self.gates.check(self.width, self.height)
        if self.dead is not None:
            self.dead.check(self.width, self.height, self.gates)

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
    def flit_bits(self) -> int:
        """Bits of a flit: its kind, its rectangle and its data."""
        return KIND_BITS + 2 * (self.x_bits + self.y_bits) + self.core.data_bits

    @property
    def slowest_hop(self) -> int:
        """Cycles after which one packet may follow another by the slowest wire: 1, or a link's spell."""
        return 1 if self.links is None else self.links.spell(self.flit_bits)

    @property
    def chips(self) -> tuple[int, int]:
        """Chips that the mesh is cut into, across and down."""
        return (1, 1) if self.links is None else self.links.chips(self.width, self.height)

    @property
    def gateway(self) -> tuple[int, int]:
        """Coordinates (x, y) of the first outlet."""
        return (0, self.height)

    def to_dict(self) -> dict[str, Any]:
        """Return the sizes as plain data, links, dead parts and gates if there are any; see `from_dict`."""
        told = asdict(self) | ({} if self.links is None else {"links": self.links.to_dict()})
        return {name: value for name, value in told.items() if value is not None}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SystemSpec:
        """Build a spec from `to_dict`'s data; unknown or missing keys raise ``TypeError``."""
        kinds = {"links": LinkSpec, "dead": DeadSpec, "gates": GateSpec}
        parts = {key: kind(**data[key]) for key, kind in kinds.items() if key in data}
        rest = {key: value for key, value in data.items() if key not in {"core", *kinds}}
        return cls(core=CoreSpec(**data["core"]), **parts, **rest)


_EVERY_OPTION: dict[str, Any] = dict.fromkeys(OPTIONS, True)

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
        refractory_bits=3,
        **_EVERY_OPTION,
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
        refractory_bits=6,
        **_EVERY_OPTION,
    ),
    "medium": CoreSpec(
        axons=512,
        columns=512,
        lanes=32,
        payload_bits=9,
        potential_bits=24,
        strengths=6,
        thresholds=2048,
        fanouts=4096,
        schedule=64,
        sum_bits=20,
        profiles=16,
        max_extension=4,
        refractory_bits=8,
        **_EVERY_OPTION,
    ),
    "reference": CoreSpec(
        axons=1152,
        columns=1024,
        lanes=128,
        payload_bits=9,
        potential_bits=24,
        strengths=8,
        thresholds=4096,
        fanouts=8192,
        schedule=64,
        sum_bits=22,
        profiles=16,
        max_extension=8,
        refractory_bits=8,
        **_EVERY_OPTION,
    ),
    "article": CoreSpec(
        axons=1152,
        columns=1024,
        lanes=16,
        payload_bits=4,
        potential_bits=24,
        strengths=4,
        thresholds=4096,
        fanouts=8192,
        schedule=64,
        sum_bits=18,
        max_extension=64,
    ),
}
"""Named core sizes; ``small`` holds the demo and ``medium`` 8-bit networks of 5 digits.

``reference`` has the crossbar of Kuang et al. (2021), ``article`` also its lanes and its extension.
"""


def preset(name: str) -> CoreSpec:
    """Return the core preset called ``name``.

    >>> preset("reference").sum_bits
    22
    """
    if name not in PRESETS:
        raise SpecError(f"Core preset must be one of {', '.join(PRESETS)}, not {name!r}.")
    return PRESETS[name]
