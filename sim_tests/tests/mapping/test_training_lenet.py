# SPDX-License-Identifier: Apache-2.0
"""The LeNet recipe: its network, its three activations, and that a seed gives the same file."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper

import mapping.training.lenet
from mapping.chip import Chip
from mapping.codes.convert import convert
from mapping.datasets.idx import load_idx_pair
from mapping.errors import MappingError
from mapping.flow import compile_network
from mapping.model.evaluate import infer
from mapping.model.importers.onnx import load_onnx, network_from_onnx
from mapping.spiking.quantisers import Lists
from mapping.spiking.simulate import compare
from mapping.training import LENET_RECIPE, LENET_TERNARY, SPIKES, build_lenet, move, quantise, train_lenet
from mapping.training.quantisation import write_model
from sim_tests.referees import lenet_table

Array = npt.NDArray[Any]

SHAPES = {
    "host": (16, 1, 5, 5),
    "conv1": (16, 16, 5, 5),
    "pool1": (16, 16, 2, 2),
    "conv2": (32, 16, 5, 5),
    "pool2": (32, 32, 2, 2),
    "dense": (256, 512),
    "out": (10, 256),
}
MAPS = [(16, 24, 24), (16, 12, 12), (32, 8, 8), (32, 4, 4), (256,)]


def _torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'spikeloom[train]'")


def _parameters(rng: np.random.Generator) -> dict[str, Array]:
    result: dict[str, Array] = {"out.bias": rng.normal(size=10)}
    for name, shape in SHAPES.items():
        ternary = rng.integers(-1, 2, shape) * 0.25
        result[f"{name}.weight"] = ternary if name in LENET_TERNARY else rng.normal(size=shape)
        fan_in = np.prod(shape[1:])
        result[f"{name}.gamma"] = rng.choice([-1.0, 1.0], shape[0])
        result[f"{name}.beta"] = rng.normal(0.5, 0.2, shape[0])
        result[f"{name}.mean"] = rng.normal(0, 0.1, shape[0])
        result[f"{name}.variance"] = rng.uniform(0.02, 0.04, shape[0]) * fan_in
    return {name: a.astype(np.float32) for name, a in result.items()}


def _random_model(spikes: int) -> onnx.ModelProto:
    return build_lenet(_parameters(np.random.default_rng(5)), spikes=spikes, notes={"task": "test"})


def _write_mnist(folder: Path, *, train: int = 64, test: int = 20, size: int = 28) -> Path:
    rng = np.random.default_rng(9)
    for prefix, count in (("train", train), ("t10k", test)):
        x, y = rng.integers(0, 256, (count, size, size)), rng.integers(0, 10, count)
        for name, values in ((f"{prefix}-images-idx3-ubyte", x), (f"{prefix}-labels-idx1-ubyte", y)):
            header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
            (folder / name).write_bytes(header + values.astype(np.uint8).tobytes())
    return folder


@pytest.fixture
def small_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of few random images, and room among them for one batch beside the validation part."""
    monkeypatch.setattr(mapping.training.lenet, "VALIDATION_IMAGES", 32)
    monkeypatch.setattr(mapping.training.lenet, "LENET_RECIPE", replace(LENET_RECIPE, batch=32, epochs=1))
    folder = tmp_path / "data"
    folder.mkdir()
    return _write_mnist(folder)


@pytest.mark.parametrize(
    ("spikes", "x", "y"),
    [
        (1, [-1.0, 0.4999, 0.5, 1.4, 9.0], [0.0, 0.0, 1.0, 1.0, 1.0]),
        (2, [-1.0, 0.4999, 0.5, 1.4999, 1.5, 9.0], [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]),
        (4, [-1.0, 0.2499, 0.25, 0.75, 1.25, 1.75, 9.0], [0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.0]),
    ],
)
def test_quantise_has_the_steps_of_each_variant(spikes: int, x: list[float], y: list[float]) -> None:
    level, bound = SPIKES[spikes]
    assert bound * 2**level == spikes
    assert quantise(_torch().tensor(x), level=level, bound=bound).tolist() == y


@pytest.mark.parametrize(
    ("spikes", "passed"), [(1, [0, 1, 1, 0, 0]), (2, [0, 1, 1, 1, 0]), (4, [0, 1, 1, 1, 0])]
)
def test_quantise_passes_the_gradient_up_to_its_bound(spikes: int, passed: list[int]) -> None:
    level, bound = SPIKES[spikes]
    x: Any = _torch().tensor([-0.1, 0.0, 0.9, 1.9, 2.1], requires_grad=True)
    y: Any = quantise(x, level=level, bound=bound)
    y.sum().backward()
    assert x.grad.tolist() == passed


