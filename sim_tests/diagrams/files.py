# SPDX-License-Identifier: Apache-2.0
"""The diagrams of the documentation as files: WaveJSON, and the SVG that pages show."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sim_tests.diagrams import cores, events, links, routers, systems

__all__ = ["DIAGRAMS", "FOLDER", "differences", "rendered", "sources", "with_texts", "write"]

FOLDER = Path(__file__).parents[2] / "docs" / "waves"

DIAGRAMS = {
    "core_step": cores.step,
    "core_refused": cores.refused,
    "core_control": cores.control,
    "event_scan": events.scan,
    "router_arbitration": routers.arbitration,
    "router_fork": routers.fork,
    "router_token": routers.token,
    "link_crossing": links.crossing,
    "barrier": systems.barrier,
    "host": systems.host,
}
"""Name of a file -> the function that simulates its situation."""

TEXT = re.compile(r"(?<=^```text\n)cycle .*?(?=^```$)", re.MULTILINE | re.DOTALL)
"""A timing diagram that stands in a page as text."""


def sources() -> dict[str, str]:
    """Simulate everything; return the WaveJSON text of each diagram."""
    return {name: _text(simulate()) for name, simulate in DIAGRAMS.items()}


def rendered(source: str) -> str:
    """Return a diagram as SVG, on white, so that it is read on a dark page too."""
    import wavedrom
    from svgwrite.shapes import Rect

    drawing = wavedrom.render(source)
    used = set(re.findall(r'href="#([^"]+)"', drawing.tostring()))
    shapes = drawing.defs.elements  # a whole skin, whatever the diagram needs of it
    drawing.defs.elements = [shape for shape in shapes if shape.attribs.get("id", "") in {"", *used}]
    size = drawing.attribs["width"], drawing.attribs["height"]
    drawing.elements.insert(1, Rect(size=size, fill="white"))
    return f"{drawing.tostring()}\n"


def write(folder: Path, name: str, source: str) -> None:
    """Write a diagram's WaveJSON and its SVG into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(source, encoding="utf-8")
    (folder / f"{name}.svg").write_text(rendered(source), encoding="utf-8")


def differences(folder: Path, expected: dict[str, str]) -> list[str]:
    """Return the files of a folder that are not what was simulated, are missing, or are nobody's."""
    texts = {f"{name}.json": source for name, source in expected.items()}
    texts |= {f"{name}.svg": rendered(source) for name, source in expected.items()}
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    return sorted(name for name in texts.keys() | found.keys() if texts.get(name) != found.get(name))


def with_texts(page: str, texts: Sequence[str]) -> str:
    r"""Return a page with its timing diagrams of text replaced, in order.

    Raises
    ------
    ValueError : the page does not have as many.

    >>> print(with_texts("# A\n```text\ncycle 1\n```\n", ["cycle 0\n"]))
    # A
    ```text
    cycle 0
    ```
    <BLANKLINE>
    """
    if len(TEXT.findall(page)) != len(texts):
        raise ValueError(f"A page must have {len(texts)} diagrams of text, not {len(TEXT.findall(page))}.")
    following = iter(texts)
    return TEXT.sub(lambda _: next(following), page)


def _text(diagram: dict[str, Any]) -> str:
    """Return WaveJSON, a number or a text a line."""
    return json.dumps(diagram, indent=1, ensure_ascii=False) + "\n"
