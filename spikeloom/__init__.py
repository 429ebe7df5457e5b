# SPDX-License-Identifier: Apache-2.0
"""From a trained network to the chip it needs, what that chip does on every cycle, its cost, and its Verilog.

>>> import spikeloom
>>> network = spikeloom.load_network("digits")
>>> chip = spikeloom.compile_network(network, core="small")
>>> data = spikeloom.load_data("digits").first(20).shaped(chip.input_shape)
>>> chip.run(data.x).accuracy(data.y)
1.0

Names are loaded when they are first used: the command line starts without the compiler.
"""

from __future__ import annotations

TYPE_CHECKING = False
"""As `typing` has it, without its import: the command line must hear Ctrl-C as soon as it can."""

if TYPE_CHECKING:
    from typing import Any

    from mapping.chip import Chip, Inference, open_chip
    from mapping.codes.graded.convert import GradedOptions
    from mapping.datasets.load import Dataset, load_data
    from mapping.flow import compile_network
    from mapping.model.load import load_network
    from mapping.model.network import Network, build_network, make_node
    from mapping.report.machine import estimate
    from mapping.report.result import Report
    from mapping.targets.files import Target, list_targets, load_target

    __version__: str

__all__ = [
    "Chip",
    "Dataset",
    "GradedOptions",
    "Inference",
    "Network",
    "Report",
    "Target",
    "__version__",
    "build_network",
    "compile_network",
    "estimate",
    "list_targets",
    "load_data",
    "load_network",
    "load_target",
    "make_node",
    "open_chip",
]

_HOMES = {
    "chip": ("Chip", "Inference", "open_chip"),
    "codes.graded.convert": ("GradedOptions",),
    "datasets.load": ("Dataset", "load_data"),
    "flow": ("compile_network",),
    "model.load": ("load_network",),
    "model.network": ("Network", "build_network", "make_node"),
    "report.machine": ("estimate",),
    "report.result": ("Report",),
    "targets.files": ("Target", "list_targets", "load_target"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("spikeloom")
    if name not in _HOME:
        raise AttributeError(f"module 'spikeloom' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"mapping.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
