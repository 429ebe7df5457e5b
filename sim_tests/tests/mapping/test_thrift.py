# SPDX-License-Identifier: Apache-2.0
"""The energy of a cut is what the emulator counts, and the cut of least energy has no more than others."""

from dataclasses import replace

import numpy as np
import pytest

from emu.machine import Machine
from mapping.errors import MappingError
from mapping.flow import compile_network, price_of
from mapping.layout.emit import emit
from mapping.layout.host_tables import outputs_of, stimulus_for
from mapping.layout.partition import Partition
from mapping.layout.route import fit
from mapping.layout.site import Site
from mapping.layout.thrift import Bill, Price
from mapping.spiking.network import SpikingNetwork
from mapping.spiking.quantisers import Lists
from mapping.spiking.simulate import simulate
from mapping.targets.files import load_target
from sim_tests.generators.mapping_networks import Draft, core_spec
from spikeloom import load_network

SPEC = core_spec(axons=128, fanouts=512)
DEAR_CYCLES = Price(word=0.0, delivery=0.0, hop=0.0, bit=0.0, cycle=1.0)
DEAR_WORDS = Price(word=1.0, delivery=0.0, hop=0.0, bit=0.0, cycle=0.0)


def stack() -> SpikingNetwork:
    """Return convolutions and a dense layer that take some cores each."""
    draft = Draft(shape=(2, 8, 8), seed=2)
    draft.conv(6, (3, 3))
    draft.conv(8, (3, 3))
    return draft.network(draft.dense(40, density=0.6))


def active(spiking: SpikingNetwork) -> SpikingNetwork:
    """Return a network all of whose neurons fire as often as they can."""
    layers = [
        replace(layer, quantiser=Lists(thresholds=np.full_like(layer.edges, -(10**6))))
        for layer in spiking.layers
    ]
    return replace(spiking, layers=tuple(layers))


@pytest.mark.parametrize("objective", ["cores", "latency"])
@pytest.mark.parametrize("chips", [(1, 1), (2, 1)], ids=["chip", "chips"])
def test_a_bill_is_what_the_emulator_counts_when_all_is_active(
    objective: str, chips: tuple[int, int]
) -> None:
    spiking = active(stack())
    site = Site(objective=objective, chips=chips)
    parts, placement, routes = fit(spiking, SPEC, site)
    image = emit(spiking, parts, placement, routes, name="n")
    run = Machine(image).run(stimulus_for(image, np.full((1, 2, 8, 8), 3)), cycles=True)
    bill = site.bill(parts)
    assert bill.words == run.total("crossbar_words")
    assert bill.deliveries == run.total("deliveries")
    assert bill.hops == run.total("hops")
    assert bill.cores == image.spec.cores
    if image.spec.links is None:
        assert bill.bits == 0
    else:
        tokens = (run.steps + 1) * 2 * image.spec.height  # one each way over each link, and the pause token
        crossed = run.total("crossings") - tokens
        assert bill.bits == crossed * image.spec.links.word_bits(image.spec.flit_bits) > 0
    assert run.elapsed is not None
    assert 0.75 * run.elapsed < bill.cycles < 1.1 * run.elapsed


def test_a_step_lasts_until_all_is_computed_and_has_arrived() -> None:
    bill = Bill(words=2, deliveries=3, hops=5, bits=7, cores=11, fed=13, steps=((17, 19), (29, 23)))
    assert bill.cycles == 13 + 19 + 29
    price = Price(word=1.0, delivery=10.0, hop=100.0, bit=1000.0, cycle=1e5)
    assert bill.at(price) == 2 + 30 + 500 + 7000 + 11 * 61 * 1e5


def billed(objective: str, price: Price | None, mesh: tuple[int, int] | None) -> tuple[Partition, Bill]:
    site = Site(objective=objective, price=price, mesh=mesh)
    parts = fit(stack(), SPEC, site)[0]
    return parts, site.bill(parts)


@pytest.mark.parametrize("mesh", [None, (10, 8)])
@pytest.mark.parametrize("price", [DEAR_CYCLES, DEAR_WORDS], ids=["cycles", "words"])
def test_energy_is_no_more_than_that_of_other_objectives(price: Price, mesh: tuple[int, int] | None) -> None:
    others = [billed(objective, None, mesh) for objective in ("cores", "latency")]
    parts, bill = billed("energy", price, mesh)
    assert all(bill.at(price) <= other.at(price) for _, other in others)
    again, _ = billed("energy", price, mesh)
    assert [part.outputs.tolist() for part in again.cores] == [part.outputs.tolist() for part in parts.cores]


def test_cores_that_leak_anyway_are_taken() -> None:
    fewest, first = billed("cores", None, (10, 8))
    parts, bill = billed("energy", DEAR_CYCLES, (10, 8))
    assert (len(fewest.cores), len(parts.cores)) == (14, 38)
    assert bill.cycles < 0.9 * first.cycles


def test_outputs_stay() -> None:
    spiking = stack()
    image = emit(spiking, *fit(spiking, SPEC, Site(objective="energy", price=DEAR_WORDS)), name="n")
    counts = np.random.default_rng(4).integers(0, 4, (3, 2, 8, 8))
    got = outputs_of(image, Machine(image).run(stimulus_for(image, counts)), 3)
    name = spiking.outputs[0]
    assert got[name].reshape(3, -1).tolist() == simulate(spiking, counts)[name].reshape(3, -1).tolist()


def test_what_saves_little_is_left() -> None:
    fewest, first = billed("cores", None, None)
    _, faster = billed("latency", None, None)
    price = replace(DEAR_CYCLES, delivery=4.0)
    assert 0.9 * first.at(price) < faster.at(price) < first.at(price)
    assert len(billed("energy", price, None)[0].cores) == len(fewest.cores)


def test_a_price_is_that_of_the_target_for_the_size_of_core() -> None:
    target = load_target("loom")
    price = price_of(target, target.core or SPEC)
    assert price.word == pytest.approx(500e-12)
    assert (price.delivery, price.hop, price.bit) == pytest.approx((9.5e-12, 1.8e-12, 10e-12))
    assert price.cycle == pytest.approx(19e-12 + 6.9e-3 / 252e6)
    assert price_of(target, SPEC).cycle < price.cycle


def test_a_formula_has_no_price_and_its_ways_out_can_be_gone() -> None:
    network = load_network("digits")
    sentence = (
        r"^Objective energy needs a target that charges what an image does, not the formula kuang2021; "
        r"choose the target loom, or the objective cores or latency\.$"
    )
    with pytest.raises(MappingError, match=sentence):
        compile_network(network, target="kuang2021", objective="energy")
    assert compile_network(network, target="loom", objective="energy").image.digest
    for objective in ("cores", "latency"):
        assert compile_network(network, target="kuang2021", objective=objective).image.digest


def test_energy_needs_a_price_and_nothing_else_does() -> None:
    with pytest.raises(ValueError, match="needs a price"):
        Site(objective="energy")
    with pytest.raises(ValueError, match="needs a price"):
        Site(price=DEAR_WORDS)
