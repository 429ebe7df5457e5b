# SPDX-License-Identifier: Apache-2.0
"""Networks for every objective: cores, cycles with all active, the energy of emulated samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from emu.image import SystemImage
from emu.machine import Machine
from emu.spec import preset
from mapping.flow import compile_network, price_of
from mapping.layout.emit import emit
from mapping.layout.host_tables import stimulus_for
from mapping.layout.objective import OBJECTIVES, latency_of
from mapping.layout.route import fit
from mapping.layout.site import Site
from mapping.model.importers.onnx import network_from_onnx
from mapping.report.events import charged
from mapping.spiking.network import INPUT, SpikingNetwork
from mapping.targets.energy import estimate_energy
from mapping.targets.files import load_target
from mapping.targets.loom import energy_table
from sim_tests.benchmarks.measure import Options, Row
from sim_tests.generators.article_models import article_model
from sim_tests.generators.large_networks import LARGE

__all__ = ["rows"]

_SAMPLES = 2


def rows(options: Options) -> Iterator[Row]:
    """Yield for LeNet, and every network, its cores, its cycles, and the energy of random samples."""
    target, core = load_target("loom"), preset("reference")
    for name, make in {"lenet": _lenet, **{name: LARGE[name] for name in options.networks}}.items():
        network, fewest = make(), 0.0
        for objective in OBJECTIVES:
            price = price_of(target, core) if objective == "energy" else None
            layout = fit(network, core, Site(objective=objective, price=price))
            joules = _energy(emit(network, *layout, name=name), network)
            fewest = fewest or joules
            cycles = f"{latency_of(layout[0])} cycles on {len(layout[0].cores)} cores"
            value = f"{cycles}, {joules * 1e6:.1f} uJ"
            yield Row(
                f"{name}, {objective}", value, f"{joules / fewest:.3f}", "the energy of the fewest cores"
            )


def _lenet() -> SpikingNetwork:
    """Return the LeNet of Zou et al. 2021 at four spikes, with random weights."""
    model = network_from_onnx(article_model("lenet", 4), name="lenet")
    return compile_network(model).on_chip


def _energy(image: SystemImage, network: SpikingNetwork) -> float:
    """Return what the report charges for a sample, in joules: random counts, emulated cycle by cycle."""
    target, spec = load_target("loom"), image.spec
    shape = (_SAMPLES, *network.shape(INPUT))
    counts = np.random.default_rng(1).integers(network.input_low, network.input_levels + 1, shape)
    run = Machine(image).run(stimulus_for(image, counts), cycles=True)
    cycles = (run.elapsed or 0) / _SAMPLES
    means = {name: values.sum() / _SAMPLES for name, values in run.counters.items()}
    table = energy_table(target, spec.core)
    events = charged(spec, means, cycles, table)
    return estimate_energy(events, cycles / target.clock_hz, spec.cores, table).total_j
