# SPDX-License-Identifier: Apache-2.0
"""The import linter notices when the check of images leans on what it checks, and the other way round."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Return a folder with copies of the packages and of the contracts between them."""
    root = Path(__file__).parents[3]
    if not (root / "pyproject.toml").is_file():
        pytest.skip("not a checkout")
    for name in ("spikeloom", "emu", "rtl", "mapping", "sim_tests"):
        shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "data"))
    shutil.copy(root / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("mapping/errors.py", "", ""),
        ("mapping/layout/check/layers.py", "import mapping.spiking.matrices", "check"),
        ("mapping/layout/check/tables.py", "from mapping.layout.emit import PLACED", "check"),
        ("mapping/layout/packet_path.py", "import mapping.codes.convert", "check"),
        ("mapping/spiking/network.py", "import mapping.spiking.matrices", "check"),
        ("mapping/errors.py", "import mapping.layout.partition", "check"),
        ("mapping/layout/route.py", "import mapping.layout.packet_path", "checked"),
    ],
)
def test_contract_notices_an_import_of_what_is_checked(
    packages: Path, file: str, line: str, contract: str
) -> None:
    path = packages / file
    path.write_text(path.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    linter = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    for name in ("check", "checked"):
        done = subprocess.run(
            [sys.executable, "-c", linter, "--no-cache", "--contract", name],
            capture_output=True,
            text=True,
            check=False,
            cwd=packages,
            env=os.environ | {"PYTHONPATH": str(packages)},
            timeout=60,
        )
        assert (done.returncode, "1 broken" in done.stdout) == ((1, True) if name == contract else (0, False))
