# SPDX-License-Identifier: Apache-2.0
"""What a loss of accuracy means, in sentences: that of the input, of the float network, of the conversion."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mapping.datasets.rows import spread_rows
from mapping.diagnosis.attribution import (
    ACTIVATIONS,
    WEIGHTS,
    Attribution,
    Loss,
    Part,
    attribute,
    loss_of,
    values_of,
)
from mapping.diagnosis.finding import NOTE, WARNING, Finding, percent
from mapping.diagnosis.input_tried import ENOUGH, InputTried, chance_text, input_findings
from mapping.diagnosis.layers import Diagnosis
from mapping.diagnosis.options import Trial
from mapping.model.network import Network
from mapping.spiking.network import INPUT, SpikingNetwork

__all__ = ["find_losses", "loss_doubt"]

_AGREES = 0.95
"""Agreement below which a loss is a warning."""

_LOOKED_AT = 64
"""Samples that tell which layer loses most."""

_MOST_VALUES = 1 << 28
"""Values of all these samples, beyond which fewer are looked at, but `ENOUGH`."""


def find_losses(
    spiking: SpikingNetwork, diagnosis: Diagnosis, tried: InputTried, trials: Sequence[Trial]
) -> list[Finding]:
    """Return what input, float network and conversion lose, as far as it can be told.

    Parameters
    ----------
    spiking : SpikingNetwork
        The converted network.
    diagnosis : Diagnosis
        What it did on the data.
    tried : InputTried
        Other orders and normalisations of the input.
    trials : sequence of Trial
        Other conversions, the one that was diagnosed first; none if no option was tried.
    """
    found = [*input_findings(tried), *_float_network(diagnosis, tried)]
    attribution = diagnosis.attribution
    if attribution is not None:
        found += [*_unlabelled(diagnosis), *_scale(attribution), *_loss(spiking, attribution)]
        found += [*_options(trials)]
    return found


def loss_doubt(spiking: SpikingNetwork, x: NDArray[np.float64], agreement: float | None = None) -> str | None:
    """Return, in a sentence, that a converted network answers otherwise than its float network, and where.

    Parameters
    ----------
    spiking : SpikingNetwork
        The converted network.
    x : float64 (samples, input shape)
        What it is asked; of many samples some at equal distances are looked at.
    agreement : float, optional
        Share of the samples on which both answer the same, by default that of those looked at.

    Returns
    -------
    str or None
        None where they agree on 95 %, of a network that gives a value and no class, of one that is exact, and
        on fewer than 20 samples.
    """
    if spiking.exact or len(x) < ENOUGH:
        return None
    seen = x[spread_rows(_looked_at(spiking.network))(len(x))]
    agreement = loss_of(spiking, seen).agreement if agreement is None else agreement
    if agreement is None or agreement >= _AGREES:
        return None
    worst = attribute(spiking, seen).worst
    return _DOUBT.format(
        agreement=percent(agreement), share=percent(worst.share), place=_place(spiking, worst)
    )


def _looked_at(network: Network) -> int:
    """Return of how many samples a network is asked whether it loses answers."""
    return max(ENOUGH, min(_LOOKED_AT, _MOST_VALUES // values_of(network)))


_DOUBT = (
    "The converted network answers as the float network does on only {agreement} of the samples, and {share} "
    "of the squared error comes with {place}: 'spikeloom inspect MODEL --data DATA' tries which option helps."
)


def _float_network(diagnosis: Diagnosis, tried: InputTried) -> Iterator[Finding]:
    commonest, accuracy = diagnosis.commonest, diagnosis.ann_accuracy
    mended = (diagnosis.input_scale.better or tried.better) is not None
    if commonest is None or accuracy is None or mended or diagnosis.samples < ENOUGH:
        return
    text = chance_text(accuracy, commonest)
    if text is not None:
        yield Finding(level=WARNING, kind="float-network", text=text)


def _unlabelled(diagnosis: Diagnosis) -> Iterator[Finding]:
    if diagnosis.ann_accuracy is None:
        text = (
            "Without labels neither the scale nor the order of the input can be judged: on data that it was "
            "not trained for, a network still agrees with itself."
        )
        yield Finding(level=NOTE, kind="input-assumed", text=text, layer=INPUT)


def _scale(attribution: Attribution) -> Iterator[Finding]:
    part = attribution.misscaled
    if part is not None:
        text = (
            f"Layer {part.layer!r} has the wrong scale: its values are {part.factor:.3g} times those of the "
            "float network, which rounding does not explain."
        )
        yield Finding(level=WARNING, kind="layer-scale", text=text, layer=part.layer)


def _loss(spiking: SpikingNetwork, attribution: Attribution) -> Iterator[Finding]:
    whole, worst = attribution.whole, attribution.worst
    if whole.logit_error == 0:
        return
    told = [f"logit error {whole.logit_error:.3g}"]
    if whole.agreement is not None:
        told.append(f"agreement {percent(whole.agreement)}")
    if whole.accuracy is not None and attribution.float_accuracy is not None:
        told.append(f"accuracy {percent(whole.accuracy)} of {percent(attribution.float_accuracy)}")
    text = (
        f"Against the float network on {attribution.samples} samples: {', '.join(told)}; "
        f"{percent(worst.share)} of the squared error comes with {_place(spiking, worst)}."
    )
    bad = whole.agreement is not None and whole.agreement < _AGREES
    yield Finding(level=WARNING if bad else NOTE, kind="loss", text=text, layer=worst.layer)


def _place(spiking: SpikingNetwork, part: Part) -> str:
    if part.part == INPUT:
        return f"the input, counted in {spiking.input_low}..{spiking.input_levels}"
    layer = spiking.layer(part.layer)
    if part.part == WEIGHTS:
        digits = len(layer.strengths)
        return f"the weights of layer {part.layer!r}, of {digits} digit{'s' if digits > 1 else ''}"
    return f"the {ACTIVATIONS} of layer {part.layer!r}, counted in {layer.low}..{layer.levels}"


def _options(trials: Sequence[Trial]) -> Iterator[Finding]:
    if len(trials) < 2:
        return
    first, others = trials[0], trials[1:]
    better = [trial for trial in others if trial.helps(first.loss)]
    for trial in sorted(better, key=lambda trial: trial.loss.logit_error):
        text = (
            f"{trial.option} helps: {_change(first.loss, trial.loss)}, with {trial.columns:,} columns "
            f"instead of {first.columns:,}."
        )
        yield Finding(level=NOTE, kind="option-helps", text=text)
    if not better:
        names = ", ".join(str(trial.option) for trial in others)
        text = f"None of the options tried helps ({names})."
        yield Finding(level=NOTE, kind="no-option-helps", text=text)


def _change(before: Loss, after: Loss) -> str:
    told = [f"logit error {after.logit_error:.3g} instead of {before.logit_error:.3g}"]
    if before.agreement is not None and after.agreement is not None:
        told.append(f"agreement {percent(after.agreement)} instead of {percent(before.agreement)}")
    if before.accuracy is not None and after.accuracy is not None:
        told.append(f"accuracy {percent(after.accuracy)} instead of {percent(before.accuracy)}")
    return ", ".join(told)
