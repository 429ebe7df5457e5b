# SPDX-License-Identifier: Apache-2.0
"""Convert an ordinary float network into a spiking one of the graded code, by samples, without training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emu.spec import CoreSpec
from mapping.codes.graded.layers import Integers, Sent, integers_of, layer_of
from mapping.codes.graded.ranges import Grid, best_grid, input_grid, output_grid
from mapping.codes.graded.structure import Point, Structure, structure_of
from mapping.codes.obstacles import Fits, Holds, Obstacle, anything_fits, anything_holds
from mapping.errors import UnsupportedModelError
from mapping.model.evaluate import needed_nodes, run_single
from mapping.model.network import Network
from mapping.model.rewrite import sunk
from mapping.model.work import shares
from mapping.spiking.digits import strengths_of
from mapping.spiking.network import INPUT, HostLayer, SpikingLayer, SpikingNetwork
from mapping.spiking.simulate import fire, potentials

__all__ = ["GradedOptions", "convert_graded"]

Progress = Callable[[str], None]

OUTPUT_BITS = 8
"""Bits of what leaves the chip and of what enters it, whatever the options say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GradedOptions:
    """How fine activations and weights are.

    Parameters
    ----------
    bits : int
        Bits of an activation, 2..8.
    digits : int
        Digits of a weight, 1..8, of strengths 1, 3, 9 and so on.
    seed : int
        Of the positions that the calibration looks at.
    """

    bits: int = 8
    digits: int = 5
    seed: int = 0


def convert_graded(
    network: Network,
    samples: NDArray[np.float64],
    spec: CoreSpec,
    options: GradedOptions | None = None,
    *,
    fits: Fits = anything_fits,
    holds: Holds = anything_holds,
    strict: bool = False,
    progress: Progress | None = None,
) -> SpikingNetwork:
    """Return the graded network of a float network.

    Parameters
    ----------
    network : Network
        The trained network.
    samples : float64 (n, input shape)
        Calibration samples, without labels.
    spec : CoreSpec
        The core that it is for.
    options : GradedOptions, optional
        How fine it is.
    """
    options = options or GradedOptions()
    prepared = sunk(network)
    structure = structure_of(prepared, prepared.input, axons=spec.axons)
    return _Conversion(prepared, structure, samples, spec, options, progress or (lambda _: None)).network()


