# SPDX-License-Identifier: Apache-2.0
"""The reference machine: sizes, words, image, trace, and the emulator that the hardware must equal.

Names are loaded when they are first used: hardware and simulators import the sizes without the compiler.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emu.container import load_image, save_image
    from emu.image import CoreImage, ImageError, SystemImage
    from emu.machine import Machine
    from emu.spec import PRESETS, CoreSpec, SystemSpec, preset
    from emu.trace import Divergence, RunResult, Stimulus, compared, diff

__all__ = [
    "PRESETS",
    "CoreImage",
    "CoreSpec",
    "Divergence",
    "ImageError",
    "Machine",
    "RunResult",
    "Stimulus",
    "SystemImage",
    "SystemSpec",
    "__version__",
    "compared",
    "diff",
    "load_image",
    "preset",
    "save_image",
]

__version__ = version("spikeloom")

_HOMES = {
    "container": ("load_image", "save_image"),
    "image": ("CoreImage", "ImageError", "SystemImage"),
    "machine": ("Machine",),
    "spec": ("PRESETS", "CoreSpec", "SystemSpec", "preset"),
    "trace": ("Divergence", "RunResult", "Stimulus", "compared", "diff"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'emu' has no attribute {name!r}")
    return getattr(import_module(f"emu.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
