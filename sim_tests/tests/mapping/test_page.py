# SPDX-License-Identifier: Apache-2.0
"""The page of a report prints what the report holds, draws it to scale, and executes nothing."""

import html
import itertools
import json
import math
import re
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import spikeloom
from mapping.datasets.load import Dataset
from mapping.report.page import framed, render
from mapping.report.page.exploration import spread
from mapping.report.page.figures import pointer, resolve
from mapping.report.result import Report
from mapping.report.text import ROWS, notes
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.referees.pages import Figure, Page, differs, find, read_page

EVIL = "<script>alert(1)</script>"
BRACES = "a/b~c %20 {{ 7 * 7 }}"
ATTRIBUTE = "\"'><img src=x onerror=alert(2)>"
CONSTANTS = re.compile(r"\b95 %")
"""What prose may count without the report."""


@pytest.fixture(scope="module")
def report() -> Report:
    data = spikeloom.load_data("digits").first(20)
    targets = ["loom", "kuang2021"]
    return spikeloom.estimate(spikeloom.load_network("digits"), data, targets, core="small")


@pytest.fixture(scope="module")
def plain(report: Report) -> dict[str, Any]:
    return dict(json.loads(report.to_json()))


@pytest.fixture(scope="module")
def page(report: Report) -> Page:
    return read_page(report.to_html())


def hostile() -> Report:
    """Return the report of a model, data and layers whose names are markup."""
    b = ModelBuilder((6,), seed=3)
    y = b.quantise(b.dense(b.quantise("x", 0, 3.0), b.ternary(5, 6), name=EVIL), 0, 3.0)
    y = b.quantise(b.dense(y, b.ternary(4, 5), name=BRACES), 0, 3.0)
    network = replace(b.network(y), name=ATTRIBUTE)
    x = np.random.default_rng(1).uniform(0, 3, (4, 6))
    return spikeloom.estimate(network, Dataset(name="]]><svg onload=alert(3)>", x=x, y=None), core="tiny")


def exploration() -> list[dict[str, Any]]:
    """Return choices of bits and digits as an exploration reports them."""
    return [
        {
            "bits": bits,
            "digits": digits,
            "accuracy": 0.9 + 0.01 * bits + 0.002 * digits,
            "accuracy_difference": -0.0125,
            "accuracy_difference_low": -0.03,
            "accuracy_difference_high": 0.005,
            "agreement": 0.95,
            "columns": 100 * digits,
            "cores": digits,
            "spikes": 10.25,
            "latency_s": 1.25e-5,
            "energy_j": 1e-7 * bits * digits,
            "samples": 200,
            "samples_emulated": 64,
        }
        for bits in (4, 8)
        for digits in (3, 5)
    ]


def refused(report: dict[str, Any]) -> dict[str, Any]:
    """Return a report whose exploration has settings that nothing beats, and one that is refused."""
    empty = dict.fromkeys(exploration()[0]) | {"bits": 8, "digits": "auto", "refusal": "It needs <9> cores."}
    rows = [{**choice, "refusal": None, "pareto": choice["bits"] == 4} for choice in exploration()]
    rows[0]["digits"] = "auto"
    return {**report, "exploration": [*rows, empty | {"pareto": None}]}


def wrong(page: Page, report: Any) -> list[str]:
    return [said for figure in page.figures if (said := differs(figure, report)) is not None]


def test_page_holds_the_report(page: Page, plain: dict[str, Any]) -> None:
    assert page.report == plain


def test_every_figure_is_that_of_the_report(page: Page, plain: dict[str, Any]) -> None:
    assert len(page.figures) > 200
    assert wrong(page, plain) == []


def test_nothing_else_on_the_page_is_a_figure(page: Page, plain: dict[str, Any]) -> None:
    text = CONSTANTS.sub("", " ".join(page.rest).replace("float64", ""))
    assert not re.search(r"\d", text), text
    hosts = [f"{100 * part['host_share']:.2f} %" for part in plain["targets"]]
    assert page.said[: len(notes(plain))] == notes(plain)
    assert all(host in line for host, line in zip(hosts, page.said[len(notes(plain)) :], strict=True))
    names = {plain["model"], plain["data"], plain["input_told"], plain["version"], "loom", "kuang2021"}
    names |= {row["name"] for row in plain["targets"][0]["breakdown"]["layers"]}
    names |= set(plain["targets"][1]["breakdown"]["cores"])
    names |= {f"{row['kind']}, joules {row['energy_kind']}" for row in plain["side_by_side"]}
    assert {name for name in page.names if ": spikeloom report" not in name} == names


