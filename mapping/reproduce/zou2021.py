# SPDX-License-Identifier: Apache-2.0
"""Tables 2 to 5 and 7 to 11 of Zou et al. 2021, Front. Neurosci. 15:694170, from their formulas.

Nothing here has seen a published table: the chip is `mapping.targets` file ``kuang2021``, the networks are
shapes. `docs/reference/reproduce.md` is the contract of every cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal

from mapping.reproduce.measure import Measured
from mapping.reproduce.networks import NETWORKS, SPIKES, layers
from mapping.targets.files import Target, load_target
from mapping.targets.kuang import ClosedForm, estimate_kuang
from mapping.targets.patches import LayerShape, PatchMapping, map_layer, possible_patches

__all__ = ["OPERATIONS", "Cells", "Computed", "Place", "compute_tables", "rounded"]

Place = tuple[int, str, str]
"""Where a cell is: table, row, column."""

OPERATIONS = {1: 5.662e7, 2: 1.663e8, 4: 5.588e8}
"""Dense synaptic operations of VGG-Net per image of CIFAR-10, by spikes: the authors' training logs
(github.com/edwardzcl/Spatio_temporal_SNNs). The article shows them in a figure alone."""

_MODELS = {1: "Single-spike", 2: "Two-spike", 4: "Four-spike"}
_TABLES = {"lenet": (7, 9, "MNIST"), "vgg": (8, 10, "CIFAR-10")}
_ACCURACIES = {"lenet": 4, "vgg": 5}
_EXAMPLE = LayerShape(name="c", kind="conv", input=(4, 4, 128), output=(2, 2, 256), kernel=2, stride=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """What a formula gives for one cell.

    Parameters
    ----------
    value : int, float, Decimal, str or tuple of 3 int
        The value; a patch is (w, h, d).
    formula : str
        Where it comes from.
    own : bool
        Whether it was measured with a network that is not the authors'.
    """

    value: int | float | Decimal | str | tuple[int, int, int]
    formula: str
    own: bool = False


Cells = dict[Place, Computed]


def rounded(value: float | Decimal, places: int, *, down: bool = False) -> Decimal:
    """Return a value above zero with so many decimals, halves up or all down, as a table prints it."""
    exact = Decimal(value)
    return exact.quantize(Decimal(1).scaleb(-places), ROUND_FLOOR if down else ROUND_HALF_UP)


def compute_tables(
    target: Target | None = None, measured: Mapping[tuple[str, int], Measured] | None = None
) -> Cells:
    """Return every cell that can be computed.

    Parameters
    ----------
    target : Target, optional
        The chip; the shipped ``kuang2021`` by default.
    measured : mapping, optional
        What was measured with trained networks, by network and spikes: their accuracy and operations.
    """
    chip = load_target("kuang2021") if target is None else target
    cells = dict(_example(chip))
    for network in NETWORKS:
        for spikes in SPIKES:
            found = (measured or {}).get((network, spikes))
            sop, origin = _operations(network, spikes, found)
            on_chip = layers(network, spikes)[:-1]
            form = estimate_kuang(on_chip, sop_dense=sop, target=chip, patches="article")
            cells.update(_mapping_rows(network, spikes, chip))
            cells.update(_core_rows(network, spikes, form))
            cells.update(_performance(network, spikes, form, origin, own=found is not None))
            if found is not None:
                cells.update(_accuracies(found))
    return cells


def _accuracies(found: Measured) -> Iterator[tuple[Place, Computed]]:
    """Give what a trained network is right in; the four-spike models have noise in Table 4 or 5."""
    how = f"measured, {found.told}"
    if found.accuracy is None or found.float_accuracy is None:
        return
    yield (
        (11, _model(found.network, found.spikes), "accuracy"),
        Computed(value=found.accuracy, formula=how, own=True),
    )
    if found.spikes != SPIKES[-1]:
        return
    table = _ACCURACIES[found.network]
    rows = {f"This work ({share:.0%} noise)": value for share, value in found.noisy.items()}
    for row, value in {"This work (Rate coding)": found.accuracy, **rows}.items():
        yield (table, row, "ANN"), Computed(value=found.float_accuracy, formula=how, own=True)
        yield (table, row, "SNN"), Computed(value=value, formula=how, own=True)


def _operations(network: str, spikes: int, found: Measured | None) -> tuple[float, str]:
    """Return the dense operations of an image, and where they come from."""
    if found is not None:
        return found.operations, f"operations measured, {found.told}"
    if network == "vgg":
        return OPERATIONS[spikes], "operations of the authors' logs"
    return 0.0, "static power alone, no operations counted"


def _example(chip: Target) -> Iterator[tuple[Place, Computed]]:
    """Give Tables 2 and 3: plan 1 cuts channels alone, plan 2 is what the search chooses."""
    whole = (_EXAMPLE.output[1], _EXAMPLE.output[0])
    uncut = [plan for plan in possible_patches(_EXAMPLE, target=chip) if plan.patch_out[:2] == whole]
    plans = {
        "No. 1": min(uncut, key=lambda plan: plan.cores),
        "No. 2": map_layer(_EXAMPLE, target=chip, patches="article"),
    }
    for row, plan in plans.items():
        sizes = zip(("w_l", "h_l", "d_l"), plan.patch_in, strict=True)
        yield from (((2, row, name), Computed(value=size, formula="Eqs. 11, 12")) for name, size in sizes)
        sizes = zip(("w_l+1", "h_l+1", "d_l+1"), plan.patch_out, strict=True)
        yield from (((2, row, name), Computed(value=size, formula="Eqs. 11, 13")) for name, size in sizes)
        yield (2, row, "f"), Computed(value=plan.extension, formula="Eq. 11")
        yield (2, row, "core"), Computed(value=plan.cores, formula="Eqs. 20-22")
        for name, density in zip(("D_neuron", "D_axon", "D_synapse"), _densities(plan), strict=True):
            yield (3, row, name), density


def _densities(plan: PatchMapping) -> tuple[Computed, Computed, Computed]:
    """Return the densities of neurons, axons and synapses."""
    return (
        Computed(value=plan.neuron_density, formula="Eq. 14"),
        Computed(value=plan.axon_density, formula="Eq. 15"),
        Computed(value=plan.synapse_density, formula="Eq. 16"),
    )


def _label(shape: LayerShape) -> str:
    """Return the article's name of a layer: mCn filters and size, mPn size and stride, mFC neurons."""
    if shape.kind == "fc":
        return f"{shape.output[2]}FC"
    if shape.kind == "pool":
        return f"{shape.window[1]}P{shape.steps[1]}"
    return f"{shape.output[2]}C{shape.window[1]}"


