# SPDX-License-Identifier: Apache-2.0
"""The networks of Zou et al. 2021 as ONNX models: the published shapes, random ternary weights, no training.

The first layer (pixels to spikes) and the last one are float and run on the host, as in the article.
"""

from dataclasses import replace

import numpy as np
import onnx
from numpy.typing import NDArray

from mapping.reproduce.networks import NETWORKS
from mapping.targets.patches import LayerShape
from sim_tests.generators.model_builder import ModelBuilder

__all__ = ["INPUTS", "article_model", "article_samples"]

INPUTS = {"lenet": (1, 28, 28), "vgg": (3, 24, 24)}
"""Shapes of one image, by network."""


def article_model(network: str, spikes: int, *, seed: int = 0, narrow: int = 1) -> onnx.ModelProto:
    """Return a network of `NETWORKS` whose activations have so many spikes.

    An activation is clip(floor(4 r + 1/2) / 4, 0, spikes / 4); a weight is -a, 0 or a with a such that the
    sums of a layer spread over its levels. All layers but the last have their channels divided by ``narrow``.
    """
    b = ModelBuilder(INPUTS[network], seed=seed)
    shapes = [_narrowed(shape, narrow, last=shape is NETWORKS[network][-1]) for shape in NETWORKS[network]]
    channels, first = INPUTS[network][0], shapes[0]
    kernel = 5 if network == "lenet" else 3
    x = b.conv("x", b.rng.normal(0, 0.3, (first.input[2], channels, kernel, kernel)), pads=[kernel // 2] * 4)
    x = b.quantise(x, 2, spikes / 4)
    for shape in shapes[:-1]:
        x = b.quantise(_layer(b, x, shape), 2, spikes / 4)
    return b.model(b.head(b.op("Flatten", x), shapes[-1].input[2], shapes[-1].output[2]))


def _narrowed(shape: LayerShape, by: int, *, last: bool) -> LayerShape:
    """Return a layer of which inputs and outputs have a part of their channels."""
    (height, width, depth), (rows, columns, outputs) = shape.input, shape.output
    own = outputs if last else outputs // by
    return replace(shape, input=(height, width, depth // by), output=(rows, columns, own))


def _layer(b: ModelBuilder, x: str, shape: LayerShape) -> str:
    """Add one layer without its activation; pooling is a convolution of stride 2, as in the article."""
    fan_in = shape.window[0] * shape.window[1] * shape.input[2]
    spread = 1.49 / np.sqrt(fan_in)  # no sum meets a threshold exactly
    if shape.kind == "fc":
        weight = b.rng.integers(-1, 2, (shape.output[2], fan_in)) * spread
        return b.dense(b.op("Flatten", x), weight, name=shape.name)
    weight = b.rng.integers(-1, 2, (shape.output[2], shape.input[2], *shape.window)) * spread
    covered = (shape.output[0] - 1) * shape.steps[0] + shape.window[0]
    pad = (covered - shape.input[0]) // 2
    return b.conv(x, weight, name=shape.name, strides=[*shape.steps], pads=[pad] * 4)


def article_samples(network: str, samples: int, *, seed: int = 1) -> NDArray[np.float32]:
    """Return random images (samples, *shape)."""
    return np.random.default_rng(seed).random((samples, *INPUTS[network])).astype(np.float32)
