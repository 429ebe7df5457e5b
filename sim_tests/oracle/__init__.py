# SPDX-License-Identifier: Apache-2.0
"""The naive oracle: the contract pages, written down once more as plainly as possible."""

__all__: list[str] = []
