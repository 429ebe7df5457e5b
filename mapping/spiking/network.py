# SPDX-License-Identifier: Apache-2.0
"""The integer network: layers whose neurons count the thresholds that their integer sum has reached."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mapping.model.network import Network
from mapping.model.work import multiply_adds
from mapping.spiking.quantisers import Ladders, Quantiser

__all__ = [
    "INPUT",
    "MOST_PARTS",
    "TERNARY",
    "HostLayer",
    "Pool",
    "Source",
    "SpikingLayer",
    "SpikingNetwork",
    "sources_of",
]

INPUT = "input"
"""Name of the encoder's output as the source of a layer."""

MOST_PARTS = 4
"""Neurons of which each may send a part of a count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A max-pool: kernel and stride (y, x), pads (top, left, bottom, right). A padded element never wins."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: tuple[int, int, int, int]


TERNARY = (1,)
"""The strengths of a neuron of one column: its weights are -1, 0 and 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """One activation that a layer reads, and the integer matrix of its weights.

    Parameters
    ----------
    name : str
        `INPUT` or the name of an earlier layer.
    pools : tuple of Pool
        Max-pools applied to the source map before this layer.
    shape, input_shape : tuple of int
        (C, H, W) or (F,). ``shape`` has the elements of the source in the same order, ``input_shape`` is that
        after the pools, flattened for a dense matrix.
    first : int
        The element of ``name`` that is the first of ``shape``: others that it has are not read.
    weight : int16 array
        (Cout, Cin / groups, kh, kw) or (out, in). A row with negative slope is stored negated.
    stride, pads, dilation, groups
        As in the network; (1, 1), (0, 0, 0, 0), (1, 1), 1 for a dense matrix.
    low, high : int
        Least and largest count that it reads.
    shift : int
        Bits by which a count is shifted left before it is weighted.
    """

    name: str
    pools: tuple[Pool, ...] = ()
    shape: tuple[int, ...]
    input_shape: tuple[int, ...]
    first: int = 0
    weight: NDArray[np.int16]
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    low: int = 0
    high: int
    shift: int = 0

    def __post_init__(self) -> None:
        self.weight.flags.writeable = False
        if self.pools and self.low < 0:
            raise ValueError(f"Counts must not be negative where they are pooled, not {self.low}.")

    def reach(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the least and the largest that it adds to the potential of each row, each int64 (rows,)."""
        flat = self.weight.reshape(len(self.weight), -1)
        up, down = (
            half(flat, 0).sum(axis=1, dtype=np.int64) << self.shift for half in (np.maximum, np.minimum)
        )
        return up * self.low + down * self.high, up * self.high + down * self.low

    @property
    def kind(self) -> str:
        """``"conv"`` or ``"dense"``."""
        return "dense" if self.weight.ndim == 2 else "conv"

    @property
    def inputs(self) -> int:
        """Number of inputs after the pools."""
        return math.prod(self.input_shape)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpikingLayer:
    """One layer on the chip.

    A neuron of output row r forms V = bias + the sum over its sources of weight times (count << shift), and
    fires the count y in ``low`` .. ``levels`` that the quantiser of the row gives for V.

    Parameters
    ----------
    name : str
        Name of the layer.
    sources : tuple of Source
        What it reads. Their inputs, one source after the other, are the inputs of the layer.
    output_shape : tuple of int
        (C, H, W) or (F,); rows are output channels or features.
    quantiser : Lists or Ladders
        Of each row.
    strengths : tuple of int
        What the digits of a weight stand for, the least first: a weight is the sum of digits -1, 0, 1 times
        strengths.
    bias : int64 (neurons,), optional
        By default 0.
    low, levels : int
        Least and largest count.
    activation, scale, zero : str, float, int
        The tensor of the float network that equals, or that it stands for: (count - zero) times scale.
    gains : float64 (rows,), optional
        By which the scale of each row is multiplied; never of a layer that the host reads. By default 1.
    exhaustive, sums_checked : bool, int
        Whether the thresholds were compared with the float network on every reachable sum, and on how many.
    order_dependent : int
        How many of these may have another count where products are summed one by one in float64.
    parts : int
        Neurons that each send a part of a count of this layer, which is their sum and may be as many times a
        payload; only the host reads it. See `mapping.spiking.spread`.
    group : int
        Rows that together stand for one count, which is their sum; see `mapping.spiking.unary`.
    near : float
        By how many steps of its counts the sums of a layer of an exact code may be off: where they lie so
        near to the edge between two counts, the other may be fired.
    """

    name: str
    sources: tuple[Source, ...]
    output_shape: tuple[int, ...]
    quantiser: Quantiser
    strengths: tuple[int, ...] = TERNARY
    bias: NDArray[np.int64] | None = None
    low: int = 0
    levels: int
    activation: str
    scale: float
    zero: int = 0
    gains: NDArray[np.float64] | None = None
    exhaustive: bool = False
    sums_checked: int = 0
    order_dependent: int = 0
    parts: int = 1
    group: int = 1
    near: float = 0.0

    def __post_init__(self) -> None:
        if self.parts != 1 and not self._parted():
            raise ValueError(
                f"parts must be 1..{MOST_PARTS} that divide {self.low} and {self.levels}, of ladders without "
                f"ties, not {self.parts}"
            )

    def _parted(self) -> bool:
        """Tell whether ladders of parts add up to those of the layer."""
        ladders, parts = self.quantiser, self.parts
        if not 1 <= parts <= MOST_PARTS or self.low % parts or self.levels % parts:
            return False
        return isinstance(ladders, Ladders) and not ladders.words[:, 3].any()

    @property
    def kind(self) -> str:
        """``"conv"`` if a source is read by a convolution, else ``"dense"``."""
        return "conv" if any(source.kind == "conv" for source in self.sources) else "dense"

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return math.prod(self.output_shape)

    @property
    def inputs(self) -> int:
        """Number of inputs: those of all sources."""
        return sum(source.inputs for source in self.sources)

    @property
    def rows(self) -> int:
        """Output channels or features."""
        return self.output_shape[0]

    @property
    def edges(self) -> NDArray[np.int64]:
        """The least potential of each count above ``low``, int64 (rows, levels - low)."""
        return self.quantiser.edges(self.low, self.levels)

    @property
    def only(self) -> Source:
        """The one source of a layer that has one.

        Raises
        ------
        ValueError
            If it has several.
        """
        if len(self.sources) != 1:
            raise ValueError(f"Layer {self.name!r} must have one source, not {len(self.sources)}.")
        return self.sources[0]

    def biases(self) -> NDArray[np.int64]:
        """Return the bias of every neuron, int64 (neurons,)."""
        return np.zeros(self.neurons, np.int64) if self.bias is None else self.bias

    def values(self, counts: NDArray[np.number]) -> NDArray[np.float64]:
        """Return the values that counts stand for, both (N, output shape)."""
        gains = 1.0 if self.gains is None else self.gains.reshape(-1, *(1 for _ in self.output_shape[1:]))
        return np.asarray((counts - self.zero) * (self.scale * gains))

    def reach(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the least and the largest potential of each row, each int64 (rows,)."""
        bias = self.biases().reshape(self.rows, -1)
        low, high = bias.min(axis=1), bias.max(axis=1)
        for source in self.sources:
            down, up = source.reach()
            low, high = low + down, high + up
        return low, high

    def reading(self, names: Mapping[str, str]) -> "SpikingLayer":
        """Return the same layer with its sources renamed."""
        sources = tuple(replace(source, name=names[source.name]) for source in self.sources)
        return replace(self, sources=sources)


def sources_of(layers: Iterable[SpikingLayer]) -> Iterator[tuple[SpikingLayer, Source]]:
    """Yield every source of every layer."""
    return ((layer, source) for layer in layers for source in layer.sources)


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
        Tensor of ``network`` that enters the chip as counts ``input_low``..``input_levels`` times
        ``input_scale``.
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
    code : str
        How activations are coded as spikes, a name in `mapping.codes`.
    rounded : tuple of str
        Layers of an exact code whose activation is real, and leaves the chip as the nearest count.
    input_group : int
        Channels or features of the chip's input that together stand for one of the encoder's output.
    input_shape : tuple of int, optional
        Of what enters the chip, where that is not ``encoder_output``.
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
    input_low: int = 0
    code: str = "scatter-and-gather"
    rounded: tuple[str, ...] = ()
    input_group: int = 1
    input_shape: tuple[int, ...] | None = None

    @property
    def exact(self) -> bool:
        """Whether every activation on the chip equals that of the float network."""
        return self.code != "graded" and not self.rounded and not self.near

    @property
    def near(self) -> dict[str, float]:
        """Layers of which sums may be off, and by how many steps of their counts."""
        return {layer.name: layer.near for layer in self.layers if layer.near}

    @property
    def ternary(self) -> bool:
        """Whether every weight on the chip is -1, 0 or 1."""
        return all(layer.strengths == TERNARY for layer in self.layers)

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
        if name != INPUT:
            return self.layer(name).output_shape
        first, *rest = self.input_shape or self.network.shapes[self.encoder_output]
        return first * self.input_group, *rest
