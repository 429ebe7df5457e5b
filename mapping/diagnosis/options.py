# SPDX-License-Identifier: Apache-2.0
"""Options of a conversion that may win back what it lost: each is tried, and what it changed is measured."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emu.spec import CoreSpec
from mapping.codes.graded.convert import GradedOptions
from mapping.diagnosis.attribution import ACTIVATIONS, WEIGHTS, Attribution, Loss, loss_of
from mapping.errors import MappingError
from mapping.spiking.digits import MOST_DIGITS
from mapping.spiking.network import INPUT, SpikingNetwork

__all__ = ["Setting", "Trial", "settings", "try_options"]

_WORTH = 0.2
"""Share of the loss from which on options of a part are tried."""

_HELPS = 0.9
"""What may be left of the squared logit error if an option helps."""

_HELPS_ALL_THE_SAME = 0.5
"""The same of an option with which fewer answers are those of the float network, as chance has it."""

_MORE_SAMPLES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How a network is converted: options of the graded code, and calibration samples; ``text`` names it."""

    options: GradedOptions
    samples: int
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a conversion loses, and its columns: neurons times digits. The first has no ``option``."""

    option: str | None
    loss: Loss
    columns: int

    def helps(self, before: Loss) -> bool:
        """Tell whether it is clearly nearer to the float network than a conversion before."""
        agreement = (self.loss.agreement or 0.0, before.agreement or 0.0)
        left = _HELPS if agreement[0] >= agreement[1] else _HELPS_ALL_THE_SAME
        return self.loss.logit_error**2 < left * before.logit_error**2


def settings(own: Setting, attribution: Attribution, spec: CoreSpec, available: int) -> Iterator[Setting]:
    """Yield what may help a converted network that loses something.

    Parameters
    ----------
    own : Setting
        How it was converted.
    attribution : Attribution
        What it loses by.
    spec : CoreSpec
        The core that it is for.
    available : int
        Calibration samples that there are.
    """
    options, whole = own.options, attribution.whole
    if attribution.misscaled or (whole.agreement, whole.accuracy) == (1.0, attribution.float_accuracy):
        return
    digits, bits = min(MOST_DIGITS, spec.strengths), min(8, spec.payload_bits - 1)
    more = _MORE_SAMPLES * own.samples
    fewest = options.digits if isinstance(options.digits, int) else 1  # by layer, some may have more
    if fewest < digits and attribution.share_of(WEIGHTS) >= _WORTH:
        yield replace(own, options=replace(options, digits=digits), text=f"--digits {digits}")
    if options.bits < bits and attribution.share_of(WEIGHTS, ACTIVATIONS) >= _WORTH:  # a curve has few points
        yield replace(own, options=replace(options, bits=bits), text=f"--bits {bits}")
    if more <= available and attribution.share_of(ACTIVATIONS, INPUT) >= _WORTH:
        yield replace(own, samples=more, text=f"--calibrate {more}")


def try_options(
    spiking: SpikingNetwork,
    given: Iterator[Setting],
    convert: Callable[[Setting], SpikingNetwork],
    x: NDArray[np.float64],
    y: NDArray[np.int64] | None,
) -> tuple[Trial, ...]:
    """Convert a network again in other ways and measure each, the one that there is first.

    A way that the core has no room for is left out.
    """
    trials = [Trial(option=None, loss=loss_of(spiking, x, y), columns=_columns(spiking))]
    for setting in given:
        try:
            other = convert(setting)
        except MappingError:
            continue
        trials.append(Trial(option=setting.text, loss=loss_of(other, x, y), columns=_columns(other)))
    return tuple(trials)


def _columns(spiking: SpikingNetwork) -> int:
    return sum(layer.neurons * layer.parts * len(layer.strengths) for layer in spiking.layers)