def _model(network: str, spikes: int) -> str:
    return f"{_TABLES[network][2]}, {_MODELS[spikes]} (This work)"


def _mapping_rows(network: str, spikes: int, chip: Target) -> Iterator[tuple[Place, Computed]]:
    """Give Table 7 or 8 of one model, the last layer included."""
    table = _TABLES[network][0]
    for shape in layers(network, spikes):
        plan, row = map_layer(shape, target=chip, patches="article"), f"{shape.name}, {spikes}"
        neurons, axons, synapses = _densities(plan)
        yield (table, row, "name"), Computed(value=_label(shape), formula="section 4.1")
        yield (table, row, "in"), Computed(value=plan.patch_in, formula="Eqs. 11, 12")
        yield (table, row, "out"), Computed(value=plan.patch_out, formula="Eqs. 11, 13")
        yield (table, row, "f"), Computed(value=plan.extension, formula="Eq. 11")
        yield (table, row, "A"), axons
        yield (table, row, "N"), neurons
        yield (table, row, "S"), synapses


def _latencies(form: ClosedForm) -> list[Decimal]:
    """Return the latency of every layer in ms, rounded as the article rounds it."""
    return [rounded(seconds * 1e3, 4) for seconds in form.latency_per_layer_s]


def _core_rows(network: str, spikes: int, form: ClosedForm) -> Iterator[tuple[Place, Computed]]:
    """Give the columns of one model in Table 9 or 10; a total of latencies is that of the rounded rows."""
    table, latencies = _TABLES[network][1], _latencies(form)
    rows = [(shape.name, _label(shape)) for shape in NETWORKS[network][:-1]]
    cores, shown = [*form.cores_per_layer, form.cores], [*latencies, sum(latencies, Decimal(0))]
    for (row, label), count, ms in zip([*rows, ("Total", "Total")], cores, shown, strict=True):
        yield (table, row, "name"), Computed(value=label, formula="section 4.1")
        yield (table, row, f"cores {spikes}"), Computed(value=count, formula="Eqs. 20-22")
        yield (
            (table, row, f"ms {spikes}"),
            Computed(value=ms, formula="steps of 13 824 cycles, one for every 64 cores begun"),
        )


def _performance(
    network: str, spikes: int, form: ClosedForm, origin: str, *, own: bool
) -> Iterator[tuple[Place, Computed]]:
    """Give speed and energy of one model in Table 11, as the article makes them of what it prints."""
    row, latency = _model(network, spikes), sum(_latencies(form), Decimal(0))
    energy = form.energy.total_j
    yield (11, row, "FPS"), Computed(value=1000 / latency, formula="1 / latency as printed")
    yield (
        (11, row, "mJ"),
        Computed(value=energy * 1e3, formula=f"mJ = 64 P T + e operations, {origin}", own=own),
    )
    yield (11, row, "FPS/W"), Computed(value=1 / energy, formula="FPS/W = 1 / J", own=own)
