# SPDX-License-Identifier: Apache-2.0
"""What other orders and normalisations of the input and scales of layers give, and what that says."""

from collections.abc import Iterator
from dataclasses import dataclass

from mapping.datasets.load import Dataset
from mapping.datasets.normalisation import commonest_share
from mapping.diagnosis.finding import WARNING, Finding, percent
from mapping.diagnosis.input_normalisation import (
    InputNormalisation,
    TriedNormalisation,
    check_normalisation,
)
from mapping.diagnosis.input_order import InputOrder, OrderCandidate, check_input_order
from mapping.diagnosis.input_scale import factor_text
from mapping.diagnosis.layer_scale import LayerScale, ScaledLayer, check_layer_scale
from mapping.model.network import Network
from mapping.spiking.network import INPUT

__all__ = ["ENOUGH", "InputTried", "chance_text", "doubt_of", "input_findings", "try_inputs"]

_ORDERS = {
    "channels-reversed": "their channels in reverse (RGB for BGR)",
    "other-layout": "their values taken from the other layout (NHWC for NCHW, or the reverse)",
    "rows-and-columns": "rows and columns exchanged",
    "inverted": "black and white exchanged",
}


_CHANCE = 0.05
"""Share of the other labels that a network must name beyond the commonest one."""

ENOUGH = 20
"""Samples below which an accuracy says too little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputTried:
    """Orders and normalisations of the input, and scales of layers; None where they were not tried."""

    order: InputOrder | None = None
    normalisation: InputNormalisation | None = None
    layer_scale: LayerScale | None = None

    @property
    def better(self) -> OrderCandidate | TriedNormalisation | ScaledLayer | None:
        """What is clearly better than data and network as they are; the most accurate if several are."""
        parts = (self.normalisation, self.order, self.layer_scale)
        found = [part.better for part in parts if part and part.better]
        return max(found, key=lambda candidate: candidate.accuracy, default=None)


def try_inputs(
    network: Network, data: Dataset, how: str, asked: str | None = None, known: str | None = None
) -> InputTried:
    """Evaluate a float network with other orders and normalisations of its input, and other scales of layers.

    Parameters are those of `check_input_order` and `check_normalisation`. Layers are tried with other scales
    unless a scale of the input is known to be better.
    """
    return InputTried(
        order=check_input_order(network, data, how, asked),
        normalisation=check_normalisation(network, data, how, known),
        layer_scale=None if known is not None else check_layer_scale(network, data, how),
    )


def doubt_of(
    network: Network, data: Dataset, how: str, asked: str | None, accuracy: float | None
) -> str | None:
    """Return what makes one doubt that the input is that of the training, in a sentence.

    Parameters
    ----------
    network, data, how, asked
        As of `try_inputs`.
    accuracy : float or None
        The float network's, of all samples.

    Returns
    -------
    str or None
        None without labels, and where nothing is doubtful. Other orders are tried only if the network is
        hardly better than always naming the commonest label; normalisations also where nobody has yet.
    """
    if data.y is None or accuracy is None or len(data.y) < ENOUGH:
        return None
    commonest = commonest_share(data.y)
    told = chance_text(accuracy, commonest)
    if told is None or commonest == 1:
        tried_already = data.pixels and asked in {None, "auto"}
        tried = InputTried(normalisation=None if tried_already else check_normalisation(network, data, how))
        return next((finding.text for finding in input_findings(tried)), told)
    found = next(input_findings(try_inputs(network, data, how, asked)), None)
    return found.text if found else told


def chance_text(accuracy: float, commonest: float) -> str | None:
    """Return that a float network knows nothing, if nothing that was tried mends that; None if it knows.

    Parameters
    ----------
    accuracy, commonest : float
        The network's, and that of always naming the commonest label. Where all samples have one label no
        accuracy tells what a network knows, which is said instead.

    >>> chance_text(0.98, 0.96) is None, chance_text(0.96, 0.96) is None
    (True, False)
    """
    if commonest == 1:
        return _ONE_LABEL
    if accuracy > commonest + _CHANCE * (1 - commonest):
        return None
    return (
        f"The float network itself has an accuracy of {percent(accuracy)}, and always naming the commonest "
        f"label has {percent(commonest)}: the loss lies before the conversion; compare data, labels and "
        "weights with those of the training."
    )


_ONE_LABEL = (
    "All samples have the same label, so their accuracy tells little of the network; give samples of all "
    "classes."
)


def input_findings(tried: InputTried) -> Iterator[Finding]:
    """Yield what would make the float network clearly more accurate, if anything does."""
    order, normalisation, better = tried.order, tried.normalisation, tried.better
    if tried.layer_scale is not None and isinstance(better, ScaledLayer):
        yield Finding(
            level=WARNING, kind="layer-scale", text=_layer_text(tried.layer_scale, better), layer=better.layer
        )
    if order is not None and isinstance(better, OrderCandidate):
        text = (
            f"The data seem to have another order than the network reads: on {order.samples} "
            f"samples the float network's accuracy is {percent(order.accuracy)} as they are, and "
            f"{percent(better.accuracy)} with {_ORDERS[better.name]}; store {better.expression} as x."
        )
        yield Finding(level=WARNING, kind="input-order", text=text, layer=INPUT)
    if normalisation is not None and isinstance(better, TriedNormalisation):
        text = (
            "The data seem to be normalised in another way than those of the training: on "
            f"{normalisation.samples} samples the float network's accuracy is "
            f"{percent(normalisation.accuracy)} as they are, and {percent(better.accuracy)} as "
            f"{better.name}; try --input {better.input}, or the constants of the training."
        )
        yield Finding(level=WARNING, kind="input-normalisation", text=text, layer=INPUT)


def _layer_text(scale: LayerScale, better: ScaledLayer) -> str:
    """Return which layer seems to have weights of another scale."""
    times = [f"those of {other.layer!r} times {factor_text(other.factor)}" for other in scale.alike]
    instead = f" (or with {' or '.join(times)}, which these samples do not tell apart)" if times else ""
    what, before, after = "float network's accuracy", percent(scale.accuracy), percent(better.accuracy)
    if scale.cross_entropy is not None and better.cross_entropy is not None:
        what = f"labels' cross-entropy (accuracy {before} and {after})"
        before, after = f"{scale.cross_entropy:.3f}", f"{better.cross_entropy:.3f}"
    return (
        f"The weights of layer {better.layer!r} seem to have another scale than in training: on "
        f"{scale.samples} samples the {what} is {before} as they are, and "
        f"{after} with them times {factor_text(better.factor)}{instead}; export the model "
        "again, or multiply these weights, without the bias, in the file."
    )
