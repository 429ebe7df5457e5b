# SPDX-License-Identifier: Apache-2.0
"""Convert a model as the command line asks for it, and again with other options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from emu.spec import CoreSpec
from mapping.chip import Chip
from mapping.codes.choice import AUTO, Code, Request, code_of
from mapping.codes.graded.convert import GradedOptions
from mapping.codes.obstacles import anything_fits
from mapping.datasets.calibration import calibration_size
from mapping.datasets.load import CALIBRATION
from mapping.diagnosis.options import Setting
from mapping.flow import compile_network, core_of
from mapping.given import calibration_samples
from mapping.layout.capacity import fits
from mapping.model.network import Network
from mapping.spiking.network import SpikingNetwork
from mapping.targets.files import load_target

__all__ = ["Asked", "Converter"]

_TARGET = "loom"


def _quiet(_: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked for: core size, spike code, how fine the graded code is, calibration samples, seed."""

    core: str | None = None
    code: str = AUTO
    options: GradedOptions = field(default_factory=GradedOptions)
    calibrate: int = CALIBRATION
    seed: int = 0

    @property
    def setting(self) -> Setting:
        """How the network is converted."""
        return Setting(options=self.options, samples=self.calibrate)


@dataclass(frozen=True, kw_only=True, eq=False)
class Converter:
    """A model, and the data that its conversion is chosen on.

    Parameters
    ----------
    network : Network
        The model.
    asked : Asked
        What is asked for.
    data : str or None
        Where calibration samples come from, see `mapping.datasets.calibration.calibration_data`.
    how : str or None
        How they are scaled.
    """

    network: Network
    asked: Asked
    data: str | None
    how: str | None

    @property
    def code(self) -> Code:
        """The spike code."""
        return code_of(self.network, self.asked.code)

    @property
    def spec(self) -> CoreSpec:
        """The core that the network is for."""
        return core_of(load_target(_TARGET), self.asked.core)[1]

    @property
    def available(self) -> int:
        """Calibration samples that there are."""
        return 0 if self.data is None else calibration_size(self.data)

    def samples(self, number: int) -> NDArray[np.float64] | None:
        """Return calibration samples, None without data."""
        if self.data is None or not self.code.calibrated:
            return None
        return calibration_samples(self.network, self.data, self.how, number, self.asked.seed)

    def spiking(self, setting: Setting, say: Callable[[str], None] = _quiet) -> SpikingNetwork:
        """Return the network converted for a core; an exact one without regard for its size."""
        request = Request(
            spec=self.spec,
            fits=anything_fits if self.code.exact else fits(self.spec),
            samples=self.samples(setting.samples),
            options=setting.options,
            say=say,
        )
        return self.code.convert(self.network, request)

    def chip(self, say: Callable[[str], None] = _quiet) -> Chip:
        """Return the network compiled for the core that is asked for."""
        return compile_network(
            self.network,
            core=self.asked.core,
            seed=self.asked.seed,
            scaling=self.how,
            code=self.asked.code,
            samples=self.samples(self.asked.calibrate),
            options=self.asked.options,
            progress=say,
        )
