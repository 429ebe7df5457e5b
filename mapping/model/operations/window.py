# SPDX-License-Identifier: Apache-2.0
"""Windows of a padded map: how many there are, and how many elements of the map they meet."""

from collections.abc import Sequence

import numpy as np

from mapping.model.node import Node, Shape
from mapping.model.operations.operation import misfit

__all__ = ["convolved", "window_shape"]


def window_shape(
    node: Node, shape: Shape, kernel: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int]:
    """Return how many windows of a kernel a map (C, H, W) has from top to bottom and from left to right."""
    stride, (top, left, bottom, right) = node.pair("stride"), node.pads()
    if min(kernel + stride + dilation) < 1 or min(top, left, bottom, right) < 0:
        raise misfit(node, "has a kernel, stride or dilation below 1 or a negative pad")
    sizes = []
    for size, pad, k, s, d in zip(
        shape[1:], (top + bottom, left + right), kernel, stride, dilation, strict=True
    ):
        span = size + pad - (k - 1) * d - 1
        if span < 0:
            raise misfit(node, f"has a kernel larger than its padded input of shape {shape}")
        sizes.append(span // s + 1)
    return sizes[0], sizes[1]


def convolved(
    weight: Sequence[int],
    sizes: Sequence[int],
    *,
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: tuple[Sequence[int], Sequence[int]],
) -> int:
    """Return the multiply-adds of a convolution, without those of its padding.

    Parameters
    ----------
    weight : sequence of int
        Shape of the weights: outputs, inputs of a group, kernel.
    sizes : sequence of int
        Sizes of the input behind its channels; ``stride``, ``dilation`` and ``pads``, the elements added
        before and behind, have one number for each.
    """
    met: int = weight[0] * weight[1]
    for size, k, s, d, begin, end in zip(sizes, weight[2:], stride, dilation, *pads, strict=True):
        starts = np.arange(-begin, size + end - (k - 1) * d, max(1, s))
        places = starts[:, None] + np.arange(k) * d
        met *= int(((places >= 0) & (places < size)).sum())
    return met