@pytest.mark.parametrize(
    "place",
    [
        "accuracy",
        "agreement",
        "accuracy_difference",
        "energy_j",
        "host_share",
        "energy_static_share",
        "energy_idle_share",
        "latency_s",
        "breakdown/units/crossbar",
        "breakdown/units_high/clock",
        "breakdown/layer_energy_j/conv1.sum",
        "breakdown/layer_energy_j_low/conv1.sum",
        "breakdown/timeline/2/end_s",
        "breakdown/mesh/cores/3/rows",
        "breakdown/mesh/cores/3/columns",
        "breakdown/mesh/links/5/packets",
        "breakdown/layers/1/spikes",
    ],
)
def test_page_prints(place: str, page: Page) -> None:
    assert f"/targets/0/{place}" in {where for figure in page.figures for where in figure.places}


def test_targets_stand_side_by_side(page: Page) -> None:
    for key in ("accuracy", "energy_j", "latency_s", "cores"):
        columns = [f.places for f in page.figures if f.places in {(f"/targets/{i}/{key}",) for i in (0, 1)}]
        assert columns[:2] == [(f"/targets/0/{key}",), (f"/targets/1/{key}",)]


def bars(text: str) -> list[tuple[float, float, float | None, float | None]]:
    """Return begin, length, low and high of every bar, of 100."""
    found = []
    for svg in re.findall(r'<svg class="bar".*?</svg>', text, re.DOTALL):
        rect = re.search(r'class="(?:fill|other)" x="([\d.]+)" y="1" width="([\d.]+)"', svg)
        line = re.search(r'class="span" x1="([\d.]+)" x2="([\d.]+)"', svg)
        if rect:
            span = (float(line[1]), float(line[2])) if line else (None, None)
            found.append((float(rect[1]), float(rect[2]), *span))
    return found


def test_bars_are_to_scale(report: Report) -> None:
    (loom,) = replace(report, targets=report.targets[:1]).to_dict()["targets"]
    breakdown, got = loom["breakdown"], bars(replace(report, targets=[loom]).to_html())
    ends = ("", "_low", "_high")
    shares = [[loom[key + end] for end in ends] for key in ("ann_accuracy", "accuracy", "agreement")]
    expected = [(0, *row) for row in shares]
    for key in ("units", "layer_energy_j"):
        most = max(breakdown[f"{key}_high"].values())
        expected += [(0, *(breakdown[key + end][name] / most for end in ends)) for name in breakdown[key]]
    shares_of_all = ("host_share", "energy_static_share", "energy_idle_share")
    expected += [(0, loom[key], None, None) for key in shares_of_all]
    for row in breakdown["timeline"]:
        begin, end = row["begin_s"] / loom["latency_s"], row["end_s"] / loom["latency_s"]
        expected.append((begin, end - begin, None, None))
    mesh = breakdown["mesh"]
    for core in mesh["cores"]:
        expected += [(0, core[side] / mesh[side], None, None) for side in ("rows", "columns")]
    most = max(link["packets"] for link in mesh["links"])
    expected += [(0, link["packets"] / most, None, None) for link in mesh["links"]]
    rate = breakdown["rate"]
    expected += [(0, bound["cycles"] / rate["cycles"], None, None) for bound in rate["bounds"]]
    flat = [-1.0 if value is None else value for row in got for value in row]
    wanted = [-1.0 if value is None else 100 * value for row in expected for value in row]
    assert flat == pytest.approx(wanted, abs=6e-4)


def test_mesh_is_drawn_to_scale(plain: dict[str, Any]) -> None:
    report = deepcopy(plain)
    mesh = report["targets"][0]["breakdown"]["mesh"]
    mesh["rows"] = 300
    text = render(report)
    places = re.findall(r'<rect class="core" x="([\d.]+)" y="([\d.]+)"', text)
    used = re.findall(
        r'<rect class="used" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', text
    )
    assert len(places) == len(set(places)) == mesh["width"] * mesh["height"]
    for core, (x, y, width, height) in zip(mesh["cores"], used, strict=True):
        assert (x, y) == places[core["y"] * mesh["width"] + core["x"]]
        assert float(width) == pytest.approx(40 * core["columns"] / mesh["columns"], abs=0.006)
        assert float(height) == pytest.approx(40 * core["rows"] / mesh["rows"], abs=0.006)
    lines = re.findall(
        r'<line class="link" x1="(.*?)" y1="(.*?)" x2="(.*?)" y2="(.*?)" stroke-width="(.*?)"', text
    )
    most = max(link["packets"] for link in mesh["links"])
    towards = {"north": (0, -1), "east": (1, 0), "south": (0, 1), "west": (-1, 0)}
    for link, line in zip(mesh["links"], lines, strict=True):
        x1, y1, x2, y2, width = map(float, line)
        left, top = map(float, places[link["y"] * mesh["width"] + link["x"]])
        assert (left <= x1 <= left + 40, top <= y1 <= top + 40) == (True, True)
        assert (np.sign(x2 - x1), np.sign(y2 - y1)) == towards[link["port"]]
        assert width == pytest.approx(max(0.3, 9 * link["packets"] / most), abs=0.006)


