# SPDX-License-Identifier: Apache-2.0
"""No table of any command cuts a name, however narrow the terminal is."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from rich.table import Table as Grid

from mapping.flow import compile_network
from mapping.model.importers.onnx import network_from_onnx
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.robustness.mutations import npz_of
from spikeloom.cli import main
from spikeloom.terminal import console

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
