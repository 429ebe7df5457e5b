# SPDX-License-Identifier: Apache-2.0
"""Quantised functions with a valley, whose two sides are layers of their own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emu.spec import preset
from mapping.codes.choice import Request, code_of
from mapping.model.importers.onnx import load_onnx
from mapping.spiking.simulate import compare
from sim_tests.generators.integer_models import quantised, swish

pytest.importorskip("onnxruntime")


def test_each_side_of_a_valley_has_its_own_sums_of_more_inputs_than_a_row_too(tmp_path: Path) -> None:
    """A core of 16 axons reads 18 inputs by its extension."""
    x = 2 * np.random.default_rng(1).normal(size=(24, 2, 6, 6)).astype(np.float32)
    options = {"OpTypesToExcludeOutputQuantization": ["Conv"]}
    network = load_onnx(quantised(swish(), x, tmp_path / "model.onnx", ("QDQ", 0, 0), options))
    spiking = code_of(network).convert(network, Request(spec=replace(preset("medium"), axons=16)))
    assert (spiking.host_share, compare(spiking, x.astype(np.float64)).differences) == (0.0, 0)
