# SPDX-License-Identifier: Apache-2.0
"""What the public functions are handed: a model of any kind, and samples of any kind, as one pair."""

import os
import warnings

import numpy as np
from numpy.typing import NDArray

from mapping.datasets.batches import as_data, gather
from mapping.datasets.calibration import calibration_data
from mapping.datasets.load import CALIBRATION, MORE_SAMPLES, Dataset, arranged, checked, load_data, scaled
from mapping.datasets.rows import spread_rows
from mapping.errors import MappingError
from mapping.model.importers.torch_module import is_module
from mapping.model.load import load_network
from mapping.model.network import Network

__all__ = [
    "calibration_of",
    "calibration_samples",
    "loaded_samples",
    "model_and_data",
    "model_and_samples",
    "require_real",
    "samples_for",
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
    if isinstance(data, str | os.PathLike):
        return calibration_data(os.fspath(data), seed=seed)
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
    samples : str, Path, Dataset, array, or iterable of batches, optional
        Loaded data, and bytes, are scaled as ``how`` says, see `mapping.datasets.load.scaled`. Anything else
        is as the network takes it.
    how : str, optional
        For what is scaled by default ``auto``.
    seed : int
        As of `calibration_of`.

    Raises
    ------
    MappingError
        If one of them cannot be used.
    """
    if samples is None:
        return load_network(model), None, how
    if isinstance(samples, str | os.PathLike):
        name = os.fspath(samples)
        network = load_network(model, load_data(name).x)
        return network, *loaded_samples(network, name, how, seed=seed)
    data = _held(samples, None if hasattr(samples, "shape") else CALIBRATION)
    network = load_network(model, data.x)
    if not isinstance(samples, Dataset) and not data.pixels:
        return network, data.shaped(network.shapes[network.input]).x, how
    some, more = (data.at(spread_rows(n)(len(data.x))) for n in (CALIBRATION, MORE_SAMPLES))
    how = scaled(more, how or "auto", network)[1]
    return network, scaled(some, how, network)[0].x, how


def samples_for(network: Network, samples: object, how: str | None) -> Samples:
    """Return samples that a compiled network runs on; arguments are those of `model_and_samples`.

    Arrays of floats are returned as they are.

    Raises
    ------
    MappingError
        If they cannot be used.
    """
    if isinstance(samples, np.ndarray) and samples.dtype.kind == "f":
        return samples
    loaded = isinstance(samples, str | os.PathLike | Dataset)
    data = as_data(samples) if loaded else _held(samples)
    return scaled(data, how or "auto", network)[0].x if loaded or data.pixels else data.x


FEW = 8
"""Samples of a module below which a warning says that scales are chosen on them."""


def require_real(model: object, samples: Samples | None) -> None:
    """Look whether scales can be chosen on samples: an example of the shape of an input is too little.

    Warns
    -----
    UserWarning
        If there are fewer than `FEW` for a module.

    Raises
    ------
    MappingError
        If all their numbers are the same.
    """
    if samples is None:
        return
    if is_module(model) and len(samples) < FEW:
        name = type(model).__name__
        warnings.warn(
            f"The scales of the graded code are chosen on {len(samples)} of {name}'s samples, and the "
            "chip answers like the module only near them; give some hundred of the training.",
            stacklevel=4,
        )
    if (samples == samples.flat[0]).all():
        raise MappingError(
            f"Samples must be real ones, and all their numbers are {samples.flat[0]:g}: the scales of the "
            "graded code are chosen on them; give some hundred of the training."
        )


def _held(samples: object, number: int | None = None) -> Dataset:
    """Return samples in memory: with their labels if they are bytes, whose scale these choose."""
    if isinstance(samples, Dataset):
        return samples
    x, y = gather(samples, number)
    if x.dtype == np.uint8:
        return checked("samples", x, y)
    return Dataset(name="samples", x=x.astype(np.float64), y=None)
