# SPDX-License-Identifier: Apache-2.0
"""The whole chain in one call: a float network becomes a checked chip."""

from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any, cast

from numpy.typing import NDArray

from emu.errors import clause
from emu.image import SystemImage
from emu.spec import PRESETS, CoreSpec, SpecError, SystemSpec, preset
from mapping.chip import Chip
from mapping.codes.choice import AUTO, Request, code_of
from mapping.codes.graded.convert import GradedOptions
from mapping.datasets.scale import check_scale
from mapping.errors import MappingError
from mapping.given import model_and_samples
from mapping.layout import pipeline
from mapping.layout.capacity import fits
from mapping.layout.check import require
from mapping.layout.emit import emit
from mapping.layout.fitting import Fitting, Layout
from mapping.layout.site import site_for
from mapping.model.archive import network_to_arrays
from mapping.model.network import Network
from mapping.spiking.archive import CARRIED, spiking_to_arrays
from mapping.spiking.network import SpikingNetwork
from mapping.spiking.unary import unary
from mapping.stages import stage
from mapping.targets.files import Target, load_target

__all__ = ["compile_network"]

_UNARY = "scatter-and-gather"
"""The code whose counts can be groups of neurons of one threshold each."""


def compile_network(
    model: object,
    samples: object = None,
    *,
    target: Target | str = "loom",
    core: str | None = None,
    mesh: tuple[int, int] | None = None,
    chips: tuple[int, int] = (1, 1),
    pipelined: bool = False,
    placer: str = "greedy",
    excluded: Iterable[tuple[int, int]] = (),
    seed: int = 0,
    objective: str = "cores",
    scaling: str | None = None,
    strict: bool = False,
    code: str = AUTO,
    options: GradedOptions | None = None,
    progress: Callable[[str], None] | None = None,
) -> Chip:
    """Convert, partition, place, route, emit and check: a float network becomes a chip.

    Parameters
    ----------
    model : Network, str, Path or torch.nn.Module
        The trained network, see `mapping.model.load.load_network`.
    samples : array (n, input shape), iterable of batches, Dataset or str, optional
        Samples of the input, without labels: the graded code is chosen on them, of batches on the first
        `mapping.datasets.load.CALIBRATION`, and a module of PyTorch is exported with them; both need them.
        Some hundred real ones are wanted, see `mapping.given.model_and_samples`.
    target : Target or str
        A target. For a closed-form one, a chip of unary packets and on/off cells, the image has its core and
        a mesh of as many as all layers need side by side.
    core : str, optional
        Core preset instead of the target's.
    mesh : (width, height), optional
        Size of a chip; by default the smallest that fits. Layers that find no room run on the host.
    chips : (across, down)
        Chips of this size side by side, joined by links of a quarter of a flit (`docs/reference/links.md`).
    pipelined : bool
        Take a new sample in every step, see `mapping.layout.pipeline`.
    placer : str
        Who places the cores, a name in `mapping.layout.place.PLACERS`.
    excluded : iterable of (x, y)
        Cores of the mesh of all chips that nothing is placed on; they need ``mesh``.
    seed : int
        Seed of the placer; equal arguments give an equal image.
    objective : str
        What cores beyond the fewest are for, a name in `mapping.layout.objective.OBJECTIVES`.
    scaling : str, optional
        How `scaled` scales pixels for this network, kept for whoever runs the image; of loaded data it is by
        default what ``auto`` finds.
    strict : bool
        Refuse a network with convolutions or dense layers on the host.
    code : str
        Spike code, see `mapping.codes.choice`; by default the one that suits the network.
    options : GradedOptions, optional
        How fine activations and weights of the graded code are.
    progress : callable, optional
        Told what is being done.

    Raises
    ------
    UnsupportedModelError
        If no layer fits the chip, or with ``strict`` not all.
    MappingError
        If the code is not that of the target, or the check finds a fault.
    """
    network, given, scaling = model_and_samples(model, samples, scaling, seed)
    target, laid_out = _target(target)
    expanded = laid_out is unary
    name = _known(core or target.preset)
    spec, chosen = preset(name), code_of(network, _unary_code(code, target) if expanded else code)
    size = _buildable(spec, mesh or _mesh(target), chips)
    where: dict[str, Any] = {"mesh": size, "chips": chips, "seed": seed, "objective": objective}
    fitting = Fitting(spec=spec, site=site_for(placer, excluded=frozenset(excluded), **where))
    asked: dict[str, Any] = {"strict": strict, "samples": given, "options": options or GradedOptions()}
    asked |= {"fits": fits(spec, unary=expanded), "say": progress or _quiet}
    request = Request(spec=spec, holds=lambda found: fitting.holds(laid_out(found)), **asked)
    with stage("convert"):
        spiking = chosen.convert(network, request)
        on_chip = laid_out(spiking)
    facts = {"target": target.name, "core": name, "seed": seed, "spikeloom": version("spikeloom")}
    facts |= {"scaling": None if scaling is None else check_scale(scaling), **_left(spiking)}
    facts |= {**fitting.site.facts, **({"unary": True} if expanded else {})}
    told: dict[str, Any] = {"name": network.name, "facts": facts, "carried": _carried(network, spiking)}
    image = _checked(on_chip, cast("Layout", fitting.layout), pipelined=pipelined, chips=chips, **told)
    return Chip(image=image, spiking=spiking)


