# SPDX-License-Identifier: Apache-2.0
"""The integer network: ternary layers whose neurons count the thresholds their integer sum has reached."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mapping.model.network import Network
from mapping.model.work import multiply_adds

__all__ = ["ALWAYS", "INPUT", "NEVER", "HostLayer", "Pool", "SpikingLayer", "SpikingNetwork"]

NEVER = 2**40
"""A threshold no sum reaches; an emitter clamps it to the largest threshold of its hardware."""

ALWAYS = -(2**40)
"""A threshold every sum reaches."""

INPUT = "input"
"""Name of the encoder's output as the source of a layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A max-pool: kernel and stride (y, x), pads (top, left, bottom, right). A padded element never wins."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpikingLayer:
    """One layer on the chip.

    An activation is an integer count y in 0..levels. A neuron of output row r forms S = sum of weight times
    input count and fires y = number of j with S >= thresholds[r, j].

    Parameters
    ----------
    name, kind : str
        ``kind`` is ``"conv"`` or ``"dense"``.
    source : str
        `INPUT` or the name of an earlier layer.
    pools : tuple of Pool
        Max-pools applied to the source map before this layer.
    source_shape, input_shape, output_shape : tuple of int
        (C, H, W) or (F,). ``source_shape`` has the elements of the source in the same order, ``input_shape``
        is that after the pools, flattened for a dense layer.
    weight : int8 array
        (Cout, Cin / groups, kh, kw) or (out, in) of -1, 0, 1. A row with negative slope is stored negated.
    stride, pads, dilation, groups
        As in the network; (1, 1), (0, 0, 0, 0), (1, 1), 1 for a dense layer.
    source_levels, levels : int
        Largest count of an input and of an output.
    thresholds : int64 array
        (rows, levels), non-decreasing along the levels; rows are output channels or features. `NEVER` and
        `ALWAYS` stand for thresholds outside the reachable sums.
    activation, scale : str, float
        The tensor of the float network that equals count times scale.
    exhaustive, sums_checked : bool, int
        Whether the thresholds were compared with the float network on every reachable sum, and on how many.
    order_dependent : int
        How many of these may have another count where products are summed one by one in float64.
    """

    name: str
    kind: str
    source: str
    pools: tuple[Pool, ...]
    source_shape: tuple[int, ...]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    weight: NDArray[np.int8]
    stride: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilation: tuple[int, int]
    groups: int
    source_levels: int
    levels: int
    thresholds: NDArray[np.int64]
    activation: str
    scale: float
    exhaustive: bool
    sums_checked: int
    order_dependent: int = 0

    def __post_init__(self) -> None:
        self.weight.flags.writeable = False
        self.thresholds.flags.writeable = False

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return math.prod(self.output_shape)

    def reading(self, source: str) -> "SpikingLayer":
        """Return the same layer as the reader of another source."""
        return replace(self, source=source)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLayer:
    """A layer that runs on the host.

    ``reason`` completes "because"; ``remedy`` would let it run on the chip, and is empty where nothing could.
    ``share`` is that of the network's multiply-adds, None if these are not all known.
    """

    name: str
    reason: str
    remedy: str = ""
    share: float | None = 0.0

    @property
    def told(self) -> str:
        """Reason and remedy in one phrase."""
        return f"{self.reason}; {self.remedy}" if self.remedy else self.reason

    @property
    def sentence(self) -> str:
        """Name, share, reason and remedy in one sentence.

        >>> HostLayer(name="fc", reason="it is large", remedy="choose a mesh", share=0.25).sentence
        "Layer 'fc', 25.00 % of the multiply-adds, runs on the host because it is large; choose a mesh."
        """
        work = "" if self.share is None else f", {100 * self.share:.2f} % of the multiply-adds,"
        return f"Layer {self.name!r}{work} runs on the host because {self.told}."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpikingNetwork:
    """A network split into an encoder on the host, spiking layers on the chip, and a decoder on the host.

    Parameters
    ----------
    name : str
        Name of the model.
    network : Network
        The float network it equals.
    encoder_output : str
        Tensor of ``network`` that enters the chip as counts 0..``input_levels`` times ``input_scale``.
    layers : tuple of SpikingLayer
        In topological order.
    outputs : tuple of str
        Names of the layers the decoder reads.
    decoder_reads_input : bool
        Whether the decoder reads the encoder's output too.
    decoder_reads_data : bool
        Whether the decoder reads the graph input too, because a path to the output leads past the chip.
    host : tuple of HostLayer
        Layers that run on the host, in order: convolutions, dense layers, max-pools, and the quantiser of the
        input if no layer is before it.
    left : tuple of HostLayer
        Layers that fit the chip, but not all together, and had to be left to the host.
    """

    name: str
    network: Network
    encoder_output: str
    input_levels: int
    input_scale: float
    layers: tuple[SpikingLayer, ...]
    outputs: tuple[str, ...]
    decoder_reads_input: bool
    host: tuple[HostLayer, ...]
    decoder_reads_data: bool = False
    left: tuple[HostLayer, ...] = ()

    @property
    def host_layers(self) -> tuple[str, ...]:
        """Names of the layers that run on the host."""
        return tuple(layer.name for layer in self.host)

    @property
    def host_share(self) -> float | None:
        """Share of the network's multiply-adds that run on the host, 0..1; None if they are not all known.

        A layer that runs on both sides counts as the host's.
        """
        work = multiply_adds(self.network)
        known = [number for number in work.values() if number is not None]
        if len(known) < len(work):
            return None
        return sum(work.get(name) or 0 for name in set(self.host_layers)) / max(1, sum(known))

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Names of the layers whose multiply-adds are not known, for which `host_share` is None."""
        return tuple(name for name, number in multiply_adds(self.network).items() if number is None)

    def layer(self, name: str) -> SpikingLayer:
        """Return a layer by name.

        Raises
        ------
        ValueError
            If there is none of that name.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ValueError(
            f"layer must be one of {', '.join(layer.name for layer in self.layers)}, not {name!r}"
        )

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of `INPUT` or of a layer's output."""
        return self.network.shapes[self.encoder_output] if name == INPUT else self.layer(name).output_shape
