# SPDX-License-Identifier: Apache-2.0
"""Where a spiking network or its image differs from the float network, and what that means."""

__all__: list[str] = []