def _checked(on_chip: SpikingNetwork, layout: Layout, *, pipelined: bool, **told: Any) -> SystemImage:
    """Return the checked image of a network, that of pipelined samples if asked for."""
    with stage("emit"):
        image = emit(on_chip, *layout, **told)
        image = pipeline.pipelined(image, on_chip) if pipelined else image
    with stage("check"):
        require(image, on_chip)
    return image


def _known(core: str) -> str:
    """Return the name of a core preset if it is one."""
    if core not in PRESETS:
        raise MappingError(f"Core must be one of {', '.join(PRESETS)}, not {core!r}.")
    return core


def _quiet(_: str) -> None:
    """Tell nobody."""


def _left(spiking: SpikingNetwork) -> dict[str, Any]:
    """Return, as metadata, the layers that did not find room and why."""
    left = {layer.name: [layer.reason, layer.remedy] for layer in spiking.left}
    return {"left": left} if left else {}


def _target(target: Target | str) -> tuple[Target, Callable[[SpikingNetwork], SpikingNetwork]]:
    """Return a target, and how its chip runs a network."""
    target = load_target(target) if isinstance(target, str) else target
    return target, unary if target.kind == "closed-form" else _as_it_is


def _unary_code(code: str, target: Target) -> str:
    """Return the code of a chip of unary packets if it is the one asked for, or any will do."""
    if code not in (AUTO, _UNARY):
        raise MappingError(
            f"Code {code} does not run on {target.name}, whose packets have no payload: choose {_UNARY}, or "
            "the target loom."
        )
    return _UNARY


def _as_it_is(spiking: SpikingNetwork) -> SpikingNetwork:
    """Return a network as a chip of counts runs it."""
    return spiking


def _carried(network: Network, spiking: SpikingNetwork) -> dict[str, NDArray[Any]]:
    """Return what an image carries: the network, and what it became if that takes samples to find again."""
    if spiking.code not in CARRIED:
        return network_to_arrays(network)
    return {**network_to_arrays(spiking.network), **spiking_to_arrays(spiking)}


def _mesh(target: Target) -> tuple[int, int] | None:
    if target.mesh in ("auto", ""):
        return None
    width, height = target.mesh.split("x")
    return int(width), int(height)


def _buildable(
    core: CoreSpec, mesh: tuple[int, int] | None, chips: tuple[int, int]
) -> tuple[int, int] | None:
    """Return the mesh of all chips, which can be built, before any work for it is done."""
    if min(chips) < 1:
        raise MappingError(f"Chips must be at least 1x1, not {chips[0]}x{chips[1]}.")
    if mesh is not None:
        mesh = mesh[0] * chips[0], mesh[1] * chips[1]
        try:
            SystemSpec(core=core, width=mesh[0], height=mesh[1])
        except SpecError as error:
            raise MappingError(
                f"A mesh of {mesh[0]}x{mesh[1]} cores cannot be built: {clause(error)}."
            ) from error
    return mesh
