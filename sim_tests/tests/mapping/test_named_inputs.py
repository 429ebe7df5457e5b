# SPDX-License-Identifier: Apache-2.0
"""Data of networks with several inputs: an array for each, under its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from mapping.datasets.load import load_data, scaled
from mapping.model.evaluate import infer
from sim_tests.generators.two_inputs import two_input_model, two_inputs

SHAPES = [((2,), (2,)), ((3,), (5,)), ((2, 4, 3), (1, 4, 3)), ((2, 4, 3), (5,)), ((1, 2, 3), (1, 3, 2))]


@pytest.mark.parametrize("order", ["ab", "ba"])
@pytest.mark.parametrize(("first", "second"), SHAPES)
def test_every_input_gets_the_array_of_its_name(
    first: tuple[int, ...], second: tuple[int, ...], order: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    arrays = {name: rng.normal(size=(7, *shape)) for name, shape in (("a", first), ("b", second))}
    single = {name: values.astype(np.float32) for name, values in arrays.items()}
    labels = np.arange(7) % 3
    stored: dict[str, Any] = {name: single[name] for name in order} | {"y": labels}
    np.savez(tmp_path / "d.npz", **stored)
    data, _ = scaled(load_data(str(tmp_path / "d.npz")).part(2, 6), "auto", two_inputs(first, second))
    session = onnxruntime.InferenceSession(two_input_model(first, second).SerializeToString())
    wanted = session.run(None, {name: values[2:6] for name, values in single.items()})[0]
    np.testing.assert_allclose(infer(two_inputs(first, second), data.x), wanted, rtol=2e-6, atol=2e-6)
    assert data.y is not None
    assert data.y.tolist() == labels[2:6].tolist()
    assert not data.parts


def test_bytes_of_all_inputs_are_pixels(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", a=np.full((2, 2), 255, np.uint8), b=np.zeros((2, 2), np.uint8))
    data, chosen = scaled(load_data(str(tmp_path / "d.npz")), "unit", two_inputs())
    assert (chosen, data.x.tolist()) == ("unit", [[1, 1, 0, 0]] * 2)
