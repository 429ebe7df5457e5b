# SPDX-License-Identifier: Apache-2.0
"""Networks in passes equal the network: what each pass is fed, and what the decoder reads."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emu.spec import preset
from emu.trace import Stimulus
from mapping.codes.graded.convert import GradedOptions
from mapping.errors import InfeasibleError, MappingError
from mapping.flow import compile_network, compile_passes
from mapping.layout.check import check
from mapping.layout.check.passes import pass_faults, require_passes
from mapping.layout.emit import emit
from mapping.layout.host_tables import outputs_of, spread, stimulus_for
from mapping.layout.objective import OBJECTIVES
from mapping.layout.partition import partition
from mapping.layout.passes import passes_of, rows_a_unit, whole
from mapping.layout.plan import Pass, Rows
from mapping.layout.route import fit
from mapping.layout.schedule import schedule
from mapping.layout.site import Site
from mapping.model.importers.onnx import network_from_onnx
from mapping.model.network import Network
from mapping.passes import Passes
from mapping.spiking.network import INPUT, SpikingNetwork
from mapping.spiking.simulate import encode, simulate
from mapping.spiking.unary import unary
from sim_tests.generators.article_models import article_model, article_samples
from sim_tests.generators.mapping_networks import Draft, core_spec, interpret, random_network
from sim_tests.generators.ordinary_networks import calibration, inverted, residual
from sim_tests.generators.pass_networks import in_passes, random_plan, told
from sim_tests.oracle.passes import elements_fed, elements_of, groupings

SMALL = core_spec()
FITTING = (0, 1, 3, 5, 7, 8, 9, 10, 12, 13, 16, 17, 24, 25, 29)
"""Seeds of random networks whose layers fit 2 x 2 small cores, some of them in slices of either kind."""

Counts = NDArray[np.integer]


def fed_counts(spiking: SpikingNetwork, samples: int, seed: int = 5) -> NDArray[np.int64]:
    random = np.random.default_rng(seed)
    shape = (samples, *spiking.shape(INPUT))
    return random.integers(spiking.input_low, spiking.input_levels + 1, shape)


def require_equal(passes: Passes, counts: Counts, *, cycles: bool = False) -> None:
    """Demand that every pass is fed what the network without passes computes, and gives its outputs."""
    on_chip = passes.on_chip
    done, outputs = passes.emulated(counts, cycles=cycles)
    ones = spread(counts, on_chip.shape(INPUT)[0] // on_chip.input_group, on_chip.input_group)
    wanted = simulate(on_chip, ones.reshape(len(counts), *on_chip.shape(INPUT)))
    flat = {name: values.reshape(len(counts), -1) for name, values in wanted.items()}
    assert len(done) == len(passes.images)
    for one, (fed, result) in zip(passes.passes, done, strict=True):
        elements = elements_fed(on_chip, told(one.rows))
        assert fed.tolist() == np.stack([flat[name][:, at] for name, at in elements], axis=1).tolist()
        assert result.steps == one_period(passes, one) * len(counts)
    for name in on_chip.outputs:
        layer = on_chip.layer(name)
        groups = flat[name].reshape(len(counts), layer.rows // layer.group, layer.group, -1).sum(axis=2)
        assert outputs[name].reshape(len(counts), -1).tolist() == groups.reshape(len(counts), -1).tolist()


def one_period(passes: Passes, one: Pass) -> int:
    return passes.loaded[passes.passes.index(one)].period


@pytest.mark.parametrize("seed", FITTING)
def test_random_network_in_passes_equals_the_network(seed: int) -> None:
    spiking = random_network(seed)
    passes = in_passes(spiking, SMALL, (2, 2))
    assert list(pass_faults(spiking, passes.passes)) == []
    for image, one in zip(passes.images, passes.passes, strict=True):
        assert check(image, one.network) == []
    require_equal(passes, fed_counts(spiking, 4))


def test_plain_interpreter_of_the_images_gives_the_same_outputs() -> None:
    """A plain loop over passes, elements and samples, with images interpreted by their own words."""
    spiking = random_network(19)
    passes, counts = in_passes(spiking, SMALL, (2, 2)), fed_counts(spiking, 2)
    kept = {(INPUT, at): column for at, column in enumerate(counts.reshape(2, -1).T.tolist())}
    for image in passes.images:
        parts = image.meta["rows"]
        fed = np.array([kept[element] for element in elements_fed(spiking, parts)]).T
        stimulus: Stimulus = stimulus_for(image, fed)
        for name, values in outputs_of(image, interpret(image, stimulus), 2).items():
            (part,) = [part for part in parts if part[0] == name]
            columns = values.reshape(2, -1).T.tolist()
            for at, column in zip(elements_of(spiking, part), columns, strict=True):
                kept[name, at] = column
    _, outputs = passes.emulated(counts)
    for name in spiking.outputs:
        rows = [kept[name, at] for at in range(spiking.layer(name).neurons)]
        assert outputs[name].reshape(2, -1).T.tolist() == rows


@pytest.mark.parametrize("seed", range(40))
def test_any_cut_of_a_network_computes_it(seed: int) -> None:
    spiking = random_network(seed)
    passes, counts = passes_of(spiking, random_plan(spiking, seed)), fed_counts(spiking, 3)
    assert list(pass_faults(spiking, passes)) == []
    flat = {name: values.reshape(3, -1) for name, values in simulate(spiking, counts).items()}
    for one in passes:
        fed = np.stack([flat[name][:, at] for name, at in elements_fed(spiking, told(one.rows))], axis=1)
        for part in told(one.rows):
            own = flat[part[0]][:, elements_of(spiking, part)]
            assert simulate(one.network, fed)[part[0]].reshape(3, -1).tolist() == own.tolist()


@pytest.mark.parametrize("network", [residual, inverted])
@pytest.mark.parametrize("mesh", [(1, 1), (2, 1)])
def test_skip_that_crosses_a_cut_is_fed_again(
    network: Callable[[int], Network], mesh: tuple[int, int]
) -> None:
    """Sums and depthwise convolutions of the graded code: sums whose sources arrive in passes and steps."""
    model = network(0)
    asked: dict[str, Any] = {"core": "medium", "options": GradedOptions(bits=4, digits=2), "code": "graded"}
    passes = compile_passes(model, calibration(model), mesh=mesh, **asked)
    assert len(passes.images) > 1
    assert any(len(one.reads) > 1 for one in passes.passes) or mesh != (1, 1)
    x = calibration(model, n=6, seed=3)
    require_equal(passes, encode(passes.spiking, x), cycles=True)
    alone = compile_network(model, calibration(model), **asked)
    assert passes.run(x)[-1].logits.tolist() == alone.run(x).logits.tolist()


def test_four_spike_lenet_of_the_article_runs_on_64_cores() -> None:
    """Its 224 cores, max-pools included, share 64: no layer alone is larger than two passes."""
    model = network_from_onnx(article_model("lenet", 4), name="lenet")
    passes = compile_passes(model, target="kuang2021", strict=False)
    spec = passes.images[0].spec
    assert (spec.width, spec.height, passes.images[0].meta["unary"]) == (8, 8, True)
    cores = [sum(core is not None for core in image.cores) for image in passes.images]
    assert sum(cores) > 64 >= max(cores)
    assert passes.period == 7, "the steps of Zou et al. 2021, Table 9"
    assert {image.spec for image in passes.images} == {spec}, "flits as wide as the widest pass needs"
    assert list(pass_faults(passes.on_chip, passes.passes)) == []
    x = article_samples("lenet", 3).astype(np.float64)
    require_equal(passes, encode(passes.spiking, x))


def test_lenet_runs_on_sixteen_cores() -> None:
    model = network_from_onnx(article_model("lenet", 4), name="lenet")
    passes = compile_passes(model, mesh=(4, 4))
    alone = compile_network(model)
    x = article_samples("lenet", 3).astype(np.float64)
    assert sum(core is not None for core in alone.image.cores) > 16
    assert [layer.name for layer in passes.spiking.layers] == [layer.name for layer in alone.spiking.layers]
    assert passes.run(x)[-1].logits.tolist() == alone.run(x).logits.tolist()


@pytest.mark.parametrize("seed", FITTING)
@pytest.mark.parametrize("mesh", [(2, 2), (3, 2), (3, 3)])
def test_passes_are_the_fewest_and_move_the_least(seed: int, mesh: tuple[int, int]) -> None:
    spiking = random_network(seed)
    known: dict[tuple[int, int], int | None] = {}
    slices = {part.layer: 0 for rows in schedule(spiking, SMALL, Site(mesh=mesh)).plan for part in rows}
    found = schedule(spiking, SMALL, Site(mesh=mesh))
    for rows in found.plan:
        for part in rows:
            slices[part.layer] += 1

    def fits(begin: int, end: int) -> int | None:
        if (begin, end) not in known:
            rows = tuple(whole(layer) for layer in spiking.layers[begin:end])
            (one,) = passes_of(spiking, (rows,))
            try:
                fit(one.network, SMALL, Site(mesh=mesh))
                known[begin, end] = 1
            except InfeasibleError:
                known[begin, end] = slices[spiking.layers[begin].name] if end == begin + 1 else None
        return known[begin, end]

    def moved(groups: list[tuple[int, int]]) -> int:
        total = 0
        for begin, end in groups:
            rows: list[list[Any]] = [[layer.name, 0, layer.rows] for layer in spiking.layers[begin:end]]
            here = {name for name, _, _ in rows}
            outside = [layer for layer in spiking.layers if layer.name not in here]
            wanted = {source.name for layer in outside for source in layer.sources} | set(spiking.outputs)
            sliced = fits(begin, end) != 1
            parts = [told(part) for part in found.plan if part[0].layer in here] if sliced else [rows]
            total += sum(len(elements_fed(spiking, part)) for part in parts)
            total += sum(layer.neurons for layer in spiking.layers[begin:end] if layer.name in wanted)
        return total

    best = min((passes, moved(groups)) for passes, groups in groupings(len(spiking.layers), fits))
    ends, groups = 0, []
    for rows in found.plan:
        size = len({part.layer for part in rows if part.begin == part.top == 0})
        groups += [(ends, ends + size)] if size else []
        ends += size
    assert (len(found.plan), moved(groups)) == best


@pytest.mark.parametrize(("channels", "side"), [(12, 6), (3, 14), (40, 4)])
def test_slices_are_the_fewest_that_fit(channels: int, side: int) -> None:
    draft = Draft(shape=(2, side, side))
    draft.conv(channels, (3, 3))
    spiking, height = draft.network(), side - 2

    def held(parts: list[Rows]) -> bool:
        passes = passes_of(spiking, tuple((part,) for part in parts))
        return all(len(partition(one.network, SMALL).cores) <= 2 for one in passes)

    def cut(slices: int, size: int) -> list[tuple[int, int]]:
        return [(size * at // slices, size * (at + 1) // slices) for at in range(slices)]

    for slices in range(1, max(height, channels) + 1):
        bands = [Rows(layer="conv0", begin=0, end=channels, top=a, bottom=b) for a, b in cut(slices, height)]
        rows = [Rows(layer="conv0", begin=a, end=b) for a, b in cut(slices, channels)]
        if (slices <= height and held(bands)) or (slices <= channels and held(rows)):
            break
    found = schedule(spiking, SMALL, Site(mesh=(2, 1)))
    assert len(found.plan) == slices > 1
    assert list(pass_faults(spiking, found.passes)) == []


def test_groups_of_channels_are_not_cut() -> None:
    draft = Draft(shape=(4, 5, 5))
    draft.conv(8, (3, 3), groups=2)
    (layer,) = draft.layers
    assert rows_a_unit(layer) == 4
    ((read,),) = (one.reads for one in passes_of(draft.network(), ((Rows(layer="conv0", begin=4, end=8),),)))
    assert read.elements.tolist() == list(range(50, 100))


def test_layer_of_which_a_row_does_not_fit_is_refused_in_one_sentence() -> None:
    with pytest.raises(
        InfeasibleError,
        match=r"^Layer 'conv2' needs 7 cores for its smallest slice but 4 are allowed: "
        r"choose a mesh of at least 7 cores\.$",
    ):
        in_passes(random_network(6), SMALL, (2, 2))
    assert in_passes(random_network(6), SMALL, (7, 1)).images


def test_passes_without_a_mesh_are_refused_in_one_sentence() -> None:
    model = residual(0)
    with pytest.raises(
        MappingError, match=r"^Passes need a mesh that a pass fits: add --mesh WxH, for example 4x4\.$"
    ):
        compile_passes(model, calibration(model))


def test_flits_of_all_passes_are_as_wide_as_the_widest_needs() -> None:
    draft = Draft(shape=(1, 67, 66), levels=1)
    draft.conv(1, (3, 3), levels=1)
    draft.conv(1, (2, 2), stride=(2, 2), levels=1)
    spec, mesh = core_spec(columns=512, axons=1024, fanouts=4096), (3, 3)
    found = schedule(draft.network(), spec, Site(mesh=mesh))
    alone = [fit(one.network, spec, Site(mesh=mesh))[0].spec.flit_axon_bits for one in found.passes]
    assert alone == [13, 12]
    assert [layout[0].spec.flit_axon_bits for layout in found.layouts] == [13, 13]


def test_host_keeps_what_later_passes_read() -> None:
    draft = Draft(shape=(8,), levels=3)
    first = draft.dense(32, levels=3, density=1.0)
    second = draft.dense(30, source=first, levels=1, density=1.0)
    draft.dense(5, source=second, levels=2)
    spiking = draft.network("dense2", first)
    passes = in_passes(spiking, core_spec(columns=32), (1, 1))
    assert len(passes.images) == 3
    assert passes.kept() == (8 * 2 + 32 * 2, 32 * 2 + 30, 32 * 2 + 30 + 5 * 2)


def swapped(passes: tuple[Pass, ...]) -> tuple[Pass, ...]:
    return passes[::-1]


def shifted(passes: tuple[Pass, ...]) -> tuple[Pass, ...]:
    *before, last = passes
    *reads, read = last.reads
    moved = replace(read, elements=read.elements - 16)
    return *before, replace(last, reads=(*reads, moved))


def too_early(passes: tuple[Pass, ...]) -> tuple[Pass, ...]:
    return passes[0], passes[-1], *passes[1:-1]


def other_weights(passes: tuple[Pass, ...]) -> tuple[Pass, ...]:
    (layer, *layers), (source, *sources) = passes[0].network.layers, passes[0].network.layers[0].sources
    turned = replace(layer, sources=(replace(source, weight=-source.weight), *sources))
    return replace(passes[0], network=replace(passes[0].network, layers=(turned, *layers))), *passes[1:]


def other_bias(passes: tuple[Pass, ...]) -> tuple[Pass, ...]:
    layer, *layers = passes[0].network.layers
    turned = replace(layer, bias=layer.biases() + 1)
    return replace(passes[0], network=replace(passes[0].network, layers=(turned, *layers))), *passes[1:]


def unkept(passes: tuple[Pass, ...]) -> tuple[Pass, ...]:
    return *passes[:-1], replace(passes[-1], network=replace(passes[-1].network, outputs=()))


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (swapped, "pass 0 reads what no pass before it gives"),
        (too_early, "pass 1 reads what no pass before it gives"),
        (shifted, "pass 3, layer conv1 reads other elements than those of conv0"),
        (other_weights, "pass 0, layer conv0 has other weights than its rows 0..2"),
        (other_bias, "pass 0, layer conv0 has other neurons than its rows 0..2"),
        (unkept, "the decoder reads elements of conv1 that the host does not keep"),
        (lambda passes: passes[:-1], "16 elements of conv1 are not computed once"),
        (lambda passes: (*passes, passes[-1]), "16 elements of conv1 are not computed once"),
    ],
)
def test_planted_fault_of_a_pass_is_named(
    fault: Callable[[tuple[Pass, ...]], tuple[Pass, ...]], sentence: str
) -> None:
    draft = Draft(shape=(2, 6, 6), seed=2)
    draft.conv(6, (3, 3))
    draft.conv(6, (3, 3), source="conv0", groups=3)
    spiking = draft.network()
    plan = [Rows(layer="conv0", begin=0, end=3), Rows(layer="conv0", begin=3, end=6)]
    plan += [Rows(layer="conv1", begin=0, end=2), Rows(layer="conv1", begin=2, end=6)]
    passes = passes_of(spiking, tuple((rows,) for rows in plan))
    assert list(pass_faults(spiking, passes)) == []
    assert sentence in list(pass_faults(spiking, fault(passes)))
    with pytest.raises(MappingError, match=r"^The passes do not compute their network: .*; compile the "):
        require_passes(spiking, fault(passes))


def band_moved(one: Pass) -> Pass:
    return replace(one, reads=tuple(replace(read, elements=read.elements + 1) for read in one.reads))


def band_padded(one: Pass) -> Pass:
    """Take the last row that a band reads for padding: as many windows, one row short."""
    (layer,), (read,) = one.network.layers, one.reads
    (source,) = layer.sources
    kept = read.elements.reshape(source.shape)[:, :-1]
    pads = (*source.pads[:2], source.pads[2] + 1, source.pads[3])
    short = replace(source, shape=kept.shape, input_shape=kept.shape, pads=pads)
    network = replace(one.network, layers=(replace(layer, sources=(short,)),), input_shape=(kept.size,))
    return replace(one, network=network, reads=(replace(read, elements=kept.reshape(-1)),))


@pytest.mark.parametrize("fault", [band_moved, band_padded])
def test_planted_fault_of_a_band_is_named(fault: Callable[[Pass], Pass]) -> None:
    draft = Draft(shape=(2, 8, 6), seed=3)
    draft.conv(4, (3, 3), pads=(1, 1, 1, 1))
    every, ends = draft.network(), (0, 3, 8)
    plan = tuple((Rows(layer="conv0", begin=0, end=4, top=a, bottom=b),) for a, b in pairwise(ends))
    first, second = passes_of(every, plan)
    assert list(pass_faults(every, (first, second))) == []
    sentence = "pass 0, layer conv0 reads other elements than those of input"
    assert list(pass_faults(every, (fault(first), second))) == [sentence]


def test_unary_passes_keep_spikes_and_give_counts() -> None:
    """Every count of an activation is a group of spikes, of which a cut may pass through the middle."""
    draft = Draft(shape=(2, 4, 4), levels=3)
    draft.conv(3, (2, 2), levels=3)
    counts = draft.network()
    spiking, spec = unary(counts), preset("article")
    found = passes_of(
        spiking, ((Rows(layer="conv0", begin=0, end=4),), (Rows(layer="conv0", begin=4, end=9),))
    )
    layouts = [fit(one.network, spec, Site(mesh=(2, 1))) for one in found]
    images = tuple(emit(one.network, *layout, name="n") for one, layout in zip(found, layouts, strict=True))
    passes = Passes(images=images, passes=found, spiking=counts, on_chip=spiking)
    x = fed_counts(counts, 5)
    _, outputs = passes.emulated(x)
    assert outputs["conv0"].tolist() == simulate(counts, x)["conv0"].tolist()


def test_passes_for_an_objective_take_fewer_cycles_and_equal_the_network() -> None:
    model = network_from_onnx(article_model("lenet", 1, narrow=4), name="lenet")
    cycles = {}
    for objective in OBJECTIVES:
        passes = compile_passes(model, core="small", mesh=(3, 2), objective=objective)
        assert len(passes.images) > 1
        require_equal(passes, encode(passes.spiking, article_samples("lenet", 2).astype(np.float64)))
        done, _ = passes.emulated(encode(passes.spiking, article_samples("lenet", 2)), cycles=True)
        cycles[objective] = sum(run.elapsed or 0 for _, run in done)
    assert cycles["latency"] < cycles["cores"]
    assert cycles["energy"] <= cycles["cores"]
