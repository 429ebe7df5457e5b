# SPDX-License-Identifier: Apache-2.0
"""Data to run a network on, from files that may come from anywhere."""

__all__: list[str] = []
