# SPDX-License-Identifier: Apache-2.0
"""Exploration: every row is what its setting gives alone, and no other setting beats a marked one."""

from typing import Any

import numpy as np
import pytest

from mapping.codes.graded.convert import GradedOptions
from mapping.datasets.load import Dataset
from mapping.errors import MappingError
from mapping.model.evaluate import infer
from mapping.model.load import load_network
from mapping.model.network import Network
from mapping.report import exploration
from mapping.report.exploration import BITS, DIGITS, EXPLORATION_KEYS, check_exploration, explore
from mapping.report.machine import estimate
from sim_tests.generators.ordinary_networks import calibration, mlp, residual

COSTS = ("columns", "cores", "spikes", "latency_s", "energy_j")
ANSWERS = ("accuracy", "accuracy_difference", "agreement", "samples")


def dataset(network: Network, n: int = 90) -> Dataset:
    x = calibration(network, n=n, seed=5)
    return Dataset(name="t", x=x, y=infer(network, x).argmax(axis=1))


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    network = residual(1)
    given = Dataset(name="c", x=calibration(network), y=None)
    return explore(network, dataset(network), core="medium", how="raw", calibration=given)


def test_there_is_a_row_of_all_keys_for_every_setting(rows: list[dict[str, Any]]) -> None:
    assert [(row["bits"], row["digits"]) for row in rows] == [(bits, k) for bits in BITS for k in DIGITS]
    assert all(tuple(row) == EXPLORATION_KEYS for row in rows)
    assert all(row["refusal"] is None for row in rows)


@pytest.mark.parametrize("at", [0, 7, 14])
def test_a_row_is_what_its_setting_gives_alone(at: int, rows: list[dict[str, Any]]) -> None:
    network, row = residual(1), rows[at]
    given = Dataset(name="c", x=calibration(network), y=None)
    options = GradedOptions(bits=row["bits"], digits=row["digits"])

    def alone(n: int | None) -> Any:
        data = dataset(network).first(n)
        how = {"core": "medium", "how": "raw", "calibration": given, "options": options}
        return estimate(network, data, **how).targets[0]  # type: ignore[arg-type]

    whole, part = alone(None), alone(row["samples_emulated"])
    assert {key: row[key] for key in ANSWERS} == {key: whole[key] for key in ANSWERS}
    assert {key: row[key] for key in COSTS} == {key: part[key] for key in COSTS}
    assert (row["samples"], row["samples_emulated"]) == (90, exploration.EMULATED)
    assert list(row["digits_by_layer"].items()) == [
        (layer["name"], layer["digits"]) for layer in whole["breakdown"]["layers"]
    ]


def made_up(seed: int) -> list[dict[str, Any]]:
    """Return settings with few different figures, so that many are equal, and one that was refused."""
    rng = np.random.default_rng(seed)
    rows = [dict.fromkeys(EXPLORATION_KEYS) for _ in range(9)]
    for row in rows[:-1]:
        agreement, columns, energy = rng.integers(0, 4, 3).tolist()
        row |= {"agreement": agreement / 4, "columns": columns, "energy_j": energy * 1e-6}
    return rows


def beats(other: dict[str, Any], row: dict[str, Any]) -> bool:
    """Tell whether a setting is nowhere worse than another and somewhere better."""
    signs = {"agreement": 1, "columns": -1, "energy_j": -1}
    gains = [sign * (other[key] - row[key]) for key, sign in signs.items()]
    return bool(min(gains) >= 0 and max(gains) > 0)


@pytest.mark.parametrize("seed", range(20))
def test_marked_settings_are_those_that_no_other_one_beats(seed: int) -> None:
    *taken, refused = exploration._marked(made_up(seed))
    assert [row["pareto"] for row in taken] == [not any(beats(o, row) for o in taken) for row in taken]
    assert refused["pareto"] is None


def test_some_settings_are_marked(rows: list[dict[str, Any]]) -> None:
    assert 0 < sum(row["pareto"] for row in rows) < len(rows)
    assert [row["pareto"] for row in rows] == [not any(beats(other, row) for other in rows) for row in rows]


def test_setting_that_does_not_fit_is_a_row_with_its_sentence() -> None:
    network = mlp(1)
    found = explore(network, dataset(network), core="small", how="raw")
    refused = {(row["bits"], row["digits"]): row for row in found if row["refusal"] is not None}
    assert refused.keys() == {(b, k) for b in BITS for k in DIGITS if b > 4 or k == 5}
    assert refused[4, 5]["refusal"].startswith("Weights of 5 digits need as many strengths (the core has 4)")
    assert refused[8, "auto"]["refusal"].startswith("Activations of 8 bits need payloads of 9 bits")
    for row in refused.values():
        assert all(row[key] is None for key in EXPLORATION_KEYS[3:])


def test_without_labels_there_is_agreement_and_no_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exploration, "BITS", (8,))
    monkeypatch.setattr(exploration, "DIGITS", (3,))
    network = mlp(1)
    data = Dataset(name="t", x=calibration(network, n=9), y=None)
    (row,) = explore(network, data, core="medium", how="raw")
    assert (row["accuracy"], row["accuracy_difference"], row["pareto"]) == (None, None, True)
    assert row["agreement"] > 0
    assert set(row["digits_by_layer"].values()) == {3}


def test_every_setting_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exploration, "BITS", (8,))
    monkeypatch.setattr(exploration, "DIGITS", (2, "auto"))
    said: list[str] = []
    explore(mlp(1), dataset(mlp(1), n=8), core="medium", how="raw", progress=said.append)
    assert "setting 1 of 2: 8 bits, digits 2" in said
    assert any(text.startswith("setting 2 of 2: 8 bits, digits auto: trying ") for text in said)


@pytest.mark.parametrize(
    ("network", "targets", "code", "sentence"),
    [
        ("digits", ["loom"], "auto", r"would run in scatter-and-gather: choose --code graded, or leave "),
        ("mlp", ["loom"], "scatter-and-gather", r"would run in scatter-and-gather: choose --code graded, "),
        (
            "mlp",
            ["kuang2021"],
            "auto",
            r"on one cycle-exact target, not on kuang2021: choose --target loom, ",
        ),
        ("mlp", ["loom", "kuang2021"], "auto", r"target, not on loom, kuang2021: choose --target loom, "),
    ],
)
def test_what_cannot_be_explored_is_one_sentence(
    network: str, targets: list[str], code: str, sentence: str
) -> None:
    with pytest.raises(MappingError, match=sentence + r".*\.$"):
        check_exploration(load_network("digits") if network == "digits" else mlp(), targets, code)
