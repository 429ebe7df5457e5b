# SPDX-License-Identifier: Apache-2.0
"""Write the page of a report, and the frame that shows it in a notebook."""

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mapping.report.page.exploration import spread
from mapping.report.page.figures import Figures, pointer
from mapping.report.page.mesh import hue, picture
from mapping.report.side_by_side import what
from mapping.report.text import ROWS, host_line, notes

__all__ = ["framed", "render"]

_ENVIRONMENT = Environment(
    loader=PackageLoader("mapping.report.page"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_UNSAFE = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}
"""Signs that end a script or are no JavaScript; in JSON they stand within strings only."""


def render(report: Mapping[str, Any]) -> str:
    """Return a report as an HTML page.

    The page holds the report as JSON, in a script element that no browser runs, with the id ``report``. Each
    figure is an element of the class ``figure``; its ``data-from`` is the JSON Pointer of what it prints,
    percent-encoded, or two of them, and its ``data-format`` a key of `mapping.report.text.FORMATS`.

    Parameters
    ----------
    report : mapping
        As `mapping.report.result.Report.to_dict` gives it; ``exploration`` may be there or not.
    """
    figures = Figures(report=report)
    page = _ENVIRONMENT.get_template("page.html").render(
        report=report,
        at=figures.at,
        figure=figures.figure,
        most=figures.most,
        pointer=pointer,
        rows=ROWS,
        notes=notes(report),
        host_line=host_line,
        hue=hue,
        mesh_picture=picture,
        spread=spread,
        what=what,
        data=Markup(json.dumps(report, allow_nan=False).translate(_UNSAFE)),  # noqa: S704 - without < > &
    )
    return page if page.endswith("\n") else page + "\n"


def framed(page: str) -> str:
    """Return a frame with a page in it, for a notebook: neither sees style or names of the other."""
    style = "width: 100%; height: 45rem; border: 0"
    return f'<iframe title="spikeloom report" sandbox="" style="{style}" srcdoc="{escape(page)}"></iframe>'
