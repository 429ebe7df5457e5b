# SPDX-License-Identifier: Apache-2.0
"""The float network as trained: graph, truth in float64, rewriting, readers of model files."""

__all__: list[str] = []
