# SPDX-License-Identifier: Apache-2.0
"""Target files: what ships, what a user may write, and the sentence for each broken rule."""

import re
from pathlib import Path

import pytest

from emu.spec import PRESETS
from mapping.targets.files import (
    MAX_TARGET_BYTES,
    Quantity,
    TargetError,
    list_targets,
    load_target,
    target_text,
)
from spikeloom.cli import main


def edited(tmp_path: Path, name: str, old: str, new: str) -> Path:
    """Write a copy of a shipped target with one passage replaced."""
    text = target_text(name)
    assert text.count(old) == 1
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


def section(name: str, key: str) -> str:
    """Return the text of one [section.key] table of a shipped target."""
    found = re.search(rf"^\[{re.escape(key)}\]\n(?:.+\n)+", target_text(name), re.MULTILINE)
    assert found is not None
    return found.group()


def test_shipped_targets_are_listed_in_order() -> None:
    assert list_targets() == ("kuang2021", "loihi", "loom", "truenorth")


@pytest.mark.parametrize("name", list_targets())
def test_shipped_target_states_range_and_source_of_every_number(name: str) -> None:
    target = load_target(name)
    assert (target.name, target.origin) == (name, "shipped")
    numbers = [*target.geometry.items(), *target.timing.items(), *target.energy.items()]
    assert len(numbers) >= 9
    for key, number in numbers:
        assert number.low <= number.value <= number.high, key
        assert len(number.source) > 20, key


@pytest.mark.parametrize("name", ["kuang2021", "loom"])
def test_energies_of_events_have_a_range(name: str) -> None:
    events = {event: number for event, number in load_target(name).energy.items() if event != "leakage"}
    assert all(number.low < number.high for number in events.values())  # leakage is a choice of process


def test_loom_geometry() -> None:
    target = load_target("loom")
    assert (target.kind, target.preset, target.mesh) == ("cycle-exact", "reference", "auto")
    assert target.clock_hz == 252e6
    assert {number.kind for number in target.energy.values()} == {"assumed", "derived"}


def test_kuang_numbers() -> None:
    target = load_target("kuang2021")
    assert (target.kind, target.preset, target.mesh) == ("closed-form", "article", "")
    counts = {key: target.count(key) for key in target.geometry}
    assert counts == {
        "axons": 1152,
        "columns": 1024,
        "max_extension": 64,
        "weight_columns": 2,
        "cores_per_chip": 1,
        "chips_x": 8,
        "chips_y": 8,
    }
    assert target.timing["cycles_per_step"].value == 13824
    constants = (target.energy["leakage"].si, target.energy["synaptic_operations_dense"].si)
    assert constants == pytest.approx((10.88e-3, 0.0855e-12), rel=1e-12, abs=0)
    assert (target.energy["headline_synaptic_operation"].value, target.clock_hz) == (0.57, 252e6)


