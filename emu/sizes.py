# SPDX-License-Identifier: Apache-2.0
"""The limits of sizes (`emu.spec`), each with its sentence, and the widths of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.errors import SpikeloomError

if TYPE_CHECKING:
    from emu.spec import CoreSpec

__all__ = [
    "OPTIONS",
    "SpecError",
    "bits_for",
    "check_flit",
    "check_options",
    "check_sizes",
    "require",
    "require_integers",
    "require_truths",
    "signed_bits",
]

MOST_AXONS = 1 << 17
"""Extended axons of a core at most."""

OPTIONS = ("axon_shifts", "ladder", "signed_ladder", "synaptic_current", "decay")
"""Options that a core has or has not; ``max_extension`` and ``refractory_bits`` are options with a size."""


class SpecError(SpikeloomError, ValueError):
    """A size breaks a limit of the machine; the sentence names the size, the limit and the value."""


def require_integers(**values: object) -> None:
    """Refuse what is no whole number."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} must be an integer, not {value!r}.")


def require_truths(**values: object) -> None:
    """Refuse what is neither true nor false."""
    for name, value in values.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name} must be true or false, not {value!r}.")


def require(condition: bool, noun: str, rule: str, value: object) -> None:
    """Refuse a size that breaks its rule."""
    if not condition:
        raise SpecError(f"{noun} must be {rule}, not {value!r}.")


def power_of_two(value: int) -> bool:
    """Return whether a number is 1, 2, 4, 8 and so on."""
    return value > 0 and value & (value - 1) == 0


def check_sizes(core: CoreSpec) -> None:
    """Refuse sizes outside their limits.

    Raises
    ------
    SpecError
        Naming the size, its rule and the value.
    """
    require(2 <= core.axons <= 4096, "axons", "2..4096", core.axons)
    require(8 <= core.columns <= 4096, "columns", "8..4096", core.columns)
    lanes = power_of_two(core.lanes) and 8 <= core.lanes <= 128
    require(lanes, "lanes", "8, 16, 32, 64 or 128", core.lanes)
    whole = core.columns % core.lanes == 0 and power_of_two(core.columns // core.lanes)
    require(whole, "columns", f"a power of two times the {core.lanes} lanes", core.columns)
    require(2 <= core.payload_bits <= 9, "payload_bits", "2..9", core.payload_bits)
    require(8 <= core.potential_bits <= 32, "potential_bits", "8..32", core.potential_bits)
    require(1 <= core.strengths <= 8, "strengths", "1..8", core.strengths)
    fours = 4 <= core.thresholds <= 65536 and core.thresholds % 4 == 0
    require(fours, "thresholds", "a multiple of 4, 4..65536", core.thresholds)
    require(2 <= core.fanouts <= 65536, "fanouts", "2..65536", core.fanouts)
    require(2 <= core.schedule <= 256, "schedule", "2..256", core.schedule)
    require(2 <= core.profiles <= 256, "profiles", "2..256", core.profiles)
    require(0 <= core.gateway_axons <= 1 << 24, "gateway_axons", "0..16777216", core.gateway_axons)


def check_options(core: CoreSpec) -> None:
    """Refuse options that do not go together; ``sum_bits`` is known.

    Raises
    ------
    SpecError
        Naming the size, its rule and the value.
    """
    least = core.payload_bits + 1
    require(least <= core.sum_bits <= 32, "sum_bits", f"0 or {least}..32", core.sum_bits)
    extension = power_of_two(core.max_extension) and core.max_extension <= core.words
    require(
        extension,
        "max_extension",
        f"a power of two, 1..{core.words} (columns / lanes)",
        core.max_extension,
    )
    require(core.extended_axons <= MOST_AXONS, "axons x max_extension", "1..131072", core.extended_axons)
    require(core.ladder or not core.signed_ladder, "signed_ladder", "false without ladder", True)
    narrow = not core.ladder or 2 * core.payload_bits <= core.potential_bits
    rule = f"at least twice the {core.payload_bits} payload bits with a ladder"
    require(narrow, "potential_bits", rule, core.potential_bits)
    refractory = core.refractory_bits == 0 or 2 <= core.refractory_bits <= 8
    require(refractory, "refractory_bits", "0 or 2..8", core.refractory_bits)


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


def check_flit(bits: int, most: int) -> None:
    """Refuse a flit that is wider than a word of the emulator."""
    require(bits <= most, "flit_bits", f"at most {most} (a smaller mesh or fewer gateway_axons)", bits)
