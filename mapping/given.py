# SPDX-License-Identifier: Apache-2.0
"""What the public functions are handed: a model of any kind, and samples of any kind, as one pair."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.datasets.batches import as_data, gather
from mapping.datasets.calibration import calibration_data
from mapping.datasets.load import CALIBRATION, MORE_SAMPLES, Dataset, arranged, load_data, scaled
from mapping.datasets.rows import spread_rows
from mapping.model.load import load_network
from mapping.model.network import Network

__all__ = [
    "calibration_of",
    "calibration_samples",
    "loaded_samples",
    "model_and_data",
    "model_and_samples",
    "scale_on",
]

Samples = NDArray[np.float64]


def model_and_data(model: object, data: object) -> tuple[Network, Dataset]:
    """Return a network and the data to run it on.

    Parameters
    ----------
    model : str, Path, Network or torch.nn.Module
        As of `mapping.model.load.load_network`.
    data : str, Dataset, array, (x, y), or iterable of batches
        As of `mapping.datasets.batches.as_data`.

    Raises
    ------
    MappingError
        If one of them cannot be used.
    """
    found = as_data(data)
    return load_network(model, found.x), found


def calibration_of(given: object, data: object, seed: int) -> Dataset:
    """Return the samples on which the graded code is chosen.

    Parameters
    ----------
    given : as ``data`` of `model_and_data`, or None
        What was asked for; by default the training part of data that have one, or some of the data.
    data : as of `model_and_data`
        What the network is run on, as it was handed over or as it is.
    seed : int
        Decides which samples of a training part.
    """
    if given is not None:
        return as_data(given)
    if isinstance(data, str):
        return calibration_data(data, seed=seed)
    found = as_data(data)
    return found.at(spread_rows(CALIBRATION)(len(found.x)))


def loaded_samples(
    network: Network, data: str, how: str | None, number: int = CALIBRATION, seed: int = 0
) -> tuple[Samples, str]:
    """Return samples on which the graded code is chosen, and the scale of pixels.

    Parameters
    ----------
    network : Network
        Whose input they are.
    data : str
        As of `mapping.datasets.load.load_data`. ``auto`` looks at its own labels; the samples are those of
        the training part if there is one.
    how : str, optional
        Scale of pixels, see `mapping.datasets.load.scaled`; by default ``auto``.
    number, seed : int
        As of `mapping.datasets.calibration.calibration_data`.

    Raises
    ------
    MappingError
        If the data cannot be used.
    """
    chosen = scale_on(network, data, how)[1]
    return calibration_samples(network, data, chosen, number, seed), chosen


def scale_on(network: Network, data: str, how: str | None) -> tuple[Dataset, str]:
    """Return some samples of data, as they are loaded, and the scale of pixels chosen on them."""
    sample = arranged(load_data(data, spread_rows(MORE_SAMPLES)), network)
    return sample, scaled(sample, how or "auto", network)[1]


def calibration_samples(network: Network, data: str, how: str | None, number: int, seed: int) -> Samples:
    """Return samples on which the graded code is chosen, scaled; arguments are those of `loaded_samples`."""
    return scaled(calibration_data(data, number, seed), how or "auto", network)[0].x


def model_and_samples(
    model: object, samples: object, how: str | None, seed: int
) -> tuple[Network, Samples | None, str | None]:
    """Return a network, samples of its input, and the scale of pixels.

    Parameters
    ----------
    model
        As of `model_and_data`.
    samples : str, Dataset, array, or iterable of batches, optional
        Loaded data are scaled as ``how`` says, see `mapping.datasets.load.scaled`. Anything else is as the
        network takes it.
    how : str, optional
        For loaded data by default ``auto``.
    seed : int
        As of `calibration_of`.

    Raises
    ------
    MappingError
        If one of them cannot be used.
    """
    if samples is None:
        return load_network(model), None, how
    if isinstance(samples, str):
        network = load_network(model, load_data(samples).x)
        return network, *loaded_samples(network, samples, how, seed=seed)
    if isinstance(samples, Dataset):
        network = load_network(model, samples.x)
        some, more = (samples.at(spread_rows(n)(len(samples.x))) for n in (CALIBRATION, MORE_SAMPLES))
        how = scaled(more, how or "auto", network)[1]
        return network, scaled(some, how, network)[0].x, how
    x: NDArray[Any] = gather(samples, None if hasattr(samples, "shape") else CALIBRATION)[0]
    network = load_network(model, x)
    data = Dataset(name="samples", x=x.astype(np.float64), y=None)
    return network, data.shaped(network.shapes[network.input]).x, how
