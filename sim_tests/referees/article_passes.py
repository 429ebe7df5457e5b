# SPDX-License-Identifier: Apache-2.0
"""The networks of Zou et al. 2021 as images in passes, on their chip and on ours, beside the unmapped ones.

python -m sim_tests.referees.article_passes [lenet] [vgg] [--target kuang2021] [--target loom] [--samples N]

Shapes and spikes are the article's, weights are random and ternary. Every image is checked and emulated; what
leaves the chip, for later passes or the decoder, is compared with the network that no chip runs.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.flow import compile_passes
from mapping.layout.host_tables import spread
from mapping.model.importers.onnx import network_from_onnx
from mapping.passes import Passes
from mapping.reproduce.networks import NETWORKS
from mapping.spiking.network import INPUT
from mapping.spiking.simulate import encode, simulate
from sim_tests.generators.article_models import article_model, article_samples

__all__ = ["InPasses", "in_passes", "main"]

HEAD = """| network | target | passes | cores | timesteps | flits to load | samples | counts | differ |
|---|---|---|---|---|---|---|---|---|"""

_SPIKES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class InPasses:
    """Passes; their cores, timesteps and flits of loads together; counts compared, and those that differ."""

    passes: int
    cores: int
    timesteps: int
    flits: int
    compared: int
    differ: int


def in_passes(
    network: str, target: str, samples: int, *, mesh: tuple[int, int] = (8, 8), narrow: int = 1
) -> InPasses:
    """Compile a network into passes, emulate them, and compare what they feed and give with the network.

    Parameters
    ----------
    network, narrow
        As of `article_model`, with four spikes.
    target : str
        A target; one of closed form has unary packets and on/off cells.
    samples : int
        Random pictures.
    mesh : (width, height)
        Cores of the chip.
    """
    model = network_from_onnx(article_model(network, _SPIKES, narrow=narrow), name=network)
    passes = compile_passes(model, target=target, mesh=mesh)
    counts = encode(passes.spiking, article_samples(network, samples).astype(np.float64))
    done, outputs = passes.emulated(counts)
    fed = np.concatenate([one for one, _ in done], axis=1)
    pairs = [(fed, _fed(passes, counts))]
    pairs += [
        (outputs[name], right) for name, right in simulate(passes.spiking, counts).items() if name in outputs
    ]
    return InPasses(
        passes=len(passes.images),
        cores=sum(core is not None for image in passes.images for core in image.cores),
        timesteps=passes.period,
        flits=sum(chip.load.flits for chip in passes.loaded),
        compared=sum(right.size for _, right in pairs),
        differ=sum(int((got != right).sum()) for got, right in pairs),
    )


def _fed(passes: Passes, counts: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return what the host has to feed in all passes, (samples, elements), by the network itself."""
    on_chip, group = passes.on_chip, passes.on_chip.input_group
    shape = on_chip.shape(INPUT)
    given = spread(counts, shape[0] // group, group).reshape(len(counts), *shape)
    truth = simulate(on_chip, given)
    reads = [read for one in passes.passes for read in one.reads]
    return np.concatenate(
        [truth[read.name].reshape(len(counts), -1)[:, read.elements] for read in reads], axis=1
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if a count differs."""
    parser = argparse.ArgumentParser(prog="python -m sim_tests.referees.article_passes", description=__doc__)
    parser.add_argument("network", nargs="*", help=f"of {', '.join(NETWORKS)} (vgg)")
    parser.add_argument("--target", action="append", help="kuang2021 and loom without it")
    parser.add_argument("--samples", type=int, default=4, help="random pictures (%(default)s)")
    given = parser.parse_args(arguments)
    wrong = 0
    print(HEAD)
    for network in given.network or ["vgg"]:
        for target in given.target or ["kuang2021", "loom"]:
            found = in_passes(network, target, given.samples)
            sizes = (found.passes, found.cores, found.timesteps, found.flits, given.samples, found.compared)
            print(f"| {network} | {target} | {' | '.join(f'{one:,}' for one in sizes)} | {found.differ} |")
            wrong += found.differ
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
