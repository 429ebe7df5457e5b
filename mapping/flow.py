# SPDX-License-Identifier: Apache-2.0
"""The whole chain in one call: a float network becomes a checked chip."""

from dataclasses import replace
from importlib.metadata import version
from typing import cast

from emu.errors import clause
from emu.spec import PRESETS, CoreSpec, SpecError, SystemSpec, preset
from mapping.chip import Chip
from mapping.codes.convert import convert
from mapping.datasets.load import check_scale
from mapping.errors import MappingError
from mapping.layout.capacity import fits
from mapping.layout.check import require
from mapping.layout.emit import emit
from mapping.layout.fitting import Fitting, Layout
from mapping.model.archive import network_to_arrays
from mapping.model.network import Network
from mapping.targets.files import Target, load_target

__all__ = ["compile_network"]


def compile_network(
    network: Network,
    *,
    target: Target | str = "loom",
    core: str | None = None,
    mesh: tuple[int, int] | None = None,
    seed: int = 0,
    scaling: str | None = None,
    strict: bool = False,
) -> Chip:
    """Convert, partition, place, route, emit and check: a float network becomes a chip.

    Parameters
    ----------
    network : Network
        The trained network.
    target : Target or str
        A cycle-exact target.
    core : str, optional
        Core preset instead of the target's.
    mesh : (width, height), optional
        Size of the chip; by default the smallest that fits. Layers that find no room run on the host.
    seed : int
        Seed of the placer; equal arguments give an equal image.
    scaling : str, optional
        How `scaled` scales pixels for this network, kept for whoever runs the image.
    strict : bool
        Refuse a network with convolutions or dense layers on the host.

    Raises
    ------
    UnsupportedModelError
        If no layer fits the chip, or with ``strict`` not all.
    MappingError
        If the target has no core to compile for, or the check finds a fault.
    """
    target = load_target(target) if isinstance(target, str) else target
    if target.kind != "cycle-exact":
        raise MappingError(
            f"Target {target.name} is a closed form without a machine: "
            "use it with estimate, or compile for loom."
        )
    name = core or target.preset
    if name not in PRESETS:
        raise MappingError(f"Core must be one of {', '.join(PRESETS)}, not {name!r}.")
    spec = preset(name)
    fitting = Fitting(spec=spec, mesh=_buildable(spec, mesh or _mesh(target)), seed=seed)
    spiking = convert(network, fits(spec), holds=fitting.holds, strict=strict)
    image = emit(spiking, *cast("Layout", fitting.layout), name=network.name)
    meta = {
        **image.meta,
        "target": target.name,
        "core": name,
        "seed": seed,
        "spikeloom": version("spikeloom"),
        "scaling": None if scaling is None else check_scale(scaling),
    }
    if spiking.left:
        meta["left"] = {layer.name: [layer.reason, layer.remedy] for layer in spiking.left}
    image = replace(image, meta=meta, attachments={**image.attachments, **network_to_arrays(network)})
    require(image, spiking)
    return Chip(image=image, spiking=spiking)


def _mesh(target: Target) -> tuple[int, int] | None:
    if target.mesh == "auto":
        return None
    width, height = target.mesh.split("x")
    return int(width), int(height)


def _buildable(core: CoreSpec, mesh: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return a mesh that a chip can have, before any work for it is done."""
    if mesh is not None:
        try:
            SystemSpec(core=core, width=mesh[0], height=mesh[1])
        except SpecError as error:
            raise MappingError(
                f"A mesh of {mesh[0]}x{mesh[1]} cores cannot be built: {clause(error)}."
            ) from error
    return mesh
