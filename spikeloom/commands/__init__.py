# SPDX-License-Identifier: Apache-2.0
"""One module a command: its arguments, options and help. What it does is imported when it runs."""

__all__: list[str] = []
