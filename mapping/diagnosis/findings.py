# SPDX-License-Identifier: Apache-2.0
"""What a diagnosis and a check mean, in sentences."""

from collections.abc import Iterator, Sequence

import numpy as np

from emu.image import SystemImage
from mapping.diagnosis.difference import Difference
from mapping.diagnosis.finding import DIFFERENCE, NOTE, WARNING, Finding, percent
from mapping.diagnosis.input_scale import GAIN, InputScale, ScaleCandidate, factor_text
from mapping.diagnosis.layers import Diagnosis, LayerDiagnosis
from mapping.layout.check import Violation
from mapping.layout.emit import PLACED
from mapping.spiking.network import INPUT, SpikingNetwork
from mapping.spiking.quantisers import Lists

__all__ = ["TABLE_KINDS", "find", "image_findings"]

TABLE_KINDS = frozenset({"metadata", "placed-table"})
"""Kinds of violations with which the activations of an image cannot be told apart."""


def find(diagnosis: Diagnosis, losses: Sequence[Finding] = ()) -> list[Finding]:
    """Return what a diagnosis shows, with what is lost: differences first, then warnings, then notes."""
    normalised = any(finding.kind == "input-normalisation" for finding in losses)  # the better proposal
    found = [
        *_differences(diagnosis),
        *(() if normalised else _input_scale(diagnosis.input_scale)),
        *_layers(diagnosis),
        *_precision(diagnosis),
        *losses,
    ]
    order = (DIFFERENCE, WARNING, NOTE)
    return sorted(found, key=lambda finding: order.index(finding.level))


def _place(difference: Difference, was: str, now: str) -> str:
    first = difference.first
    if first is None:
        return ""
    return (
        f"the first is layer {first.layer!r}, image {first.image}, neuron {first.neuron}: "
        f"{was} {first.expected:g}, {now} {first.got:g}"
    )


def _differences(diagnosis: Diagnosis) -> Iterator[Finding]:
    network, image = diagnosis.network, diagnosis.image
    if network is not None and network.different == 0:
        text = (
            f"The spiking network equals the quantised network on all {network.compared} activations: "
            "accuracy lost before conversion cannot be found here."
        )
        yield Finding(level=NOTE, kind="network-equal", text=text)
    elif network is not None:
        text = (
            f"The spiking network differs from the float64 network in {network.different} of "
            f"{network.compared} activations; {_place(network, 'network', 'spiking network')}. "
            "This is a bug in spikeloom: please report it with the model."
        )
        yield _at_first(network, WARNING, "network-differs", text)
    if image is not None and image.different == 0 and diagnosis.refused is None:
        text = f"The emulated image equals the spiking network on all {image.compared} activations."
        yield Finding(level=NOTE, kind="image-equal", text=text)
    elif image is not None and image.different:
        text = (
            f"The emulated image differs from the spiking network in {image.different} of {image.compared} "
            f"activations; {_place(image, 'spiking network', 'image')}."
        )
        yield _at_first(image, DIFFERENCE, "image-differs", text)
    if diagnosis.refused is not None:
        text = f"The output of the emulated image cannot be read: {diagnosis.refused}"
        yield Finding(level=DIFFERENCE, kind="image-output", text=text)
    if diagnosis.errors:
        text = f"The emulated image raised the error counters of its cores and routers to {diagnosis.errors}."
        yield Finding(level=DIFFERENCE, kind="image-errors", text=text)


def _at_first(difference: Difference, level: str, kind: str, text: str) -> Finding:
    first = difference.first
    layer, neuron = (None, None) if first is None else (first.layer, first.neuron)
    return Finding(level=level, kind=kind, text=text, layer=layer, neuron=neuron)


def _input_scale(scale: InputScale) -> Iterator[Finding]:
    own, better = scale.own, scale.better
    where = f"on {scale.samples} samples"
    if better is not None:
        times = factor_text(better.factor)
        text = (
            f"The data seem to have the wrong scale for this model: {where} {_state(own, better)} as they "
            f"are, and {_state(better, own)} times {times}; try --input {scale.choice}."
        )
        yield Finding(level=WARNING, kind="input-scale", text=text, layer=INPUT)
    elif scale.stuck:
        text = (
            f"The data seem to have the wrong scale for this model: {where} {_state(own, own)} and "
            f"{percent(own.constant_share)} of its neurons never change, and no factor tried is better; "
            "compare the data with those of the training."
        )
        yield Finding(level=WARNING, kind="input-scale", text=text, layer=INPUT)


def _state(candidate: ScaleCandidate, other: ScaleCandidate) -> str:
    """Return what one of two candidates gives: the accuracy, and the activations where it says too little."""
    ends = f"{percent(candidate.ends)} of the encoder's activations are at 0 or at the top"
    if candidate.accuracy is None or other.accuracy is None:
        return ends
    accuracy = f"accuracy is {percent(candidate.accuracy)}"
    return accuracy if abs(candidate.accuracy - other.accuracy) >= GAIN else f"{accuracy} and {ends}"


