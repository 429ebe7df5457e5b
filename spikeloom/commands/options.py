# SPDX-License-Identifier: Apache-2.0
"""Arguments and options of the commands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mapping.errors import MappingError

if TYPE_CHECKING:
    from mapping.codes.graded.convert import GradedOptions
    from mapping.layout.gates import Gates

__all__ = [
    "Bits",
    "Calibrate",
    "Chips",
    "CodeName",
    "Core",
    "Data",
    "Debug",
    "Digits",
    "Html",
    "Image",
    "Inlets",
    "Input",
    "Json",
    "Junit",
    "MaybeImage",
    "Model",
    "Objective",
    "Outlets",
    "Patches",
    "Placer",
    "Samples",
    "Seed",
    "SharedLinks",
    "Sim",
    "Strict",
    "Tolerance",
    "Waves",
    "Wires",
    "chips_of",
    "examples",
    "gates_of",
    "graded_options",
    "mesh_size",
]


_SHIPPED = ("digits", "digits-float")
_MESH = re.compile(r"([0-9]{1,9})x([0-9]{1,9})")


def _image_file(path: Path | None) -> Path | None:
    """Refuse a model where an image is wanted, with the command that makes one of it."""
    if path is not None and (path.suffix == ".onnx" or (path.name in _SHIPPED and not path.exists())):
        raise MappingError(
            f"{path} is a model, and this command takes an image: make one with "
            f"'spikeloom compile {path} -o {path.stem}.spikeloom'."
        )
    return path


def _scale(how: str | None) -> str | None:
    """Refuse a scale of pixels that is none before anything is read."""
    if how is not None:
        from mapping.datasets.scale import check_scale

        check_scale(how)
    return how


Model = Annotated[
    str,
    typer.Argument(
        help="A model: an .onnx file, or one that ships with the project, [bold]digits[/] or its ordinary "
        "float companion [bold]digits-float[/]."
    ),
]
Image = Annotated[
    Path, typer.Argument(help="An image file made by [bold]spikeloom compile[/].", callback=_image_file)
]
MaybeImage = Annotated[
    Path | None, typer.Argument(help="An image file; or use the options.", callback=_image_file)
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        help="digits (the 360 never trained on), digits:train, digits:all; mnist:DIR, fashion:DIR or "
        "kmnist:DIR with idx files, also mnist:DIR:train; an .npz file with x and y; or events of a camera, "
        "an .npz file with t, x, y, p or an .aedat4 file, with options, for example "
        "FILE:events=2000,size=64x64.",
    ),
]
Input = Annotated[
    str | None,
    typer.Option(
        "--input",
        callback=_scale,
        help="Scale of pixels (bytes): raw (0..255), unit (/255), MEAN,STD (of unit), or auto, the more "
        "accurate of raw and unit on 256 samples; for counts of events also 3sigma, limited and divided by "
        "the largest.",
    ),
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug",
        help="Tell on standard error what every stage took, in seconds and MiB; errors have tracebacks.",
    ),
]
Core = Annotated[
    str | None,
    typer.Option(
        "--core", help="Core size instead of the target's: tiny, small, medium, reference, article."
    ),
]
Chips = Annotated[
    str | None,
    typer.Option("--chips", help="Equal chips XxY, joined by the target's links; by default its chips."),
]
Objective = Annotated[
    str,
    typer.Option("--objective", help="What cores beyond the fewest are for: cores (none), latency, energy."),
]
Inlets = Annotated[
    str | None,
    typer.Option("--inlets", help="Where the host feeds: how many ends of rows, or which, such as 0W,3W,2E."),
]
Outlets = Annotated[
    str | None,
    typer.Option("--outlets", help="Where outputs leave: how many columns, or which, such as 0,4."),
]
SharedLinks = Annotated[
    bool, typer.Option("--shared-links", help="One link a side of a chip instead of one a router.")
]
Wires = Annotated[
    int | None,
    typer.Option("--wires", min=1, help="Wires of a link between chips; by default a quarter of a flit."),
]
Placer = Annotated[
    str, typer.Option("--placer", help="Who places cores: greedy, curve or anneal (spares the busiest link).")
]
CodeName = Annotated[
    str,
    typer.Option(
        "--code",
        help="Spike code: scatter-and-gather (ternary weights, exact), int8 (quantised networks, exact), "
        "graded (ordinary weights, one packet an activation), or auto, the one that suits the model.",
    ),
]
Bits = Annotated[int, typer.Option("--bits", help="Graded code: bits of an activation, 2..8.")]
Digits = Annotated[
    str,
    typer.Option(
        "--digits",
        help="Graded code: digits of a weight, 1..7; 5 hold -121..121, 3 hold -13..13; or auto, for each "
        "layer the fewest that --tolerance allows.",
    ),
]
Tolerance = Annotated[
    float,
    typer.Option(
        "--tolerance",
        help="Digits auto: points by which the error of the outputs may grow, on the calibration samples, in "
        "percent of the outputs' deviation.",
    ),
]
Calibrate = Annotated[
    int,
    typer.Option(
        "--calibrate",
        min=1,
        help="Graded code: samples, without labels, on which scales are chosen, fewer of large networks; of "
        "the training part of the data if they have one.",
    ),
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Refuse a model whose convolutions or dense layers need the host."),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed; equal arguments give equal bytes.")]
Samples = Annotated[int | None, typer.Option("--samples", min=1, help="Use only the first N samples.")]
Patches = Annotated[
    str | None,
    typer.Option(
        "--patches",
        help="Who cuts the layers on kuang2021: best, the fewest cores (default), or article, the plan that "
        "Zou et al. 2021 published.",
    ),
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the result as JSON to this file.")]
Html = Annotated[
    Path | None,
    typer.Option("--html", help="Write the report as one page for a browser, with pictures, to this file."),
]
Waves = Annotated[Path | None, typer.Option("--waves", help="Write the waves of the run to this .vcd file.")]
Junit = Annotated[Path | None, typer.Option("--junit", help="Write a JUnit XML report to this file.")]
Sim = Annotated[str, typer.Option("--sim", help="Simulator: auto, verilator, icarus or pysim.")]


def examples(*lines: str) -> str:
    """Return the last lines of a command's help."""
    return "[bold]Examples[/]\n\n" + "\n\n".join(f"  {line}" for line in lines)


