# SPDX-License-Identifier: Apache-2.0
"""`spikeloom reproduce zou2021`: the cells that are equal, by table, and every fault that must show."""

import ast
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import pytest

import mapping.reproduce.zou2021 as computing
import spikeloom
import spikeloom.published
from mapping.codes.convert import convert
from mapping.model.importers.onnx import load_onnx
from mapping.reproduce.measure import _recognised
from mapping.reproduce.networks import NETWORKS, SPIKES
from mapping.reproduce.noise import NOISE, alive_neurons, heard
from mapping.reproduce.zou2021 import Computed, compute_tables
from mapping.spiking.simulate import decode, encode, simulate
from mapping.targets.files import load_target
from sim_tests.generators.article_models import article_model, article_samples
from spikeloom.cli import main
from spikeloom.published import Note, load_published
from spikeloom.reproduction import compare_tables

ROOT = Path(__file__).parents[3]

VERDICTS = {
    2: {"equal": 16},
    3: {"equal": 6},
    4: {"open": 6, "elsewhere": 12},
    5: {"open": 6, "elsewhere": 10},
    7: {"equal": 118, "misprint": 5, "turned": 2, "rounding": 1},
    8: {"equal": 250, "misprint": 2},
    9: {"equal": 37, "misprint": 5},
    10: {"equal": 84},
    11: {"equal": 7, "within": 11, "open": 6, "elsewhere": 32},
}


