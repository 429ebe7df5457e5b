# SPDX-License-Identifier: Apache-2.0
"""A target, its numbers, and the error about its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emu.spec import CoreSpec
from mapping.errors import MappingError
from mapping.layout.assembly import QUARTER, Links
from mapping.layout.gates import ONE_OF_EACH, Gates
from mapping.targets.schema import KINDS, UNITS

__all__ = ["Quantity", "Target", "TargetError", "two_of"]

_SCALE = {unit: scale for units in UNITS.values() for unit, scale in units.items()}


def two_of(text: str) -> tuple[int, int]:
    """Return the two numbers of a text ``WxH``."""
    first, second = text.split("x")
    return int(first), int(second)


class TargetError(MappingError, ValueError):
    """A target file is missing or breaks a rule.

    Parameters
    ----------
    message : str
        One sentence: file, key, value and the way out.
    key : str
        The offending key as ``section.key``, empty when the whole file is meant.
    """

    def __init__(self, message: str, *, key: str = "") -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number with its unit, range and origin.

    Parameters
    ----------
    value, low, high : float
        Central value and bounds in ``unit``, ``low <= value <= high``.
    unit : str
        Unit as written in the file, such as ``pJ``, ``mW``, ``Hz``, ``cycle`` or ``1``.
    kind : str
        ``measured``, ``derived``, ``published`` or ``assumed``.
    source : str
        Where the number comes from, or how it was derived.
    scale : tuple of str
        Sizes of the core (`emu.spec.CoreSpec`) whose product the number grows with; it holds for the core
        that the target describes.
    """

    value: float
    unit: str
    low: float
    high: float
    kind: str
    source: str
    scale: tuple[str, ...] = ()

    @property
    def si(self) -> float:
        """Central value in J, W, Hz, s, mm2, cycles or 1."""
        return self.value * _SCALE[self.unit]

    @property
    def si_low(self) -> float:
        """Lower bound in J, W, Hz, s, mm2, cycles or 1."""
        return self.low * _SCALE[self.unit]

    @property
    def si_high(self) -> float:
        """Upper bound in J, W, Hz, s, mm2, cycles or 1."""
        return self.high * _SCALE[self.unit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One chip to estimate for.

    Parameters
    ----------
    name, title : str
        Short name used on the command line, and one line for people.
    model : str
        How a network becomes cores, time and events on it, a name in `mapping.targets.models`.
    core : CoreSpec or None
        The core that images for it have; None if there are no images for it.
    preset, mesh : str
        Core preset that ``core`` is, and mesh size of a chip (``auto`` or ``WxH``), each empty if there is
        none.
    chips : (across, down)
        Equal chips of this mesh that are put together.
    links : Links
        The links between them, or between as many as somebody asks for.
    gates : Gates
        Inlets and outlets of all chips.
    geometry, timing, energy : Mapping[str, Quantity]
        The numbers of the three sections, read-only.
    origin : str
        ``shipped``, or the path of the user's file.
    """

    name: str
    title: str
    model: str
    core: CoreSpec | None
    preset: str
    mesh: str
    geometry: Mapping[str, Quantity]
    timing: Mapping[str, Quantity]
    energy: Mapping[str, Quantity]
    origin: str
    chips: tuple[int, int] = (1, 1)
    links: Links = QUARTER
    gates: Gates = ONE_OF_EACH

    @property
    def kind(self) -> str:
        """``cycle-exact`` (time and counts come from the emulator) or ``closed-form`` (from a formula)."""
        return KINDS[self.model]

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of ``mesh``, None where it is as large as a network needs."""
        return None if self.mesh in ("", "auto") else two_of(self.mesh)

    @property
    def machine(self) -> str:
        """What is built of the target: its core, mesh and chips; of a formula, that nothing is."""
        if self.core is None:
            return "a formula"
        cores = f"{self.preset or 'own'} cores"
        if self.size is None:
            return f"{cores}, as many as needed"
        across, down = self.chips
        several = "" if self.chips == (1, 1) else f"{across} x {down} chips of "
        return several + "{} x {} ".format(*self.size) + cores

    @property
    def clock_hz(self) -> float:
        """Clock frequency in hertz."""
        return self.timing["clock_hz"].si

    def count(self, key: str) -> int:
        """Return a number of ``[geometry]`` as an integer.

        Parameters
        ----------
        key : str
            Key of ``[geometry]``, for example ``axons``.

        Raises
        ------
        KeyError
            If the target has no such number.
        """
        return int(self.geometry[key].value)