def _layers(diagnosis: Diagnosis) -> Iterator[Finding]:
    for layer in diagnosis.layers:
        if layer.silent == layer.neurons:
            why = _why_silent(layer)
            text = (
                f"Layer {layer.name!r} is dead: none of its {layer.neurons} neurons fires on any of the "
                f"{diagnosis.samples} samples{why}."
            )
            yield Finding(level=WARNING, kind="dead-layer", text=text, layer=layer.name)
        elif layer.full == layer.neurons:
            text = (
                f"Layer {layer.name!r} says nothing: all of its {layer.neurons} neurons are at the top level "
                f"{layer.levels} on every one of the {diagnosis.samples} samples."
            )
            yield Finding(level=WARNING, kind="full-layer", text=text, layer=layer.name)


def _why_silent(layer: LayerDiagnosis) -> str:
    sums = layer.sums
    if sums is None:
        return ""
    if sums.unreachable == sums.thresholds:
        return "; its thresholds lie above every sum that it can reach"
    low, high = sums.observed
    reachable = f"{sums.reachable[0]}..{sums.reachable[1]}"
    return f"; it can reach the sums {reachable} and saw {low}..{high}, all below its thresholds"


def _precision(diagnosis: Diagnosis) -> Iterator[Finding]:
    differing = [layer for layer in diagnosis.layers if layer.float32_differs]
    if differing:
        total = sum(layer.float32_differs or 0 for layer in differing)
        compared = sum(layer.neurons for layer in diagnosis.layers) * diagnosis.samples
        text = (
            f"A float32 runtime gives another count for {total} of {compared} activations, first in layer "
            f"{differing[0].name!r}; the truth here is float64."
        )
        yield Finding(level=NOTE, kind="float32-differs", text=text, layer=differing[0].name)


def image_findings(
    image: SystemImage, spiking: SpikingNetwork, violations: Sequence[Violation]
) -> list[Finding]:
    """Return the violations of a check as sentences that name layer and neuron, one for each kind and layer.

    Parameters
    ----------
    image, spiking
        What was checked against what.
    violations : sequence of Violation
        What `mapping.layout.check.check` found.
    """
    groups: dict[tuple[str, str | None], list[Violation]] = {}
    for violation in violations:
        layer = None if violation.kind in TABLE_KINDS else _layer_of(image, spiking, violation.core)
        groups.setdefault((violation.kind, layer), []).append(violation)
    return [_violated(image, spiking, layer, group) for (_, layer), group in groups.items()]


def _layer_of(image: SystemImage, spiking: SpikingNetwork, core: int | None) -> str | None:
    placed = image.attachments[PLACED]
    orders = placed[placed[:, 2] == core, 0] if core is not None else placed[:0, 0]
    return spiking.layers[int(orders[0])].name if len(orders) else None


def _element(image: SystemImage, violation: Violation) -> int | None:
    placed = image.attachments[PLACED]
    if violation.neuron is None:
        return None
    own = (placed[:, 2] == violation.core) & (placed[:, 3] == violation.neuron)
    return int(placed[own, 1][0]) if own.any() else None


def _violated(
    image: SystemImage, spiking: SpikingNetwork, layer: str | None, group: Sequence[Violation]
) -> Finding:
    first = group[0]
    element = None if layer is None else _element(image, first)
    names = [
        *([f"layer {layer!r}"] if layer else []),
        *([f"neuron {element}"] if element is not None else []),
    ]
    where = f" at {', '.join(names)}" if names else ""
    more = f"; {len(group) - 1} more violations of this kind there" if len(group) > 1 else ""
    if first.kind == "thresholds" and layer is not None and element is not None:
        detail = _threshold(image, spiking, layer, element, first)
        text = f"The image's thresholds differ from the network's{where}: {detail}{more}."
    else:
        text = f"The image differs from its network{where}: {first}{more}."
    return Finding(level=DIFFERENCE, kind=first.kind, text=text, layer=layer, neuron=element)


def _threshold(
    image: SystemImage, spiking: SpikingNetwork, name: str, element: int, violation: Violation
) -> str:
    """Return which threshold of a neuron is stored wrongly, or what the check says where none is alone."""
    layer, core = spiking.layer(name), image.cores[violation.core or 0]
    place = f"core {violation.core}, neuron {violation.neuron} there"
    if core is None or violation.neuron is None or not isinstance(layer.quantiser, Lists):
        return str(violation)
    base = int(core.threshold_base[violation.neuron])
    stored = core.thresholds[base : base + layer.levels]
    rows = np.clip(layer.edges, image.spec.core.always, image.spec.core.never)
    wanted = rows[element * len(rows) // int(np.prod(layer.output_shape))]
    if len(stored) != len(wanted) or (stored != wanted).sum() != 1:
        return f"{violation.message} ({place})"
    at = int(np.argmax(stored != wanted))
    return (
        f"threshold {at + 1} of {layer.levels} is {stored[at]} in the image and {wanted[at]} in the network "
        f"({place})"
    )
