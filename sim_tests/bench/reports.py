# SPDX-License-Identifier: Apache-2.0
"""How a verification is told: last line, JUnit XML, JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from emu.spec import SystemSpec
from sim_tests.bench.images import Share
from sim_tests.bench.systems import Outcome
from sim_tests.bench.top import gates_of
from spikeloom.files import write_text

__all__ = ["geometry", "json_report", "junit_report", "told", "verdict", "write_whole"]

SCHEMA = "spikeloom.verify/1"


def geometry(spec: SystemSpec) -> str:
    """Return the sizes of a chip in a few words.

    >>> from emu.spec import PRESETS
    >>> geometry(SystemSpec(core=PRESETS["tiny"], width=3, height=2))
    '3 x 2 cores of 32 x 32'
    """
    told = f"{spec.width} x {spec.height} cores of {spec.core.axons} x {spec.core.columns}"
    if spec.links is not None:
        told += " on {} x {} chips".format(*spec.chips) + ", a link a side" * spec.links.shared
    if spec.gates is not None:
        told += " with {} inlets and {} outlets".format(*gates_of(spec))
    return told


def told(share: Share) -> str:
    """Return in a sentence which share of an image is verified.

    >>> told(Share(cores=5, of_cores=411, programs=5, of_programs=31))
    '5 of 411 cores, each alone with what it received in the whole: 5 of 31 programs; no router, no link'
    """
    return (
        f"{share.cores} of {share.of_cores} cores, each alone with what it received in the whole: "
        f"{share.programs} of {share.of_programs} programs; no router, no link"
    )


def verdict(outcomes: Sequence[Outcome], engine: str, complaint: str | None = None) -> str:
    """Return the last line of a verification.

    Parameters
    ----------
    outcomes : of all systems, in order.
    engine : what simulated them.
    complaint : what is wrong with the batch as a whole.
    """
    for outcome in outcomes:
        if outcome.failure is not None:
            return f"FAILED: {outcome.name}: {outcome.failure}"
    if complaint is not None:
        return f"FAILED: {complaint}"
    systems = f"{len(outcomes)} system{'s' if len(outcomes) != 1 else ''}"
    steps, values = (sum(getattr(outcome, name) for outcome in outcomes) for name in ("steps", "compared"))
    return f"verified {systems}, {steps} steps, {values} values compared on {engine}: all equal"


def junit_report(outcomes: Sequence[Outcome], engine: str, complaint: str | None = None) -> str:
    """Return JUnit XML with one test case per system, and one for the batch if it is incomplete."""
    cases = [(outcome.name, geometry(outcome.spec), outcome.failure) for outcome in outcomes]
    cases += [("batch", "coverage", complaint)] if complaint else []
    failures = sum(failure is not None for _, _, failure in cases)
    root = ET.Element("testsuites")
    suite = ET.SubElement(
        root,
        "testsuite",
        name=f"spikeloom.verify.{engine}",
        tests=str(len(cases)),
        failures=str(failures),
        errors="0",
    )
    for name, classname, failure in cases:
        case = ET.SubElement(suite, "testcase", name=name, classname=classname)
        if failure is not None:
            ET.SubElement(case, "failure", message=failure)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def json_report(
    outcomes: Sequence[Outcome],
    engine: str,
    coverage: Mapping[str, float] | None,
    complaint: str | None = None,
    share: Share | None = None,
) -> str:
    """Return the verification as JSON, schema ``spikeloom.verify/1``."""
    systems: list[dict[str, Any]] = [
        {
            "name": outcome.name,
            "width": outcome.spec.width,
            "height": outcome.spec.height,
            "steps": outcome.steps,
            "compared": outcome.compared,
            "failure": outcome.failure,
        }
        for outcome in outcomes
    ]
    report = {
        "schema": SCHEMA,
        "engine": engine,
        "equal": complaint is None and all(outcome.failure is None for outcome in outcomes),
        "steps": sum(outcome.steps for outcome in outcomes),
        "compared": sum(outcome.compared for outcome in outcomes),
        "coverage": None if coverage is None else dict(coverage),
        "complaint": complaint,
        "alone": None if share is None else asdict(share),
        "systems": systems,
    }
    return json.dumps(report, indent=2) + "\n"


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    write_text(path, text)
