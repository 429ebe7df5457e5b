# SPDX-License-Identifier: Apache-2.0
"""From a trained model to a chip image and a report: import, convert, partition, place, route, check."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("spikeloom")
