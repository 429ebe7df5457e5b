# SPDX-License-Identifier: Apache-2.0
"""Every model that a target file can name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mapping.targets.kuang import Kuang
from mapping.targets.loihi import Loihi
from mapping.targets.loom import Loom
from mapping.targets.model import TargetModel
from mapping.targets.target import Target
from mapping.targets.truenorth import TrueNorth

__all__ = ["MODELS", "model_of"]

MODELS: Mapping[str, TargetModel] = MappingProxyType(
    {"loom": Loom(), "kuang2021": Kuang(), "truenorth": TrueNorth(), "loihi": Loihi()}
)
"""Every model by name; the keys are those of `mapping.targets.schema.SCHEMAS`."""


def model_of(target: Target) -> TargetModel:
    """Return the model that stands behind a target."""
    return MODELS[target.model]
