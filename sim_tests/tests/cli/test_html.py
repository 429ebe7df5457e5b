# SPDX-License-Identifier: Apache-2.0
"""`spikeloom estimate --html`: one page beside the JSON, and what a browser makes of it."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from mapping.report.page import framed
from sim_tests.conftest import BROWSERS, require_engine
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.referees.pages import Figure, differs, read_page
from spikeloom.cli import main

EVIL = "<script>document.title = 'owned'</script>"

READ_FIGURES = """() => {
  const report = JSON.parse(document.getElementById('report').textContent);
  const value = place => decodeURIComponent(place).split('/').slice(1).reduce(
    (part, key) => part[key.replaceAll('~1', '/').replaceAll('~0', '~')], report);
  return [...document.querySelectorAll('.figure')].map(figure => ({
    kind: figure.dataset.format, text: figure.textContent,
    values: figure.dataset.from.split(' ').map(value)}));
}"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the page and the JSON of one run on two targets."""
    folder = tmp_path_factory.mktemp("html")
    flags = ["--samples", "12", "--core", "small", "--target", "loom", "--target", "kuang2021"]
    places = ["--html", str(folder / "sub" / "r.html"), "--json", str(folder / "r.json")]
    assert main(["estimate", "digits", "--data", "digits", *flags, *places]) == 0
    return folder


def test_page_is_that_of_the_json(files: Path) -> None:
    page = read_page((files / "sub" / "r.html").read_text(encoding="utf-8"))
    report = json.loads((files / "r.json").read_text(encoding="utf-8"))
    assert page.report == report
    assert [said for figure in page.figures if (said := differs(figure, report))] == []
    assert [path.name for path in (files / "sub").iterdir()] == ["r.html"]


def model(folder: Path) -> list[str]:
    """Write a model with a layer whose name is markup, and its data; return the arguments that name them."""
    b = ModelBuilder((6,), seed=3)
    onnx.save(
        b.model(b.quantise(b.dense(b.quantise("x", 0, 3.0), b.ternary(5, 6), name=EVIL), 0, 3.0)),
        folder / "<b>m.onnx",
    )
    np.savez(folder / "&d.npz", x=np.random.default_rng(1).uniform(0, 3, (4, 6)))
    return [str(folder / "<b>m.onnx"), "--data", str(folder / "&d.npz"), "--core", "tiny"]


def test_place_is_told_and_an_old_page_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "r.html"
    place.write_text("old", encoding="utf-8")
    assert main(["estimate", *model(tmp_path), "--html", str(place)]) == 0
    assert capsys.readouterr().out.endswith(f"Report: {place}\n")
    assert place.read_text(encoding="utf-8").startswith("<!DOCTYPE html>\n")


