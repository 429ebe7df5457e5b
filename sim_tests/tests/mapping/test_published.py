# SPDX-License-Identifier: Apache-2.0
"""Published rows beside a report: as printed, in SI units, marked as what they are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import spikeloom
from mapping.errors import MappingError
from mapping.report.published import published, published_sets
from mapping.report.result import Report
from sim_tests.referees.pages import read_page
from sim_tests.tests.mapping.test_page import wrong
from spikeloom.beside import beside_table
from spikeloom.cli import main

PRODUCTS = {("mnist", "Loihi"): 80.22e-6, ("mnist", "SpiNNaker"): 36.26e-6, ("nmnist", "Loihi"): 90.23e-6}
"""Energy times latency in J s, as Rueckauer 2020 printed it beside the two (Tables 3.2 and 3.4)."""

POWER = {
    "nmnist": (1803.74, 1753.68, 0.37 + 37.18, 26.39 + 61.22),
    "mnist": (1812.41, 1730.88, 0.36 + 16.96, 22.65 + 76.20),
}
"""Milliwatts of Rueckauer 2020, Tables 3.3 and 3.5: in all, static, and both of all cores alone."""

PER_JOULE = {
    "mnist": {
        "Kuang 2021, LeNet, 1 spike": 5271,
        "TrueNorth": 8264,
        "Tianjic": 14555,
        "V100, 32-bit floats": 45,
    },
    "cifar10": {"Kuang 2021, VGG, 4 spikes": 434, "TrueNorth": 6109, "Titan Xp, 32-bit floats": 15},
}
"""Samples per joule, as Zou et al. 2021 printed them beside the energies (Table 11)."""


@pytest.mark.parametrize("dataset", published_sets())
def test_rows_say_what_they_are_and_where_they_are_from(dataset: str) -> None:
    for row in published(dataset):
        assert row["what"].split()[0].rstrip(",") in {"measured", "simulated"}
        assert any(character.isdigit() for character in row["source"])
        assert 0.5 < row["accuracy"] < 1
        known = [row[key] for key in ("latency_s", "throughput_per_s", "energy_j") if row[key] is not None]
        assert all(value > 0 for value in known)


@pytest.mark.parametrize(("dataset", "system"), PRODUCTS)
def test_energies_and_latencies_give_the_products_printed(dataset: str, system: str) -> None:
    row = next(row for row in published(dataset) if row["system"] == system and row["energy_j"])
    assert row["energy_j"] * row["latency_s"] == pytest.approx(PRODUCTS[dataset, system], rel=2e-3)


@pytest.mark.parametrize(("dataset", "milliwatts"), POWER.items())
def test_note_tells_what_of_the_energy_of_loihi_is_the_boards(
    dataset: str, milliwatts: tuple[float, ...]
) -> None:
    row = next(row for row in published(dataset) if row["system"] == "Loihi" and row["energy_j"])
    total, static, own_static, own = milliwatts
    assert row["energy_j"] == pytest.approx(total * row["latency_s"] / 1e3, rel=1e-3)
    rest, without = (static - own_static) / 1e3, own * row["latency_s"]
    assert row["note"] == (
        f"the energy holds {rest:.2f} W that are static and belong neither to neurocores nor to x86 cores; "
        f"without them it is {without:.2f} mJ"
    )


@pytest.mark.parametrize("dataset", PER_JOULE)
def test_energies_give_the_samples_per_joule_printed(dataset: str) -> None:
    rows = {row["system"]: row for row in published(dataset)}
    for system, wanted in PER_JOULE[dataset].items():
        assert 1 / rows[system]["energy_j"] == pytest.approx(wanted, rel=0.02)


def report(**changes: Any) -> Report:
    data = spikeloom.load_data("digits").first(3)
    made = spikeloom.estimate(spikeloom.load_network("digits"), data, ["loom"], core="small")
    return replace(made, **changes)


def test_table_has_the_targets_above_the_published_rows() -> None:
    rows = published("mnist")
    listed = report(published=rows).side_by_side
    assert listed is not None
    table = beside_table(listed)
    assert [row[0] for row in table.rows] == ["loom", *(row["system"] for row in rows)]
    assert table.rows[0][1] == "cycle-exact, joules modelled"
    loihi = next(row for row in table.rows if row[0] == "Loihi")
    assert loihi[1].startswith("published, measured chip; the energy holds 1.71 W that are static")
    assert loihi[2:8] == ["99.21 %", "-", "6.65 ms", "150 /s", "12.06 mJ", "-"]
    assert any("five of ten classes" in row[1] for row in table.rows)


def test_page_shows_the_rows_of_the_report() -> None:
    rows = published("nmnist")
    shown = report(published=rows)
    page = read_page(shown.to_html())
    assert wrong(page, shown.to_dict()) == []
    texts = [figure.text for figure in page.figures if figure.places[0].startswith("/side_by_side/")]
    theirs = ["98.51 %", "-", "7.07 ms", "141 /s", "12.76 mJ", "-", "97.92 %", "-", "-", "-", "-", "-"]
    assert texts[6:] == theirs
    assert texts[1] == "10"  # cores of loom
    assert [row["source"] for row in rows] == [name for name in page.names if "Rueckauer" in name]
    assert "Side by side" not in report().to_html()


def test_unknown_data_set_is_refused_before_any_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(MappingError):
        published("svhn")
    out = tmp_path / "r.json"
    assert main(["estimate", "digits", "--data", "digits", "--beside", "svhn", "--json", str(out)]) == 2
    told = capsys.readouterr().err
    assert told == "spikeloom: Published figures are known of mnist, cifar10, nmnist, not of 'svhn'.\n"
    assert not out.exists()
