# SPDX-License-Identifier: Apache-2.0
"""No table of any command cuts a name, however narrow the terminal is."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import onnx
import pytest
from rich.table import Table as Grid

from mapping.flow import compile_network
from mapping.model.importers.onnx import network_from_onnx
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.robustness.mutations import npz_of
from spikeloom.cli import main
from spikeloom.table import Table
from spikeloom.terminal import FILE_WIDTH, console, console_on

LONG = ("backbone.stage_one.residual_block_with_a_long_name.conv1", "classifier.hidden.dense_of_many_units")
WIDTHS = (40, 80, 200)
CUT = "\N{HORIZONTAL ELLIPSIS}"

COMMANDS = {
    "estimate": "estimate {model} --data {data} --core small",
    "estimate-two": "estimate {model} --data {data} --core small --target loom --target kuang2021",
    "run": "run {image} --data {data}",
    "inspect": "inspect {model} --core small",
    "inspect-image": "inspect {image}",
    "inspect-data": "inspect {image} --data {data}",
    "targets": "targets",
}
"""Every command that prints a table by itself; the demo prints those of `estimate`."""

LAYERS = {name for name in COMMANDS if name.startswith(("estimate", "inspect"))}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return a model whose layers have long names, its image, and data."""
    folder = tmp_path_factory.mktemp("tables")
    b = ModelBuilder((2, 6, 6))
    y = b.quantise(b.conv(b.quantise("x"), b.ternary(4, 2, 3, 3), name=LONG[0]))
    y = b.quantise(b.dense(b.op("Flatten", y), b.ternary(8, 64), name=LONG[1]))
    model = b.model(b.head(y, 8))
    paths = {"model": folder / "m.onnx", "image": folder / "m.spikeloom", "data": folder / "d.npz"}
    onnx.save(model, paths["model"])
    compile_network(network_from_onnx(model, name="m"), core="small").save(paths["image"])
    x = np.random.default_rng(3).uniform(0, 1, (4, 2, 6, 6))
    paths["data"].write_bytes(npz_of({"x": x, "y": np.array([0, 1, 2, 0])}))
    return {name: str(path) for name, path in paths.items()}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", COMMANDS)
def test_no_name_is_cut(
    name: str,
    width: int,
    inputs: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(console, "_width", width)
    assert main(COMMANDS[name].format(**inputs).split()) == 0
    told = capsys.readouterr().out
    assert CUT not in told
    if name in LAYERS:
        assert [layer for layer in LONG if layer not in told] == []
    if name == "targets":
        assert "kuang2021" in told


def test_grid_that_is_not_ours_cuts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the check above looks for exists."""
    monkeypatch.setattr(console, "_width", 40)
    grid = Grid("layer")
    grid.columns[0].no_wrap = True
    grid.add_row(LONG[0])
    console.print(grid)
    assert CUT in capsys.readouterr().out


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "columns", "width"),
    [
        (io.StringIO(), None, FILE_WIDTH),
        (None, None, FILE_WIDTH),
        (io.StringIO(), "70", 70),
        (Terminal(), "70", 70),
    ],
)
def test_file_has_room_unless_somebody_says_otherwise(
    stream: Any, columns: str | None, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    assert console_on(stream).width == width


LINED = "│ one │ 1,234 │ 12.5 │"
PLAIN = ["abc      n     m", "one  1,234  12.5"]
APART = ["one", "  n: 1,234", "  m: 12.5"]


@pytest.mark.parametrize(("width", "lines"), [(22, [LINED]), (21, PLAIN), (16, PLAIN), (15, APART)])
def test_table_loses_its_lines_before_its_columns(
    width: int, lines: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cells of 3, 5 and 4 take 12: three columns with lines ten more, without lines four."""
    monkeypatch.setattr(console, "_width", width)
    console.print(Table(columns=["abc", "n", "m"], rows=[["one", "1,234", "12.5"]]))
    told = capsys.readouterr().out.splitlines()
    assert (told[3:4] if lines == [LINED] else told) == lines
