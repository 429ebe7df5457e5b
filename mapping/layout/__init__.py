# SPDX-License-Identifier: Apache-2.0
"""From a spiking network to a chip image: partition, place, route, emit, and the independent check."""

__all__: list[str] = []
