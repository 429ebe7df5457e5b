# SPDX-License-Identifier: Apache-2.0
"""Programs that cocotb's runner starts: where their temporary files lie."""

import sys
from pathlib import Path

from sim_tests.bench.runner import make_runner


def test_temporary_files_of_a_compiler_lie_where_it_works(tmp_path: Path) -> None:
    """One that is killed cannot remove them; they go with the folder."""
    runner = make_runner("icarus", False)
    runner.env = {"TMPDIR": "elsewhere"}
    program = "import os, pathlib; pathlib.Path('where').write_text(os.environ['TMPDIR'])"
    runner._execute_cmds([[sys.executable, "-c", program]], tmp_path)
    assert (tmp_path / "where").read_text() == str(tmp_path.resolve())
