# SPDX-License-Identifier: Apache-2.0
"""The doctor on environments that are broken on purpose."""

import base64
import hashlib
import importlib.metadata
import json
import shutil
import sys
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest
from rich.console import Console

from spikeloom import doctor
from spikeloom.doctor import Finding, Level, check_record, examine, render

FILES = {"spikeloom/__init__.py": b"a = 1\n", "rtl/__init__.py": b"b = 2\n", "rtl/core.py": b"c = 3\n"}


def plant(site: Path, name: str, files: dict[str, bytes]) -> Distribution:
    """Write a distribution as pip would: its files, then a RECORD of their hashes."""
    rows = []
    for path, content in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(content)}")
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text("\n".join([*rows, f"{info.name}/RECORD,,"]))
    return PathDistribution(info)


@pytest.fixture
def own(tmp_path: Path) -> Distribution:
    return plant(tmp_path, "spikeloom", FILES)


def test_check_record_untouched(own: Distribution) -> None:
    assert check_record(own, [own]) == [
        Finding(subject="files", level=Level.OK, detail="3 files are as installed")
    ]


def test_check_record_names_the_distribution_that_overwrote_and_added(
    own: Distribution, tmp_path: Path
) -> None:
    other = plant(tmp_path, "rtl", {"rtl/__init__.py": b"", "rtl/alien.py": b""})
    (finding,) = check_record(own, [own, other])
    assert (finding.subject, finding.level) == ("rtl/", Level.PROBLEM)
    assert finding.detail == (
        "files differ from those installed: "
        "1 overwritten (rtl/__init__.py by rtl); 1 added (rtl/alien.py by rtl)"
    )
    assert finding.remedy == (
        "remove the other distribution, then pip install --force-reinstall --no-deps spikeloom, "
        "in a virtual environment of its own"
    )


def test_check_record_after_the_other_was_removed(own: Distribution, tmp_path: Path) -> None:
    (tmp_path / "rtl/__init__.py").unlink()
    (finding,) = check_record(own, [own])
    assert finding.detail == "files differ from those installed: 1 missing (rtl/__init__.py)"


def test_check_record_ignores_compiled_files(own: Distribution, tmp_path: Path) -> None:
    (tmp_path / "rtl/__pycache__").mkdir()
    (tmp_path / "rtl/__pycache__/core.cpython-311.pyc").write_bytes(b"")
    assert [finding.level for finding in check_record(own, [own])] == [Level.OK]


def test_check_record_editable(own: Distribution, tmp_path: Path) -> None:
    url = {"url": "file:///elsewhere", "dir_info": {"editable": True}}
    (tmp_path / "spikeloom-1.0.dist-info/direct_url.json").write_text(json.dumps(url))
    (finding,) = check_record(own, [own])
    assert finding.detail == "editable installation: imports come from the checkout, nothing to compare"
    assert finding.level is Level.OK


def test_check_record_without_record(own: Distribution, tmp_path: Path) -> None:
    (tmp_path / "spikeloom-1.0.dist-info/RECORD").unlink()
    (finding,) = check_record(own, [own])
    assert finding.detail == "the installation has no RECORD, so its files cannot be compared"


def test_examine_covers_every_subject() -> None:
    subjects = {finding.subject for finding in examine()}
    assert {
        "python",
        "spikeloom",
        "numpy",
        "amaranth",
        "simulator verilator",
        "simulator icarus",
        "simulator pysim",
    } <= subjects
    assert "torch" not in subjects


def test_examine_without_tools_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    notes = {finding.subject: finding for finding in examine() if finding.level is Level.NOTE}
    assert notes["simulator verilator"].detail == "not usable: a C++ compiler, make, perl missing"
    assert notes["simulator icarus"].remedy == "install iverilog; until then verify uses another simulator"


def test_examine_of_a_checkout_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "distribution", nothing)
    found = next(finding for finding in examine() if finding.subject == "spikeloom")
    checkout = Path(doctor.__file__).parents[1]
    assert found.level is Level.NOTE
    assert found.remedy == f"{sys.executable} -m pip install --editable {checkout}"


def test_examine_without_a_dependency(
    own: Distribution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = "Metadata-Version: 2.1\nName: spikeloom\nVersion: 1.0\nRequires-Dist: no-such-package>=1\n"
    (tmp_path / "spikeloom-1.0.dist-info/METADATA").write_text(metadata)
    monkeypatch.setattr(
        doctor,
        "distribution",
        lambda name: own if name == "spikeloom" else importlib.metadata.distribution(name),
    )
    missing = Finding(
        subject="no-such-package",
        level=Level.PROBLEM,
        detail="not installed",
        remedy="pip install no-such-package",
    )
    assert missing in examine()


def test_render_shows_levels_and_remedies() -> None:
    findings = [
        Finding(subject="python", level=Level.OK, detail="3.11"),
        Finding(subject="rtl/", level=Level.PROBLEM, detail="overwritten [x]", remedy="reinstall"),
    ]
    console = Console(width=80, force_terminal=False)
    with console.capture() as capture:
        console.print(render(findings))
    text = capture.get()
    assert "ok       python  3.11" in text
    assert "overwritten [x]" in text
    assert text.rstrip().endswith("What to do:\nrtl/: reinstall")
