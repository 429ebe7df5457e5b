# SPDX-License-Identifier: Apache-2.0
"""Windows of a map, read one value after the other."""

import numpy as np
import pytest

from mapping.model.operations.sums import windows


@pytest.mark.parametrize("stride", [(1, 1), (2, 3), (5, 1), (1, 6), (7, 9)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 0, 2, 1), (14, 0, 0, 18)])
def test_windows_are_those_of_the_definition(
    stride: tuple[int, int], dilation: tuple[int, int], pads: tuple[int, int, int, int]
) -> None:
    """Whatever lies in the padding is zero, also where it is larger than the map."""
    values = np.random.default_rng(0).normal(size=(2, 3, 5, 6))
    got = windows(values, (2, 3), stride=stride, pads=pads, dilation=dilation)
    sizes = [
        (5 + pads[0] + pads[2] - dilation[0] - 1) // stride[0] + 1,
        (6 + pads[1] + pads[3] - 2 * dilation[1] - 1) // stride[1] + 1,
    ]
    assert got.shape == (2, 3, *sizes, 2, 3)
    for (n, channel, row, column, i, j), value in np.ndenumerate(got):
        y = row * stride[0] + i * dilation[0] - pads[0]
        x = column * stride[1] + j * dilation[1] - pads[1]
        inside = 0 <= y < 5 and 0 <= x < 6
        assert value == (values[n, channel, y, x] if inside else 0.0)