@pytest.mark.parametrize("name", list_targets())
def test_shown_text_is_a_target_of_its_own(name: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(target_text(name), encoding="utf-8")
    mine, shipped = load_target(path), load_target(name)
    assert mine.origin == str(path)
    assert (mine.geometry, mine.timing, mine.energy) == (shipped.geometry, shipped.timing, shipped.energy)
    assert load_target(str(path)) == mine


def test_target_is_read_only() -> None:
    target = load_target("loom")
    with pytest.raises(TypeError):
        target.energy["spikes"] = target.energy["hops"]  # type: ignore[index]


def test_units_scale_to_si(tmp_path: Path) -> None:
    old = 'value = 6.9\nunit = "mW"\nlow = 6.9\nhigh = 6.9\n'
    path = edited(tmp_path, "loom", old, 'value = 6900\nunit = "uW"\nlow = 6900\nhigh = 6900\n')
    assert load_target(path).energy["leakage"].si == pytest.approx(6.9e-3, rel=1e-12, abs=0)
    bounds = Quantity(value=2, unit="MHz", low=1, high=3, kind="assumed", source="s")
    assert (bounds.si_low, bounds.si, bounds.si_high) == (1e6, 2e6, 3e6)


@pytest.mark.parametrize("mesh", ["1x1", "3x2", "128x128"])
def test_mesh_size_may_be_given(mesh: str, tmp_path: Path) -> None:
    assert load_target(edited(tmp_path, "loom", 'mesh = "auto"', f'mesh = "{mesh}"')).mesh == mesh


GEOMETRY = "preset, core, chips, links, inlets, outlets, mesh"
BROKEN = [
    (
        "version = 2\n",
        "version = 3\n",
        "target.version",
        "1 or 2, not 3; use a release that reads this version.",
    ),
    (
        "version = 2\n",
        "version = true\n",
        "target.version",
        "1 or 2, not True; use a release that reads this version.",
    ),
    (
        'name = "loom"',
        'name = "My Loom"',
        "target.name",
        "1 to 32 of a-z, 0-9, _ and -, a letter first, not 'My Loom'; rename the target.",
    ),
    (
        'model = "loom"',
        'model = "exact"',
        "target.model",
        "loom or kuang2021 or truenorth or loihi, not 'exact'; choose one of them.",
    ),
    (
        'preset = "reference"',
        'preset = "huge"',
        "geometry.preset",
        "tiny or small or medium or reference or article, not 'huge'; choose one of them.",
    ),
    ('mesh = "auto"', 'mesh = "0x4"', "geometry.mesh", "auto or WxH, not '0x4'; write for example \"4x4\"."),
    ('mesh = "auto"', "mesh = 4", "geometry.mesh", 'auto or WxH, not 4; write for example "4x4".'),
    (
        'value = 1.8\nunit = "pJ"\nlow = 1.0\n',
        'value = 99.0\nunit = "pJ"\nlow = 1.0\n',
        "energy.hops.value",
        "between low 1 and high 3, not 99.0; correct one of the three.",
    ),
    (
        'value = 1.8\nunit = "pJ"\nlow = 1.0\n',
        'value = 4.5\nunit = "pJ"\nlow = 1.0\n',
        "energy.hops.value",
        "between low 1 and high 3, not 4.5; correct one of the three.",
    ),
    (
        'value = 1.8\nunit = "pJ"\nlow = 1.0\n',
        'value = "1.8"\nunit = "pJ"\nlow = 1.0\n',
        "energy.hops.value",
        "a number, not '1.8'; write it without quotes.",
    ),
    (
        'value = 1.8\nunit = "pJ"\nlow = 1.0\n',
        'value = true\nunit = "pJ"\nlow = 1.0\n',
        "energy.hops.value",
        "a number, not True; write it without quotes.",
    ),
    (
        'value = 1.8\nunit = "pJ"\nlow = 1.0\n',
        'value = nan\nunit = "pJ"\nlow = 1.0\n',
        "energy.hops.value",
        "0 or 1e-30 to 1e+30, not nan; correct it.",
    ),
    (
        'value = 1.8\nunit = "pJ"\nlow = 1.0\n',
        'value = 1.8\nunit = "mW"\nlow = 1.0\n',
        "energy.hops.unit",
        "fJ or pJ or nJ or uJ or mJ or J, not 'mW'; convert the three numbers.",
    ),
    (
        'low = 1.0\nhigh = 3.0\nkind = "derived"',
        'low = 1.0\nhigh = 3.0\nkind = "guessed"',
        "energy.hops.kind",
        "measured or derived or published or assumed, not 'guessed'; say where the number comes from.",
    ),
    (
        "low = 1.0\nhigh = 3.0",
        "low = -3.0\nhigh = 3.0",
        "energy.hops.low",
        "0 or 1e-30 to 1e+30, not -3.0; correct it.",
    ),
    (
        'high = 3.0\nkind = "derived"\n',
        'high = 1e31\nkind = "derived"\n',
        "energy.hops.high",
        "0 or 1e-30 to 1e+30, not 1e+31; correct it.",
    ),
    (
        "low = 100_000_000\n",
        "low = 1e-31\n",
        "timing.clock_hz.low",
        "0 or 1e-30 to 1e+30, not 1e-31; correct it.",
    ),
    ("low = 100_000_000\n", "low = 0\n", "timing.clock_hz.low", "above zero, not 0; correct it."),
]


@pytest.mark.parametrize(("old", "new", "key", "rest"), BROKEN)
def test_broken_key_names_file_value_and_remedy(
    old: str, new: str, key: str, rest: str, tmp_path: Path
) -> None:
    path = edited(tmp_path, "loom", old, new)
    with pytest.raises(TargetError) as caught:
        load_target(path)
    assert str(caught.value) == f"Key {key} in {path} must be {rest}"
    assert caught.value.key == key


@pytest.mark.parametrize("value", ["1152.5", "3_000_000_000"])
def test_geometry_must_be_whole(value: str, tmp_path: Path) -> None:
    old = section("kuang2021", "geometry.axons")
    path = edited(tmp_path, "kuang2021", old, old.replace("= 1152\n", f"= {value}\n"))
    with pytest.raises(TargetError) as caught:
        load_target(path)
    shown = value.replace("_", "")
    assert str(caught.value) == (
        f"Key geometry.axons.value in {path} must be a whole number up to 2147483648, not {shown};"
        " correct it."
    )


def test_long_value_is_shortened_in_the_message(tmp_path: Path) -> None:
    path = edited(tmp_path, "loom", 'model = "loom"', f'model = "{"x" * 300}"')
    with pytest.raises(TargetError, match=r"not 'x{56}\.\.\.; choose one of them\.$"):
        load_target(path)


@pytest.mark.parametrize("field", ["title", "source"])
def test_empty_text_is_refused(field: str, tmp_path: Path) -> None:
    key, remedy = {
        "title": ("target.title", "describe the target in one line"),
        "source": ("energy.hops.source", "cite the origin or give the derivation"),
    }[field]
    old = section("loom", key.rpartition(".")[0])
    path = edited(tmp_path, "loom", old, re.sub(rf'{field} = ".*"', f'{field} = " "', old))
    with pytest.raises(TargetError) as caught:
        load_target(path)
    assert str(caught.value) == f"Key {key} in {path} must be a text that is not empty, not ' '; {remedy}."


@pytest.mark.parametrize(
    ("old", "new", "key", "known"),
    [
        ("[target]\n", "[target]\nauthor = 1\n", "target.author", "version, name, title, model"),
        ("[geometry]\n", "[geometry]\na = 1\n", "geometry.a", GEOMETRY),
        ("[geometry]\n", "[leak]\n[geometry]\n", "leak", "target, geometry, timing, energy"),
        (
            "[energy.hops]\n",
            "[energy.hops]\nlo = 1\n",
            "energy.hops.lo",
            "value, unit, low, high, kind, source",
        ),
    ],
)
def test_unknown_key_lists_the_known_ones(old: str, new: str, key: str, known: str, tmp_path: Path) -> None:
    path = edited(tmp_path, "loom", old, new)
    with pytest.raises(TargetError) as caught:
        load_target(path)
    assert str(caught.value) == f"Key {key} in {path} is unknown; remove it or use one of {known}."
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("old", "key", "where"),
    [
        ('name = "loom"\n', "target.name", "[target]"),
        ('mesh = "auto"\n', "geometry.mesh", "[geometry]"),
        (section("loom", "timing.clock_hz"), "timing", "the file"),
        (section("loom", "energy.hops"), "energy.hops", "[energy]"),
        ('high = 3.0\nkind = "derived"\n', "energy.hops.high", "[energy.hops]"),
    ],
)
def test_missing_key_says_where_to_add_it(old: str, key: str, where: str, tmp_path: Path) -> None:
    path = edited(tmp_path, "loom", old, "")
    with pytest.raises(TargetError) as caught:
        load_target(path)
    assert str(caught.value) == f"Key {key} is missing in {path}; add it to {where}."
    assert caught.value.key == key


