# SPDX-License-Identifier: Apache-2.0
"""From a trained network to the chip it needs, what that chip does on every cycle, its cost, and its Verilog.

>>> import spikeloom
>>> network = spikeloom.load_network("digits")
>>> chip = spikeloom.compile_network(network, core="small")
>>> data = spikeloom.load_data("digits").first(20).shaped(chip.input_shape)
>>> chip.run(data.x).accuracy(data.y)
1.0
"""

from importlib.metadata import version

from mapping.datasets import Dataset, load_data
from mapping.flow import Chip, Inference, compile_network, load_network, open_chip
from mapping.report import Report, estimate
from mapping.targets import Target, list_targets, load_target

__all__ = [
    "Chip",
    "Dataset",
    "Inference",
    "Report",
    "Target",
    "__version__",
    "compile_network",
    "estimate",
    "list_targets",
    "load_data",
    "load_network",
    "load_target",
    "open_chip",
]

__version__ = version("spikeloom")
