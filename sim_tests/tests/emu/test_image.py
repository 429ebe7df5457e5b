# SPDX-License-Identifier: Apache-2.0
"""Images: every limit has its sentence, arrays cannot be changed, the digest sees the chip bytes only."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from emu.chunks import core_chunks
from emu.image import FIELDS, CoreImage, ImageError, SystemImage
from emu.spec import PRESETS, SystemSpec
from emu.words import TABLES, Control, Section, section_chunks, section_words
from sim_tests.generators.pool import PLAIN
from sim_tests.generators.systems import full_system, make_core, make_system, random_system

SPEC = SystemSpec(core=PRESETS["tiny"], width=2, height=1)
HERE = [0, 0, 0, 0, 1, 1]
ENTRY = tuple(c.name for c in TABLES[Section.SCHEDULE])
LADDER = [[0, 1 << 8, 0, 0]]


def core(**fields: Any) -> CoreImage:
    return make_core(**{"crossbar": np.ones((4, 3)), "fanout": [HERE]} | fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias": np.zeros((1, 3))}, "bias must have 1 dimensions, not 2."),
        ({"v0": np.zeros(2)}, "v0 must have one entry for each of the 3 neurons, not 2."),
        ({"crossbar": np.ones((4, 2))}, "crossbar must have 3 columns (neurons x strengths), not 2."),
        ({"pooled": np.zeros(3)}, "pooled must have one entry for each of the 4 axons, not 3."),
        ({"v0": np.zeros(4)}, "v0 must have one entry for each of the 3 neurons, not 4."),
        ({"pooled": np.zeros(5)}, "pooled must have one entry for each of the 4 axons, not 5."),
        ({"fanout": np.zeros((1, 5))}, "fanout must have 6 columns (x0, x1, y0, y1, axon, last), not 5."),
        (
            {"schedule": np.zeros((1, 8))},
            f"schedule must have 9 columns ({', '.join(ENTRY)}), not 8.",
        ),
        (
            {"profiles": np.zeros((1, 5))},
            (
                "profiles must have 6 columns (reset, emission, signed, refractory_period, potential_decay, "
                "current_kept), not 5."
            ),
        ),
        (
            {"ladders": np.zeros((1, 3))},
            "ladders must have 4 columns (first, step, offset, ties), not 3.",
        ),
        ({"extension": 0}, "extension must be at least 1, not 0."),
        ({"shifts": np.zeros(3)}, "shifts must have one entry for each of the 4 rows, not 3."),
        (
            {"shifts": np.zeros(4), "extension": 2},
            "shifts must have one entry for each of the 2 rows, not 4.",
        ),
        ({"current": np.zeros(2)}, "current must have one entry for each of the 3 neurons, not 2."),
        ({"refractory": np.zeros(4)}, "refractory must have one entry for each of the 3 neurons, not 4."),
        ({"profile": np.zeros(2)}, "profile must have one entry for each of the 3 neurons, not 2."),
    ],
)
def test_core_arrays_that_do_not_agree(change: dict[str, Any], message: str) -> None:
    good = core()
    with pytest.raises(ImageError) as caught:
        CoreImage(**{name: getattr(good, name) for name in CoreImage.__slots__} | change)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias": 2048}, "bias must be -2048..2047, not 2048."),
        ({"v0": -2049}, "v0 must be -2048..2047, not -2049."),
        ({"potential": 2048}, "potential must be -2048..2047, not 2048."),
        ({"thresholds": [2049]}, "threshold0 must be -2048..2048, not 2049."),
        ({"reset": 5}, "profile reset must be 0..4, not 5."),
        ({"emission": 3}, "profile emission must be 0..2, not 3."),
        ({"potential_decay": 4097}, "profile potential_decay must be 0..4096, not 4097."),
        ({"current_kept": -1}, "profile current_kept must be 0..4096, not -1."),
        ({"refractory_period": 8}, "profile refractory_period must be 0..7, not 8."),
        ({"refractory": 8}, "refractory must be 0..7, not 8."),
        ({"current": 2048}, "current must be -2048..2047, not 2048."),
        ({"shifts": [0, 0, 8, 0]}, "shift must be 0..7, not 8."),
        ({"strengths": [2048]}, "strengths must be -2048..2047, not 2048."),
        ({"fanout": [[0, 2, 0, 0, 1, 1]]}, "fan-out x1 must be 0..1, not 2."),
        ({"fanout": [[0, 0, 0, 2, 1, 1]]}, "fan-out y1 must be 0..1, not 2."),
        ({"fanout": [[0, 0, 0, 0, 4096, 1]]}, "fan-out axon must be 0..4095, not 4096."),
        ({"fanout": [[0, 0, 0, 0, 1, 2]]}, "fan-out last must be 0..1, not 2."),
        ({"fanout": [[0, 0, 0, 0, 1, 0]]}, "fanout_base must be 0..-1, not 0."),
        ({"fanout_base": 1}, "fanout_base must be 0..0, not 1."),
        ({"fanout_base": 64, "connected": False}, "fanout_base must be 0..63, not 64."),
        ({"threshold_base": 1}, "threshold_base must be 0..0, not 1."),
        ({"threshold_base": 1, "connected": False}, "threshold_base must be 0..0, not 1."),
        ({"schedule": [[0, 0, 1, 1, 1, 0, 1]]}, "schedule repeat must be 1..4095, not 0."),
        ({"schedule": [[1, 0, 1, 1, 2, 0, 1]]}, "schedule fire must be 0..1, not 2."),
        ({"schedule": [[1, 0, 1, 1, 1, 256, 1]]}, "schedule threshold_first must be 0..255, not 256."),
        (
            {"schedule": [[1, 0, 1, 1, 1, 0, 8]], "thresholds": range(8), "emission": 0},
            "threshold_count with count emission must be 0..7, not 8.",
        ),
        (
            {"schedule": [[1, 0, 1, 1, 1, 0, 2]], "thresholds": range(2), "fanout": [[0, 0, 0, 0, 4095, 1]]},
            "unary emission reaches axon 4096, more than a flit can name (4095).",
        ),
        (
            {"thresholds": np.zeros(129)},
            "129 thresholds are more than the 128 of the core; use a larger core or split the layer.",
        ),
        ({"schedule": np.zeros((0, 7))}, "a core needs at least one schedule entry."),
        (
            {"schedule": [[1, 0, 1, 0, 1, 0, 1]]},
            "a schedule entry integrates without update: its sums would be lost.",
        ),
        (
            {"thresholds": range(8), "threshold_base": 2, "schedule": [[1, 0, 1, 1, 1, 0, 4]]},
            (
                "a window of thresholds must begin at a multiple of 4 or lie within four of them: "
                "threshold_base 2 breaks this."
            ),
        ),
        ({"emission": 2, "schedule": [[1, 0, 1, 1, 1, 0, 1, 0, 0]]}, "schedule emit must be 1..7, not 0."),
        ({"emission": 2, "schedule": [[1, 0, 1, 1, 1, 0, 1, 0, -8]]}, "schedule emit must be 1..7, not 8."),
        ({"signed": 1, "emission": 0}, "signed needs ladders; the core has lists of thresholds."),
        (
            {"signed": 1, "ladders": LADDER},
            "unary emission cannot send a negative count; use count emission.",
        ),
        (
            {"signed": 1, "emission": 0, "ladders": LADDER, "schedule": [[1, 0, 1, 1, 1, 9, 1]]},
            "threshold_first of a signed ladder must be 0..8, not 9.",
        ),
        (
            {"ladders": LADDER, "schedule": [[1, 0, 1, 1, 1, 0, 8]]},
            "threshold_count of a ladder must be 0..7, not 8.",
        ),
        ({"ladders": LADDER, "threshold_base": 2}, "threshold_base must be 0..0, not 2."),
        (
            {"ladders": LADDER * 2, "threshold_base": 2},
            "threshold_base of a ladder must be a multiple of 4, not 2.",
        ),
        ({"ladders": [[0, 15, 0, 1]]}, "step of ladder 0 must be at least 16, not 15."),
        ({"ladders": [[0, 1 << 21, 0, 0]]}, "ladder step must be 0..2097151, not 2097152."),
        ({"ladders": [[0, 1, 256, 0]]}, "ladder offset must be 0..255, not 256."),
        ({"ladders": LADDER, "thresholds": [1]}, "a core has thresholds or ladders, not both."),
        ({"ladders": [[4096, 1, 0, 0]]}, "ladder first must be -4096..4095, not 4096."),
        ({"ladders": [[0, -1, 0, 0]]}, "ladder step must be 0..2097151, not -1."),
        ({"ladders": [[0, 32, 0, 2]]}, "ladder ties must be 0..1, not 2."),
        ({"thresholds": [-2049]}, "threshold0 must be -2048..2048, not -2049."),
        ({"schedule": [[4096, 0, 1, 1, 1, 0, 1]]}, "schedule repeat must be 1..4095, not 4096."),
        ({"schedule": [[1, 0, 1, 1, 1, 0, 256]]}, "schedule threshold_count must be 0..255, not 256."),
        (
            {"schedule": [[1, 0, 1, 1, 1, 0, 1, 2048]]},
            "schedule reset_value must be -2048..2047, not 2048.",
        ),
        ({"schedule": [[1, 0, 1, 1, 1, 0, 1, 0, 8]]}, "schedule emit must be -8..7, not 8."),
        ({"extension": 2}, "extension must be a power of two, 1..1, not 2."),
        (
            {"shifts": [6, 0, 0, 0]},
            (
                "column 0 may sum to 536, more than the 511 of its sum; "
                "split the layer or use a core with wider sums."
            ),
        ),
    ],
)
def test_image_over_a_limit(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ImageError) as caught:
        make_system(SPEC, None, core(**change))
    assert str(caught.value) == f"core 1 (1, 0): {message}"


@pytest.mark.parametrize("strengths", [1, 2, 4])
def test_image_that_fills_every_memory_is_legal(strengths: int, seed: int) -> None:
    image, _ = full_system(seed, SPEC, strengths)
    for full in image.cores:
        assert full is not None
        assert [full.axons, len(full.thresholds), len(full.fanout)] == [32, 128, 64]
        assert (full.blocks(SPEC), full.neurons) == (4, 4 * (8 // strengths))
        assert len(full.schedule) == 8
        for section in (Section.CROSSBAR, Section.THRESHOLD, Section.FANOUT, Section.SCHEDULE):
            chunks = section_words(SPEC, section) * section_chunks(SPEC, section)
            assert len(core_chunks(full, SPEC)[section]) == chunks


@pytest.mark.parametrize(
    ("name", "used", "limit", "change"),
    [
        ("axons", 33, 32, {"crossbar": np.ones((33, 3))}),
        ("columns", 40, 32, {"crossbar": np.ones((4, 33))}),
        ("strengths", 5, 4, {"crossbar": np.ones((4, 15)), "strengths": [1] * 5}),
        ("thresholds", 129, 128, {"thresholds": np.zeros(129)}),
        ("fan-out entries", 65, 64, {"fanout": [[0, 0, 0, 0, 1, 1]] * 65}),
        ("thresholds", 132, 128, {"ladders": LADDER * 33}),
        (
            "profiles",
            9,
            8,
            {"crossbar": np.ones((4, 9)), "refractory_period": [*range(8), 0], "reset": [2] * 8 + [1]},
        ),
        ("schedule entries", 9, 8, {"schedule": [[1, 0, 1, 1, 1, 0, 1]] * 9}),
    ],
)
def test_one_more_than_a_memory_holds_is_refused(
    name: str, used: int, limit: int, change: dict[str, Any]
) -> None:
    why = f"{used} {name} are more than the {limit} of the core; use a larger core or split the layer."
    with pytest.raises(ImageError, match=rf"^core 0 \(0, 0\): {why}$"):
        make_system(SPEC, core(**change), None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"profile": [0, 1, 0]}, "profile must be 0..0, not 1."),
        ({"profile": [0, -1, 0]}, "profile must be 0..7, not -1."),
        ({"profiles": np.zeros((0, 6))}, "a core needs at least one profile."),
        (
            {"strengths": np.zeros(0), "crossbar": np.zeros((4, 0))},
            "a core needs at least one strength.",
        ),
    ],
)
def test_lists_of_a_core_that_are_too_short(change: dict[str, Any], message: str) -> None:
    good = core()
    short = CoreImage(**{name: getattr(good, name) for name in CoreImage.__slots__} | change)
    with pytest.raises(ImageError) as caught:
        make_system(SPEC, short, None)
    assert str(caught.value) == f"core 0 (0, 0): {message}"


def test_unary_neuron_beside_one_that_counts_must_not_reach_beyond_a_flit() -> None:
    fields: dict[str, Any] = {"schedule": [[1, 0, 1, 1, 1, 0, 2]], "thresholds": [1, 2]}
    for axon, emission, legal in (
        (4094, [0, 1, 0], True),
        (4095, [0, 1, 0], False),
        (4095, [0, 0, 0], True),
    ):
        mixed = core(fanout=[[0, 0, 0, 0, axon, 1]], emission=emission, **fields)
        if legal:
            make_system(SPEC, mixed, None)
        else:
            with pytest.raises(ImageError, match=r"unary emission reaches axon 4096"):
                make_system(SPEC, mixed, None)


def test_crossbar_cell_over_a_limit() -> None:
    with pytest.raises(ImageError) as caught:
        make_system(SPEC, make_core(np.full((4, 3), 2)), None)
    assert str(caught.value) == "core 0 (0, 0): crossbar must be -1..1, not 2."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cores": ()}, "image must have one entry for each of the 2 cores, not 0."),
        ({"input_element": [1]}, "input_packet must have the shape (1, 5), not (0, 5)."),
        ({"input_element": [0], "input_packet": [[0, 2, 0, 0, 0]]}, "inputs: x1 must be 0..1, not 2."),
        ({"input_element": [0], "input_packet": [[0, 0, 0, 2, 0]]}, "inputs: y1 must be 0..1, not 2."),
        (
            {"input_element": [0], "input_packet": [[0, 0, 0, 0, 4096]]},
            "inputs: axon must be 0..4095, not 4096.",
        ),
    ],
)
def test_system_over_a_limit(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ImageError) as caught:
        make_system(SPEC, None, core()).replace(**change)
    assert str(caught.value) == message


def test_fields_of_a_core_are_those_of_the_words() -> None:
    assert set(FIELDS) == set(CoreImage.__slots__)
    good = core()
    for section, columns in TABLES.items():
        assert list(good.columns(section)) == [c.name for c in columns]
    for section in (Section.NEURON, Section.STATE):
        for c in TABLES[section]:
            assert FIELDS[c.name] == (c.dtype, 1)
            assert good.columns(section)[c.name] is getattr(good, c.name)


def test_arrays_are_read_only_copies() -> None:
    bias = np.zeros(3, np.int64)
    image = core(bias=bias)
    bias[:] = 7
    assert image.bias.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="read-only"):
        image.bias[0] = 1


def test_state_that_is_not_given_is_zero() -> None:
    good = core(v0=5, potential=7)
    fields = {name: getattr(good, name) for name in CoreImage.__slots__ if name not in {"v0", "potential"}}
    plain = CoreImage(**fields)
    assert (plain.v0.tolist(), plain.potential.tolist()) == ([0] * 3, [0] * 3)
    assert plain.v0.dtype == good.v0.dtype


def test_caller_keeps_a_writeable_array() -> None:
    good = core()
    fields = {name: getattr(good, name) for name in CoreImage.__slots__}
    bias = np.zeros(6, np.int64)[::2]
    crossbar = np.ones((4, 3), np.int8)
    image = CoreImage(**fields | {"bias": bias, "crossbar": crossbar})
    bias[:] = 7
    crossbar[:] = 0
    assert image.bias.tolist() == [0, 0, 0]
    assert image.crossbar.all()


def test_digest_is_of_the_chip_bytes(seed: int) -> None:
    image, _ = random_system(seed)
    assert random_system(seed)[0].digest == image.digest
    assert image.replace(meta={"name": "x"}).digest == image.digest
    assert make_system(SPEC, None, core()).digest != make_system(SPEC, core(), None).digest
    assert make_system(SPEC, None, core()).digest != make_system(SPEC, None, core(bias=1)).digest


@pytest.mark.parametrize(
    "change",
    [{"fanouts": 63}, {"axons": 31}, {"thresholds": 124}, {"gateway_axons": 1}],
    ids=lambda change: next(iter(change)),
)
def test_digest_sees_sizes_that_leave_the_chunks_alone(change: dict[str, Any]) -> None:
    spec = dataclasses.replace(SPEC, core=dataclasses.replace(SPEC.core, **change))
    images = [make_system(sizes, make_core(np.ones((4, 3))), None) for sizes in (SPEC, spec)]
    assert images[0].digest != images[1].digest


def test_digest_of_a_known_image_stays() -> None:
    """A file of an older version names its digest: a change here makes every image foreign."""
    assert make_system(SPEC, None, core(bias=[1, -2, 3])).digest == (
        "1307a69901a0f003f340cb5381a188cfa7c5a7c6c731de9fddc2d185794bb8bf"
    )


def test_chunks_are_whole_rows() -> None:
    chunks = core_chunks(core(), SPEC)
    # Four rows of 32 cells, 8 to a chunk; the first three cells are +1, two bits each.
    assert chunks[Section.CROSSBAR].reshape(4, 4).tolist() == [[0b010101, 0, 0, 0]] * 4
    assert list(chunks) == sorted(chunks)


def test_fanout_of_neuron_ends_at_last() -> None:
    fanout = [[0, 0, 0, 0, 1, 0], [1, 1, 0, 0, 2, 1], [0, 1, 0, 0, 3, 1]]
    image = core(fanout=fanout, fanout_base=[0, 1, 2], connected=[True, True, False])
    assert [list(image.fanout_of(n)) for n in range(3)] == [
        [(0, 0, 0, 0, 1), (1, 1, 0, 0, 2)],
        [(1, 1, 0, 0, 2)],
        [],
    ]


def test_image_of_wrong_core_count_names_it() -> None:
    with pytest.raises(ImageError, match="one entry for each of the 2 cores, not 1"):
        SystemImage(
            spec=SPEC,
            cores=(None,),
            input_element=np.zeros(0, np.int32),
            input_packet=np.zeros((0, 5), np.int32),
            output_element=np.zeros(0, np.int32),
        )


@pytest.mark.parametrize(
    ("change", "noun"),
    [
        ({"current_kept": 1}, "profile current_kept must be 0, not 1"),
        ({"potential_decay": 1}, "profile potential_decay must be 0, not 1"),
        ({"refractory_period": 1}, "profile refractory_period must be 0, not 1"),
        ({"signed": 1}, "profile signed must be 0, not 1"),
        ({"current": 1}, "current must be 0, not 1"),
        ({"refractory": 1}, "refractory must be 0, not 1"),
        ({"shifts": [1]}, "shift must be 0, not 1"),
    ],
)
def test_an_option_that_the_core_leaves_out_is_refused(change: dict[str, Any], noun: str) -> None:
    with pytest.raises(ImageError) as caught:
        make_system(SystemSpec(core=PLAIN, width=1, height=1), make_core([[1]], **change))
    assert str(caught.value) == f"core 0 (0, 0): {noun}: the core leaves the option out."


def test_ladders_of_a_core_without_them_are_refused() -> None:
    with pytest.raises(ImageError, match=r"the core has no ladders; use a core with the option, or lists\.$"):
        make_system(SystemSpec(core=PLAIN, width=1, height=1), make_core([[1]], ladders=LADDER))


def test_axons_beyond_a_chunk_take_two_registers() -> None:
    wide = dataclasses.replace(PLAIN, axons=4096, columns=256, lanes=8, max_extension=32, sum_bits=32)
    image = make_system(
        SystemSpec(core=wide, width=1, height=1), make_core(np.zeros((98309, 1)), extension=32)
    )
    assert image.cores[0] is not None
    control = core_chunks(image.cores[0], image.spec)[Section.CONTROL]
    assert control[Control.AXONS_LOW : Control.AXONS_HIGH + 1].tolist() == [98309 - (1 << 16), 1]