def test_bare_number_must_become_a_table(tmp_path: Path) -> None:
    path = edited(tmp_path, "loom", section("loom", "energy.hops"), "[energy]\nhops = 3.0\n")
    with pytest.raises(TargetError) as caught:
        load_target(path)
    assert str(caught.value) == (
        f"Key energy.hops in {path} must be a table, not 3.0; write it as [energy.hops] followed by its keys."
    )


def test_unknown_name_lists_the_targets() -> None:
    with pytest.raises(TargetError) as caught:
        load_target("lomm")
    assert str(caught.value) == (
        "Target must be one of kuang2021, loihi, loom, truenorth or a path that ends in .toml, not 'lomm'."
    )


@pytest.mark.parametrize("name", PRESETS)
def test_size_of_core_given_as_target_names_the_option(name: str) -> None:
    with pytest.raises(TargetError) as caught:
        load_target(name)
    assert str(caught.value) == (
        "Target must be one of kuang2021, loihi, loom, truenorth or a path that ends in .toml; "
        f"{name!r} is a size of core, which is --core {name} in estimate and in compile."
    )


@pytest.mark.parametrize(
    "command",
    [
        ["estimate", "digits", "--data", "digits", "--samples", "2"],
        ["compile", "digits", "-o", "digits.spikeloom"],
    ],
)
def test_size_of_core_is_taken_as_that_option(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--core", "small"]) == 0


def test_target_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError) as caught:
        load_target(3)  # type: ignore[arg-type]
    assert str(caught.value) == "Target must be a name or a path, not 3."


