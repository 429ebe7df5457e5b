# SPDX-License-Identifier: Apache-2.0
"""Modules that run inside a simulator."""

__all__: list[str] = []
