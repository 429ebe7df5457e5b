# SPDX-License-Identifier: Apache-2.0
"""What a trained network of one of the article's shapes does on data: accuracy and operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from mapping.codes.convert import convert
from mapping.datasets.load import Dataset, load_data, scaled
from mapping.errors import MappingError
from mapping.model.load import load_network
from mapping.report.activity import observe
from mapping.report.closed_form import layer_shapes
from mapping.reproduce.networks import NETWORKS, SPIKES, layers
from mapping.reproduce.noise import accuracies_with_noise
from mapping.spiking.network import SpikingNetwork
from mapping.targets.patches import LayerShape

__all__ = ["Measured", "measure", "measure_all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one trained network did.

    Parameters
    ----------
    network : str
        Key of `NETWORKS`.
    spikes : int
        Spikes of its activations.
    accuracy, float_accuracy : float or None
        Share of correct answers of the spiking network and of the float network; None without labels.
    operations : float
        Dense synaptic operations per sample.
    told : str
        Network and data in words.
    noisy : mapping
        Share of correct answers by the share of encoding neurons that were shut down.
    """

    network: str
    spikes: int
    accuracy: float | None
    float_accuracy: float | None
    operations: float
    told: str
    noisy: Mapping[float, float]


def measure_all(
    models: Sequence[str],
    data: str | None,
    samples: int | None = None,
    *,
    noise: Sequence[float] = (),
    seed: int = 0,
) -> dict[tuple[str, int], Measured]:
    """Return what trained networks do on data, by network and spikes.

    Parameters
    ----------
    models : sequence of str
        Files, as of `mapping.model.load.load_network`.
    data : str or None
        As of `mapping.datasets.load.load_data`.
    samples : int or None
        Only the first of the data.
    noise, seed
        As of `measure`.

    Raises
    ------
    MappingError
        If one is given without the other, two models are the same network, or `measure` raises it.
    """
    if bool(models) != (data is not None):
        missing = (
            "--data, for example --data mnist:DIR" if models else "--model, for example --model lenet4.onnx"
        )
        raise MappingError(f"Options --model and --data must come together: add {missing}.")
    found: dict[tuple[str, int], Measured] = {}
    given = None if data is None else load_data(data).first(samples)
    for model in models:
        if given is not None:
            one = measure(model, given, noise=noise, seed=seed)
            if (one.network, one.spikes) in found:
                raise MappingError(
                    f"Model {model} has the same layers and spikes as one before it: give only one of them."
                )
            found[one.network, one.spikes] = one
    return found


def measure(model: str, data: Dataset, *, noise: Sequence[float] = (), seed: int = 0) -> Measured:
    """Return what a trained network does on data.

    Parameters
    ----------
    model : str
        A file, as of `mapping.model.load.load_network`.
    data : Dataset
        Samples as they were loaded.
    noise : sequence of float
        Shares of encoding neurons to shut down, each measured.
    seed : int
        Decides which neurons.

    Raises
    ------
    MappingError
        If it cannot be read, does not fit the data, or has not the layers of one of the article's networks.
    """
    network = load_network(model)
    spiking = convert(network)
    key, spikes = _recognised(spiking, model)
    given = scaled(data, "auto", network)[0]
    activity = observe(spiking, given)
    return Measured(
        network=key,
        spikes=spikes,
        accuracy=activity.accuracy,
        float_accuracy=activity.float_accuracy,
        operations=activity.total("dense"),
        told=f"{model} on {activity.samples} samples of {data.name}",
        noisy=accuracies_with_noise(spiking, given, noise, seed) if noise else {},
    )


def _recognised(spiking: SpikingNetwork, model: str) -> tuple[str, int]:
    """Return which of the article's networks has the layers of a network, and its spikes.

    Raises
    ------
    MappingError
        If none has.
    """
    found = [_bare(shape) for shape in layer_shapes(spiking)]
    for network in NETWORKS:
        for spikes in SPIKES:
            if found == [_bare(shape) for shape in layers(network, spikes)[:-1]]:
                return network, spikes
    raise MappingError(
        f"Model {model} must have on the chip the layers of the article's LeNet or VGG-Net with 1, 2 or 4 "
        f"spikes, not {len(found)} others; 'spikeloom train lenet --data DIR -o lenet4.onnx' makes one."
    )


def _bare(shape: LayerShape) -> tuple[object, ...]:
    """Return what makes layers equal: a pool is a convolution, and so is a dense layer, of the whole map."""
    source, window = shape.input, shape.window
    if window == source[:2] and shape.output[:2] == (1, 1):
        source, window = (1, 1, prod(source)), (1, 1)
    return source, shape.output, window, shape.steps, shape.source_levels, shape.levels
