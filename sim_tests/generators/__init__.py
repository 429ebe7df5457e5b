# SPDX-License-Identifier: Apache-2.0
"""Random systems, networks, models and files, seeded."""

__all__: list[str] = []
