# SPDX-License-Identifier: Apache-2.0
"""The whole chain in one call: a float network becomes a checked chip."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, cast

from numpy.typing import NDArray

from emu.dead import DeadSpec
from emu.errors import clause
from emu.image import SystemImage
from emu.spec import PRESETS, CoreSpec, SpecError, SystemSpec, preset
from mapping.chip import Chip
from mapping.codes.choice import AUTO, Code, Request, code_of
from mapping.codes.graded.convert import GradedOptions
from mapping.codes.obstacles import Holds
from mapping.datasets.scale import check_scale
from mapping.errors import MappingError, UnsupportedModelError
from mapping.given import model_and_samples, require_real
from mapping.layout import pipeline
from mapping.layout.assembly import QUARTER
from mapping.layout.capacity import fits
from mapping.layout.check import require
from mapping.layout.check.passes import require_passes
from mapping.layout.emit import emit
from mapping.layout.fitting import Fitting, Layout
from mapping.layout.gates import ONE_OF_EACH, Gates
from mapping.layout.objective import OBJECTIVES
from mapping.layout.schedule import Schedule, Scheduling
from mapping.layout.site import Site, site_for
from mapping.layout.thrift import Price
from mapping.model.archive import network_to_arrays
from mapping.model.network import Network
from mapping.passes import Passes, passes_meta
from mapping.spiking.archive import CARRIED, spiking_to_arrays
from mapping.spiking.network import SpikingNetwork
from mapping.spiking.spread import spread
from mapping.spiking.unary import unary
from mapping.stages import stage
from mapping.targets.files import Target, load_target
from mapping.targets.loom import energy_table
from mapping.targets.models import model_of

__all__ = ["compile_network", "compile_passes", "core_of", "price_of", "unary_code"]

_UNARY = "scatter-and-gather"
"""The code whose counts can be groups of neurons of one threshold each."""


def compile_network(
    model: object,
    samples: object = None,
    *,
    target: Target | str = "loom",
    core: str | None = None,
    mesh: tuple[int, int] | None = None,
    chips: tuple[int, int] | None = None,
    shared_links: bool = False,
    wires: int | None = None,
    pipelined: bool = False,
    placer: str = "greedy",
    dead: DeadSpec | None = None,
    gates: Gates = ONE_OF_EACH,
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
        Samples of the input: the graded code is chosen on them, of batches on the first
        `mapping.datasets.load.CALIBRATION`, and a module of PyTorch is exported with them; both need them.
        Some hundred real ones are wanted. Bytes are pixels, whose scale labels choose if there are any, see
        `mapping.given.model_and_samples`.
    target : Target or str
        A target. For a closed-form one, a chip of unary packets and on/off cells, the image has its core and
        a mesh of as many as all layers need side by side.
    core : str, optional
        Core preset instead of the target's.
    mesh : (width, height), optional
        Size of a chip; by default the target's, or the smallest that fits. Layers that find no room run on
        the host.
    chips : (across, down), optional
        Chips of this size side by side, joined by the target's links (`docs/reference/links.md`); by default
        as many as the target has.
    shared_links : bool
        One link for each side of a chip instead of one for each of its routers, whatever the target has.
    wires : int, optional
        Wires of each link instead of the target's, or of a quarter of the bits of a flit.
    pipelined : bool
        Take a new sample in every step, see `mapping.layout.pipeline`.
    placer : str
        Who places the cores, a name in `mapping.layout.place.PLACERS`.
    dead : DeadSpec, optional
        Cores and ports of the mesh of all chips that do not work (`docs/reference/mapping.md`); they need
        ``mesh``.
    gates : Gates
        Inlets and outlets of the mesh of all chips (`docs/reference/mapping.md`), by default the target's.
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
    asked: dict[str, Any] = {"target": target, "core": core, "mesh": mesh, "chips": chips, "placer": placer}
    asked |= {"shared_links": shared_links, "wires": wires, "dead": dead, "seed": seed, "scaling": scaling}
    asked |= {"strict": strict, "code": code, "options": options, "progress": progress}
    asked |= {"objective": objective, "gates": gates}
    run = _Compilation.of(model, samples, **asked)
    fitting = Fitting(spec=run.request.spec, site=run.site)
    spiking, on_chip = run.converted(fitting.holds)
    image = run.checked(on_chip, cast("Layout", fitting.layout), pipelined=pipelined, whole=spiking)
    return Chip(image=image, spiking=spiking, site=run.site)


def compile_passes(
    model: object,
    samples: object = None,
    *,
    target: Target | str = "loom",
    mesh: tuple[int, int] | None = None,
    **asked: Any,
) -> Passes:
    """Compile a network into passes over a mesh that need not hold it (`docs/reference/passes.md`).

    Parameters
    ----------
    model, samples, target
        As of `compile_network`.
    mesh : (width, height), optional
        Size of a chip; by default the target's, if it has one.
    asked
        Other options of `compile_network`, without ``pipelined``.

    Raises
    ------
    UnsupportedModelError
        If no layer fits the chip even in passes, or with ``strict`` not all.
    MappingError
        If there is no mesh, the code is not that of the target, or the check finds a fault.
    """
    target = load_target(target) if isinstance(target, str) else target
    core_of(target, asked.get("core"))
    mesh = mesh or target.size or model_of(target).array(target)
    if mesh is None:
        raise MappingError("Passes need a mesh that a pass fits: add --mesh WxH, for example 4x4.")
    run = _Compilation.of(model, samples, target=target, mesh=mesh, **asked)
    scheduling = Scheduling(spec=run.request.spec, site=run.site)
    spiking, on_chip = run.converted(scheduling.holds)
    found = cast("Schedule", scheduling.found)
    with stage("check"):
        require_passes(on_chip, found.passes)
    images = []
    for number, (one, layout) in enumerate(zip(found.passes, found.layouts, strict=True)):
        whole, told = None if number else spiking, passes_meta(number, one.rows)
        images.append(run.checked(one.network, layout, whole=whole, facts=told))
    return Passes(images=tuple(images), passes=found.passes, spiking=spiking, on_chip=on_chip)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Compilation:
    """What a network is compiled for: the code, what it asks of the chip, and where the layers may lie."""

    network: Network
    code: Code
    request: Request
    site: Site
    laid_out: Callable[[SpikingNetwork], SpikingNetwork]
    facts: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        model: object,
        samples: object = None,
        *,
        target: Target | str = "loom",
        core: str | None = None,
        seed: int = 0,
        scaling: str | None = None,
        strict: bool = False,
        code: str = AUTO,
        options: GradedOptions | None = None,
        progress: Callable[[str], None] | None = None,
        **where: Any,
    ) -> "_Compilation":
        """Return it for the arguments of `compile_network`; ``where`` are those of `_site`."""
        network, given, scaling = model_and_samples(model, samples, scaling, seed)
        target, laid_out = _target(target)
        expanded = laid_out is unary
        name, spec = core_of(target, core)
        chosen = code_of(network, unary_code(code, target) if expanded else code)
        if chosen.name == "graded":
            require_real(model, given)
        site = _site(target, spec, seed=seed, **where)
        asked: dict[str, Any] = {"strict": strict, "samples": given, "options": options or GradedOptions()}
        asked |= {"fits": fits(spec, unary=expanded), "say": progress or _quiet}
        facts = {"target": target.name, "core": name, "seed": seed, "spikeloom": version("spikeloom")}
        facts |= {"scaling": None if scaling is None else check_scale(scaling)}
        facts |= {} if site.objective == OBJECTIVES[0] else {"objective": site.objective}
        return cls(
            network=network,
            code=chosen,
            request=Request(spec=spec, **asked),
            site=site,
            laid_out=laid_out,
            facts=facts | ({"unary": True} if expanded else {}),
        )

    def converted(self, holds: Holds) -> tuple[SpikingNetwork, SpikingNetwork]:
        """Return the integer network that a chip takes, and how it runs it."""
        request = replace(self.request, holds=lambda found: holds(self.laid_out(found)))
        with stage("convert"):
            spiking = self.code.convert(self.network, request)
            return spiking, self.laid_out(spiking)

    def checked(
        self,
        on_chip: SpikingNetwork,
        layout: Layout,
        *,
        whole: SpikingNetwork | None,
        pipelined: bool = False,
        facts: Mapping[str, Any] = MappingProxyType({}),
    ) -> SystemImage:
        """Return the checked image of a network; it carries the ``whole`` one, if it is given."""
        facts = {**self.facts, **facts, **({} if whole is None else _left(whole))}
        carried = {} if whole is None else _carried(self.network, whole)
        with stage("emit"):
            image = emit(on_chip, *layout, name=self.network.name, facts=facts, carried=carried)
            image = pipeline.pipelined(image, on_chip) if pipelined else image
        with stage("check"):
            require(image, on_chip)
        return image


def core_of(target: Target, core: str | None) -> tuple[str, CoreSpec]:
    """Return the core of a target's images, or the preset that is asked for, with its name.

    Raises
    ------
    MappingError
        If there is no such preset, or no images for the target.
    """
    if target.core is None:
        raise MappingError(
            f"Target {target.name} is a formula that describes no core to build; choose loom or kuang2021."
        )
    if core is None:
        return target.preset or target.name, target.core
    if core not in PRESETS:
        raise MappingError(f"Core must be one of {', '.join(PRESETS)}, not {core!r}.")
    return core, preset(core)


def _quiet(_: str) -> None:
    """Tell nobody."""


def _left(spiking: SpikingNetwork) -> dict[str, Any]:
    """Return, as metadata, the layers that did not find room and why."""
    left = {layer.name: [layer.reason, layer.remedy] for layer in spiking.left}
    return {"left": left} if left else {}


def _target(target: Target | str) -> tuple[Target, Callable[[SpikingNetwork], SpikingNetwork]]:
    """Return a target, and how its chip runs a network."""
    target = load_target(target) if isinstance(target, str) else target
    return target, unary if model_of(target).unary else spread


def price_of(target: Target, spec: CoreSpec) -> Price:
    """Return what a target charges for what depends on how layers are cut.

    Raises
    ------
    MappingError
        If it is a formula, which charges an image for nothing.
    """
    if target.kind != "cycle-exact":
        raise MappingError(
            f"Objective energy needs a target that charges what an image does, not the formula {target.name};"
            " choose the target loom, or the objective cores or latency."
        )
    joules = {event: quantity.si for event, quantity in energy_table(target, spec).items()}
    return Price(
        word=joules.get("crossbar_words", 0.0),
        delivery=joules.get("deliveries", 0.0),
        hop=joules.get("hops", 0.0),
        bit=joules.get("link_bits", 0.0),
        cycle=joules.get("core_cycles", 0.0) + joules.get("leakage", 0.0) / target.clock_hz,
    )


def unary_code(code: str, target: Target) -> str:
    """Return the code of a chip of unary packets if it is the one asked for, or any will do.

    Raises
    ------
    UnsupportedModelError
        If another code is asked for.
    """
    if code not in (AUTO, _UNARY):
        raise UnsupportedModelError(
            f"Code {code} does not run on {target.name}, whose packets have no payload: choose {_UNARY}, or "
            "the target loom."
        )
    return _UNARY


def _carried(network: Network, spiking: SpikingNetwork) -> dict[str, NDArray[Any]]:
    """Return what an image carries: the network, and what it became if that takes samples to find again."""
    if spiking.code not in CARRIED:
        return network_to_arrays(network)
    return {**network_to_arrays(spiking.network), **spiking_to_arrays(spiking)}


def _site(
    target: Target,
    core: CoreSpec,
    *,
    mesh: tuple[int, int] | None = None,
    chips: tuple[int, int] | None = None,
    shared_links: bool = False,
    wires: int | None = None,
    gates: Gates = ONE_OF_EACH,
    placer: str = "greedy",
    objective: str = OBJECTIVES[0],
    **where: Any,
) -> Site:
    """Return the site that is asked for, and that of the target where nothing is said.

    One chip alone has no links of which somebody could say how they are, but that they are shared.
    """
    chips = chips or target.chips
    links = QUARTER if chips == (1, 1) else target.links
    links = replace(links, shared=links.shared or shared_links, wires=links.wires if wires is None else wires)
    where |= {"chips": chips, "links": links}
    where |= {"mesh": _buildable(core, mesh or target.size, chips), "gates": gates.or_else(target.gates)}
    price = price_of(target, core) if objective == "energy" else None
    return site_for(placer, price=price, objective=objective, **where)


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
