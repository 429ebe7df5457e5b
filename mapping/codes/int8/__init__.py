# SPDX-License-Identifier: Apache-2.0
"""The int8 code: networks that are integers already, reproduced exactly."""

__all__: list[str] = []
