# SPDX-License-Identifier: Apache-2.0
"""Write integer networks in formats of others."""

__all__: list[str] = []
