# SPDX-License-Identifier: Apache-2.0
"""`spikeloom compile --exclude`: the same answers around what does not work, or a sentence."""

from pathlib import Path

import numpy as np
import pytest

from emu.dead import DeadSpec
from emu.topology import alive
from mapping.chip import open_chip
from mapping.datasets.load import load_data
from spikeloom.cli import main

PARTS = 'cores = [[1, 0], [0, 4]]\nports = [[2, 1, "E"], [4, 2, "S"]]\n'


def compiled(folder: Path, *options: str) -> Path:
    image = folder / "digits.spikeloom"
    assert main(["compile", "digits", "-o", str(image), "--core", "small", "--mesh", "6x5", *options]) == 0
    return image


def test_network_gives_the_same_answers_around_dead_parts(tmp_path: Path) -> None:
    chip = open_chip(compiled(tmp_path))
    images = chip.prepare(load_data("digits"))[0].x[:40]
    whole = chip.run(images, cycles=True)
    (tmp_path / "faults.toml").write_text(PARTS)
    chip = open_chip(compiled(tmp_path, "--exclude", str(tmp_path / "faults.toml")))
    around = chip.run(images, cycles=True)
    assert chip.image.spec.dead == DeadSpec(cores=((1, 0), (0, 4)), ports=((2, 1, "E"), (4, 2, "S")))
    assert np.array_equal(around.logits, whole.logits)
    used = np.array([core is not None for core in chip.image.cores])
    assert used.any()
    assert alive(chip.image.spec).reshape(-1)[used].all()


@pytest.mark.parametrize(
    ("text", "mesh", "sentence"),
    [
        ("cores = [[1, 0]]", [], "Parts are excluded from a mesh of a given size only: add --mesh WxH."),
        (
            'ports = [[0, 1, "N"]]',
            ["--mesh", "6x5"],
            "dead port must be none between cores of column 0, which leads out, not [0, 0, 'S']; list other",
        ),
        (
            "ports = [[1, 1, [1]]]",
            ["--mesh", "6x5"],
            "dead port must be [x, y, side] with a side N, E, S or W, not [1, 1, [1]]; write cores",
        ),
    ],
)
def test_parts_that_cannot_be_excluded_are_a_sentence(
    text: str, mesh: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(text)
    options = ["-o", str(tmp_path / "x.spikeloom"), *mesh, "--exclude", str(file)]
    assert main(["compile", "digits", *options]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_verilog_has_the_straps_of_dead_parts(tmp_path: Path) -> None:
    (tmp_path / "faults.toml").write_text("cores = [[1, 0]]")
    design = tmp_path / "design"
    options = ["--axons", "8", "--columns", "8", "--mesh", "2x1", "--exclude", str(tmp_path / "faults.toml")]
    assert main(["verilog", "--preset", "tiny", *options, "-o", str(design)]) == 0
    text = (design / "system.v").read_text()
    assert ".absent_i(10'h202)" in text  # L of (1, 0), and E of (0, 0), which hears nobody any more
    assert ".absent_o(10'h300)" in text


def test_verilog_of_an_image_has_its_dead_parts_and_no_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--exclude", "faults.toml", "-o", str(tmp_path / "x")]
    assert main(["verilog", "a.spikeloom", *options]) == 2
    assert "Give either an image or sizes for the Verilog, not both." in capsys.readouterr().err
