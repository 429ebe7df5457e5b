# SPDX-License-Identifier: Apache-2.0
"""Random spiking networks and a plain interpreter of images, for the tests of the mapper."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emu.image import CoreImage, SystemImage
from emu.spec import CoreSpec
from emu.trace import RunResult, Stimulus
from emu.words import RECTANGLE, Section
from mapping.layout.emit import emit
from mapping.layout.place import Placer, place
from mapping.layout.route import fit
from mapping.layout.site import Site
from mapping.model.network import Network
from mapping.spiking.network import INPUT, Pool, Source, SpikingLayer, SpikingNetwork
from mapping.spiking.quantisers import ALWAYS, NEVER, Lists

__all__ = ["Draft", "compile_network", "core_spec", "digits_like", "interpret", "random_network"]


def core_spec(**changes: Any) -> CoreSpec:
    """Return a small core with the given sizes changed."""
    sizes: dict[str, Any] = {
        "axons": 64,
        "columns": 32,
        "lanes": 8,
        "payload_bits": 4,
        "potential_bits": 12,
        "strengths": 4,
        "thresholds": 128,
        "fanouts": 256,
        "schedule": 8,
    }
    return CoreSpec(**sizes | changes)


@dataclass(kw_only=True)
class Draft:
    """Collect layers of a spiking network with random weights and thresholds."""

    shape: tuple[int, ...]
    levels: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.layers: list[SpikingLayer] = []

    def _read(self, name: str | None) -> tuple[str, tuple[int, ...], int]:
        if name == INPUT or (name is None and not self.layers):
            return INPUT, self.shape, self.levels
        layer = next(layer for layer in reversed(self.layers) if name in (None, layer.name))
        return layer.name, layer.output_shape, layer.levels

    def _thresholds(self, rows: int, fan_in: int, levels: int) -> NDArray[np.int64]:
        spread = max(2, round(math.sqrt(fan_in) * 2))
        theta = np.sort(self.random.integers(-1, spread + 1, (rows, levels)), axis=1)
        theta[self.random.random(rows) < 0.1, -1] = NEVER
        theta[self.random.random(rows) < 0.05, 0] = ALWAYS
        return theta.astype(np.int64)

    def _add(self, *, name: str, source: Source, output_shape: tuple[int, ...], levels: int) -> str:
        rows, fan_in = len(source.weight), math.prod(source.weight.shape[1:])
        self.layers.append(
            SpikingLayer(
                name=name,
                sources=(source,),
                output_shape=output_shape,
                levels=levels,
                quantiser=Lists(thresholds=self._thresholds(rows, fan_in, levels)),
                activation=name,
                scale=1.0,
                exhaustive=True,
            )
        )
        return name

    def conv(
        self,
        channels: int,
        kernel: tuple[int, int],
        *,
        source: str | None = None,
        stride: tuple[int, int] = (1, 1),
        pads: tuple[int, int, int, int] = (0, 0, 0, 0),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
        pools: tuple[Pool, ...] = (),
        levels: int = 3,
    ) -> str:
        """Add a convolution; return its name."""
        name, shape, source_levels = self._read(source)
        read = shape
        for pool in pools:
            read = (read[0], *_window(read[1:], pool.kernel, pool.stride, pool.pads, (1, 1)))
        output = (channels, *_window(read[1:], kernel, stride, pads, dilation))
        weight = self.random.integers(-1, 2, (channels, shape[0] // groups, *kernel))
        read_by = Source(
            name=name,
            pools=pools,
            shape=shape,
            input_shape=read,
            weight=weight.astype(np.int16),
            stride=stride,
            pads=pads,
            dilation=dilation,
            groups=groups,
            high=source_levels,
        )
        return self._add(name=f"conv{len(self.layers)}", source=read_by, output_shape=output, levels=levels)

    def dense(
        self,
        outputs: int,
        *,
        source: str | None = None,
        pools: tuple[Pool, ...] = (),
        levels: int = 3,
        density: float = 0.67,
    ) -> str:
        """Add a dense layer; return its name."""
        name, shape, source_levels = self._read(source)
        read = shape
        for pool in pools:
            read = (read[0], *_window(read[1:], pool.kernel, pool.stride, pool.pads, (1, 1)))
        size = (outputs, math.prod(read))
        weight = self.random.choice((-1, 1), size) * (self.random.random(size) < density)
        read_by = Source(
            name=name,
            pools=pools,
            shape=shape,
            input_shape=(size[1],),
            weight=weight.astype(np.int16),
            high=source_levels,
        )
        return self._add(
            name=f"dense{len(self.layers)}", source=read_by, output_shape=(outputs,), levels=levels
        )

    def network(self, *outputs: str) -> SpikingNetwork:
        """Return the network; by default the decoder reads the last layer."""
        shapes = {INPUT: self.shape}
        frame = Network(name="random", input=INPUT, output=INPUT, nodes=(), shapes=shapes)
        return SpikingNetwork(
            name="random",
            network=frame,
            encoder_output=INPUT,
            input_levels=self.levels,
            input_scale=1.0,
            layers=tuple(self.layers),
            outputs=outputs or (self.layers[-1].name,),
            decoder_reads_input=False,
            host=(),
        )


def _window(
    size: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilation: tuple[int, int],
) -> tuple[int, ...]:
    return tuple(
        (size[i] + pads[i] + pads[i + 2] - (kernel[i] - 1) * dilation[i] - 1) // stride[i] + 1 for i in (0, 1)
    )


def random_network(seed: int) -> SpikingNetwork:
    """Return a network with strides, pads, dilation, groups, pools and several readers of one activation."""
    random = np.random.default_rng(seed)
    draft = Draft(shape=(2, int(random.integers(5, 9)), int(random.integers(7, 10))), seed=seed)
    stride = (int(random.integers(1, 3)), int(random.integers(1, 3)))
    first = draft.conv(
        int(random.integers(2, 7)) * 2,
        (3, 3),
        stride=stride,
        pads=(1, 1, 1, 0),
        levels=int(random.integers(1, 5)),
    )
    overlap = Pool(kernel=(2, 2), stride=(1, 1), pads=(0, 0, 0, 0))
    plain = Pool(kernel=(2, 2), stride=(2, 2), pads=(0, 1, 1, 0))
    pools = ((), (plain,), (overlap,), (plain, overlap))[seed % 4]
    second = draft.conv(
        4, (2, 2), source=first, pads=(1, 0, 1, 1), pools=pools, groups=int(random.integers(1, 3))
    )
    dilated = draft.conv(3, (2, 1), source=first, dilation=(2, 1), levels=2)
    return (
        draft.network(draft.dense(10, source=second, density=0.25), dilated)
        if seed % 2
        else draft.network(draft.dense(7, density=0.25))
    )


def digits_like(seed: int = 0) -> SpikingNetwork:
    """Return a network of the size of the demo's: 8 x 8 x 12 -> conv 16 -> pool 2 -> conv 24 -> dense 64."""
    draft = Draft(shape=(12, 8, 8), levels=4, seed=seed)
    draft.conv(16, (3, 3), pads=(1, 1, 1, 1), levels=4)
    draft.conv(24, (3, 3), pools=(Pool(kernel=(2, 2), stride=(2, 2), pads=(0, 0, 0, 0)),), levels=4)
    return draft.network(draft.dense(64, levels=4))


