# SPDX-License-Identifier: Apache-2.0
"""`spikeloom estimate`: targets that refuse, the article's patches, and what it says of its figures."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from mapping.report.keys import TARGET_KEYS
from mapping.reproduce.networks import NETWORKS
from sim_tests.generators.article_models import article_model, article_samples
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.referees.zou2021 import BETTER, CORES, MISPRINTED_CORES, STEPS
from spikeloom.cli import main

FINISHED = "Joules are modelled, not measured: counts times the table of 'spikeloom targets show NAME'."


def estimate(model: onnx.ModelProto, x: np.ndarray[Any, Any], folder: Path, *options: str) -> int:
    """Estimate a model on samples, with m.json in the folder; return the exit code."""
    onnx.save(model, folder / "m.onnx")
    np.savez(folder / "m.npz", x=x)
    files = [str(folder / "m.onnx"), "--data", str(folder / "m.npz"), "--json", str(folder / "m.json")]
    return main(["estimate", *files, *options])


def report(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "m.json").read_text(encoding="utf-8"))
    return result


def wide() -> tuple[onnx.ModelProto, np.ndarray[Any, Any]]:
    """Return a dense layer of 700 inputs with 31 levels, which needs more axons than kuang2021 has."""
    b = ModelBuilder((700,), seed=1)
    x = b.dense(b.quantise("x", 5, 31 / 32), b.ternary(20, 700), name="fc1")
    x = b.dense(b.quantise(x, 2, 31 / 4), b.ternary(10, 20), name="fc2")
    return b.model(b.quantise(x, 1, 1.5)), np.random.default_rng(2).random((3, 700)).astype(np.float32)


REFUSAL = (
    "Layer 'fc1' would run on the host because it needs 21700 axons for one output point but 18432 are "
    "allowed; use fewer inputs or fewer levels of its activations, or leave strict out."
)


@pytest.mark.parametrize("order", [("loom", "kuang2021"), ("kuang2021", "loom")])
def test_refusal_is_a_row_and_the_other_target_is_kept(
    order: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert estimate(*wide(), tmp_path, "--strict", "--target", "loom") == 0
    alone = report(tmp_path)["targets"]
    capsys.readouterr()
    assert estimate(*wide(), tmp_path, "--strict", "--target", order[0], "--target", order[1]) == 0
    parts = {part["target"]: part for part in report(tmp_path)["targets"]}
    assert tuple(parts) == order
    assert [parts["loom"]] == alone
    kuang = parts["kuang2021"]
    assert tuple(kuang) == TARGET_KEYS
    assert {key: value for key, value in kuang.items() if value is not None} == {
        "target": "kuang2021",
        "refusal": REFUSAL,
    }
    out, err = capsys.readouterr()
    assert f"Refused by kuang2021: {REFUSAL}\n{FINISHED}\n" in out
    assert "Layers on chip (loom)" in out
    assert "Layers on chip (kuang2021)" not in out
    assert err == ""


def test_one_target_that_refuses_ends_with_its_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert estimate(*wide(), tmp_path, "--strict", "--target", "kuang2021") == 2
    assert capsys.readouterr() == ("", f"spikeloom: {REFUSAL}\n")
    assert not (tmp_path / "m.json").exists()


def test_all_targets_that_refuse_for_one_reason_end_with_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["targets", "show", "kuang2021"]) == 0
    own = tmp_path / "own.toml"
    own.write_text(capsys.readouterr().out.replace('name = "kuang2021"', 'name = "mine"'), encoding="utf-8")
    flags = ["--strict", "--target", "kuang2021", "--target", str(own)]
    assert estimate(*wide(), tmp_path, *flags) == 2
    assert capsys.readouterr() == ("", f"spikeloom: {REFUSAL}\n")
    assert not (tmp_path / "m.json").exists()


def test_all_targets_that_refuse_end_with_all_sentences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--strict", "--core", "tiny", "--target", "kuang2021", "--target", "loom"]
    assert estimate(*wide(), tmp_path, *flags) == 2
    out, err = capsys.readouterr()
    said = f"Every target refuses the network: kuang2021: {REFUSAL[:-1]}; loom: No layer can run on the chip"
    assert err.startswith(f"spikeloom: {said}")
    assert out == ""
    assert not (tmp_path / "m.json").exists()


def test_mesh_of_a_target_that_no_chip_has_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["targets", "show", "loom"]) == 0
    own = tmp_path / "own.toml"
    own.write_text(capsys.readouterr().out.replace('mesh = "auto"', 'mesh = "600x4"'), encoding="utf-8")
    assert estimate(*wide(), tmp_path, "--target", str(own)) == 2
    told = "is impossible: The chip cannot be built: width must be 1..512, not 600.\n"
    expected = f"spikeloom: Section [geometry] of {own} {told}"
    assert capsys.readouterr() == ("", expected)


def test_network_with_one_output_has_no_class_to_agree_on(tmp_path: Path) -> None:
    b = ModelBuilder((4,))
    model = b.model(b.quantise(b.dense(b.quantise("x", 0, 3.0), b.ternary(1, 4), name="fc"), 0, 3.0))
    x = np.random.default_rng(4).uniform(0, 3, (3, 4)).astype(np.float32)
    assert estimate(model, x, tmp_path, "--target", "kuang2021") == 0
    assert report(tmp_path)["targets"][0]["agreement"] is None


def fan_in(layers: int) -> tuple[onnx.ModelProto, np.ndarray[Any, Any]]:
    """Return one or two dense layers; the first has 15000 inputs, and loom's cores hold those of 9216."""
    b = ModelBuilder((15000,), seed=1)
    x = b.dense(b.quantise("x", 0, 1), b.ternary(20, 15000), name="fc1")
    if layers == 2:
        x = b.dense(b.quantise(x, 0, 1), b.ternary(10, 20), name="fc2")
    x = b.quantise(x, 0, 1)
    return b.model(x), np.random.default_rng(2).random((3, 15000)).astype(np.float32)


