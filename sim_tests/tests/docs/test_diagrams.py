# SPDX-License-Identifier: Apache-2.0
"""The timing diagrams of the documentation are what simulation gives, and the pages show all of them."""

import json
import re
import shutil
from pathlib import Path

import pytest

from emu.words import Activity
from sim_tests.diagrams.cores import agree
from sim_tests.diagrams.files import DIAGRAMS, FOLDER, differences, sources, with_texts
from sim_tests.diagrams.recorder import record
from sim_tests.diagrams.systems import EXAMPLE, example, example_texts

DOCS = FOLDER.parent
pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="not a checkout")


@pytest.fixture(scope="module")
def simulated() -> dict[str, str]:
    """Return the WaveJSON of every diagram."""
    return sources()


def test_diagrams_are_what_the_simulation_gives(simulated: dict[str, str]) -> None:
    assert differences(FOLDER, simulated) == []


def test_differences_finds_every_planted_difference(simulated: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "waves"
    shutil.copytree(FOLDER, folder)
    moved = json.loads((folder / "host.json").read_text())
    moved["head"]["tick"] += 1
    (folder / "host.json").write_text(json.dumps(moved))
    picture = folder / "barrier.svg"
    picture.write_text(picture.read_text().replace(">K<", ">s<", 1))
    (folder / "core_step.svg").unlink()
    (folder / "nobodys.svg").write_text("<svg/>")
    assert differences(folder, simulated) == ["barrier.svg", "core_step.svg", "host.json", "nobodys.svg"]


def test_pages_show_every_diagram() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    shown = re.findall(r"!\[[^\]]+\]\([./]*waves/(\w+)\.svg\)", pages)
    assert set(shown) == set(DIAGRAMS)


def test_texts_of_the_example_are_what_the_oracle_does() -> None:
    page = EXAMPLE.read_text(encoding="utf-8")
    texts = example_texts()
    assert page == with_texts(page, texts)
    moved = page.replace("...LLLELEEE..K", "...LLLEELEE..K")
    assert moved != page
    assert with_texts(moved, texts) == page


def test_with_texts_refuses_a_page_without_its_diagrams() -> None:
    with pytest.raises(ValueError, match=r"^A page must have 2 diagrams of text, not 0\.$"):
        with_texts("# A page\n", ["a", "b"])


def test_record_tells_contention_from_none() -> None:
    names = example()
    alone, _ = record(names["crowd"](False, True), names["make_stimulus"](1))
    both, _ = record(names["crowd"](True, True), names["make_stimulus"](1))
    assert alone["router 0 out S"] != both["router 0 out S"]


def test_agree_finds_a_phase_in_the_wrong_cycle() -> None:
    agree("pIWTw", [Activity.PAUSED, 0, 1, Activity.TOKEN_WAIT, Activity.TOKEN_WAIT])
    with pytest.raises(ValueError, match=r"^Cycle 1 must be a cycle of phase W, not of activity 0\.$"):
        agree("IW", [Activity.INTEGRATE, Activity.INTEGRATE])


def test_example_runs_the_code_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = tmp_path / "example.md"
    wrong.write_text(EXAMPLE.read_text(encoding="utf-8").replace("\n86\n", "\n85\n"), encoding="utf-8")
    monkeypatch.setattr("sim_tests.diagrams.systems.EXAMPLE", wrong)
    with pytest.raises(ValueError, match=r"^example\.md must show what its code does; 1 examples differ\.$"):
        example()