def compile_network(
    spiking: SpikingNetwork,
    spec: CoreSpec,
    *,
    mesh: tuple[int, int] | None = None,
    seed: int = 0,
    placer: Placer = place,
) -> SystemImage:
    """Return the image of a network."""
    parts, placement, routes = fit(spiking, spec, Site(mesh=mesh, seed=seed, placer=placer))
    return emit(spiking, parts, placement, routes, name=spiking.name)


def interpret(image: SystemImage, stimulus: Stimulus) -> RunResult:
    """Execute an image as simply as possible: rectangles as loops, one step after the other."""
    width, height = image.spec.width, image.spec.height
    current: dict[tuple[int, int], int] = {}
    spikes, outputs = [], []
    for step in range(stimulus.steps):
        for packet in stimulus.packet[stimulus.step == step].tolist():
            _send(current, width, height, packet)
        collected: dict[tuple[int, int], int] = {}
        for index, core in enumerate(image.cores):
            if core is None:
                continue
            entry = _entry(core, step)
            if not entry["fire"]:
                continue
            values = {axon: value for (at, axon), value in current.items() if at == index}
            cells = core.cells
            rows = (cells[axon].astype(np.int64) * value for axon, value in values.items())
            sums = sum(rows, start=np.zeros(core.neurons, np.int64))
            for neuron in range(core.neurons):
                base = core.threshold_base[neuron] + entry["threshold_first"]
                count = int((sums[neuron] >= core.thresholds[base : base + entry["threshold_count"]]).sum())
                if count:
                    spikes.append((step, index, neuron, count))
                    for *place, axon in core.fanout_of(neuron):
                        if place[RECTANGLE.index("y0")] >= height:
                            outputs.append((step, axon, count))
                        _send(collected, width, height, [*place, axon, count])
        current = collected
    return RunResult(
        mode="functional",
        steps=stimulus.steps,
        spikes=np.array(sorted(spikes), np.int64).reshape(-1, 4),
        outputs=np.array(sorted(outputs), np.int64).reshape(-1, 3),
        counters={},
        state={},
        engine="interpreter",
    )


def _entry(core: CoreImage, step: int) -> dict[str, int]:
    """Return the schedule entry of a step."""
    fields = core.columns(Section.SCHEDULE)
    steps = np.repeat(np.arange(len(core.schedule)), fields["repeat"])
    return {name: int(values[steps[step % len(steps)]]) for name, values in fields.items()}


def _send(events: dict[tuple[int, int], int], width: int, height: int, packet: list[int]) -> None:
    x0, x1, y0, y1, axon, payload = packet
    for y in range(y0, min(y1, height - 1) + 1):
        for x in range(x0, x1 + 1):
            place = (y * width + x, axon)
            events[place] = max(events.get(place, payload), payload)
