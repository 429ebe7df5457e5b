# SPDX-License-Identifier: Apache-2.0
"""Figures of a page: each is looked up in the report and says in the page where it is from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from mapping.report.text import FORMATS

__all__ = ["Figures", "pointer", "resolve"]

_ELEMENTS = {
    "span": Markup('<span class="figure" data-format="{}" data-from="{}">{}</span>'),
    "tspan": Markup('<tspan class="figure" data-format="{}" data-from="{}">{}</tspan>'),
    "title": Markup('<title class="figure" data-format="{}" data-from="{}">{}</title>'),
}


def pointer(*keys: str | int) -> str:
    """Return the JSON Pointer (RFC 6901) of a value below some keys.

    >>> pointer("targets", 0, "a/b~c")
    '/targets/0/a~1b~0c'
    """
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)


def resolve(report: Any, place: str) -> Any:
    """Return what a JSON Pointer points to.

    >>> resolve({"a/b": [10, 20]}, "/a~1b/1")
    20

    Raises
    ------
    LookupError
        If there is no such value.
    """
    for part in place.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        report = report[int(key)] if isinstance(report, list | tuple) else report[key]
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of a report.

    Parameters
    ----------
    report : mapping
        The report as plain data.
    """

    report: Mapping[str, Any]

    def at(self, place: str) -> Any:
        """Return the value at a place of the report, a JSON Pointer."""
        return resolve(self.report, place)

    def figure(self, kind: str, *places: str, tag: str = "span") -> Markup:
        """Return an element with the text of one value, or of low and high of a range.

        Parameters
        ----------
        kind : str
            A key of `mapping.report.text.FORMATS`.
        places : str
            JSON Pointers; they stand in the element's ``data-from``, percent-encoded.
        tag : str
            Name of the element: ``span``, or ``tspan`` or ``title`` within a picture.
        """
        where = " ".join(quote(place, safe="/~") for place in places)
        return _ELEMENTS[tag].format(kind, where, FORMATS[kind](*map(self.at, places)))

    def most(self, *places: str) -> float:
        """Return the largest of some values, of those in mappings too; 1 if none is above 0."""
        values: list[float] = []
        for place in places:
            value = self.at(place)
            values += value.values() if isinstance(value, Mapping) else [value]
        return max((value for value in values if value), default=1.0) or 1.0
