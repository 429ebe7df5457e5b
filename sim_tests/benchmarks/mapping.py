# SPDX-License-Identifier: Apache-2.0
"""From a large spiking network to its image: seconds and peak of memory of every stage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from emu.container import load_image, save_image
from emu.loading import load_totals
from emu.spec import preset
from mapping.errors import InfeasibleError, MappingError
from mapping.layout.check import require
from mapping.layout.emit import emit
from mapping.layout.route import fit
from mapping.spiking.network import SpikingNetwork
from mapping.stages import Stage, recorded, stage
from sim_tests.benchmarks.measure import Options, Row
from sim_tests.generators.large_networks import LARGE

__all__ = ["rows"]


def rows(options: Options) -> Iterator[Row]:
    """Yield for every network its cores, the stages of its mapping, and their sum; or why it has no image."""
    for name in options.networks:
        spiking = LARGE[name]()
        with recorded() as record:
            found = _mapped(spiking)
        yield Row(f"{name} on reference cores", found)
        yield from (Row(f"{name}: {key}", _text(one)) for key, one in record.stages.items())
        yield Row(f"{name}: all", _text(_total(list(record.stages.values()))))


def _mapped(spiking: SpikingNetwork) -> str:
    """Map a network; return the cores that it takes and its load, or the sentence that refuses it."""
    try:
        parts, placement, routes = fit(spiking, preset("reference"))
    except InfeasibleError as error:
        return str(error)
    with stage("emit"):
        image = emit(spiking, parts, placement, routes, name=spiking.name)
    with stage("check"):
        require(image, spiking)
    with TemporaryDirectory() as folder:
        file = Path(folder, "image.spikeloom")
        with stage("save"):
            save_image(image, file)
        size = file.stat().st_size
        with stage("read"):
            again = load_image(file)
    if again.digest != image.digest:
        raise MappingError(f"The file of {spiking.name} holds another image: please report it.")
    load = load_totals(image)
    return (
        f"{len(parts.cores)} cores of {placement.width} x {placement.height}; "
        f"loaded by {load.flits:,} flits, core by core by {load.one_by_one:,}; "
        f"a file of {size:,} bytes"
    )


def _total(stages: list[Stage]) -> Stage:
    peaks = [one.peak_mib for one in stages if one.peak_mib is not None]
    return Stage(seconds=sum(one.seconds for one in stages), peak_mib=max(peaks, default=None))


def _text(one: Stage) -> str:
    memory = "" if one.peak_mib is None else f", {one.peak_mib:.0f} MiB"
    return f"{one.seconds:.2f} s{memory}"
