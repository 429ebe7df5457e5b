# SPDX-License-Identifier: Apache-2.0
"""Read the page of a report as a browser does, and its figures as people do: back from text to numbers."""

import json
import math
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote

__all__ = ["Figure", "Page", "differs", "find", "read_page"]

_VOID = {"meta", "link", "rect", "line", "path", "circle", "br"}
_SCALES = {"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "%": 1e-2, "points": 1e-2}
_NUMBER = re.compile(r"([-+]?[\d,]+(?:\.\d+)?(?:e[-+]?\d+)?)(?: (%|points|/s|[munp]?[JsW]))?")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of a page: its kind, where in the report it is from, and its text."""

    kind: str
    places: tuple[str, ...]
    text: str


@dataclass(kw_only=True)
class Page:
    """What a page holds: its report, figures, names (of users), sentences, all other text, and elements."""

    report: Any = None
    figures: list[Figure] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self._open: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.page.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self._open.pop()[0] == tag, f"an element ends that did not begin: {tag}"

    def handle_data(self, data: str) -> None:
        if not data.strip():
            return
        tag, attributes = self._open[-1]
        classes = (attributes.get("class") or "").split()
        if tag == "script":
            self.page.report = json.loads(data)
        elif "figure" in classes:
            places = (attributes["data-from"] or "").split(" ")
            kind = attributes["data-format"] or ""
            self.page.figures.append(Figure(kind=kind, places=tuple(map(unquote, places)), text=data))
        elif tag in ("bdi", "title"):
            self.page.names.append(data)
        elif "said" in classes:
            self.page.said.append(data)
        elif tag != "style":
            self.page.rest.append(data)


def read_page(text: str) -> Page:
    """Return what a page holds; each element that begins must end."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert not reader._open
    return reader.page


def find(report: Any, place: str) -> Any:
    """Return the value at a JSON Pointer (RFC 6901)."""
    for part in place.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        report = report[int(key)] if isinstance(report, list) else report[key]
    return report


def differs(figure: Figure, report: Any) -> str | None:
    """Return how a figure differs from the report, or None: each number is read from the text and compared.

    A text stands for all values that round to it, half a unit of its last digit around what it says.
    """
    values = [find(report, place) for place in figure.places]
    if figure.kind == "how" or isinstance(values[0], str):
        wanted = values[0] or "refused"
        return None if figure.text == wanted else f"{figure} must be {wanted!r}"
    if values[0] is None:
        return None if figure.text == "-" else f"{figure} must be '-'"
    found = _NUMBER.findall(figure.text)
    if len(found) != len(values) or _NUMBER.sub("", figure.text).strip() not in ("", ".."):
        return f"{figure} must hold {len(values)} numbers"
    for (digits, unit), value in zip(found, values, strict=True):
        scale = _SCALES[unit if unit in _SCALES else unit[:-1].strip("/")]
        scale = _SCALES["points"] if figure.kind.split()[0] == "signed" else scale
        shown = float(digits.replace(",", ""))
        if abs(shown * scale - value) > _half(figure.kind.split()[0], digits) * scale * (1 + 1e-9):
            return f"{figure} must be {value}"
    return None


def _half(kind: str, digits: str) -> float:
    """Return half a unit of the last digit of a figure: of four digits, of what stands there, or exact.

    >>> _half("J", "20"), _half("J", "380.0"), _half("count", "1,088"), _half("rate", "64,371")
    (0.005, 0.05, 0.0, 0.5)
    """
    shown = abs(float(digits.replace(",", "")))
    decimals = len(digits.partition(".")[2])
    if kind in ("J", "s", "W") and shown < 100:
        return 0.5 * 10.0 ** (math.floor(math.log10(shown)) - 3) if shown else 0.0
    return 0.0 if kind in ("count", "setting") and not decimals else 0.5 * 10.0**-decimals
