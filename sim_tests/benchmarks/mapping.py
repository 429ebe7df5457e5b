# SPDX-License-Identifier: Apache-2.0
"""From a large spiking network to its image and report: seconds and peak of memory of every stage."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from emu.container import load_image, save_image
from emu.spec import preset
from mapping.chip import Chip
from mapping.errors import InfeasibleError, MappingError
from mapping.flow import compile_network
from mapping.layout.check import require
from mapping.layout.emit import emit
from mapping.layout.route import fit
from mapping.model.importers.onnx import network_from_onnx
from mapping.model.network import Network
from mapping.spiking.network import SpikingNetwork
from mapping.stages import Stage, recorded, stage
from sim_tests.benchmarks.measure import Options, Row
from sim_tests.generators.article_models import article_model
from sim_tests.generators.large_networks import LARGE
from spikeloom.commands.compile import show_compiled
from spikeloom.memory import keep_freed
from spikeloom.terminal import console

__all__ = ["KUANG", "rows"]


AFTERWARDS = ("read", "load")
"""Stages that `spikeloom compile` does not have: to read its file again, and the plan of a load."""

KUANG = "vgg-kuang2021"
"""The article's VGG of four spikes on a mesh of cores of its chip, from the float network on."""


def rows(options: Options) -> Iterator[Row]:
    """Yield for every network its cores, the stages of its mapping, and their sum; or why it has no image."""
    keep_freed()  # as a command does
    for name in options.networks:
        mapped = partial(_mapped, LARGE[name]()) if name in LARGE else partial(_article, _vgg())
        with recorded(options.clock) as record:
            found = mapped()
        yield Row(f"{name} on {'reference' if name in LARGE else 'article'} cores", found)
        yield from (Row(f"{name}: {key}", _text(one)) for key, one in record.stages.items())
        command = [one for key, one in record.stages.items() if key not in AFTERWARDS]
        yield Row(f"{name}: all that a command does", _text(_total(command)))


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
    return _told(Chip(image=image, spiking=spiking))


def _vgg() -> Network:
    return network_from_onnx(article_model("vgg", 4), name="vgg")


def _article(network: Network) -> str:
    """Compile a network for the article's chip as `spikeloom compile` does; return what it takes."""
    return _told(compile_network(network, target="kuang2021"))


def _told(chip: Chip) -> str:
    """Write an image, tell nobody what `spikeloom compile` tells, and read it; return its cores and load."""
    image = chip.image
    with TemporaryDirectory() as folder:
        file = Path(folder, "image.spikeloom")
        with stage("save"):
            save_image(image, file)
        size = file.stat().st_size
        with stage("report"), console.capture():
            show_compiled(file, chip, None)
        with stage("read"):
            again = load_image(file)
    if again.digest != image.digest:
        raise MappingError(f"The file of {chip.spiking.name} holds another image: please report it.")
    del again
    with stage("load"):
        load = chip.load
    spec, used = image.spec, sum(core is not None for core in image.cores)
    return (
        f"{used} cores of {spec.width} x {spec.height}; "
        f"loaded by {load.flits:,} flits, core by core by {load.one_by_one:,}; "
        f"a file of {size:,} bytes"
    )


def _total(stages: list[Stage]) -> Stage:
    peaks = [one.peak_mib for one in stages if one.peak_mib is not None]
    return Stage(seconds=sum(one.seconds for one in stages), peak_mib=max(peaks, default=None))


def _text(one: Stage) -> str:
    memory = "" if one.peak_mib is None else f", {one.peak_mib:.0f} MiB"
    return f"{one.seconds:.2f} s{memory}"
