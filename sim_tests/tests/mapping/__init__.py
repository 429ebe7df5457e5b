# SPDX-License-Identifier: Apache-2.0
"""Tests of the mapper: model, codes, layout, targets, data, reports, training."""

__all__: list[str] = []
