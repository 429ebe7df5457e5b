# SPDX-License-Identifier: Apache-2.0
"""The sweep over options of onnxruntime's quantiser: what it counts, and the faults that it must find."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from mapping.model.importers.onnx import load_onnx
from sim_tests.generators.quantiser_options import NETWORKS, Option, inputs, options, quantised_by
from sim_tests.referees import int8_options
from sim_tests.referees.int8_options import NEAR, Row, farthest, main, row_of
from sim_tests.referees.int8_runtime import Runtime

pytest.importorskip("onnxruntime")

GIVEN = {option.name: option for option in options()}


@pytest.mark.parametrize(
    "name",
    [
        "QDQ, u8s8, per channel",
        "QDQ, DedicatedQDQPair",
        "QDQ, QuantizeBias=False",
        "QOperator, WeightSymmetric=False, s8, per channel",
        "QOperator, Percentile",
    ],
)
def test_option_gives_the_activations_of_onnxruntime(name: str, tmp_path: Path) -> None:
    row = row_of(GIVEN[name], tmp_path, samples=32, only=("LeNet", "MLP", "mobile"))
    assert (row.networks, row.differ, row.image, row.host) == (3, 0, 0, {})
    assert row.activations > 32 * 2000


def test_values_that_are_cut_off_behind_a_quantiser_are_integers_too(tmp_path: Path) -> None:
    """A `Relu` or a `Clip` of dequantised integers stands before an average."""
    option = GIVEN["QOperator, ActivationSymmetric"]
    row = row_of(option, tmp_path, samples=32, only=("residual", "normed", "mobile"))
    assert (row.networks, row.differ, row.image, row.host) == (3, 0, 0, {})


def test_layer_that_is_excluded_is_the_hosts_and_told(tmp_path: Path) -> None:
    row = row_of(GIVEN["QDQ, nodes_to_exclude=vote"], tmp_path, samples=8, only=("MLP",))
    assert (row.differ, row.image) == (0, 0)
    assert 0.05 < row.host["MLP"] < 0.06
    (why,) = row.why
    assert why == (
        "its weights are no small whole multiples of one number in each channel; quantise its weights to 8 "
        "bits"
    )
    assert row.told("vote").startswith("| vote | 1 | ")
    assert "| MLP 5.9% |" in row.told("vote")


def test_network_that_is_not_quantised_is_named(tmp_path: Path) -> None:
    row = row_of(GIVEN["QDQ, op_types_to_quantize=Conv"], tmp_path, samples=8, only=("MLP",))
    assert (row.networks, row.other) == (0, ["MLP"])
    assert "MLP: not quantised" in row.told("Conv")


def test_options_have_names_of_their_own() -> None:
    assert len(GIVEN) == len(list(options())) > 50


def model_of(option: Option, path: Path, network: str = "residual", n: int = 128) -> np.ndarray:
    model = NETWORKS[network]()
    x = inputs(model, n)
    quantised_by(option, model, x[:64], path)
    return x.astype(np.float64)


def test_first_differences_lie_half_way(tmp_path: Path) -> None:
    """With its optimisations off onnxruntime rounds a sum step by step, which differs half-way alone."""
    path = tmp_path / "m.onnx"
    x = model_of(GIVEN["QDQ, u8s8, per channel"], path)
    assert 0 < farthest(Runtime(path, optimised=False), load_onnx(path), x) < NEAR
    assert farthest(Runtime(path, optimised=True), load_onnx(path), x) == 0.0


def test_difference_before_a_relu_is_seen_in_the_sum(tmp_path: Path) -> None:
    """A sum of real numbers that a `Relu` follows differs half-way, what reads it anywhere."""
    path = tmp_path / "m.onnx"
    x = model_of(GIVEN["QDQ, op_types_to_quantize=Conv"], path, n=256)
    assert 0 < farthest(Runtime(path, optimised=False), load_onnx(path), x) < NEAR


def test_other_scale_is_far_from_half_way(tmp_path: Path) -> None:
    path, other = tmp_path / "m.onnx", tmp_path / "other.onnx"
    x = model_of(GIVEN["QDQ, u8s8, per channel"], path, n=16)
    model = onnx.load(path)
    scale = next(tensor for tensor in model.graph.initializer if tensor.name == "t3_scale")
    values = onnx.numpy_helper.to_array(scale) * np.float32(1.01)
    scale.CopyFrom(onnx.numpy_helper.from_array(values, scale.name))
    onnx.save(model, other)
    assert farthest(Runtime(path, optimised=True), load_onnx(other), x) > 0.1


@pytest.mark.parametrize(("far", "code"), [(NEAR / 2, 0), (0.3, 1)])
def test_table_ends_with_one_if_a_difference_is_not_half_way(
    far: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = Row(networks=1, activations=9, differ=2, image=4, farthest=far, host={"MLP": 0.5}, why=["so"])
    monkeypatch.setattr(int8_options, "row_of", lambda *_, **__: row)
    assert main(["--only", "QDQ, Entropy"]) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == f"| QDQ, Entropy | 1 | 9 | 2 | 4 | MLP 50.0% | {far:.1g} |"
    assert lines[-1] == "* so."
