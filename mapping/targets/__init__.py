# SPDX-License-Identifier: Apache-2.0
"""Chips that an estimate is made for: their files, their energy, and the closed form of the seed chip."""

__all__: list[str] = []