def test_page_asks_for_nothing_and_runs_nothing(report: Report, page: Page) -> None:
    assert [attributes for tag, attributes in page.elements if tag == "script"] == [
        {"type": "application/json", "id": "report"}
    ]
    links = {
        value
        for _, attributes in page.elements
        for key, value in attributes.items()
        if key in ("src", "href")
    }
    assert links == {"data:,"}
    assert not [key for _, attributes in page.elements for key in attributes if key.startswith("on")]
    text = report.to_html()
    assert "url(" not in text
    assert "@import" not in text
    assert len(text) < 150_000


def test_names_of_a_model_stay_text() -> None:
    report = hostile()
    text = report.to_html()
    assert text.count("</script>") == 1
    page = read_page(text)
    assert page.report == json.loads(report.to_json())
    assert wrong(page, page.report) == []
    assert {ATTRIBUTE, EVIL, BRACES, "]]><svg onload=alert(3)>"} <= set(page.names)
    assert [tag for tag, _ in page.elements if tag in ("script", "img")] == ["script"]
    assert not [key for _, attributes in page.elements for key in attributes if key.startswith("on")]


def test_same_report_gives_the_same_bytes(report: Report, plain: dict[str, Any]) -> None:
    assert report.to_html() == report.to_html() == render(plain)


def test_refused_target_keeps_its_sentence(plain: dict[str, Any]) -> None:
    report = deepcopy(plain)
    refused = dict.fromkeys(report["targets"][1]) | {"target": "kuang2021", "refusal": "It needs <9> cores."}
    report["targets"][1] = refused
    page = read_page(render(report))
    assert "It needs <9> cores." in page.names
    assert "Refused by kuang2021: It needs <9> cores." in page.said
    assert wrong(page, report) == []


def test_exploration_is_there_if_the_report_has_one(plain: dict[str, Any]) -> None:
    assert "Bits and digits" not in render(plain)
    assert "Bits and digits" not in render({**plain, "exploration": None})
    report = {**plain, "exploration": exploration()}
    page, text = read_page(render(report)), render(report)
    assert wrong(page, report) == []
    printed = {where for figure in page.figures for where in figure.places}
    shown = exploration()[0].keys() - {"samples", "samples_emulated"}  # of all settings the same, told once
    assert printed >= {f"/exploration/{i}/{key}" for i in range(len(exploration())) for key in shown}
    assert printed >= {"/exploration/0/samples", "/exploration/0/samples_emulated"}
    assert text.count("Answers to") == 1
    dots = [tuple(map(float, dot)) for dot in re.findall(r'<circle class="fill" cx="(.*?)" cy="(.*?)"', text)]
    energies = [choice["energy_j"] for choice in exploration()]
    assert [x for x, _ in dots] == pytest.approx([90 + 400 * e / max(energies) for e in energies], abs=0.006)
    heights = [-y for _, y in dots]
    assert np.argsort(heights).tolist() == np.argsort([c["accuracy"] for c in exploration()]).tolist()


def test_exploration_tells_what_is_refused_and_what_nothing_beats(plain: dict[str, Any]) -> None:
    report = refused(plain)
    page, text = read_page(render(report)), render(report)
    assert wrong(page, report) == []
    assert "It needs <9> cores." in page.names
    assert re.findall(r'<circle class="(\w+)"', text) == ["other", "other", "fill", "fill"]
    assert text.count("<td>yes</td>") == 2
    assert Figure(kind="setting", places=("/exploration/0/digits",), text="auto") in page.figures


def test_names_of_unbeaten_choices_cover_neither_each_other_nor_the_axis() -> None:
    place = {"accuracy": 0.9, "energy_j": 1e-6, "pareto": True}
    low, high, beaten = ({"accuracy": a, "energy_j": e} for a, e in ((0.1, 1e-7), (0.95, 2e-6), (0.9, 1e-6)))
    given = [low | {"pareto": True}, place, place, beaten, place, high | {"pareto": True}]
    drawn = spread(given)
    assert drawn is not None
    names = [dot.name for dot in drawn.dots if dot.name is not None]
    assert [dot.name is None for dot in drawn.dots] == [False, False, False, True, False, False]
    boxes = [(name.x - 100 if name.anchor == "end" else name.x, name.y) for name in names]
    assert min(x for x, _ in boxes) > 90
    assert [name.anchor for name in names] == ["start", "end", "end", "end", "end"]
    for (x, y), (other, height) in itertools.combinations(boxes, 2):
        assert abs(x - other) >= 100 or abs(y - height) >= 12