def reproduce(folder: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Run the command; return its exit code and what it wrote."""
    code = main(["reproduce", "zou2021", "--json", str(folder / "r.json"), *options])
    return code, json.loads((folder / "r.json").read_text(encoding="utf-8"))


def test_every_table_has_its_count_of_equal_cells(tmp_path: Path) -> None:
    code, found = reproduce(tmp_path)
    assert code == 0
    by_table = {number: Counter[str]() for number in VERDICTS}
    for cell in found["cells"]:
        by_table[cell["table"]][cell["verdict"]] += 1
    assert by_table == VERDICTS
    assert found["patches"] == {"equal": 51, "distinct": 51}
    assert found["verdicts"]["equal"] == 518
    assert len(found["cells"]) == 616


def test_cells_with_a_published_value_and_no_reason_are_equal(tmp_path: Path) -> None:
    _, found = reproduce(tmp_path)
    for cell in found["cells"]:
        assert cell["verdict"] == "equal" or cell["reason"]
        assert (cell["ours"] is None) == (cell["verdict"] in ("open", "elsewhere"))


def test_energies_keep_their_bounds(tmp_path: Path) -> None:
    _, found = reproduce(tmp_path)
    errors = {
        cell["row"]: float(cell["ours"]) / float(cell["published"]) - 1
        for cell in found["cells"]
        if cell["column"] == "mJ" and cell["verdict"] in ("equal", "within")
    }
    assert len(errors) == 6
    for row, error in errors.items():
        assert abs(error) <= (0.01 if row.startswith("CIFAR-10") else 0.04)


def test_output_shows_both_values_and_why_lenet_has_224_cores(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "zou2021"]) == 0
    out = capsys.readouterr().out
    assert "Total here    Total      46   0.2745     109   0.3293     224   0.3842\n" in out
    assert "      article Total      52 c 0.2745     109   0.3293     221 e 0.3842\n" in out
    assert (
        "\ne misprint: LeNet's 221 contradicts the article's own patches: 256FC takes 4 cores, not 1," in out
    )
    assert "\nPatches: 51 of the 51 different rows of Tables 7 and 8.\n" in out


def cells_of(published: spikeloom.published.Published) -> list[tuple[int, str, str]]:
    return [
        (table.number, row[0], column)
        for table in published.tables
        for row in table.rows
        for column in table.columns
    ]


def test_published_file_is_whole() -> None:
    published = load_published("zou2021")
    cells = cells_of(published)
    assert len(cells) == len(set(cells)) == 616
    for table in published.tables:
        assert len(table.columns) == len(table.forms)
        assert {len(row) for row in table.rows} == {len(table.columns) + 1}
    noted = [
        (note.table, row, column) for note in published.notes for row in note.rows for column in note.columns
    ]
    assert set(noted) <= set(cells)
    assert len(noted) == len(set(noted))
    for note in published.notes:
        assert bool(note.ours) == (note.kind in ("misprint", "turned", "rounding"))
        assert bool(note.relative) == (note.kind == "bound")


def test_every_computed_cell_is_published() -> None:
    assert set(compute_tables()) <= set(cells_of(load_published("zou2021")))


def changed(text: str, table: int, row: int, column: int) -> str:
    """Return the file of published values with one digit of one cell changed."""
    head, mark, rest = text.partition(f"number = {table}\n")
    lines = rest.split("\n")
    first = lines.index("rows = [") + 1
    cells = json.loads("[" + lines[first + row].strip().rstrip(",")[1:])
    place = next(i for i, letter in enumerate(cells[column]) if letter.isdigit())
    digit = str((int(cells[column][place]) + 1) % 10)
    cells[column] = cells[column][:place] + digit + cells[column][place + 1 :]
    lines[first + row] = f"    {json.dumps(cells)},"
    return head + mark + "\n".join(lines)


@pytest.mark.parametrize(
    "place",
    [
        (2, 0, 8),
        (3, 1, 3),
        (7, 0, 2),
        (7, 8, 7),
        (8, 3, 5),
        (9, 1, 2),
        (9, 5, 7),
        (10, 2, 3),
        (11, 0, 3),
        (11, 9, 2),
    ],
)
def test_changed_published_value_is_exit_code_1(
    place: tuple[int, int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shipped = spikeloom.published._FOLDER / "zou2021.toml"
    text = changed(shipped.read_text(encoding="utf-8"), *place)
    (tmp_path / "zou2021.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(spikeloom.published, "_FOLDER", tmp_path)
    code, found = reproduce(tmp_path)
    differing = [cell for cell in found["cells"] if cell["verdict"] == "differs"]
    assert (code, len(differing)) == (1, 1)
    assert f"Differs: Table {place[0]}, {differing[0]['row']}, " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("number", "change", "tables"),
    [
        ("weight_columns", 1, {2, 3, 7, 8, 9, 10}),
        ("axons", 1100, {3, 7, 8, 9, 10}),
        ("cycles_per_step", 13900, {9, 10}),
        ("chips_x", 7, {10, 11}),
        ("leakage", 11.3, {11}),
        ("synaptic_operations_dense", 0.15, {11}),
    ],
)
def test_changed_number_of_the_chip_shows_in_its_tables(
    number: str, change: float, tables: set[int], tmp_path: Path
) -> None:
    chip = load_target("kuang2021")
    for section in ("geometry", "timing", "energy"):
        numbers = dict(getattr(chip, section))
        if number in numbers:
            numbers[number] = replace(numbers[number], value=change, low=change, high=change)
            chip = replace(chip, **{section: MappingProxyType(numbers)})  # type: ignore[arg-type]
    found = compare_tables(load_published("zou2021"), compute_tables(chip))
    assert tables <= {cell.table for cell in found.differing}


@pytest.mark.parametrize(
    ("find", "instead"),
    [
        ("value=plan.neuron_density", "value=plan.axon_density"),
        ("sum(latencies, Decimal(0))]", "Decimal(form.latency_s) * 1000]"),
        ("value=1000 / latency", "value=form.throughput_per_s"),
        ("value=1 / energy", "value=1 / form.energy.high_j"),
        ("[*form.cores_per_layer, form.cores]", "[*form.cores_per_layer, form.cores + 1]"),
        ("ROUND_FLOOR if down else ROUND_HALF_UP", "ROUND_FLOOR"),
    ],
)
def test_changed_formula_is_exit_code_1(
    find: str, instead: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(computing.__file__).read_text(encoding="utf-8")
    assert source.count(find) == 1
    (tmp_path / "altered.py").write_text(source.replace(find, instead), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "altered", raising=False)
    altered = importlib.import_module("altered")
    monkeypatch.setattr(computing, "compute_tables", altered.compute_tables)
    monkeypatch.setattr("spikeloom.reproduction.rounded", altered.rounded)
    assert reproduce(tmp_path)[0] == 1


def test_note_that_no_longer_holds_makes_a_cell_differ() -> None:
    published = load_published("zou2021")
    cells = compute_tables()
    place = (7, "2P2 b, 1", "S")
    for value in (0.03, 0.07):
        cells[place] = Computed(value=value, formula="")
        differing = compare_tables(published, cells).differing
        assert [(cell.table, cell.row, cell.column) for cell in differing] == [place]
    del cells[place]
    assert len(compare_tables(published, cells).differing) == 1
    assert isinstance(published.note(*place), Note)


def test_only_the_printer_reads_the_published_values() -> None:
    readers = set()
    for package in ("spikeloom", "emu", "rtl", "mapping"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            names = {
                name
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.Import | ast.ImportFrom)
                for name in (
                    [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                )
            }
            if "spikeloom.published" in names or "zou2021.toml" in text:
                readers.add(path.relative_to(ROOT).as_posix())
    assert readers == {"spikeloom/reproduction.py", "spikeloom/commands/reproduce.py"}


def test_contract_notices_a_formula_that_reads_published_values(tmp_path: Path) -> None:
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("not a checkout")
    for name in ("spikeloom", "emu", "rtl", "mapping", "sim_tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "data"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    linter = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    for broken in (False, True):
        if broken:
            with (tmp_path / "mapping/reproduce/zou2021.py").open("a", encoding="utf-8") as file:
                file.write("from spikeloom.published import load_published\n")
        done = subprocess.run(
            [sys.executable, "-c", linter, "--no-cache", "--contract", "published"],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            timeout=60,
        )
        assert (done.returncode, "1 broken" in done.stdout) == (int(broken), broken)


def saved(folder: Path, network: str, spikes: int, samples: int = 4) -> tuple[str, str]:
    """Write an untrained network of the article and labelled samples; return their files."""
    onnx.save(article_model(network, spikes), folder / f"{network}{spikes}.onnx")
    x = article_samples(network, samples)
    np.savez(folder / f"{network}.npz", x=x, y=np.zeros(samples, np.int64))
    return str(folder / f"{network}{spikes}.onnx"), str(folder / f"{network}.npz")


def test_network_of_ones_own_is_measured_and_named_as_such(tmp_path: Path) -> None:
    model, data = saved(tmp_path, "lenet", 4)
    code, found = reproduce(tmp_path, "--model", model, "--data", data)
    cells = {(cell["row"], cell["column"]): cell for cell in found["cells"] if cell["table"] == 11}
    accuracy = cells["MNIST, Four-spike (This work)", "accuracy"]
    assert accuracy["verdict"] == "ours"
    assert accuracy["formula"].startswith("measured, ")
    assert accuracy["ours"].endswith("%")
    assert cells["MNIST, Two-spike (This work)", "accuracy"]["verdict"] == "open"
    energy = cells["MNIST, Four-spike (This work)", "mJ"]
    assert "operations measured, " in energy["formula"]
    report = spikeloom.estimate(model, data, "kuang2021", patches="article")
    assert energy["ours"] == f"{report.targets[0]['energy_j'] * 1e3:.4f}"
    assert float(energy["ours"]) > 0.2674  # the static part alone
    assert code == 0


@pytest.mark.parametrize(("network", "spikes"), [(n, k) for n in NETWORKS for k in SPIKES])
def test_layers_of_every_model_of_the_article_are_recognised(
    network: str, spikes: int, tmp_path: Path
) -> None:
    onnx.save(article_model(network, spikes), tmp_path / "m.onnx")
    spiking = convert(load_onnx(tmp_path / "m.onnx"))
    assert _recognised(spiking, "m.onnx") == (network, spikes)


def test_noise_shuts_down_neurons_of_the_encoding_layer_for_all_samples() -> None:
    shape, levels = (2, 3, 5), 4
    counts = np.random.default_rng(3).integers(0, levels + 1, (7, *shape))
    alive = alive_neurons(shape, levels, 0.2, seed=1)
    assert np.count_nonzero(~alive) == round(0.2 * levels * 30)
    expected = [
        [
            sum(count > level and alive[level, *place] for level in range(levels))
            for place, count in np.ndenumerate(one)
        ]
        for one in counts
    ]
    assert heard(counts, alive).reshape(7, -1).tolist() == expected
    assert np.array_equal(heard(counts, alive_neurons(shape, levels, 0.0, seed=1)), counts)
    assert not heard(counts, alive_neurons(shape, levels, 1.0, seed=1)).any()
    assert np.array_equal(alive, alive_neurons(shape, levels, 0.2, seed=1))
    assert not np.array_equal(alive, alive_neurons(shape, levels, 0.2, seed=2))


def test_noise_fills_its_rows_of_the_four_spike_model(tmp_path: Path) -> None:
    model, data = saved(tmp_path, "lenet", 4, samples=6)
    _, found = reproduce(tmp_path, "--model", model, "--data", data, "--noise", "--seed", "5")
    cells = {(cell["row"], cell["column"]): cell for cell in found["cells"] if cell["table"] == 4}
    spiking = convert(load_onnx(model))
    x = article_samples("lenet", 6)
    for share in NOISE:
        counts = heard(encode(spiking, x), alive_neurons((16, 28, 28), 4, share, 5))
        logits = decode(spiking, simulate(spiking, counts), x)
        right = np.count_nonzero(logits.reshape(6, -1).argmax(1) == 0) / 6
        cell = cells[f"This work ({share:.0%} noise)", "SNN"]
        assert (cell["ours"], cell["verdict"]) == (f"{100 * right:.2f}%", "ours")
    exact = cells["This work (Rate coding)", "SNN"]
    assert exact["ours"] == cells["This work (Rate coding)", "ANN"]["ours"]
    _, without = reproduce(tmp_path, "--model", model, "--data", data)
    rows = {(cell["row"], cell["column"]): cell for cell in without["cells"] if cell["table"] == 4}
    assert rows["This work (10% noise)", "SNN"]["verdict"] == "open"
    assert rows["This work (Rate coding)", "SNN"] == exact


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(["reproduce", *words]) == 2
    return capsys.readouterr().err


def test_refusals_are_sentences_and_their_ways_out_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = saved(tmp_path, "lenet", 1, samples=1)
    assert refused(capsys, "zou2020") == "spikeloom: System must be zou2021, not 'zou2020'.\n"
    together = "spikeloom: Options --model and --data must come together: add "
    said = refused(capsys, "zou2021", "--model", model)
    assert said == f"{together}--data, for example --data mnist:DIR.\n"
    said = refused(capsys, "zou2021", "--data", data)
    assert said == f"{together}--model, for example --model lenet4.onnx.\n"
    twice = ("--model", model, "--model", model, "--data", data)
    assert refused(capsys, "zou2021", *twice) == (
        f"spikeloom: Model {model} has the same layers and spikes as one before it: give only one of them.\n"
    )
    assert refused(capsys, "zou2021", "--model", "digits", "--data", "digits").startswith(
        "spikeloom: Model digits must have on the chip the layers of the article's LeNet or VGG-Net"
    )
    assert main(["reproduce", "zou2021", "--model", model, "--data", data]) in (0, 1)