def test_network_is_that_of_the_article() -> None:
    model = _random_model(4)
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert {name: weights[f"{name}.weight"].shape for name in SHAPES} == SHAPES
    (source,) = model.graph.input
    dims = source.type.tensor_type.shape.dim
    assert (source.name, dims[0].dim_param, [d.dim_value for d in dims[1:]]) == ("input", "N", [1, 28, 28])
    attributes = {
        n.name: {a.name: list(a.ints) for a in n.attribute} for n in model.graph.node if n.op_type == "Conv"
    }
    assert {name: (a["strides"][0], a["pads"]) for name, a in attributes.items()} == {
        "host.sum": (1, [2, 2, 2, 2]),
        "conv1.sum": (1, [0, 0, 0, 0]),
        "pool1.sum": (2, [0, 0, 0, 0]),
        "conv2.sum": (1, [0, 0, 0, 0]),
        "pool2.sum": (2, [0, 0, 0, 0]),
    }


@pytest.mark.parametrize("spikes", SPIKES)
def test_model_states_its_activation(spikes: int) -> None:
    notes = {p.key: p.value for p in _random_model(spikes).metadata_props}
    level, bound = SPIKES[spikes]
    assert notes == {"task": "test", "B": str(bound), "k": str(level)}


@pytest.mark.parametrize("spikes", SPIKES)
def test_model_converts_with_five_layers_on_the_chip(spikes: int) -> None:
    spiking = convert(network_from_onnx(_random_model(spikes), name="lenet"))
    assert [layer.name for layer in spiking.layers] == [f"{name}.sum" for name in LENET_TERNARY]
    assert [layer.output_shape for layer in spiking.layers] == MAPS
    assert {layer.levels for layer in spiking.layers} == {spikes}
    assert spiking.host_layers == ("host.sum", "logits")
    comparison = compare(spiking, np.random.default_rng(1).integers(0, 256, (8, 1, 28, 28)) / 255)
    assert (comparison.images, comparison.differences) == (8, 0)


@pytest.mark.parametrize("spikes", SPIKES)
def test_training_network_equals_the_model_it_writes(spikes: int) -> None:
    torch = _torch()
    rng = np.random.default_rng(2)
    p = {key: torch.tensor(value) for key, value in _parameters(np.random.default_rng(5)).items()}
    x = rng.random((16, 1, 28, 28)).astype(np.float32)
    with torch.no_grad():
        logits = mapping.training.lenet._forward(torch, p, torch.tensor(x), spikes=spikes, training=False)
    truth = infer(network_from_onnx(_random_model(spikes), name="lenet"), x)
    # a float32 sum may fall on the other side of a threshold; most images meet none
    assert np.count_nonzero(np.abs(logits.numpy() - truth).max(axis=1) < 1e-3) >= 12


def test_move_by_nothing_returns_the_images() -> None:
    torch = _torch()
    still = replace(LENET_RECIPE, rotation=0, scale=0, shear=0, shift=0)
    images = torch.rand(5, 1, 28, 28)
    np.testing.assert_allclose(move(images, recipe=still).numpy(), images.numpy(), atol=1e-5)


def test_move_shifts_by_pixels() -> None:
    torch = _torch()
    images = torch.zeros(50, 1, 28, 28)
    images[:, 0, 14, 14] = 1.0
    moved = move(images, recipe=replace(LENET_RECIPE, rotation=0, scale=0, shear=0, shift=2)).numpy()
    ys, xs = np.nonzero(moved.sum(axis=(0, 1)) > 1e-6)
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (12, 16, 12, 16)
    np.testing.assert_allclose(moved.sum(axis=(1, 2, 3)), 1.0, atol=1e-4)


def test_training_is_seeded(small_mnist: Path, tmp_path: Path) -> None:
    _torch()

    def run(name: str, seed: int, say: Callable[[str], None] | None = None) -> str:
        return train_lenet(data=small_mnist, seed=seed, output=tmp_path / name, progress=say).digest

    lines: list[str] = []
    first = run("a.onnx", 3, lines.append)
    assert first == run("b.onnx", 3)
    assert first != run("c.onnx", 4)
    assert re.match(r"^epoch 1 of 1, loss \d", lines[0])
    assert lines[1].startswith("validation accuracy ")
    assert lines[2].startswith("test accuracy ")


