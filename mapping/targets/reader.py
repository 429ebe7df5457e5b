# SPDX-License-Identifier: Apache-2.0
"""Check a parsed target file against its schema, a sentence for each broken rule."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from types import MappingProxyType
from typing import Any

from emu.errors import clause
from emu.spec import PRESETS, CoreSpec, SpecError
from mapping.errors import MappingError
from mapping.layout.assembly import Links, assembled
from mapping.layout.gates import Gates
from mapping.targets.schema import OLD_KINDS, SCHEMAS, UNITS
from mapping.targets.target import Quantity, Target, TargetError, two_of

__all__ = ["CORE_SIZES", "target_of"]

CORE_SIZES: Mapping[str, bool] = MappingProxyType(
    {field.name: field.default is MISSING for field in fields(CoreSpec)}
)
"""Every size of a core, and whether it has no default."""

_VERSION, _OLD_VERSION = 2, 1
_SMALLEST, _LARGEST = 1e-30, 1e30  # products of a few such numbers stay finite
_PROVENANCE = ("measured", "derived", "published", "assumed")
_HEADER = ("version", "name", "title")
_FIELDS = ("value", "unit", "low", "high", "kind", "source")
_SCALE_KEY = "scale"
_SCALES = ("axons", "columns", "lanes", "payload_bits", "potential_bits", "sum_bits", "strengths")
_SECTIONS = ("target", "geometry", "timing", "energy")
_OPTIONAL = {"core": ("preset", "core"), "assembly": ("chips", "links", "inlets", "outlets")}
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_LINK_SIZES = tuple(field.name for field in fields(Links))
_CHIPS = re.compile(r"[1-9][0-9]{0,2}x[1-9][0-9]{0,2}")
_MESH = re.compile(r"auto|[1-9][0-9]{0,2}x[1-9][0-9]{0,2}")


def target_of(document: Mapping[str, Any], *, file: str, origin: str) -> Target:
    """Return the target that a parsed document describes.

    Parameters
    ----------
    document : mapping
        What TOML made of the file.
    file : str
        Its name, for the messages.
    origin : str
        See `mapping.targets.target.Target`.

    Raises
    ------
    TargetError
        If the document breaks a rule.
    """
    return _Reader(file).target(document, origin)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Checks one parsed document; knows the file's name for the messages."""

    file: str

    def target(self, document: Mapping[str, Any], origin: str) -> Target:
        self.keys("", document, _SECTIONS)
        header = self.table("target", document["target"])
        model = self.header(header)
        parts = {key: self.section(key, document[key], own) for key, own in SCHEMAS[model].items()}
        core = parts["geometry"].get("core")
        joined = parts["geometry"].pop("assembly", {})
        target = Target(
            name=header["name"],
            title=header["title"],
            model=model,
            core=core,
            preset=next((name for name, spec in PRESETS.items() if spec == core), ""),
            mesh=parts["geometry"].get("mesh", ""),
            geometry=_numbers(parts["geometry"]),
            timing=_numbers(parts["timing"]),
            energy=_numbers(parts["energy"]),
            origin=origin,
            **joined,
        )
        self.builds(target)
        return target

    def builds(self, target: Target) -> None:
        """Refuse what cannot be put together from a mesh of a given size."""
        if target.core is None or target.size is None:
            return
        (width, height), (across, down) = target.size, target.chips
        mesh = width * across, height * down
        try:
            assembled(target.core, mesh, chips=target.chips, links=target.links, gates=target.gates)
        except MappingError as error:
            raise TargetError(
                f"Section [geometry] of {self.file} is impossible: {clause(error)}.", key="geometry"
            ) from error

    def section(self, section: str, value: object, schema: Mapping[str, str]) -> dict[str, Any]:
        table, own = self.table(section, value), dict(schema)
        several = {key: getattr(self, key) for key in _OPTIONAL if own.pop(key, None)}
        optional = [name for key in several for name in _OPTIONAL[key]]
        self.keys(section, table, [*optional, *own], optional=optional)
        found = {key: self.entry(f"{section}.{key}", table[key], own[key]) for key in own}
        return found | {key: read(table) for key, read in several.items()}

    def core(self, geometry: Mapping[str, Any]) -> CoreSpec:
        """Return the core: a preset, a preset with other sizes, or all sizes."""
        base, key = geometry.get("preset"), "geometry.core"
        if base is None and "core" not in geometry:
            raise self.missing("geometry.preset", "[geometry]")
        if base is not None and (not isinstance(base, str) or base not in PRESETS):
            raise self.fail("geometry.preset", " or ".join(PRESETS), base, "choose one of them")
        sizes = self.table(key, geometry.get("core", {}))
        needed = [name for name, alone in CORE_SIZES.items() if alone and base is None]
        self.keys(key, sizes, CORE_SIZES, optional=[name for name in CORE_SIZES if name not in needed])
        try:
            return CoreSpec(**sizes) if base is None else PRESETS[base].resized(**sizes)
        except (SpecError, TypeError) as error:
            size, _, rule = clause(error).partition(" must be ")
            key = f"{key}.{size}"
            raise TargetError(f"Key {key} in {self.file} must be {rule}; correct it.", key=key) from error

    def assembly(self, geometry: Mapping[str, Any]) -> dict[str, Any]:
        """Return chips, links and gates, those that are given."""
        found: dict[str, Any] = {}
        if "chips" in geometry:
            chips = geometry["chips"]
            if not isinstance(chips, str) or not _CHIPS.fullmatch(chips):
                raise self.fail("geometry.chips", "XxY", chips, 'write for example "2x1"')
            found["chips"] = two_of(chips)
        if "links" in geometry:
            found["links"] = self.links(self.table("geometry.links", geometry["links"]))
        named = {name: self.gate(name, geometry[name]) for name in ("inlets", "outlets") if name in geometry}
        return found | {"gates": Gates(**named)}

    def links(self, sizes: Mapping[str, Any]) -> Links:
        """Return the links, with the sizes that are given."""
        self.keys("geometry.links", sizes, _LINK_SIZES, optional=_LINK_SIZES)
        try:
            return Links(**sizes)
        except (SpecError, TypeError) as error:
            size, _, rule = clause(error).removeprefix("link ").partition(" must be ")
            key = f"geometry.links.{size}"
            raise TargetError(f"Key {key} in {self.file} must be {rule}; correct it.", key=key) from error

    def gate(self, name: str, value: object) -> str:
        """Return the text of inlets or outlets."""
        example = {"inlets": "0W,0E", "outlets": "0,1"}[name]
        try:
            if isinstance(value, str):
                Gates(**{name: value})
                return value
        except MappingError:
            pass
        remedy = f'write for example "2" or "{example}"'
        raise self.fail(f"geometry.{name}", "how many or which", value, remedy)

    def fail(self, key: str, rule: str, value: object, remedy: str) -> TargetError:
        shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
        return TargetError(f"Key {key} in {self.file} must be {rule}, not {shown}; {remedy}.", key=key)

    def table(self, key: str, value: object) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self.fail(key, "a table", value, f"write it as [{key}] followed by its keys")
        return value

    def missing(self, key: str, where: str) -> TargetError:
        return TargetError(f"Key {key} is missing in {self.file}; add it to {where}.", key=key)

    def keys(
        self, section: str, table: Mapping[str, Any], known: Iterable[str], *, optional: Iterable[str] = ()
    ) -> None:
        known, optional = tuple(known), tuple(optional)
        where = f"[{section}]" if section else "the file"
        full = {key: f"{section}.{key}" if section else key for key in (*table, *known)}
        for key in table:
            if key not in known:
                raise TargetError(
                    f"Key {full[key]} in {self.file} is unknown; remove it or use one of {', '.join(known)}.",
                    key=full[key],
                )
        for key in known:
            if key not in table and key not in optional:
                raise self.missing(full[key], where)

    def header(self, header: Mapping[str, Any]) -> str:
        """Return the model, which files of version 1 name by its kind."""
        old = header.get("version") == _OLD_VERSION and header["version"] is not True
        key, models = ("kind", OLD_KINDS) if old else ("model", {name: name for name in SCHEMAS})
        self.keys("target", header, (*_HEADER, key))
        version, name, model = header["version"], header["name"], header[key]
        if not old and (type(version) is not int or version != _VERSION):
            rule = f"{_OLD_VERSION} or {_VERSION}"
            raise self.fail("target.version", rule, version, "use a release that reads this version")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            rule = "1 to 32 of a-z, 0-9, _ and -, a letter first"
            raise self.fail("target.name", rule, name, "rename the target")
        self.text("target.title", header["title"], "describe the target in one line")
        if not isinstance(model, str) or model not in models:
            raise self.fail(f"target.{key}", " or ".join(models), model, "choose one of them")
        return models[model]

    def text(self, key: str, value: object, remedy: str) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self.fail(key, "a text that is not empty", value, remedy)
        return value

    def entry(self, key: str, value: object, dimension: str) -> Quantity | str:
        if dimension == "mesh":
            if not isinstance(value, str) or not _MESH.fullmatch(value):
                raise self.fail(key, "auto or WxH", value, 'write for example "4x4"')
            return value
        return self.quantity(key, self.table(key, value), dimension)

    def quantity(self, key: str, table: Mapping[str, Any], dimension: str) -> Quantity:
        self.keys(key, {name: table[name] for name in table if name != _SCALE_KEY}, _FIELDS)
        value, low, high = (self.number(f"{key}.{field}", table[field]) for field in ("value", "low", "high"))
        unit, kind = table["unit"], table["kind"]
        if not isinstance(unit, str) or unit not in UNITS[dimension]:
            raise self.fail(f"{key}.unit", " or ".join(UNITS[dimension]), unit, "convert the three numbers")
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
