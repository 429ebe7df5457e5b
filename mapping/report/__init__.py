# SPDX-License-Identifier: Apache-2.0
"""What a model costs on a target, as data and JSON."""

__all__: list[str] = []
