# SPDX-License-Identifier: Apache-2.0
"""Tests of the bench and of hardware against emulator."""

__all__: list[str] = []
