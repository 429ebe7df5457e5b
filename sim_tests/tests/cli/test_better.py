# SPDX-License-Identifier: Apache-2.0
"""`spikeloom reproduce zou2021 --better`: real images of one network, each with one change more."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mapping.codes.convert import convert
from mapping.model.load import load_network
from mapping.reproduce import better
from mapping.spiking.network import SpikingNetwork
from mapping.spiking.quantisers import Ladders, Lists, Mixed
from mapping.spiking.unary import unary
from spikeloom.cli import main

GIVEN = ["reproduce", "zou2021", "--better", "digits", "--data", "digits", "--samples", "3"]


def test_better_chips_take_less_with_every_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "better.json"
    assert main([*GIVEN, "--json", str(file)]) == 0
    out = capsys.readouterr().out
    assert "digits on digits, per inference, outputs equal" in out
    ways = json.loads(file.read_text())["ways"]
    assert [way["way"] for way in ways] == list(better.WAYS)
    assert all(way["way"] in out for way in ways)
    for key in ("cores", "columns", "packets", "latency_s", "energy_j"):
        values = [way[key] for way in ways[:4]]
        assert values == sorted(values, reverse=True), key
        assert values[0] > values[-1] > 0, key
    assert [way["passes"] for way in ways] == [4, 4, 3, 3, 3]
    assert all(way["low_j"] < way["energy_j"] < way["high_j"] for way in ways)


def test_ladders_of_few_levels_take_as_much_and_the_stages_of_their_search() -> None:
    before, after = better.better_chips("digits", "digits", 3)[-2:]
    for key in ("cores", "columns", "passes", "operations", "packets"):
        assert getattr(after, key) == getattr(before, key), key
    # A ladder of payloads of 4 bits decides 3 bits, a stage each, and every block of 16 columns fills them.
    assert round((after.latency_s - before.latency_s) * 252e6) == 3 * after.columns // 16


@pytest.mark.parametrize("planted", [False, True])
def test_rows_without_a_ladder_keep_their_lists(planted: bool) -> None:
    spiking = convert(load_network("digits"))
    layer = spiking.layers[1]
    if planted:
        thresholds = layer.edges.copy()
        thresholds[3] = [0, 1, 100, 101]  # no ladder has these
        layer = replace(layer, quantiser=Lists(thresholds=thresholds))
    laddered = better.WAYS["ladders"](replace(spiking, layers=(layer,))).layers[0]
    assert isinstance(laddered.quantiser, Mixed if planted else Ladders)
    low, high = layer.reach()
    sums = np.linspace(low - 1, high + 1, 4000).astype(np.int64)[:, :, None]
    wanted, found = (one.quantiser.counts(sums, 0, layer.levels) for one in (layer, laddered))
    inside = (sums[..., 0] >= low) & (sums[..., 0] <= high)
    assert np.array_equal(wanted[..., 0][inside], found[..., 0][inside])


def test_way_that_computes_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def silent(spiking: SpikingNetwork) -> SpikingNetwork:
        each = unary(spiking)
        last = each.layers[-1].quantiser
        assert isinstance(last, Lists)
        object.__setattr__(last, "thresholds", np.full_like(last.thresholds, 2**40))
        return each

    monkeypatch.setattr(better, "WAYS", {"the article's": unary, "silent": silent})
    assert main(GIVEN) == 2
    assert (
        "Outputs of digits with silent differ from the article's: report this bug." in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (GIVEN[:4], "Option --better emulates a network on samples: add --data, for example digits."),
        ([*GIVEN, "--noise"], "Option --better prints a table of its own: leave --model and --noise out."),
    ],
)
def test_refusal_has_a_way_out(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in " ".join(capsys.readouterr().err.split())
