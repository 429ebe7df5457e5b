# SPDX-License-Identifier: Apache-2.0
"""The layers of a spiking network as the closed form of Kuang et al. wants them."""

from mapping.kuang import LayerShape
from mapping.spiking import SpikingNetwork

__all__ = ["layer_shapes"]


def _shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    channels, height, width = shape if len(shape) == 3 else (shape[0], 1, 1)
    return height, width, channels


def layer_shapes(spiking: SpikingNetwork) -> list[LayerShape]:
    """Return the layers on the chip as the closed form wants them; a max-pool is a layer of its own there."""
    shapes = []
    for layer in spiking.layers:
        size = layer.source_shape
        for number, pool in enumerate(layer.pools):
            _, height, width = size
            top, left, bottom, right = pool.pads
            rows = (height + top + bottom - pool.kernel[0]) // pool.stride[0] + 1
            columns = (width + left + right - pool.kernel[1]) // pool.stride[1] + 1
            after = (size[0], rows, columns)
            name = f"{layer.name}.pool{number}"
            shapes.append(
                LayerShape(
                    name=name,
                    kind="pool",
                    input=_shape(size),
                    output=_shape(after),
                    kernel=pool.kernel,
                    stride=pool.stride,
                )
            )
            size = after
        if layer.kind == "dense":
            shapes.append(
                LayerShape(name=layer.name, kind="fc", input=_shape(size), output=_shape(layer.output_shape))
            )
        else:
            window = (layer.weight.shape[2], layer.weight.shape[3])
            shapes.append(
                LayerShape(
                    name=layer.name,
                    kind="conv",
                    input=_shape(size),
                    output=_shape(layer.output_shape),
                    kernel=window,
                    stride=layer.stride,
                )
            )
    return shapes
