# SPDX-License-Identifier: Apache-2.0
"""From a large spiking network to its image and report: seconds and peak of memory of every stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from emu.container import load_image, save_image
from emu.passes import load_images
from emu.spec import preset
from mapping.chip import Chip
from mapping.errors import InfeasibleError, MappingError
from mapping.flow import compile_passes
from mapping.layout.check import require
from mapping.layout.emit import emit
from mapping.layout.route import fit
from mapping.model.importers.onnx import network_from_onnx
from mapping.model.network import Network
from mapping.passes import Passes
from mapping.spiking.network import SpikingNetwork
from mapping.stages import Stage, recorded, stage
from sim_tests.benchmarks.measure import Options, Row
from sim_tests.generators.article_models import article_model
from sim_tests.generators.large_networks import LARGE
from spikeloom.commands.compile import show_compiled
from spikeloom.terminal import console

__all__ = ["KUANG", "rows"]


KUANG = "vgg-kuang2021"
"""The article's VGG of four spikes in passes over its 8 x 8 cores, from the float network on."""


def rows(options: Options) -> Iterator[Row]:
    """Yield for every network its cores, the stages of its mapping, and their sum; or why it has no image."""
    for name in options.networks:
        title = f"{name} on reference cores" if name in LARGE else f"{name} in passes over 8 x 8 cores"
        mapped = partial(_mapped, LARGE[name]()) if name in LARGE else partial(_in_passes, _article())
        with recorded() as record:
            found = mapped()
        yield Row(title, found)
        yield from (Row(f"{name}: {key}", _text(one)) for key, one in record.stages.items())
        yield Row(f"{name}: all", _text(_total(list(record.stages.values()))))


def _article() -> Network:
    return network_from_onnx(article_model("vgg", 4), name="vgg")


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
    size = _filed(image.digest, partial(save_image, image), lambda file: load_image(file).digest)
    chip = Chip(image=image, spiking=spiking)
    with stage("report"):
        _shown(chip)
        load = chip.load
    return (
        f"{len(parts.cores)} cores of {placement.width} x {placement.height}; "
        f"loaded by {load.flits:,} flits, core by core by {load.one_by_one:,}; "
        f"a file of {size:,} bytes"
    )


def _in_passes(network: Network) -> str:
    """Compile a network into passes; return the cores that they take together."""
    passes = compile_passes(network, target="kuang2021")
    digests = [image.digest for image in passes.images]
    size = _filed(digests, passes.save, lambda file: [image.digest for image in load_images(file)])
    with stage("report"):
        _shown(passes)
    cores = sum(core is not None for image in passes.images for core in image.cores)
    flits = sum(chip.load.flits for chip in passes.loaded)
    return f"{cores} cores in {len(digests)} passes; loaded by {flits:,} flits; a file of {size:,} bytes"


def _filed(digest: object, save: Callable[[Path], None], digest_of: Callable[[Path], object]) -> int:
    """Write a file and read it again; return its size."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "image.spikeloom")
        with stage("save"):
            save(file)
        size = file.stat().st_size
        with stage("read"):
            again = digest_of(file)
    if again != digest:
        raise MappingError("The file of an image holds another one: please report it.")
    return size


def _shown(chip: Chip | Passes) -> None:
    """Tell nobody what `spikeloom compile` tells of an image, or of passes."""
    with console.capture():
        show_compiled(Path("image.spikeloom"), chip, None)


def _total(stages: list[Stage]) -> Stage:
    peaks = [one.peak_mib for one in stages if one.peak_mib is not None]
    return Stage(seconds=sum(one.seconds for one in stages), peak_mib=max(peaks, default=None))


def _text(one: Stage) -> str:
    memory = "" if one.peak_mib is None else f", {one.peak_mib:.0f} MiB"
    return f"{one.seconds:.2f} s{memory}"
