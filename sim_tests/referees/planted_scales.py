# SPDX-License-Identifier: Apache-2.0
"""How often weights that a file holds times a factor are found, and how often where nothing is wrong.

    python -m sim_tests.referees.planted_scales [--data DATA MODEL ...]

Without models, networks of two hidden layers are trained on a few hundred bars of random brightness, twelve
of each function; faults are planted in four of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from mapping.datasets.load import Dataset, load_data, scaled
from mapping.datasets.rows import spread_rows
from mapping.diagnosis.layer_scale import LayerScale, check_layer_scale
from mapping.model.evaluate import run_single
from mapping.model.load import load_network
from mapping.model.network import Network
from sim_tests.generators.trained_networks import bars, trained

__all__ = ["FACTORS", "main", "planted", "rows"]

FACTORS = (1.3, 1.5, 2.0, 0.5)
SAMPLES = 1024
_TRAINED, _PLANTED = 12, 4


def planted(network: Network, layer: str, factor: float) -> Network:
    """Return a network with the weights of one layer times a factor."""
    nodes = tuple(
        replace(node, constants={**node.constants, "weight": factor * node.constants["weight"]})
        if node.name == layer
        else node
        for node in network.nodes
    )
    return replace(network, nodes=nodes)


def _found(network: Network, data: Dataset, how: str, layer: str) -> tuple[bool, bool]:
    """Return whether anything is found, and whether the layer is among what is named."""
    scale: LayerScale | None = check_layer_scale(network, data, how)
    if scale is None or scale.better is None:
        return False, False
    return True, layer in {scale.better.layer, *(other.layer for other in scale.alike)}


def _accuracy(network: Network, data: Dataset, how: str) -> float:
    given = scaled(data, how, network)[0]
    outputs = np.asarray(run_single(network, given.x, [network.output])[network.output])
    return float((outputs.reshape(len(outputs), -1).argmax(axis=1) == given.y).mean())


def rows(networks: Sequence[tuple[Network, Dataset, str]]) -> Iterator[str]:
    """Yield the rows of a table: alarms without a fault, then what is found of every factor."""
    alarms = sum(_found(network, data, how, "")[0] for network, data, how in networks)
    yield f"| none | {len(networks)} | | {alarms} | |"
    for factor in FACTORS:
        faults, lost, found, named = 0, 0.0, 0, 0
        for network, data, how in networks[:_PLANTED]:
            own = _accuracy(network, data, how)
            layers = [node.name for node in network.nodes if "weight" in node.constants]
            for layer in layers:
                wrong = planted(network, layer, factor)
                told, right = _found(wrong, data, how, layer)
                faults, found, named = faults + 1, found + told, named + right
                lost += own - _accuracy(wrong, data, how)
        yield f"| {factor:g} | {faults} | {100 * lost / faults:.2f} | {found} | {named} |"


def _of_bars(function: str) -> list[tuple[Network, Dataset, str]]:
    networks = []
    for seed in range(_TRAINED):
        x, y = bars(200 + 100 * (seed % 4), seed=seed)
        b, output = trained(x / 255, y, function=function, seed=seed)
        unseen, labels = bars(SAMPLES, seed=100 + seed)
        networks.append((b.network(output), Dataset(name="bars", x=unseen / 255.0, y=labels), "unit"))
    return networks


def _read(model: str, source: str) -> tuple[Network, Dataset, str]:
    network, data = load_network(model), load_data(source, spread_rows(SAMPLES))
    return network, data, scaled(data, "auto", network)[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data")
    parser.add_argument("models", nargs="*")
    chosen = parser.parse_args(arguments)
    sets = {model: [_read(model, chosen.data)] for model in chosen.models}
    sets = sets or {function: _of_bars(function) for function in ("Relu", "Tanh")}
    print(
        "| factor | networks or faults | accuracy lost, points | found | layer named |\n|---|---|---|---|---|"
    )
    for name, networks in sets.items():
        print(f"| {name} | | | | |")
        for row in rows(networks):
            print(row, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