def test_closed_form_has_a_timeline_and_says_why_it_has_no_mesh(plain: dict[str, Any]) -> None:
    part = plain["targets"][1]
    rows, cores = part["breakdown"]["timeline"], part["breakdown"]["cores"]
    assert [row["layers"] for row in rows] == [[name] for name in cores]
    assert rows[0]["begin_s"] == 0.0
    assert [row["begin_s"] for row in rows[1:]] == [row["end_s"] for row in rows[:-1]]
    assert rows[-1]["end_s"] == part["latency_s"]
    assert sum(cores.values()) == part["cores"]
    passes = [math.ceil(count / part["chips"]) for count in cores.values()]
    assert [row["step"] for row in rows] == [0, *itertools.accumulate(passes[:-1])]
    text = render({**plain, "targets": [part]})
    assert "Neither the places of cores nor the load of links are drawn: this target is a closed form" in text
    assert '<svg class="mesh"' not in text
    assert "closed form" not in render({**plain, "targets": plain["targets"][:1]})


@pytest.mark.parametrize("lost", ["accuracy", "energy_j"])
def test_exploration_without_a_figure_has_a_table_and_no_dot(lost: str, plain: dict[str, Any]) -> None:
    choices = [{**choice, lost: None} for choice in exploration()]
    report = {**plain, "exploration": choices}
    assert wrong(read_page(render(report)), report) == []
    assert render(report).count("<circle") == (0 if lost == "energy_j" else len(choices))


def test_verification_is_told(plain: dict[str, Any]) -> None:
    verified = {"engine": "verilator", "compared": 153304, "steps": 30, "equal": True}
    report = {**plain, "verification": verified}
    page = read_page(render(report))
    assert wrong(page, report) == []
    assert "verilator" in page.names
    assert "all equal" in " ".join(page.rest)


def test_report_prints_as_the_table_and_its_notes(report: Report, plain: dict[str, Any]) -> None:
    first, header, *lines = str(report).splitlines()
    assert first == f"{report.model} on {report.data}, per inference, input {report.input_told}"
    assert report.input_told == "unit (values, no bytes of pixels: taken as they are)"
    assert header.split() == ["loom", "kuang2021"]
    rows = dict(zip((row.name for row in ROWS), lines, strict=False))
    for row in ROWS:
        name, text = rows[row.name][: len(row.name)], rows[row.name][len(row.name) :]
        assert name == row.name
        assert re.split(r"  +", text.strip()) == [row.text(part) for part in plain["targets"]]
    assert lines[len(ROWS) :] == notes(plain)
    assert repr(report) == (
        f"<Report of {report.model} on {report.data}: loom, kuang2021; print it to see the figures>"
    )


def test_doubt_about_the_input_is_said_first(report: Report) -> None:
    told = replace(report, doubt="The data seem to be <odd>.")
    assert notes(told.to_dict())[0] == "The data seem to be <odd>."
    assert read_page(told.to_html()).said[0] == "The data seem to be <odd>."


def test_notebook_shows_the_page_in_a_frame_of_its_own(report: Report) -> None:
    shown = report._repr_html_()
    found = re.fullmatch(
        r'<iframe title="spikeloom report" sandbox="" style="[^"]*" srcdoc="([^"]*)"></iframe>', shown
    )
    assert found is not None
    assert html.unescape(found[1]) == report.to_html()
    assert (
        framed('<p title="a">')
        == shown.partition("srcdoc")[0] + 'srcdoc="&lt;p title=&quot;a&quot;&gt;"></iframe>'
    )


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("share", 0.99444, "99.44 %"),
        ("points", -0.00104, "-0.10 points"),
        ("signed", -0.00104, "-0.10"),
        ("count", 1088, "1,088"),
        ("count", 1017.75, "1,017.8"),
        ("rate", 64371.4, "64,371 /s"),
        ("J", 9.3246e-7, "932.5 nJ"),
        ("s", 2e-5, "20 us"),
        ("s", 0.0, "0 s"),
        ("W", 1.2345e-14, "0.01234 pW"),
        ("how", None, "refused"),
        ("J", None, "-"),
    ],
)
def test_reading_a_figure_notices_another_value(kind: str, value: Any, text: str) -> None:
    figure = Figure(kind=kind, places=("/a",), text=text)
    assert differs(figure, {"a": value}) is None
    for other in ("x" if kind == "how" else 1.0, None if value is not None else 2.0):
        assert differs(figure, {"a": other}) is not None
    if isinstance(value, float) and value:
        assert differs(figure, {"a": value * 1.1}) is not None


def test_pointers_lead_to_values_under_any_name() -> None:
    report = {"a/b": {"c~d": [1, {"e f%20": 2}]}}
    place = pointer("a/b", "c~d", 1, "e f%20")
    assert place == "/a~1b/c~0d/1/e f%20"
    assert resolve(report, place) == find(report, place) == 2
