# SPDX-License-Identifier: Apache-2.0
"""Tests of the reference machine and of the oracle that judges it."""

__all__: list[str] = []
