# SPDX-License-Identifier: Apache-2.0
"""Errors of the mapping package: one sentence each."""

from emu.errors import SpikeloomError

__all__ = ["InfeasibleError", "MappingError", "OptionError", "UnknownFormError", "UnsupportedModelError"]


class MappingError(SpikeloomError):
    """Root of every error that `mapping` raises on purpose."""


class OptionError(MappingError):
    """An option asks for what the chosen core does not have."""


class UnsupportedModelError(MappingError):
    """The model file is damaged, or it uses something that cannot be imported or converted."""


class UnknownFormError(UnsupportedModelError):
    """The model uses an operator in a way that is valid but that only ONNX itself knows."""


class InfeasibleError(MappingError):
    """A layer asks for more than a limit allows.

    Parameters
    ----------
    layer : str
        Name of the layer that does not fit.
    limit : str
        Name of the limit, for example ``"axons per core"``.
    demand, allowed : int or str
        What the layer needs and what the limit grants, in the same unit.
    remedy : str
        What the user can do, as a phrase that completes the sentence.

    Attributes
    ----------
    reason : str
        What is wrong without layer and remedy, as the end of a sentence that begins with "because".
    """

    def __init__(self, *, layer: str, limit: str, demand: int | str, allowed: int | str, remedy: str) -> None:
        self.layer = layer
        self.limit = limit
        self.demand = demand
        self.allowed = allowed
        self.remedy = remedy
        self.reason = f"it needs {demand} {limit} but {allowed} are allowed"
        super().__init__(f"Layer {layer!r} needs {demand} {limit} but {allowed} are allowed: {remedy}.")