@pytest.mark.parametrize(
    ("layers", "options", "refusal"),
    [
        (1, [], "No layer can run on the chip: layer 'fc1' cannot because it needs "),
        (2, ["--strict"], "Layer 'fc1' would run on the host because it needs "),
    ],
)
@pytest.mark.parametrize("order", [("loom", "kuang2021"), ("kuang2021", "loom")])
def test_target_without_a_layer_on_its_cores_is_a_row(
    layers: int, options: list[str], refusal: str, order: tuple[str, str], tmp_path: Path
) -> None:
    model = fan_in(layers)
    assert estimate(*model, tmp_path, *options, "--target", "kuang2021") == 0
    (alone,) = report(tmp_path)["targets"]
    assert estimate(*model, tmp_path, *options, "--target", order[0], "--target", order[1]) == 0
    parts = {part["target"]: part for part in report(tmp_path)["targets"]}
    assert tuple(parts) == order
    assert parts["kuang2021"] == alone
    assert parts["loom"]["refusal"].startswith(refusal)
    assert parts["loom"]["cores"] is None


def test_model_that_no_target_can_take_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    b = ModelBuilder((4,), seed=1)
    model = b.model(b.quantise("x", 0, 1))
    assert estimate(model, np.ones((2, 4), np.float32), tmp_path, "--target", "loom") == 2
    sentence = capsys.readouterr().err
    assert sentence.startswith("spikeloom: The model has no convolution and no dense layer")
    flags = ["--target", "loom", "--target", "kuang2021"]
    assert estimate(model, np.ones((2, 4), np.float32), tmp_path, *flags) == 2
    assert capsys.readouterr().err == sentence


