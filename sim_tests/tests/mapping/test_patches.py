# SPDX-License-Identifier: Apache-2.0
"""The layers that patches are cut from: what a shape must be, and every refusal."""

import math
from typing import Any

import pytest

from mapping.reproduce.networks import layers
from mapping.targets.patches import LayerShape, map_layer, possible_patches

GOOD = {"name": "c", "kind": "conv", "input": (8, 8, 4), "output": (6, 6, 8), "kernel": 3, "stride": 1}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"kind": "deconv"}, ValueError, "Kind of layer 'c' must be conv, pool or fc, not 'deconv'."),
        ({"input": (8, 8.0, 4)}, TypeError, "Field input of layer 'c' must hold integers, not (8, 8.0, 4)."),
        ({"output": [6, 6, 8]}, TypeError, "Field output of layer 'c' must hold integers, not [6, 6, 8]."),
        ({"input": (8, 8)}, ValueError, "Field input of layer 'c' must be 3 sizes above zero, not (8, 8)."),
        ({"stride": 0}, ValueError, "Field stride of layer 'c' must be 2 sizes above zero, not 0."),
        ({"kernel": True}, TypeError, "Field kernel of layer 'c' must hold integers, not True."),
        (
            {"output": (6, 11, 8)},
            ValueError,
            "Output width of layer 'c' must be 6 to 10 for input width 8, kernel 3 and stride 1, not 11.",
        ),
        (
            {"output": (5, 6, 8)},
            ValueError,
            "Output height of layer 'c' must be 6 to 10 for input height 8, kernel 3 and stride 1, not 5.",
        ),
        (
            {"pads": (5, 5, 5, 5), "output": (15, 16, 8)},
            ValueError,
            "Output height of layer 'c' must be 16 to 16 for input height 8, kernel 3 and stride 1, not 15.",
        ),
        ({"levels": 0}, ValueError, "Field levels of layer 'c' must be 1 or more, not 0."),
        (
            {"source_levels": True},
            ValueError,
            "Field source_levels of layer 'c' must be 1 or more, not True.",
        ),
    ],
)
def test_layer_shape_refuses(change: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        LayerShape(**(GOOD | change))  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_map_layer_refuses_unknown_patches() -> None:
    with pytest.raises(ValueError, match=r"^Patches must be best or article, not 'cores'\.$"):
        map_layer(layers("vgg", 1)[0], patches="cores")  # type: ignore[arg-type]


def test_map_layer_takes_one_of_the_possible_patches_with_the_fewest_cores() -> None:
    for shape in layers("lenet", 2):
        possible = list(possible_patches(shape))
        assert map_layer(shape) in possible
        assert map_layer(shape).cores == min(patch.cores for patch in possible)


def grouped(groups: int, **options: Any) -> LayerShape:
    """A 3 x 3 convolution of 64 channels of 16 x 16 points in groups, of one spike."""
    return LayerShape(
        name="g", kind="conv", input=(16, 16, 64), output=(14, 14, 64), kernel=3, groups=groups, **options
    )


def test_depthwise_convolution_takes_the_channels_of_its_own_groups() -> None:
    """A core has 1152 axons and 1024 columns, an output point two columns.

    A patch of a whole map of 14 x 14 = 196 outputs reads 16 x 16 = 256 inputs of one channel: two channels
    take 392 of 512 points and 512 axons, a third does not fit. With extension f there are f x 1152 axons
    and 512 / f points, so no patch has more than 512 outputs: 64 x 196 / 512 = 24.5 cores at least.
    """
    found = map_layer(grouped(64))
    h, w, d = found.patch_out[1], found.patch_out[0], found.patch_out[2]
    assert found.patch_in[2] == d  # as many inputs as outputs, not all 64
    assert (h + 2) * (w + 2) * d <= 1152 * found.extension
    assert h * w * d * 2 * found.extension <= 1024
    assert found.cores == math.ceil(14 / h) * math.ceil(14 / w) * math.ceil(64 / d)
    by_hand = min(
        math.ceil(14 / y) * math.ceil(14 / x) * math.ceil(64 / c)
        for y in range(1, 15)
        for x in range(1, 15)
        for c in range(1, 65)
        for f in (1, 2, 4, 8, 16, 32, 64)
        if y * x * c * f <= 512 and (y + 2) * (x + 2) * c <= 1152 * f
    )
    assert found.cores == by_hand < map_layer(grouped(1)).cores


@pytest.mark.parametrize("groups", [2, 4, 8, 16, 32])
def test_grouped_convolution_holds_whole_groups_or_a_part_of_one(groups: int) -> None:
    found, each = map_layer(grouped(groups)), 64 // groups
    d = found.patch_out[2]
    held = max(1, d // each)
    assert d <= each or d % each == 0
    assert found.patch_in[2] == held * each
    assert found.patches[2] == (math.ceil(groups / held) if d >= each else groups * math.ceil(each / d))
    assert found.cores <= map_layer(grouped(1)).cores


def test_article_plan_takes_each_group_as_a_layer() -> None:
    one = LayerShape(name="g", kind="conv", input=(16, 16, 4), output=(14, 14, 4), kernel=3)
    assert map_layer(grouped(16), patches="article").cores == 16 * map_layer(one, patches="article").cores


def test_groups_must_divide_the_channels() -> None:
    with pytest.raises(ValueError, match="Groups of layer 'g' must divide its channels 64 and 64, not 3"):
        grouped(3)
