# SPDX-License-Identifier: Apache-2.0
"""The two networks of Zou et al. 2021, Front. Neurosci. 15:694170, as shapes of layers on the chip.

Section 4.1 names the layers; the sizes of the maps are those that its core counts imply. The first layer of
either network (pixels to spikes) runs off chip and is not here, nor in the article's tables. The last layer
runs off chip too, but has a mapping in Tables 7 and 8.
"""

from dataclasses import replace

from mapping.targets.patches import LayerShape

__all__ = ["LENET", "NETWORKS", "SPIKES", "VGG", "layers", "strided_pool"]

SPIKES = (1, 2, 4)
"""Spikes of an activation, k_rep = B 2^k (Eq. 19), of the single-, two- and four-spike models."""


def _conv(name: str, size: int, depth: int, out: tuple[int, int], kernel: int) -> LayerShape:
    """Return a square convolution from (size, depth) to ``out``, again (size, depth)."""
    return LayerShape(
        name=name, kind="conv", input=(size, size, depth), output=(out[0], out[0], out[1]), kernel=kernel
    )


def strided_pool(name: str, size: int, depth: int) -> LayerShape:
    """Return a 2 x 2 pooling of stride 2."""
    half = size // 2
    return LayerShape(
        name=name, kind="pool", input=(size, size, depth), output=(half, half, depth), kernel=2, stride=2
    )


def _dense(name: str, size: int, depth: int, depth_out: int) -> LayerShape:
    """Return a dense layer."""
    return LayerShape(name=name, kind="fc", input=(size, size, depth), output=(1, 1, depth_out))


LENET = (
    _conv("16C5", 28, 16, (24, 16), 5),
    strided_pool("2P2 a", 24, 16),
    _conv("32C5", 12, 16, (8, 32), 5),
    strided_pool("2P2 b", 8, 32),
    _dense("256FC", 4, 32, 256),
    _dense("10FC", 1, 256, 10),
)
"""LeNet for images of 28 x 28."""

VGG = (
    _conv("64C3 a", 24, 64, (24, 64), 3),
    _conv("64C3 b", 24, 64, (24, 64), 3),
    strided_pool("2P2 a", 24, 64),
    _conv("128C3 a", 12, 64, (12, 128), 3),
    _conv("128C3 b", 12, 128, (12, 128), 3),
    strided_pool("2P2 b", 12, 128),
    _conv("256C3 a", 6, 128, (6, 256), 3),
    _conv("256C3 b", 6, 256, (6, 256), 3),
    strided_pool("2P2 c", 6, 256),
    _conv("512C3 a", 3, 256, (3, 512), 3),
    _conv("512C3 b", 3, 512, (1, 512), 3),
    _dense("10FC", 1, 512, 10),
)
"""VGG-Net for images of 24 x 24."""

NETWORKS = {"lenet": LENET, "vgg": VGG}


def layers(network: str, spikes: int) -> tuple[LayerShape, ...]:
    """Return the layers of a network of which every activation has so many spikes."""
    return tuple(replace(shape, source_levels=spikes, levels=spikes) for shape in NETWORKS[network])