@pytest.mark.parametrize(("network", "spikes"), list(CORES))
def test_article_patches_give_the_printed_cores_and_latencies(
    network: str, spikes: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = article_samples(network, 1)
    flags = ["--target", "kuang2021", "--patches", "article"]
    assert estimate(article_model(network, spikes), x, tmp_path, *flags) == 0
    (part,) = report(tmp_path)["targets"]
    printed, total, milliseconds = CORES[network, spikes]
    names = [shape.name for shape in NETWORKS[network][:-1]]
    cores, breakdown = dict(zip(names, printed, strict=True)), part["breakdown"]
    for (net, k, layer), (wrong, right) in MISPRINTED_CORES.items():
        if (net, k) == (network, spikes):  # the printed number contradicts the printed patch of the layer
            assert cores[layer] == wrong
            cores[layer], total = right, total - wrong + right
    assert (breakdown["cores"], breakdown["patches"]) == (cores, "article")
    assert (part["cores"], part["timesteps"]) == (total, STEPS[network, spikes])
    # The printed totals are sums of rows that were rounded to four digits first.
    assert part["latency_s"] * 1e3 == pytest.approx(milliseconds, abs=0.0006)
    assert f"│ {total:,} │".replace(" ", "") in capsys.readouterr().out.replace(" ", "")


def test_best_patches_need_no_more_cores_than_the_article(tmp_path: Path) -> None:
    model, x = article_model("lenet", 1), article_samples("lenet", 1)
    totals = {}
    for patches in ("best", "article"):
        assert estimate(model, x, tmp_path, "--target", "kuang2021", "--patches", patches) == 0
        totals[patches] = report(tmp_path)["targets"][0]["cores"]
    ((article, best),) = BETTER.values()
    assert totals["article"] - totals["best"] == article - best


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--patches", "article"],
            "Patches article are a choice of the target kuang2021: add it or leave the option out.",
        ),
        (
            ["--patches", "cores", "--target", "kuang2021"],
            "Patches must be best or article, not 'cores'.",
        ),
    ],
)
def test_patches_that_mean_nothing_are_refused(
    options: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert estimate(*wide(), tmp_path, *options) == 2
    assert capsys.readouterr() == ("", f"spikeloom: {sentence}\n")


def rounded() -> tuple[onnx.ModelProto, np.ndarray[Any, Any]]:
    """Return a model and inputs of which float32 and float64 see different sides of a threshold.

    In float32 x / 3 x 3 of the second sample rounds up to the next integer; in float64 it stays below.
    """
    b = ModelBuilder((2,), seed=0)
    x = b.op("Mul", "x", b.constant(1 / 3))
    x = b.quantise(b.op("Mul", x, b.constant(3.0)), 0, 3.0)
    x = b.quantise(b.dense(x, [[1.0, 0.0], [0.0, 1.0]], name="fc"), 0, 3.0)
    return b.model(x), np.array([[1.0, 2.0], [2.0, 2.5 - 1e-7]], np.float64)


def test_float32_differences_are_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert estimate(*rounded(), tmp_path) == 0
    found = report(tmp_path)["float32"]
    lines = [line for line in capsys.readouterr().out.splitlines() if "A float32 runtime" in line]
    assert found == {"compared": 8, "activations": 2, "answers": 1}
    told = "A float32 runtime gives another count for 2 of 8 activations and another answer on 1 of 2 samples"
    assert lines == [f"{told}; the figures are those of float64."]


def test_no_line_where_float32_gives_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert estimate(*wide(), tmp_path, "--strict", "--target", "loom") == 0
    assert report(tmp_path)["float32"] | {"compared": 0} == {"compared": 0, "activations": 0, "answers": 0}
    assert "A float32 runtime" not in capsys.readouterr().out


def test_energy_is_called_modelled_and_its_static_share_stands_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.json"
    flags = ["--core", "small", "--samples", "5", "--target", "loom", "--target", "kuang2021"]
    assert main(["estimate", "digits", "--data", "digits", "--json", str(out), *flags]) == 0
    text = capsys.readouterr().out
    assert text.count("Joules are modelled") == 1
    for part in json.loads(out.read_text())["targets"]:
        share = part["breakdown"]["units"]["static"] / part["energy_j"]
        assert (part["energy_kind"], part["energy_static_share"]) == ("modelled", share)
        assert 0.05 < share < 1
        assert f"{100 * share:.2f} %" in next(line for line in text.splitlines() if "static share" in line)
        assert part["code"] == "scatter-and-gather"
        assert part["agreement"] == 1.0


def test_idle_share_is_clock_and_static_and_null_without_a_clock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.json"
    flags = ["--core", "small", "--samples", "5", "--target", "loom", "--target", "kuang2021"]
    assert main(["estimate", "digits", "--data", "digits", "--json", str(out), *flags]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "energy, idle share" in line)
    loom, kuang = json.loads(out.read_text())["targets"]
    units = loom["breakdown"]["units"]
    share = (units["clock"] + units["static"]) / loom["energy_j"]
    assert loom["energy_idle_share"] == pytest.approx(share, rel=1e-12)
    assert 0.5 < share < 0.7
    assert f"{100 * share:.2f} %" in line
    assert kuang["energy_idle_share"] is None


def test_every_table_tells_the_difference_to_float_and_its_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--samples", "20", "--bits", "2", "--digits", "1", "--json", str(tmp_path / "m.json")]
    assert main(["estimate", "digits-float", "--data", "digits", *flags]) == 0
    part = report(tmp_path)["targets"][0]
    told = {
        cells[0].strip(): cells[1].strip()
        for cells in re.findall(r"│ (.*?) │ (.*?) │", capsys.readouterr().out)
    }
    mean, low, high = (100 * part[f"accuracy_difference{end}"] for end in ("", "_low", "_high"))
    assert mean == pytest.approx(100 * (part["accuracy"] - part["ann_accuracy"]))
    assert low < min(mean, 0)
    assert high > 0
    assert told["difference of the two, points"] == f"{mean:+.2f}"
    assert told["its 95 % interval, in pairs"] == f"{low:+.2f} .. {high:+.2f}"
    assert told["samples"] == "20"
    assert told["agreement of the two"] == f"{100 * part['agreement']:.2f} %"