class _Conversion:
    """What is known while layers are made one after the other."""

    def __init__(
        self,
        network: Network,
        structure: Structure,
        samples: NDArray[np.float64],
        spec: CoreSpec,
        options: GradedOptions,
        say: Progress,
    ) -> None:
        self.float, self.structure, self.spec, self.options, self.say = network, structure, spec, options, say
        self.strengths = strengths_of(options.digits)
        before = [_before(point, network) for point in structure.points.values()]
        wanted = [structure.root, *structure.points, *before, *_pools(network, structure)]
        self.values = run_single(network, samples, list(dict.fromkeys(wanted)))
        self.sent: dict[str, Sent] = {}
        self.layers: list[SpikingLayer] = []

    def network(self) -> SpikingNetwork:
        """Make every layer, and what is around them."""
        root = self.values[self.structure.root]
        grid = input_grid(root, most=self.spec.payload_max)
        self.sent[self.structure.root] = Sent(name=INPUT, grid=grid, counts=grid.counts(root))
        for point in self.structure.points.values():
            self.say(f"converting {point.name}")
            self.layer(point)
        return self._around(grid)

    def layer(self, point: Point) -> None:
        """Make the layer of an activation, and its counts."""
        grid = self._grid(point)
        integers = integers_of(
            point,
            self.sent,
            strengths=self.strengths,
            grid=grid,
            spec=self.spec,
            seed=self.options.seed,
        )
        counts = {sent.name: sent.counts for sent in self.sent.values()}
        best: tuple[float, SpikingLayer, NDArray[np.int32]] | None = None
        for variant in (integers, self._corrected(point, integers, counts)):
            layer = layer_of(point, variant, grid, self.strengths, self.spec)
            own = fire(layer, potentials(layer, counts))
            truth = self.values[point.tensor].reshape(own.shape)
            error = float(np.square(grid.values(own) - truth).mean())
            if best is None or error < best[0]:
                best = (error, layer, own)
        assert best is not None  # noqa: S101
        _, layer, own = best
        self.layers.append(layer)
        self.sent[point.tensor] = Sent(name=layer.name, grid=grid, counts=own)

    def _grid(self, point: Point) -> Grid:
        readers = self.float.consumers(point.tensor)
        values = [self.values[point.tensor]]
        if readers and all(node.op == "MaxPool" for node in readers):
            values = [self.values[node.output] for node in readers]
        whole = np.concatenate([value.reshape(-1) for value in values])
        if point.tensor == self.float.output:
            counts = self.spec.signed_ladder and _cuts(point)
            return output_grid(whole, bits=OUTPUT_BITS, signed_counts=counts)
        signed = not _never_negative(point)
        return best_grid(
            whole,
            bits=self.options.bits,
            signed=signed,
            offset=signed and (point.pooled or not _cuts(point) or not self.spec.signed_ladder),
            seed=self.options.seed,
        )

    def _corrected(self, point: Point, integers: Integers, counts: Mapping[str, NDArray[np.int32]]) -> Integers:
        """Return the integers with a bias that gives the form the mean that it has in floats."""
        probe = layer_of(point, integers, Grid(scale=1.0, low=0, high=1), self.strengths, self.spec)
        got = potentials(probe, counts).reshape(len(self.values[point.tensor]), len(integers.unit), -1)
        mean = got.mean(axis=(0, 2)) * integers.unit + integers.bias
        truth = self.values[_before(point, self.float)].reshape(got.shape).mean(axis=(0, 2))
        return replace(integers, bias=integers.bias + truth - mean)

    def _around(self, grid: Grid) -> SpikingNetwork:
        network, points = self.float, self.structure.points
        decoder = needed_nodes(network, [network.input, *points], [network.output])
        read = {network.output, *(tensor for node in decoder for tensor in node.inputs)}
        names = {layer.activation: layer.name for layer in self.layers}
        outputs = tuple(names[tensor] for tensor in points if tensor in read)
        share = shares(network)
        host = tuple(
            HostLayer(name=node.name, reason=self.structure.refused.get(node.name, "its input is the host's"),
                      share=share.get(node.name, 0.0))
            for node in decoder if node.op in _LAYERS
        )
        if not self.layers:
            raise UnsupportedModelError("No layer can run on the chip.")
        return SpikingNetwork(
            name=network.name,
            network=network,
            encoder_output=self.structure.root,
            input_levels=grid.high,
            input_low=grid.low,
            input_scale=grid.scale,
            layers=tuple(self.layers),
            outputs=outputs,
            decoder_reads_input=False,
            decoder_reads_data=network.input in read,
            host=host,
            code="graded",
        )


_LAYERS = frozenset({"Conv", "Dense", "Foreign", "MaxPool"})


def _before(point: Point, network: Network) -> str:
    """Return the tensor that has the values of a point's form."""
    return point.functions[0].inputs[0] if point.functions else point.tensor


def _pools(network: Network, structure: Structure) -> list[str]:
    return [node.output for node in network.nodes if node.op == "MaxPool" and node.inputs[0] in structure.points]


def _cuts(point: Point) -> bool:
    """Tell whether functions only cut off, so that a ladder does."""
    return all(node.op in {"Relu", "Clip"} for node in point.functions)


def _never_negative(point: Point) -> bool:
    """Tell whether an activation is never below zero."""
    for node in point.functions:
        if node.op in {"Relu", "Sigmoid", "Softplus", "Exp"} or (node.op == "Clip" and node.number("low") >= 0):
            return True
    return False
