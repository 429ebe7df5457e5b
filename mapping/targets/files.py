# SPDX-License-Identifier: Apache-2.0
"""Targets: the chips an estimate is made for, each one TOML file of numbers with their sources.

A target file has the sections ``[target]``, ``[geometry]``, ``[timing]`` and ``[energy]``. Outside
``[target]`` every number is a table with the keys ``value``, ``unit``, ``low``, ``high``, ``kind`` and
``source``, so a figure never travels without its uncertainty and its origin.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from emu.spec import PRESETS
from mapping.errors import MappingError

__all__ = [
    "MAX_TARGET_BYTES",
    "Quantity",
    "Target",
    "TargetError",
    "list_targets",
    "load_target",
    "target_text",
]

MAX_TARGET_BYTES = 65536
"""Largest target file that is read, in bytes."""

_VERSION = 1
_SMALLEST, _LARGEST = 1e-30, 1e30  # products of a few such numbers stay finite
_SHIPPED = Path(__file__).parent / "data"
_PROVENANCE = ("measured", "derived", "published", "assumed")
_PRESETS = tuple(PRESETS)
_HEADER = ("version", "name", "title", "kind")
_FIELDS = ("value", "unit", "low", "high", "kind", "source")
_SCALE_KEY = "scale"
_SCALES = ("axons", "columns", "lanes", "payload_bits", "potential_bits", "sum_bits", "strengths")
_SECTIONS = ("target", "geometry", "timing", "energy")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_MESH = re.compile(r"auto|[1-9][0-9]{0,2}x[1-9][0-9]{0,2}")

_UNITS: dict[str, dict[str, float]] = {
    "energy": {"fJ": 1e-15, "pJ": 1e-12, "nJ": 1e-9, "uJ": 1e-6, "mJ": 1e-3, "J": 1.0},
    "power": {"nW": 1e-9, "uW": 1e-6, "mW": 1e-3, "W": 1.0},
    "frequency": {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9},
    "cycles": {"cycle": 1.0},
    "count": {"1": 1.0},
    "preset": {},
    "mesh": {},
}
_SCALE = {unit: scale for units in _UNITS.values() for unit, scale in units.items()}

_SCHEMA: dict[str, dict[str, dict[str, str]]] = {
    "cycle-exact": {
        "geometry": {"preset": "preset", "mesh": "mesh"},
        "timing": {"clock_hz": "frequency"},
        "energy": {
            **dict.fromkeys(("crossbar_words", "synaptic_operations", "deliveries"), "energy"),
            **dict.fromkeys(("neuron_updates", "thresholds", "packets"), "energy"),
            **dict.fromkeys(("hops", "token_hops", "link_bits"), "energy"),
            **dict.fromkeys(("program_flits", "core_cycles"), "energy"),
            "leakage": "power",
        },
    },
    "closed-form": {
        "geometry": {"preset": "preset"}
        | dict.fromkeys(("axons", "columns", "max_extension", "weight_columns"), "count")
        | dict.fromkeys(("cores_per_chip", "chips_x", "chips_y"), "count"),
        "timing": {"clock_hz": "frequency", "cycles_per_step": "cycles"},
        "energy": {
            "synaptic_operations_dense": "energy",
            "headline_synaptic_operation": "energy",
            "program_bits": "energy",
            "leakage": "power",
        },
    },
}


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
        """Central value in J, W, Hz, cycles or 1."""
        return self.value * _SCALE[self.unit]

    @property
    def si_low(self) -> float:
        """Lower bound in J, W, Hz, cycles or 1."""
        return self.low * _SCALE[self.unit]

    @property
    def si_high(self) -> float:
        """Upper bound in J, W, Hz, cycles or 1."""
        return self.high * _SCALE[self.unit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One chip to estimate for.

    Parameters
    ----------
    name, title : str
        Short name used on the command line, and one line for people.
    kind : str
        ``cycle-exact`` (time comes from the emulator) or ``closed-form`` (time comes from a formula).
    preset, mesh : str
        Core preset, and mesh size (``auto`` or ``WxH``) of a cycle-exact target, empty otherwise.
    geometry, timing, energy : Mapping[str, Quantity]
        The numbers of the three sections, read-only.
    origin : str
        ``shipped``, or the path of the user's file.
    """

    name: str
    title: str
    kind: str
    preset: str
    mesh: str
    geometry: Mapping[str, Quantity]
    timing: Mapping[str, Quantity]
    energy: Mapping[str, Quantity]
    origin: str

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


