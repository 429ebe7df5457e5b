# SPDX-License-Identifier: Apache-2.0
"""The house rules that no linter knows."""

import ast
import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("spikeloom", "emu", "rtl", "mapping", "sim_tests")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PUBLIC_SOURCES = [path for path in SOURCES if not path.name.startswith("test_")]
TARGETS = ("demo", "test", "lint", "docs", "bench", "clean", "help")
OPTIONAL_PACKAGES = {"torch"}
FIRST_LINE = "# SPDX-License-Identifier: Apache-2.0"
FUNCTION_LINES, FILE_LINES = 40, 400
MACHINE_PATH = re.compile(r"(?<![\w/.])/(?:work|home|root|tmp)/[\w.]")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def exported(tree: ast.Module) -> bool:
    """Whether a module assigns `__all__`."""
    targets: list[ast.expr] = []
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets += node.targets
        elif isinstance(node, ast.AnnAssign):
            targets.append(node.target)
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets)


def undocumented(tree: ast.Module) -> list[str]:
    """Name the public functions and classes without a docstring; generated ones do not count."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    public = [node for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
    return [node.name for node in public if not ast.get_docstring(node)]


def imports_future_annotations(tree: ast.Module) -> bool:
    """Whether annotations become strings, which hides the members of an Amaranth component."""
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(alias.name == "annotations" for alias in node.names)
        for node in tree.body
    )


def machine_paths(text: str) -> list[str]:
    """Return the lines that name a folder of one particular machine."""
    return [line for line in text.splitlines() if MACHINE_PATH.search(line)]


def long_functions(tree: ast.Module) -> list[str]:
    """Name the functions of more than `FUNCTION_LINES` lines; their docstrings do not count."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            text = first.end_lineno or 0 if ast.get_docstring(node) else first.lineno - 1
            heading = first.lineno - node.lineno
            if heading + (node.end_lineno or 0) - text > FUNCTION_LINES:
                found.append(node.name)
    return found


@pytest.fixture(scope="module")
def checkout() -> Path:
    """Return the root of the checkout; skip where the suite runs from an installed wheel."""
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("not a checkout")
    return ROOT


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_module_imports(path: Path) -> None:
    try:
        module = importlib.import_module(module_name(path))
    except ModuleNotFoundError as error:
        if error.name not in OPTIONAL_PACKAGES:
            raise
        pytest.skip(f"{error.name} is optional and not installed")
    assert module.__doc__


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_source_starts_with_its_licence(path: Path) -> None:
    assert path.read_text(encoding="utf-8").split("\n", 1)[0] == FIRST_LINE


@pytest.mark.parametrize("path", PUBLIC_SOURCES, ids=relative)
def test_module_says_what_is_public(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert exported(tree), f"{relative(path)} must assign __all__"
    assert undocumented(tree) == []


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert long_functions(ast.parse(text)) == []
    assert len(text.splitlines()) <= FILE_LINES, f"{relative(path)} is longer than {FILE_LINES} lines"


@pytest.mark.parametrize("path", [p for p in SOURCES if relative(p).startswith("rtl/")], ids=relative)
def test_rtl_keeps_annotations_as_objects(path: Path) -> None:
    assert not imports_future_annotations(ast.parse(path.read_text(encoding="utf-8")))


def test_rtl_loads_no_compiler() -> None:
    names = [module_name(path) for path in SOURCES if relative(path).startswith("rtl/")]
    code = f"import {', '.join(names)}, sys; print('numba' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert result.stdout.strip() == "False", (
        "importing rtl loads Numba: keep emu/__init__.py free of emu.machine"
    )


def test_tracked_files_name_no_machine_path(checkout: Path) -> None:
    if not (checkout / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], capture_output=True, text=True, check=True, cwd=checkout
    )
    names = [name for name in listed.stdout.split("\0") if name]
    assert "pyproject.toml" in names
    hits = []
    for name in names:
        if (checkout / name).is_file():
            hits += [
                f"{name}: {line}" for line in machine_paths((checkout / name).read_text("utf-8", "replace"))
            ]
    assert hits == []


def test_licence_is_apache(checkout: Path) -> None:
    assert "Apache License" in (checkout / "LICENSE").read_text(encoding="utf-8")


def test_typed_markers_are_present() -> None:
    assert [name for name in PACKAGES if not (ROOT / name / "py.typed").is_file()] == []


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_help_lists_each_target(checkout: Path) -> None:
    command = ["make", "--no-print-directory", "help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, cwd=checkout).stdout
    described = {words[1]: words[2:] for line in text.splitlines() if (words := line.split())[0] == "make"}
    assert set(described) == set(TARGETS)
    assert all(described.values())


def test_make_without_tools_names_the_package(checkout: Path, tmp_path: Path) -> None:
    for tool in ("sh", "make"):
        found = shutil.which(tool)
        if found is None:
            pytest.skip(f"{tool} is not installed")
        (tmp_path / tool).symlink_to(found)
    environment = {"PATH": str(tmp_path)}
    command = ["make", "--no-print-directory", "check-tools"]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=checkout, env=environment
    )
    sentence = "install a C++ compiler (package g++), perl (package perl) and try again."
    assert sentence in result.stderr
    assert result.returncode != 0
    command[-1] = "note-tools"
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=checkout, env=environment
    )
    assert "the demo compares on a slower simulator" in result.stderr
    assert result.returncode == 0


@pytest.mark.parametrize("folder", ["work", "home", "root", "tmp"])
def test_machine_paths_finds_a_planted_one(folder: str) -> None:
    assert machine_paths(f"fine\nDATA = '/{folder}/data'\n") == [f"DATA = '/{folder}/data'"]
    assert machine_paths(f"https://example.org/{folder}/page and a/{folder}/b") == []


def test_undocumented_finds_a_planted_one() -> None:
    tree = ast.parse(
        "@dataclass\nclass A:\n    x: int\ndef f():\n    'Doc.'\ndef _g(): pass\nasync def h(): pass\n"
    )
    assert undocumented(tree) == ["A", "h"]


def test_long_functions_finds_a_planted_one() -> None:
    body = "    x = 1\n" * (FUNCTION_LINES - 1)
    text = "    '''Line.\n\n    More.\n    '''\n"
    assert long_functions(ast.parse(f"def f():\n{text}{body}")) == []
    assert long_functions(ast.parse(f"def f():\n{text}{body}    x = 2\n")) == ["f"]
    assert long_functions(ast.parse(f"async def g():\n{body}    x = 2\n")) == ["g"]


def test_exported_finds_both_spellings() -> None:
    assert exported(ast.parse("__all__ = ['a']"))
    assert exported(ast.parse("__all__: list[str] = []"))
    assert not exported(ast.parse("x = 1"))


def test_future_annotations_are_found() -> None:
    assert imports_future_annotations(ast.parse("from __future__ import division, annotations"))
    assert not imports_future_annotations(ast.parse("from __future__ import division"))