def test_place_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["estimate", *model(tmp_path), "--html", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert str(tmp_path) in err
    assert err.count("\n") == 1


def test_page_of_a_report_that_no_target_gives_is_not_written(tmp_path: Path) -> None:
    place = tmp_path / "r.html"
    place.write_text("old", encoding="utf-8")
    flags = ["--core", "tiny", "--samples", "1", "--html", str(place)]
    assert main(["estimate", "digits", "--data", "digits", *flags]) == 2
    assert place.read_text(encoding="utf-8") == "old"


@dataclass
class Visit:
    """A page that is open in a browser, and what the browser complained about or asked for."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, path: Path) -> None:
        self.page.goto(path.as_uri())


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    require_engine("chromium")
    from playwright.sync_api import sync_playwright

    command = next(found for name in BROWSERS if (found := shutil.which(name)))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=command)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    """Return a page without network that notes every message, error, dialog and request."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    visit = Visit(context.new_page())
    for event in ("console", "pageerror", "dialog", "crash"):
        visit.page.on(event, lambda what, event=event: visit.complaints.append(f"{event}: {what}"))
    visit.page.on("request", lambda request: visit.requests.append(request.url))
    yield visit
    context.close()


def test_browser_shows_the_figures_of_the_json_and_complains_of_nothing(files: Path, visit: Visit) -> None:
    visit.open(files / "sub" / "r.html")
    figures = visit.page.evaluate(READ_FIGURES)
    assert len(figures) > 200
    for figure in figures:
        places = tuple(f"/{i}" for i in range(len(figure["values"])))
        read = Figure(kind=figure["kind"], places=places, text=figure["text"])
        assert differs(read, figure["values"]) is None
    report = json.loads((files / "r.json").read_text(encoding="utf-8"))
    assert json.loads(visit.page.locator("#report").text_content()) == report
    assert visit.page.locator("table").first.is_visible()
    assert visit.page.locator("svg.mesh").is_visible()
    assert visit.complaints == []
    assert visit.requests == [(files / "sub" / "r.html").as_uri()]


READ_LINKS = """() => [...document.querySelectorAll('svg.mesh line.link')].map(line => ({
  from: line.querySelector('title').dataset.from, text: line.querySelector('title').textContent,
  x: line.x1.baseVal.value, y: line.y1.baseVal.value,
  width: parseFloat(getComputedStyle(line).strokeWidth),
  seen: line.getBoundingClientRect().width + line.getBoundingClientRect().height > 0}))"""


def test_browser_draws_how_long_shared_links_of_several_chips_are_busy(tmp_path: Path, visit: Visit) -> None:
    """A side of a chip is 2 x 2 routers here; both outputs of it are as wide as all of its packets."""
    flags = ["--core", "small", "--chips", "2x2", "--shared-links", "--wires", "6", "--samples", "2"]
    places = ["--html", str(tmp_path / "r.html"), "--json", str(tmp_path / "r.json")]
    assert main(["estimate", "digits", "--data", "digits", *flags, *places]) == 0
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    mesh, chips = (report["targets"][0]["breakdown"][key] for key in ("mesh", "chips"))
    visit.open(tmp_path / "r.html")
    drawn = visit.page.evaluate(READ_LINKS)
    assert len(drawn) == len(mesh["links"]) > 10
    most, beats, shared = max(link["cycles"] for link in mesh["links"]), chips["beats"], 0
    for at, (line, link) in enumerate(zip(drawn, mesh["links"], strict=True)):
        places_of = (f"/targets/0/breakdown/mesh/links/{at}/cycles",)
        assert line["from"] == places_of[0]
        assert differs(Figure(kind="count", places=places_of, text=line["text"]), report) is None
        assert line["width"] == pytest.approx(max(0.3, 9 * link["cycles"] / most), abs=0.006)
        assert line["seen"]
        assert all(0 <= line[axis] - 28 - 68 * link[axis] <= 40 for axis in "xy")
        side = [
            other
            for other in mesh["links"]
            if other["port"] == link["port"]
            and (other["x"] // 2, other["y"] // 2) == (link["x"] // 2, link["y"] // 2)
            and leaves(other) == leaves(link)
        ]
        if leaves(link):
            shared += len(side) > 1
            assert link["cycles"] == beats * sum(other["packets"] for other in side)
        else:
            assert link["cycles"] == link["packets"]
    assert shared > 1
    assert visit.page.locator("svg.mesh rect.chip").count() == 4
    assert visit.complaints == []
    assert visit.requests == [(tmp_path / "r.html").as_uri()]


def leaves(link: dict[str, Any]) -> bool:
    """Tell whether an output of a mesh of 4 x 4 cores leads to another of 2 x 2 chips."""
    across = (link["x"], link["port"]) in {(1, "east"), (2, "west")}
    return across or (link["y"], link["port"]) in {(1, "south"), (2, "north")}


def test_page_fits_a_telephone_and_pictures_have_names(files: Path, visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 400, "height": 800})
    visit.open(files / "sub" / "r.html")
    assert visit.page.evaluate("document.documentElement.scrollWidth") == 400
    assert visit.page.get_by_role("img").count() == 1
    assert visit.page.get_by_role("img", name="10 cores in use of 4 x 3").count() == 1
    assert visit.page.locator("svg:not([role=img]):not([aria-hidden])").count() == 0
    labels = "[...document.querySelectorAll('[aria-labelledby]')].map(e => e.getAttribute('aria-labelledby'))"
    ids = visit.page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    assert set(visit.page.evaluate(labels)) <= set(ids)


def test_browser_runs_nothing_that_a_model_brings(tmp_path: Path, visit: Visit) -> None:
    assert main(["estimate", *model(tmp_path), "--html", str(tmp_path / "r.html")]) == 0
    visit.open(tmp_path / "r.html")
    assert visit.page.title().endswith(": spikeloom report")
    assert visit.page.get_by_text(EVIL).count() >= 3
    assert visit.page.evaluate("document.querySelectorAll('script, img, b').length") == 1
    assert visit.complaints == []


def test_page_forbids_scripts_to_run_at_all(files: Path, tmp_path: Path, visit: Visit) -> None:
    text = (files / "sub" / "r.html").read_text(encoding="utf-8")
    planted = text.replace("</body>", "<script>document.title = 'owned'</script></body>")
    assert planted != text
    (tmp_path / "r.html").write_text(planted, encoding="utf-8")
    visit.open(tmp_path / "r.html")
    assert visit.page.title() != "owned"
    assert any("Content Security Policy" in complaint for complaint in visit.complaints)


def test_notebook_frame_shows_the_page(files: Path, tmp_path: Path, visit: Visit) -> None:
    text = (files / "sub" / "r.html").read_text(encoding="utf-8")
    place = tmp_path / "notebook.html"
    place.write_text(f"<!DOCTYPE html><title>n</title><body>{framed(text)}</body>", encoding="utf-8")
    visit.open(place)
    frame = visit.page.frame_locator("iframe[title='spikeloom report']")
    assert frame.locator("h1").inner_text() == "digits on digits"
    assert frame.locator("svg.mesh").is_visible()
    assert visit.complaints == []
