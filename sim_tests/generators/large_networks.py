# SPDX-License-Identifier: Apache-2.0
"""Large spiking networks without training: the shapes of known ones, random weights, for the mapper."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from mapping.model.network import Network
from mapping.reproduce.networks import NETWORKS
from mapping.spiking.digits import largest_weight, strengths_of
from mapping.spiking.network import INPUT, TERNARY, Source, SpikingLayer, SpikingNetwork
from mapping.spiking.quantisers import Ladders, Lists, Quantiser
from mapping.targets.patches import LayerShape

__all__ = ["LARGE", "mobilenet", "residual", "vgg"]

_PAYLOAD_BITS = 9
"""Of the core that the ladders are for."""

_Shape = tuple[int, int, int]


@dataclass(kw_only=True)
class _Builder:
    """Collect layers; ``strengths`` and ``levels`` are those of every layer."""

    shape: _Shape
    strengths: tuple[int, ...]
    levels: int
    seed: int = 0

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.layers: dict[str, SpikingLayer] = {}

    def shape_of(self, name: str) -> tuple[int, ...]:
        return self.shape if name == INPUT else self.layers[name].output_shape

    def source(
        self, name: str, channels: int, kernel: int, *, stride: int = 1, pad: int = 0, groups: int = 1
    ) -> Source:
        """Return a convolution by random weights."""
        shape = self.shape_of(name)
        most = largest_weight(self.strengths)
        weight = self.random.integers(-most, most + 1, (channels, shape[0] // groups, kernel, kernel))
        return Source(
            name=name,
            shape=shape,
            input_shape=shape,
            weight=weight.astype(np.int16),
            stride=(stride, stride),
            pads=(pad, pad, pad, pad),
            groups=groups,
            high=self.levels,
        )

    def skip(self, name: str) -> Source:
        """Return a source that adds every element to the output in its place."""
        shape = self.shape_of(name)
        weight = np.full((shape[0], 1, 1, 1), largest_weight(self.strengths) // 2, np.int16)
        return Source(
            name=name, shape=shape, input_shape=shape, weight=weight, groups=shape[0], high=self.levels
        )

    def dense(self, name: str, outputs: int) -> Source:
        """Return a dense matrix of random weights."""
        shape = self.shape_of(name)
        inputs, most = math.prod(shape), largest_weight(self.strengths)
        weight = self.random.integers(-most, most + 1, (outputs, inputs)).astype(np.int16)
        return Source(name=name, shape=shape, input_shape=(inputs,), weight=weight, high=self.levels)

    def add(self, name: str, *sources: Source) -> str:
        """Add a layer of these sources; return its name."""
        first = sources[0]
        rows, output = len(first.weight), (len(first.weight),)
        if first.kind == "conv":
            output += tuple(
                (size + 2 * first.pads[0] - first.weight.shape[2]) // first.stride[0] + 1
                for size in first.input_shape[1:]
            )
        fan_in = math.prod(first.weight.shape[1:])
        self.layers[name] = SpikingLayer(
            name=name,
            sources=sources,
            output_shape=output,
            quantiser=self._quantiser(rows, fan_in),
            strengths=self.strengths,
            levels=self.levels,
            activation=name,
            scale=1.0,
        )
        return name

    def _quantiser(self, rows: int, fan_in: int) -> Quantiser:
        spread = max(1, round(math.sqrt(fan_in) * largest_weight(self.strengths)))
        if self.strengths == TERNARY:
            steps = np.sort(self.random.integers(1, spread + 2, (rows, self.levels)), axis=1)
            return Lists(thresholds=steps.astype(np.int64))
        words = np.zeros((rows, 4), np.int64)
        words[:, 0] = self.random.integers(0, spread, rows)
        words[:, 1] = max(1, spread // 8) << 2 * _PAYLOAD_BITS
        return Ladders(words=words, payload_bits=_PAYLOAD_BITS)

    def network(self, name: str) -> SpikingNetwork:
        """Return the network, whose decoder reads the last layer."""
        return SpikingNetwork(
            name=name,
            network=Network(name=name, input=INPUT, output=INPUT, nodes=(), shapes={INPUT: self.shape}),
            encoder_output=INPUT,
            input_levels=self.levels,
            input_scale=1.0,
            layers=tuple(self.layers.values()),
            outputs=(next(reversed(self.layers)),),
            decoder_reads_input=False,
            host=(),
        )


def _article_source(b: _Builder, name: str, shape: LayerShape) -> Source:
    pad = ((shape.output[0] - 1) * shape.steps[0] + shape.window[0] - shape.input[0]) // 2
    return b.source(name, shape.output[2], shape.window[0], stride=shape.steps[0], pad=pad)


def vgg(digits: int = 1, *, seed: int = 0) -> SpikingNetwork:
    """Return the eleven convolutions of the VGG of Zou et al. 2021, pools as convolutions.

    One digit is ternary weights at four spikes, as in the article; more are the graded code of 8 bits.
    """
    shapes = NETWORKS["vgg"][:-1]
    first = shapes[0]
    size = (first.input[2], first.input[0], first.input[1])
    b = _Builder(shape=size, strengths=strengths_of(digits), levels=4 if digits == 1 else 255, seed=seed)
    name = INPUT
    for shape in shapes:
        name = b.add(shape.name, _article_source(b, name, shape))
    return b.network("vgg")


def residual(stages: tuple[int, ...], *, size: int = 32, blocks: int = 2, seed: int = 0) -> SpikingNetwork:
    """Return a ResNet in the graded code of 8 bits and five digits: ``blocks`` blocks of each width."""
    b = _Builder(shape=(3, size, size), strengths=strengths_of(5), levels=255, seed=seed)
    name = b.add("stem", b.source(INPUT, stages[0], 3, pad=1))
    for stage, channels in enumerate(stages):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            inner = b.add(f"stage{stage}.{block}.a", b.source(name, channels, 3, stride=stride, pad=1))
            straight = b.skip(name) if stride == 1 else b.source(name, channels, 1, stride=2)
            name = b.add(f"stage{stage}.{block}.b", b.source(inner, channels, 3, pad=1), straight)
    side = b.shape_of(name)[1]
    mean = b.add("mean", b.source(name, stages[-1], side, groups=stages[-1]))
    b.add("classes", b.dense(mean, 10))
    return b.network(f"resnet{2 + 2 * blocks * len(stages)}")


def mobilenet(size: int = 224, seed: int = 0) -> SpikingNetwork:
    """Return MobileNet (Howard et al. 2017) at full width in the graded code of 8 bits and five digits."""
    b = _Builder(shape=(3, size, size), strengths=strengths_of(5), levels=255, seed=seed)
    name = b.add("stem", b.source(INPUT, 32, 3, stride=2, pad=1))
    widths = (64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)
    for index, channels in enumerate(widths):
        before = b.shape_of(name)[0]
        stride = 2 if index in {1, 3, 5, 11} else 1
        deep = b.source(name, before, 3, stride=stride, pad=1, groups=before)
        name = b.add(f"point{index}", b.source(b.add(f"deep{index}", deep), channels, 1))
    mean = b.add("mean", b.source(name, widths[-1], b.shape_of(name)[1], groups=widths[-1]))
    b.add("classes", b.dense(mean, 1000))
    return b.network("mobilenet")


LARGE: Mapping[str, Callable[[], SpikingNetwork]] = MappingProxyType(
    {
        "resnet8": lambda: residual((16, 32, 64), blocks=1),
        "vgg": vgg,
        "vgg5": lambda: vgg(5),
        "resnet18": lambda: residual((64, 128, 256, 512)),
        "mobilenet": mobilenet,
    }
)
"""Name -> network, by size."""
