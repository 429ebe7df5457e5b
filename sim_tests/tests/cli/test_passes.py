# SPDX-License-Identifier: Apache-2.0
"""`compile --passes`, and what the other commands do with its file."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from emu.passes import load_images, save_images
from mapping.datasets.load import load_data
from mapping.errors import MappingError
from mapping.layout.host_tables import stimulus_for
from mapping.passes import open_passes
from spikeloom import bench
from spikeloom.cli import main
from spikeloom.terminal import console

COMPILE = ["compile", "digits", "--core", "small", "--mesh", "4x2"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("passes") / "digits.spikeloom"
    assert main([*COMPILE, "--passes", "-o", str(path)]) == 0
    return path


def test_compile_tells_every_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "width", 200)  # no column wraps, whatever COLUMNS says
    assert main([*COMPILE, "--passes", "-o", str(tmp_path / "d.spikeloom")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert re.search(
        r"d\.spikeloom: 2 passes over 4 x 2 cores, 3 timesteps an inference, digest \w{64} ", out
    )
    for text in ("conv1.sum", "conv2.sum, dense.sum", "15,661", "18,695", "4,224", "2,496"):
        assert text in out


def test_same_arguments_give_the_same_bytes(file: Path, tmp_path: Path) -> None:
    assert main([*COMPILE, "--passes", "-o", str(tmp_path / "d.spikeloom")]) == 0
    assert (tmp_path / "d.spikeloom").read_bytes() == file.read_bytes()


def test_mesh_that_is_too_small_offers_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "d.spikeloom"
    assert main([*COMPILE, "-o", str(path)]) == 0
    out = capsys.readouterr().out
    assert "leave its size out, or add --passes." in out
    assert main([*COMPILE, "--passes", "--strict", "-o", str(path)]) == 2, "the encoder is the host's"
    assert "runs on the host because" not in capsys.readouterr().out


def test_run_gives_the_predictions_of_one_image(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tmp_path / "whole.spikeloom"
    assert main(["compile", "digits", "--core", "small", "-o", str(whole)]) == 0
    found = []
    for image in (file, whole):
        place, told = tmp_path / f"{image.stem}.npz", tmp_path / f"{image.stem}.json"
        more = ["--predictions", str(place), "--json", str(told), "--cycles"]
        assert main(["run", str(image), "--data", "digits", "--samples", "30", *more]) == 0
        found.append((np.load(place), json.loads(told.read_text())))
    (passes, run), (alone, one) = found
    assert all(np.array_equal(passes[name], alone[name]) for name in alone.files)
    assert run["accuracy"] == one["accuracy"]
    assert one["passes"] is None
    assert [part["timesteps"] for part in run["passes"]] == [30, 60]
    assert run["timesteps"] == 90
    assert run["elapsed_cycles"] == sum(part["elapsed_cycles"] for part in run["passes"])
    assert run["counters"]["spikes"] == one["counters"]["spikes"]
    for name, total in run["counters"].items():
        assert total == sum(part["counters"][name] for part in run["passes"])
    assert "pass 1" in capsys.readouterr().out


def test_trace_of_every_pass_has_a_file(file: Path, tmp_path: Path) -> None:
    trace = tmp_path / "t.npz"
    assert main(["run", str(file), "--data", "digits", "--samples", "2", "--trace", str(trace)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.0.npz", "t.1.npz"]


def test_verify_feeds_each_pass_what_the_ones_before_give(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bench itself is that of any image; here is looked at what it is given."""
    asked: list[tuple[str, dict[str, np.ndarray], object]] = []

    def looked_at(arguments: list[str], options: dict[str, object]) -> int:
        fed = dict(np.load(arguments[2])) if len(arguments) > 1 else {}
        asked.append((Path(arguments[0]).name, fed, options["--json"]))
        return 0

    monkeypatch.setattr(bench, "_verify", looked_at)
    told = tmp_path / "v.json"
    assert main(["verify", str(file), "--data", "digits", "--samples", "3", "--json", str(told)]) == 0
    passes = open_passes(file)
    data, _ = passes.prepare(load_data("digits").first(3))
    for number, (chip, run) in enumerate(zip(passes.loaded, passes.run(data.x), strict=True)):
        name, fed, place = asked[number]
        wanted = stimulus_for(chip.image, run.input_counts)
        assert name == f"digits, pass {number}.spikeloom"
        assert sorted(fed) == ["packet", "step", "steps"]
        assert place == told.with_name(f"v.{number}.json")
        assert np.array_equal(fed["packet"], wanted.packet)
        assert np.array_equal(fed["step"], wanted.step)
    assert main(["verify", str(file)]) == 0
    assert len(asked) == 4
    monkeypatch.setattr(bench, "_verify", lambda *_: 1)
    assert main(["verify", str(file)]) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            [*COMPILE, "--passes", "--pipelined"],
            "A network in passes takes a batch at a time: leave out --pipelined or --passes.",
        ),
        (
            ["compile", "digits", "--passes"],
            "Passes need a mesh that a pass fits: add --mesh WxH, for example 4x4.",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "-o", str(tmp_path / "d.spikeloom")]) == 2
    assert capsys.readouterr().err == f"spikeloom: {sentence}\n"


def test_inspect_names_the_commands_that_take_passes(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(file)]) == 2
    told = f"{file}: it holds the passes of a network and not one image; use run, verify or verilog."
    assert capsys.readouterr().err == f"spikeloom: {told}\n"


def test_verilog_is_that_of_the_chip_of_all_passes(file: Path, tmp_path: Path) -> None:
    spec = load_images(file)[0].spec
    assert main(["verilog", str(file), "-o", str(tmp_path / "design")]) == 0
    told = json.loads((tmp_path / "design" / "chip.json").read_text())
    assert told["spec"]["width"] * told["spec"]["height"] == spec.cores == 8


@pytest.mark.parametrize(
    "rows",
    [
        None,
        [],
        [["conv1.sum", 0, 12], ["conv1.sum", 0, 12]],
        [["conv1.sum", 0, 13]],
        [["conv1.sum", -1, 12]],
        [["conv1.sum", 0.0, 12]],
        [["conv1.sum", 0, 12, 0]],
        [["conv1.sum", 0, 12, 0, 9]],
        [["conv1.sum", 0, 12, 4, 4]],
        [["conv1.sum", 0, 12, 0, None]],
        [["dense.sum", 0, 64, 0, 1]],
        [["no such layer", 0, 1]],
        [["conv1.sum", 0]],
        ["conv1.sum"],
    ],
)
def test_file_that_tells_no_rows_is_refused(rows: object, file: Path, tmp_path: Path) -> None:
    first, second = load_images(file)
    save_images([first.replace(meta={**first.meta, "rows": rows}), second], tmp_path / "x.spikeloom")
    message = (
        f"Pass 0 of {tmp_path / 'x.spikeloom'} does not say which rows of which layers it computes; "
        "compile the model again."
    )
    with pytest.raises(MappingError, match=f"^{re.escape(message)}$"):
        open_passes(tmp_path / "x.spikeloom")


def test_file_whose_passes_are_exchanged_is_refused(file: Path, tmp_path: Path) -> None:
    first, second = load_images(file)
    rows = [image.meta["rows"] for image in (first, second)]
    changed = [
        first.replace(meta={**first.meta, "rows": rows[1]}),
        second.replace(meta={**second.meta, "rows": rows[0]}),
    ]
    save_images(changed, tmp_path / "x.spikeloom")
    with pytest.raises(MappingError, match=r"^The passes do not compute their network: pass 0 reads what no"):
        open_passes(tmp_path / "x.spikeloom")
