# SPDX-License-Identifier: Apache-2.0
"""The integer network, its simulation without a chip, and its matrices."""

__all__: list[str] = []