def test_training_never_loads_the_test_part_before_the_file_is_written(
    small_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _torch()
    output = tmp_path / "a.onnx"
    calls: list[tuple[str, bool]] = []

    def spy(folder: Path, part: Any) -> Any:
        calls.append((part, output.exists()))
        return load_idx_pair(folder, part)

    monkeypatch.setattr(mapping.training.lenet, "load_idx_pair", spy)
    train_lenet(data=small_mnist, output=output)
    assert calls == [("train", False), ("test", True)]


def test_training_says_where_the_file_came_from(small_mnist: Path, tmp_path: Path) -> None:
    _torch()
    result = train_lenet(data=small_mnist, spikes=2, seed=7, output=tmp_path / "a.onnx")
    notes = {p.key: p.value for p in onnx.load(result.path).metadata_props}
    assert notes == {
        "task": "mnist",
        "input": "grey levels / 255",
        "seed": "7",
        "recipe": str(LENET_RECIPE.version),
        "command": "spikeloom train lenet --spikes 2 --seed 7",
        "B": "2",
        "k": "0",
    }


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"spikes": 3}, "The number of spikes is 3; give 1, 2 or 4."),
        ({"seed": -1}, "The training seed is -1; give an integer of 0 or more."),
        ({"epochs": 0}, "The number of training epochs is 0; give an integer of 1 or more."),
    ],
)
def test_training_refuses_bad_arguments(arguments: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        train_lenet(data=tmp_path, output=tmp_path / "a.onnx", **arguments)


def test_training_refuses_an_output_without_folder(tmp_path: Path) -> None:
    output = tmp_path / "none" / "a.onnx"
    text = f"The folder of the output {output} does not exist: create it or name another."
    with pytest.raises(MappingError, match=f"^{re.escape(text)}$"):
        train_lenet(data=tmp_path, output=output)


@pytest.mark.parametrize(("train", "size"), [(64, 28), (5001, 8)])
def test_training_refuses_other_images(train: int, size: int, tmp_path: Path) -> None:
    _torch()
    _write_mnist(tmp_path, train=train, size=size)
    text = (
        f"The train images in {tmp_path} must be at least 5001 of 28 x 28 pixels, "
        f"not {train} of {size} x {size}: name the folder of MNIST."
    )
    with pytest.raises(MappingError, match=f"^{re.escape(text)}$"):
        train_lenet(data=tmp_path, output=tmp_path / "a.onnx")


def test_table_compares_network_and_chip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.onnx"
    write_model(path, _random_model(2))
    assert lenet_table.main(["--data", str(_write_mnist(tmp_path)), str(path)]) == 0
    digest, _, correct, network, chip, *table = capsys.readouterr().out.splitlines()
    assert digest == f"a.onnx sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
    values = sum(int(np.prod(shape)) for shape in MAPS)
    assert correct.endswith("in float64")
    assert network == f"  0 of {20 * (values + 10)} values of the network differ from the float network"
    assert chip == f"  0 of {20 * values} values on the chip differ from the network"
    assert "\n".join(table[:2]) == lenet_table.HEAD
    assert table[2].startswith("| 2 | ")
    assert "/ 109 |" in table[2]


def _other_network(chip: Chip) -> Chip:
    layer = chip.spiking.layers[0]
    wrong = replace(layer, quantiser=Lists(thresholds=layer.edges + 1))
    return replace(chip, spiking=replace(chip.spiking, layers=(wrong, *chip.spiking.layers[1:])))


def _other_image(chip: Chip) -> Chip:
    at = next(i for i, core in enumerate(chip.image.cores) if core is not None)
    cores = list(chip.image.cores)
    core = cores[at]
    assert core is not None
    cores[at] = replace(core, bias=core.bias + 1)
    return replace(chip, image=replace(chip.image, cores=tuple(cores)))


@pytest.mark.parametrize(
    ("fault", "where"), [(_other_network, "values of the network"), (_other_image, "values on the chip")]
)
def test_table_finds_a_planted_fault(
    fault: Callable[[Chip], Chip],
    where: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def faulty(*arguments: Any, **options: Any) -> Chip:
        return fault(compile_network(*arguments, **options))

    monkeypatch.setattr(lenet_table, "compile_network", faulty)
    write_model(tmp_path / "a.onnx", _random_model(2))
    assert lenet_table.main(["--data", str(_write_mnist(tmp_path)), str(tmp_path / "a.onnx")]) == 1
    line = next(line for line in capsys.readouterr().out.splitlines() if where in line)
    assert not line.startswith("  0 of")


@pytest.mark.long
def test_training_for_two_epochs_reaches_97_percent_and_converts_exactly(
    data_dir: Path, tmp_path: Path
) -> None:
    _torch()
    result = train_lenet(data=data_dir / "mnist", epochs=2, output=tmp_path / "a.onnx")
    assert result.validation_accuracy >= 0.97
    assert result.test_accuracy >= 0.97
    x, _ = load_idx_pair(data_dir / "mnist", "test")
    comparison = compare(convert(load_onnx(result.path)), x[:500, None] / 255)
    assert (comparison.images, comparison.differences) == (500, 0)