def graded_options(bits: int, digits: str, tolerance: float, seed: int) -> GradedOptions:
    """Return how fine the graded code is.

    Raises
    ------
    MappingError : an option is out of its range.
    """
    from mapping.codes.graded.convert import AUTO_DIGITS, GradedOptions
    from mapping.spiking.digits import MOST_DIGITS

    if digits != AUTO_DIGITS and re.fullmatch(f"[1-{MOST_DIGITS}]", digits) is None:
        raise MappingError(f"Digits of a weight must be auto or 1..{MOST_DIGITS}, not {digits[:100]!r}.")
    number: Any = digits if digits == AUTO_DIGITS else int(digits)
    return GradedOptions(bits=bits, digits=number, seed=seed, tolerance=tolerance)


def gates_of(inlets: str | None, outlets: str | None) -> Gates:
    """Return the inlets and outlets that are asked for.

    Raises
    ------
    MappingError : a text is none of them.
    """
    from mapping.layout.gates import Gates

    return Gates(inlets=inlets, outlets=outlets)


def mesh_size(text: str | None) -> tuple[int, int] | None:
    """Return the sizes in ``WxH``.

    Raises
    ------
    MappingError : it is no such text.
    """
    return None if text is None else _two(text, "Mesh must be WxH, for example 4x3")


def chips_of(text: str | None) -> tuple[int, int] | None:
    """Return the numbers in ``XxY``, None if nothing is asked for.

    Raises
    ------
    MappingError : it is no such text.
    """
    return None if text is None else _two(text, "Chips must be XxY, for example 2x1")


def _two(text: str, rule: str) -> tuple[int, int]:
    """Return the two numbers of a text, or refuse it by the rule that it breaks."""
    size = _MESH.fullmatch(text)
    if size is None:
        raise MappingError(f"{rule}, not {text[:100]!r}.")
    return int(size[1]), int(size[2])
