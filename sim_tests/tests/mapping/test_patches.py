# SPDX-License-Identifier: Apache-2.0
"""The layers that patches are cut from: what a shape must be, and every refusal."""

import pytest

from mapping.targets.patches import LayerShape, map_layer
from sim_tests.referees.zou2021 import layers

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
