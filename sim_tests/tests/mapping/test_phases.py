# SPDX-License-Identifier: Apache-2.0
"""Maps woven of several: transposed convolutions, channels moved to space; in onnxruntime and on the chip."""

from collections.abc import Callable

import numpy as np
import pytest

from mapping.chip import Chip
from mapping.errors import UnsupportedModelError
from mapping.flow import compile_network
from mapping.model.evaluate import infer
from mapping.model.network import Network
from sim_tests.generators.model_builder import ModelBuilder
from sim_tests.tests.mapping.test_importer import assert_same
from sim_tests.tests.mapping.test_transposed import FORMS, built

SHAPE = (8, 4, 6)

Build = Callable[[ModelBuilder], str]


@pytest.mark.parametrize("form", sorted(FORMS.keys() - {"three axes"}))
def test_transposed_convolution_is_one_convolution(form: str) -> None:
    b, y = built(form, bias=False)
    made = [node.op for node in b.network(y).nodes if node.op != "Reshape"]
    assert made in (["Conv"], ["Conv", "Take"], ["Conv", "Permute"])


def test_volumes_stay_the_hosts() -> None:
    b, y = built("three axes")
    assert [node.op for node in b.network(y).nodes] == ["Foreign"]


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("size", [1, 2])
def test_channels_move_to_space_as_in_onnxruntime(mode: str, size: int) -> None:
    b = ModelBuilder(SHAPE)
    assert_same(b.model(b.op("DepthToSpace", "x", blocksize=size, mode=mode)), SHAPE)


@pytest.mark.parametrize("size", [1, 2])
def test_space_moves_to_channels_as_in_onnxruntime(size: int) -> None:
    b = ModelBuilder(SHAPE)
    assert_same(b.model(b.op("SpaceToDepth", "x", blocksize=size)), SHAPE)


def decoder(b: ModelBuilder) -> str:
    """Return a network of a transposed convolution with all that usually follows it."""
    y = b.op("Relu", b.conv("x", b.rng.normal(0, 0.4, (4, 2, 3, 3)), strides=[2, 2], pads=[1] * 4))
    weight = b.constant(b.rng.normal(0, 0.4, (4, 3, 4, 4)))
    y = b.op("ConvTranspose", y, weight, b.constant([0.1, -0.2, 0.3]), strides=[2, 2], pads=[1] * 4)
    y = b.op("Relu", b.norm(y, 3))
    y = b.op("Relu", b.conv(y, b.rng.normal(0, 0.4, (4, 3, 3, 3)), strides=[2, 2]))
    return b.head(b.op("Flatten", y), 36)


def shuffle(b: ModelBuilder) -> str:
    """Return a network that moves pixels into channels and back."""
    y = b.op("SpaceToDepth", "x", blocksize=2)
    y = b.op("Relu", b.conv(y, b.rng.normal(0, 0.4, (8, 8, 3, 3)), pads=[1] * 4))
    y = b.op("DepthToSpace", y, blocksize=2, mode="CRD")
    y = b.op("Relu", b.conv(y, b.rng.normal(0, 0.4, (4, 2, 3, 3)), strides=[2, 2]))
    return b.head(b.op("Flatten", y), 36)


@pytest.mark.parametrize("build", [decoder, shuffle])
def test_network_lies_whole_on_the_chip_and_equals_the_unmapped_one(build: Build) -> None:
    b = ModelBuilder((2, 8, 8), seed=4)
    network: Network = b.network(build(b))
    x = b.rng.uniform(size=(64, 2, 8, 8))
    chip: Chip = compile_network(network, core="medium", samples=x)
    assert chip.spiking.host_share == 0
    real = infer(network, x)
    run = chip.run(x)
    assert np.abs(run.logits - real).max() < 0.05 * np.abs(real).max()
    assert (run.logits.argmax(axis=1) == real.argmax(axis=1)).mean() > 0.95


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (
            lambda b: b.op("ConvTranspose", "x", b.constant(np.ones((6, 1, 1, 1))), name="n"),
            (
                "Node 'n' (ConvTranspose) has weights of shape (6, 1, 1, 1) in 1 groups for an "
                "input of shape (8, 4, 6)."
            ),
        ),
        (
            lambda b: b.op("ConvTranspose", "x", b.constant(np.ones((8, 1, 1, 1))), name="n", strides=[0, 1]),
            "Node 'n' (ConvTranspose) has a stride or dilation below 1 or a negative output_padding.",
        ),
        (
            lambda b: b.op(
                "ConvTranspose", "x", b.constant(np.ones((8, 2, 1, 1))), b.constant(np.ones(3)), name="n"
            ),
            "Node 'n' (ConvTranspose) has a bias of shape (3,) and weights for 2 outputs.",
        ),
        (
            lambda b: b.op("DepthToSpace", "x", name="n", blocksize=3),
            "Node 'n' (DepthToSpace) has mode = 'DCR' and blocks of 3 x 3 for 8 channels.",
        ),
        (
            lambda b: b.op("SpaceToDepth", "x", name="n", blocksize=3),
            "Node 'n' (SpaceToDepth) has blocks of 3 x 3 on a map of 4 x 6.",
        ),
        (
            lambda b: b.op("SpaceToDepth", "x", name="n", blocksize=0),
            "Node 'n' (SpaceToDepth) has blocks of 0 x 0 for an input of shape (8, 4, 6).",
        ),
    ],
)
def test_what_does_not_fit_is_refused(build: Build, told: str) -> None:
    b = ModelBuilder(SHAPE)
    with pytest.raises(UnsupportedModelError) as error:
        b.network(build(b))
    assert str(error.value) == told
