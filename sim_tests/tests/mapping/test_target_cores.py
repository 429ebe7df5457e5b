# SPDX-License-Identifier: Apache-2.0
"""Cores that a target file describes by their sizes, and files of version 1."""

from pathlib import Path

import pytest

import spikeloom
from emu.spec import PRESETS, CoreSpec
from mapping.targets.files import TargetError, load_target, target_text
from mapping.targets.schema import OLD_KINDS
from spikeloom.cli import main

WHOLE = """[geometry]
mesh = "auto"

[geometry.core]
axons = 300
columns = 256
lanes = 16
payload_bits = 6
potential_bits = 18
strengths = 5
thresholds = 1024
fanouts = 1024
schedule = 32
ladder = true
"""
"""All sizes of a core that have no default, and one option."""


def of_core(tmp_path: Path, geometry: str) -> Path:
    """Write a target with other lines between [geometry] and the clock."""
    text = target_text("loom")
    begin, end = text.index("[geometry]"), text.index("[timing.clock_hz]")
    path = tmp_path / "mine.toml"
    path.write_text(text[:begin] + geometry + "\n" + text[end:], encoding="utf-8")
    return path


def test_core_may_be_given_by_all_its_sizes(tmp_path: Path) -> None:
    target = load_target(of_core(tmp_path, WHOLE))
    assert (target.preset, target.mesh) == ("", "auto")
    assert target.core == CoreSpec(
        axons=300,
        columns=256,
        lanes=16,
        payload_bits=6,
        potential_bits=18,
        strengths=5,
        thresholds=1024,
        fanouts=1024,
        schedule=32,
        ladder=True,
    )


def test_core_may_be_a_preset_with_other_sizes(tmp_path: Path) -> None:
    geometry = '[geometry]\npreset = "small"\nmesh = "4x4"\n\n[geometry.core]\naxons = 512\ndecay = false\n'
    target = load_target(of_core(tmp_path, geometry))
    assert target.core == PRESETS["small"].resized(axons=512, decay=False)
    assert (target.preset, target.core.sum_bits) == ("", 16)
    assert load_target("loom").core == PRESETS["reference"]


MISSING = "is missing in {path}; add it to"
SIZES = (
    "axons, columns, lanes, payload_bits, potential_bits, strengths, thresholds, fanouts, schedule, "
    "profiles, gateway_axons, sum_bits, max_extension, axon_shifts, ladder, signed_ladder, "
    "synaptic_current, decay, refractory_bits"
)
BROKEN = [
    ("axons = 300\n", "", f"core.axons {MISSING} [geometry.core]."),
    ("axons = 300", "axons = 1", "core.axons in {path} must be 2..4096, not 1; correct it."),
    ("axons = 300", "axons = 300.0", "core.axons in {path} must be an integer, not 300.0; correct it."),
    (
        "ladder = true",
        'ladder = "yes"',
        "core.ladder in {path} must be true or false, not 'yes'; correct it.",
    ),
    (
        "columns = 256",
        "columns = 300",
        "core.columns in {path} must be a power of two times the 16 lanes, not 300; correct it.",
    ),
    (
        "[geometry.core]\n",
        "[geometry.core]\nrows = 3\n",
        f"core.rows in {{path}} is unknown; remove it or use one of {SIZES}.",
    ),
    (WHOLE, '[geometry]\nmesh = "auto"\n', f"preset {MISSING} [geometry]."),
    (
        WHOLE,
        '[geometry]\nmesh = "auto"\ncore = 3\n',
        "core in {path} must be a table, not 3; write it as [geometry.core] followed by its keys.",
    ),
]


@pytest.mark.parametrize(("old", "new", "sentence"), BROKEN)
def test_broken_core_names_size_rule_and_value(old: str, new: str, sentence: str, tmp_path: Path) -> None:
    assert WHOLE.count(old) == 1
    path = of_core(tmp_path, WHOLE.replace(old, new))
    with pytest.raises(TargetError) as caught:
        load_target(path)
    assert str(caught.value) == "Key geometry." + sentence.format(path=path)
    load_target(of_core(tmp_path, WHOLE))  # the way out


@pytest.mark.parametrize(("kind", "model"), OLD_KINDS.items())
def test_files_of_version_1_name_the_model_by_its_kind(kind: str, model: str, tmp_path: Path) -> None:
    text = target_text(model)
    old = text.replace("version = 2\n", "version = 1\n").replace(f'model = "{model}"', f'kind = "{kind}"')
    path = tmp_path / "old.toml"
    path.write_text(old, encoding="utf-8")
    target = load_target(path)
    assert (target.model, target.kind) == (model, kind)
    path.write_text(old.replace("kind =", "model =", 1), encoding="utf-8")
    with pytest.raises(TargetError, match=r"^Key target\.model in .* is unknown; remove it or "):
        load_target(path)


def test_show_checks_a_file_before_it_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = of_core(tmp_path, WHOLE)
    assert main(["targets", "show", str(path)]) == 0
    assert capsys.readouterr().out == path.read_text(encoding="utf-8")
    path = of_core(tmp_path, WHOLE.replace("axons = 300", "axons = 1"))
    assert main(["targets", "show", str(path)]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err) == (
        "",
        f"spikeloom: Key geometry.core.axons in {path} must be 2..4096, not 1; correct it.\n",
    )


def test_image_and_estimate_have_the_core_of_the_file(tmp_path: Path) -> None:
    path = of_core(tmp_path, WHOLE)
    network, data = spikeloom.load_network("digits"), spikeloom.load_data("digits").first(3)
    chip = spikeloom.compile_network(network, target=load_target(path))
    assert chip.image.spec.core == load_target(path).core
    assert chip.image.meta["core"] == "loom"
    part = spikeloom.estimate(network, data, load_target(path)).to_dict()["targets"][0]
    assert (
        part["image_digest"]
        == spikeloom.compile_network(network, target=load_target(path), scaling="unit").image.digest
    )
    mean = part["counters"]["crossbar_words"] * load_target("loom").energy["crossbar_words"].si
    assert part["breakdown"]["events"]["crossbar_words"] == pytest.approx(mean, rel=1e-12)


AXONS = '[geometry.axons]\nvalue = 4096\nunit = "1"\nlow = 4096\nhigh = 4096\n'


def test_numbers_of_a_closed_form_may_be_those_of_another_chip(tmp_path: Path) -> None:
    text = target_text("truenorth")
    path = tmp_path / "mine.toml"
    for old, new in (
        ('value = 1\nunit = "ms"\nlow = 1\nhigh = 1\n', 'value = 20\nunit = "us"\nlow = 10\nhigh = 40\n'),
        ('[geometry.axons]\nvalue = 256\nunit = "1"\nlow = 256\nhigh = 256\n', AXONS),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    data, target = spikeloom.load_data("digits").first(3), load_target(path)
    part = spikeloom.estimate("digits", data, target).to_dict()["targets"][0]
    assert (part["kind"], part["step_s"]) == ("closed-form", pytest.approx(20e-6))
    assert part["latency_s"] == pytest.approx(part["timesteps"] * 20e-6)
    assert target.count("axons") == 4096
