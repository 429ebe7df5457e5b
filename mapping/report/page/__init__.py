# SPDX-License-Identifier: Apache-2.0
"""A report as one HTML page that needs nothing else: no script runs, no file and no network is asked."""

from mapping.report.page.render import framed, render

__all__ = ["framed", "render"]