def list_targets() -> tuple[str, ...]:
    """Return the names of the shipped targets, sorted."""
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.toml")))


def target_text(name_or_path: str | Path) -> str:
    """Return the TOML text of a target, unchanged.

    Parameters
    ----------
    name_or_path : str or Path
        Name of a shipped target, or the path of a file that ends in ``.toml``.

    Raises
    ------
    TargetError
        If there is no such target, or the file is not readable UTF-8 text of at most ``MAX_TARGET_BYTES``.
    """
    path = _locate(name_or_path)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_TARGET_BYTES + 1)
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise TargetError(f"Target file {path} must be readable, not {reason!r}; check the path.") from error
    if len(data) > MAX_TARGET_BYTES:
        raise TargetError(
            f"Target file {path} must be at most {MAX_TARGET_BYTES} bytes; shorten it or check the path."
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TargetError(
            f"Target file {path} must be UTF-8 text, not byte {data[error.start]:#04x}"
            f" at offset {error.start}; save it as UTF-8."
        ) from error


def load_target(name_or_path: str | Path) -> Target:
    """Load and check a target.

    Parameters
    ----------
    name_or_path : str or Path
        Name of a shipped target, or the path of a file that ends in ``.toml``.

    Raises
    ------
    TargetError
        If there is no such target or the file breaks a rule; the sentence names file, key, value and remedy.

    Examples
    --------
    >>> load_target("kuang2021").count("axons")
    1152
    """
    path = _locate(name_or_path)
    text = target_text(name_or_path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TargetError(f"Target file {path} must be valid TOML: {error}; correct that line.") from error
    except RecursionError as error:
        raise TargetError(f"Target file {path} must not be nested this deeply; use plain tables.") from error
    shipped = path.parent == _SHIPPED
    return _Reader(path.name if shipped else str(path)).target(document, "shipped" if shipped else str(path))


def _locate(name_or_path: str | Path) -> Path:
    """Turn a name or a path into the path of the file to read."""
    if not isinstance(name_or_path, str | Path):
        raise TypeError(f"Target must be a name or a path, not {name_or_path!r}.")
    if isinstance(name_or_path, Path) or name_or_path.endswith(".toml"):
        return Path(name_or_path)
    if name_or_path not in list_targets():
        told = f", not {name_or_path!r}"
        if name_or_path in PRESETS:
            told = f"; {name_or_path!r} is a size of core, which is --core {name_or_path} in estimate and "
            told += "in compile"
        names = ", ".join(list_targets())
        raise TargetError(f"Target must be one of {names} or a path that ends in .toml{told}.")
    return _SHIPPED / f"{name_or_path}.toml"


@dataclass(frozen=True, slots=True)
class _Reader:
    """Checks one parsed document; knows the file's name for the messages."""

    file: str

    def target(self, document: Mapping[str, Any], origin: str) -> Target:
        self.keys("", document, _SECTIONS)
        header = self.table("target", document["target"])
        kind = self.header(header)
        parts: dict[str, dict[str, Quantity | str]] = {}
        for section, schema in _SCHEMA[kind].items():
            table = self.table(section, document[section])
            self.keys(section, table, schema)
            parts[section] = {key: self.entry(f"{section}.{key}", table[key], schema[key]) for key in schema}
        texts = {key: entry for key, entry in parts["geometry"].items() if isinstance(entry, str)}
        return Target(
            name=header["name"],
            title=header["title"],
            kind=kind,
            preset=texts.get("preset", ""),
            mesh=texts.get("mesh", ""),
            geometry=_numbers(parts["geometry"]),
            timing=_numbers(parts["timing"]),
            energy=_numbers(parts["energy"]),
            origin=origin,
        )

    def fail(self, key: str, rule: str, value: object, remedy: str) -> TargetError:
        shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
        return TargetError(f"Key {key} in {self.file} must be {rule}, not {shown}; {remedy}.", key=key)

    def table(self, key: str, value: object) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self.fail(key, "a table", value, f"write it as [{key}] followed by its keys")
        return value

    def keys(self, section: str, table: Mapping[str, Any], known: Iterable[str]) -> None:
        known = tuple(known)
        where = f"[{section}]" if section else "the file"
        for key in table:
            if key not in known:
                full = f"{section}.{key}" if section else key
                raise TargetError(
                    f"Key {full} in {self.file} is unknown; remove it or use one of {', '.join(known)}.",
                    key=full,
                )
        for key in known:
            if key not in table:
                full = f"{section}.{key}" if section else key
                raise TargetError(f"Key {full} is missing in {self.file}; add it to {where}.", key=full)

    def header(self, header: Mapping[str, Any]) -> str:
        self.keys("target", header, _HEADER)
        version, name, kind = header["version"], header["name"], header["kind"]
        if type(version) is not int or version != _VERSION:
            raise self.fail("target.version", str(_VERSION), version, "use a release that reads this version")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            rule = "1 to 32 of a-z, 0-9, _ and -, a letter first"
            raise self.fail("target.name", rule, name, "rename the target")
        self.text("target.title", header["title"], "describe the target in one line")
        if not isinstance(kind, str) or kind not in _SCHEMA:
            raise self.fail("target.kind", " or ".join(_SCHEMA), kind, "choose one of them")
        return kind

    def text(self, key: str, value: object, remedy: str) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self.fail(key, "a text that is not empty", value, remedy)
        return value

    def entry(self, key: str, value: object, dimension: str) -> Quantity | str:
        if dimension == "preset":
            if value not in _PRESETS:
                raise self.fail(key, " or ".join(_PRESETS), value, "choose one of them")
            return str(value)
        if dimension == "mesh":
            if not isinstance(value, str) or not _MESH.fullmatch(value):
                raise self.fail(key, "auto or WxH", value, 'write for example "4x4"')
            return value
        return self.quantity(key, self.table(key, value), dimension)

    def quantity(self, key: str, table: Mapping[str, Any], dimension: str) -> Quantity:
        self.keys(key, {name: table[name] for name in table if name != _SCALE_KEY}, _FIELDS)
        value, low, high = (self.number(f"{key}.{field}", table[field]) for field in ("value", "low", "high"))
        unit, kind = table["unit"], table["kind"]
        if not isinstance(unit, str) or unit not in _UNITS[dimension]:
            raise self.fail(f"{key}.unit", " or ".join(_UNITS[dimension]), unit, "convert the three numbers")
        if not isinstance(kind, str) or kind not in _PROVENANCE:
            raise self.fail(f"{key}.kind", " or ".join(_PROVENANCE), kind, "say where the number comes from")
        if not low <= value <= high:
            rule = f"between low {low:g} and high {high:g}"
            raise self.fail(f"{key}.value", rule, table["value"], "correct one of the three")
        if dimension not in ("energy", "power") and low <= 0:
            raise self.fail(f"{key}.low", "above zero", table["low"], "correct it")
        if dimension in ("count", "cycles") and not (value.is_integer() and value <= 2**31):
            raise self.fail(f"{key}.value", "a whole number up to 2147483648", table["value"], "correct it")
        source = self.text(f"{key}.source", table["source"], "cite the origin or give the derivation")
        sizes = self.sizes(f"{key}.{_SCALE_KEY}", table.get(_SCALE_KEY, []))
        return Quantity(value=value, unit=unit, low=low, high=high, kind=kind, source=source, scale=sizes)

    def sizes(self, key: str, names: object) -> tuple[str, ...]:
        known = isinstance(names, list) and all(name in _SCALES for name in names)
        if not isinstance(names, list) or not known:
            raise self.fail(key, f"a list of {', '.join(_SCALES)}", names, "name sizes of the core")
        return tuple(names)

    def number(self, key: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fail(key, "a number", value, "write it without quotes")
        if not (value == 0 or _SMALLEST <= value <= _LARGEST):
            raise self.fail(key, f"0 or {_SMALLEST:g} to {_LARGEST:g}", value, "correct it")
        return float(value)


def _numbers(entries: Mapping[str, Quantity | str]) -> Mapping[str, Quantity]:
    """Keep the numbers of a section and make the mapping read-only."""
    return MappingProxyType({key: entry for key, entry in entries.items() if isinstance(entry, Quantity)})