def test_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    with pytest.raises(TargetError) as caught:
        load_target(path)
    assert str(caught.value) == (
        f"Target file {path} must be readable, not 'No such file or directory'; check the path."
    )


def test_directory_is_no_target(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"must be readable, not 'Is a directory'; check the path\.$"):
        load_target(tmp_path)


def test_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.toml"
    path.write_text(target_text("loom").ljust(MAX_TARGET_BYTES + 1, "#"), encoding="utf-8")
    with pytest.raises(TargetError) as caught:
        load_target(path)
    assert str(caught.value) == (
        f"Target file {path} must be at most 65536 bytes; shorten it or check the path."
    )
    path.write_text(target_text("loom").ljust(MAX_TARGET_BYTES, "#"), encoding="utf-8")
    assert load_target(path).name == "loom"


def test_other_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b"# caf\xe9")
    with pytest.raises(TargetError) as caught:
        load_target(path)
    assert str(caught.value) == (
        f"Target file {path} must be UTF-8 text, not byte 0xe9 at offset 5; save it as UTF-8."
    )


def test_broken_toml_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("[target]\nname = loom\n", encoding="utf-8")
    with pytest.raises(TargetError) as caught:
        load_target(path)
    assert str(caught.value) == (
        f"Target file {path} must be valid TOML: Invalid value (at line 2, column 8); correct that line."
    )


def test_deeply_nested_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.toml"
    path.write_text("a = " + "[" * 20000, encoding="utf-8")
    with pytest.raises(TargetError) as caught:
        load_target(path)
    assert str(caught.value) == f"Target file {path} must not be nested this deeply; use plain tables."


@pytest.mark.parametrize("scale", ['["lanes", "area"]', '"lanes"', "[1]"])
def test_a_number_grows_with_sizes_of_the_core_only(scale: str, tmp_path: Path) -> None:
    path = edited(tmp_path, "loom", 'scale = ["lanes", "sum_bits"]', f"scale = {scale}")
    with pytest.raises(TargetError, match=r"energy\.crossbar_words\.scale in .* must be a list of axons, "):
        load_target(path)
