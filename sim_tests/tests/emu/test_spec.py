# SPDX-License-Identifier: Apache-2.0
"""Sizes: every rule, its message, and the formulas of the widths."""

import re
import subprocess
import sys
from dataclasses import asdict, replace
from typing import Any

import pytest

from emu.spec import PRESETS, CoreSpec, SystemSpec, preset

TINY = asdict(PRESETS["tiny"]) | {"ladder": False, "signed_ladder": False, "sum_bits": 0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axons": 1}, "axons must be 2..4096, not 1."),
        ({"axons": 4097}, "axons must be 2..4096, not 4097."),
        ({"columns": 4}, "columns must be 8..4096, not 4."),
        ({"lanes": 12}, "lanes must be 8, 16, 32, 64 or 128, not 12."),
        ({"columns": 24}, "columns must be a power of two times the 8 lanes, not 24."),
        ({"columns": 33}, "columns must be a power of two times the 8 lanes, not 33."),
        ({"payload_bits": 10}, "payload_bits must be 2..9, not 10."),
        ({"potential_bits": 7}, "potential_bits must be 8..32, not 7."),
        ({"strengths": 9}, "strengths must be 1..8, not 9."),
        ({"thresholds": 1}, "thresholds must be a multiple of 4, 4..65536, not 1."),
        ({"fanouts": 65537}, "fanouts must be 2..65536, not 65537."),
        ({"schedule": 257}, "schedule must be 2..256, not 257."),
    ],
)
def test_core_spec_outside_limit(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        CoreSpec(**TINY | change)
    assert str(caught.value) == message


LIMITS = {
    "axons": (2, 4096),
    "columns": (8, 4096),
    "payload_bits": (2, 9),
    "potential_bits": (8, 32),
    "strengths": (1, 8),
    "fanouts": (2, 65536),
    "schedule": (2, 256),
    "profiles": (2, 256),
    "gateway_axons": (0, 1 << 24),
}


@pytest.mark.parametrize("name", LIMITS)
def test_core_spec_at_and_outside_each_limit(name: str) -> None:
    low, high = LIMITS[name]
    for value in (low, high):
        assert getattr(CoreSpec(**TINY | {name: value}), name) == value
    for value in (low - 1, high + 1):
        with pytest.raises(ValueError, match=rf"^{name} must be {low}\.\.{high}, not {value}\.$"):
            CoreSpec(**TINY | {name: value})


@pytest.mark.parametrize("value", [0, 2, 6, 65537, 65540])
def test_thresholds_fill_words_of_four(value: int) -> None:
    with pytest.raises(ValueError, match=rf"^thresholds must be a multiple of 4, 4\.\.65536, not {value}\.$"):
        CoreSpec(**TINY | {"thresholds": value})
    assert [CoreSpec(**TINY | {"thresholds": t}).thresholds for t in (4, 65536)] == [4, 65536]


@pytest.mark.parametrize("lanes", [4, 8, 16, 32, 64, 128])
def test_lanes_are_a_power_of_two(lanes: int) -> None:
    sizes = TINY | {"lanes": lanes, "columns": 128}
    if lanes >= 8:
        assert CoreSpec(**sizes).words == 128 // lanes
    else:
        with pytest.raises(ValueError, match=rf"^lanes must be 8, 16, 32, 64 or 128, not {lanes}\.$"):
            CoreSpec(**sizes)


def test_system_spec_at_its_limits() -> None:
    for width, height in ((1, 1), (512, 512)):
        assert SystemSpec(core=PRESETS["tiny"], width=width, height=height).cores == width * height


@pytest.mark.parametrize("size", [*range(1, 10), 15, 16, 17, 31, 32, 33, 63, 64, 65, 511, 512])
def test_coordinates_of_the_last_core_and_of_the_gateway_fit(size: int) -> None:
    spec = SystemSpec(core=PRESETS["tiny"], width=size, height=size)
    assert spec.x_bits == max(1, (size - 1).bit_length())
    assert spec.y_bits == spec.gateway[1].bit_length()


@pytest.mark.parametrize("value", [1.0, True, "32"])
def test_core_spec_not_integer(value: Any) -> None:
    with pytest.raises(TypeError) as caught:
        CoreSpec(**TINY | {"axons": value})
    assert str(caught.value) == f"axons must be an integer, not {value!r}."


@pytest.mark.parametrize("value", [1.0, "2", True, None])
def test_system_spec_not_integer(value: Any) -> None:
    with pytest.raises(TypeError) as caught:
        SystemSpec(core=CoreSpec(**TINY), width=value, height=2)
    assert str(caught.value) == f"width must be an integer, not {value!r}."


@pytest.mark.parametrize(
    ("width", "height", "message"),
    [(0, 1, "width must be 1..512, not 0."), (1, 513, "height must be 1..512, not 513.")],
)
def test_system_spec_outside_limit(width: int, height: int, message: str) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        SystemSpec(core=PRESETS["tiny"], width=width, height=height)
    assert str(caught.value) == message


def test_flit_is_as_wide_as_a_word_at_most() -> None:
    core = replace(PRESETS["reference"], gateway_axons=1 << 14)
    assert SystemSpec(core=core, width=512, height=512).flit_bits == 64  # chips of 8 x 8, 64 x 64 of them
    with pytest.raises(ValueError, match="flit_bits") as caught:
        SystemSpec(core=replace(core, gateway_axons=1 << 15), width=512, height=512)
    assert str(caught.value) == (
        "flit_bits must be at most 64 (a smaller mesh or fewer gateway_axons), not 65."
    )
    assert SystemSpec(core=replace(core, gateway_axons=1 << 15), width=512, height=511).flit_bits == 63


def test_system_spec_round_trip() -> None:
    spec = SystemSpec(core=PRESETS["small"], width=3, height=2)
    assert SystemSpec.from_dict(spec.to_dict()) == spec
    with pytest.raises(TypeError):
        SystemSpec.from_dict(spec.to_dict() | {"depth": 1})


def test_widths_of_tiny_core() -> None:
    core = PRESETS["tiny"]
    # 32 axons x 8 = 256 needs 9 digits and a sign; 4 strengths x 2^11 x 2^9 = 2^22 needs 23 and a sign.
    assert (core.sum_bits, core.drive_bits, core.threshold_bits) == (10, 24, 13)
    assert (core.payload_min, core.payload_max, core.potential_min, core.potential_max) == (
        -8,
        7,
        -2048,
        2047,
    )
    assert (core.never, core.always, core.words, core.axon_bits) == (2048, -2048, 4, 5)
    assert (core.data_bits, core.flit_axon_bits) == (16, 12)


def test_gateway_coordinates_fit() -> None:
    spec = SystemSpec(core=PRESETS["tiny"], width=1, height=3)
    assert spec.gateway == (0, 3)
    assert spec.gateway[1] < 1 << spec.y_bits


def test_preset_unknown() -> None:
    with pytest.raises(ValueError, match="Core preset") as caught:
        preset("huge")
    assert (
        str(caught.value) == "Core preset must be one of tiny, small, medium, reference, article, not 'huge'."
    )


def test_import_without_compiler() -> None:
    code = "import sys, emu, emu.spec, emu.words, emu.image, emu.trace; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_public_names_resolve() -> None:
    import emu

    assert all(getattr(emu, name) is not None for name in emu.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        emu.nothing  # noqa: B018


@pytest.mark.parametrize(("axons", "bits"), [(0, 12), (4096, 12), (4097, 13), (1 << 24, 24)])
def test_gateway_axons_widen_a_flit_only_where_they_must(axons: int, bits: int) -> None:
    core = replace(PRESETS["tiny"], gateway_axons=axons)
    assert (core.flit_axon_bits, core.data_bits) == (bits, bits + 4)


def test_sizes_survive_as_plain_data() -> None:
    for core in PRESETS.values():
        wide = SystemSpec(core=replace(core, gateway_axons=5000), width=2, height=1)
        assert SystemSpec.from_dict(wide.to_dict()) == wide


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sum_bits": 3}, "sum_bits must be 0 or 5..32, not 3."),
        ({"sum_bits": 33}, "sum_bits must be 0 or 5..32, not 33."),
        ({"max_extension": 3}, "max_extension must be a power of two, 1..4 (columns / lanes), not 3."),
        ({"max_extension": 8}, "max_extension must be a power of two, 1..4 (columns / lanes), not 8."),
        ({"ladder": False}, "signed_ladder must be false without ladder, not True."),
        (
            {"payload_bits": 7, "potential_bits": 13},
            "potential_bits must be at least twice the 7 payload bits with a ladder, not 13.",
        ),
        ({"refractory_bits": 1}, "refractory_bits must be 0 or 2..8, not 1."),
        ({"refractory_bits": 9}, "refractory_bits must be 0 or 2..8, not 9."),
        ({"profiles": 1}, "profiles must be 2..256, not 1."),
    ],
)
def test_options_outside_a_limit(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        replace(PRESETS["tiny"], **change)  # type: ignore[arg-type]


def test_extended_axons_have_a_limit() -> None:
    core = PRESETS["article"]
    with pytest.raises(ValueError, match=r"^axons x max_extension must be 1\.\.131072, not 131136\.$"):
        replace(core, axons=2049)


def test_an_option_is_true_or_false() -> None:
    with pytest.raises(TypeError, match=r"^ladder must be true or false, not 1\.$"):
        replace(PRESETS["tiny"], ladder=1)  # type: ignore[arg-type]


def test_more_gateway_axons_than_a_flit_ever_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^gateway_axons must be 0\.\.16777216, not 16777217\.$"):
        replace(PRESETS["tiny"], gateway_axons=(1 << 24) + 1)
