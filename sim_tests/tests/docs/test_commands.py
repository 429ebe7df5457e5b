# SPDX-License-Identifier: Apache-2.0
"""The commands of tutorial and guides do what the page shows.

A page is run from top to bottom in a folder of its own. A fence ``python NAME.py`` is a file to save. In a
fence ``console`` a line that begins with ``$ `` is a command, ``> `` continues it; the lines below are its
output, compared as a doctest would: any run of spaces is one, and ``...`` stands for anything. A command
without output lines has only its exit code checked, which is 0 unless the command ends in ``# exit N``. A
page with the comment ``<!-- needs: PACKAGE -->`` is skipped where that package is not installed.
"""

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
TUTORIAL = DOCS / "tutorial.md"
FENCE = re.compile(r"^```(\S+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDS = re.compile(r"^<!-- needs: (\w+) -->$", re.MULTILINE)
LIKE_A_DOCTEST = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command of a page, the output that the page shows, and the exit code that it must have."""

    line: str
    output: str
    code: int


def files_of(text: str) -> dict[str, str]:
    """Return the files that a page lets its reader save, by name."""
    return {name: body for language, name, body in FENCE.findall(text) if language == "python" and name}


def commands_of(text: str) -> list[Command]:
    """Return the commands of a page, in order."""
    return [
        command
        for language, _, body in FENCE.findall(text)
        if language == "console"
        for command in _commands(body)
    ]


def _commands(body: str) -> Iterator[Command]:
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        shown, _, output = re.sub(r"\n> ", "\0", part).partition("\n")
        line = shown.replace("\0", "\n")
        code = re.search(r"  # exit (\d+)$", line)
        yield Command(line=line, output=output, code=int(code.group(1)) if code else 0)


def difference(command: Command, folder: Path, environment: dict[str, str]) -> str | None:
    """Run a command; return what differs from the page, or None."""
    done = subprocess.run(
        ["sh", "-c", command.line],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    if done.returncode != command.code:
        return f"$ {command.line}\nexit code {done.returncode}, not {command.code}:\n{done.stdout}"
    if not command.output.strip():
        return None
    if doctest.OutputChecker().check_output(command.output, done.stdout, LIKE_A_DOCTEST):
        return None
    return f"$ {command.line}\nthe page shows\n{command.output}but it is\n{done.stdout}"


def missing(text: str) -> list[str]:
    """Return the packages that a page needs and that are not installed."""
    return [package for package in NEEDS.findall(text) if find_spec(package) is None]


def run_page(text: str, folder: Path) -> tuple[int, list[str]]:
    """Save the files of a page, run its commands; return how many ran and what differs."""
    for name, body in files_of(text).items():
        (folder / name).write_text(body, encoding="utf-8")
    environment = prepared(folder)
    commands = commands_of(text)
    found = (difference(command, folder, environment) for command in commands)
    return len(commands), [line for line in found if line is not None]


def prepared(folder: Path) -> dict[str, str]:
    """Return an environment in which this checkout is ``spikeloom`` and this interpreter ``python``."""
    programs = folder / ".programs"
    programs.mkdir()
    starts = {"python": "", "spikeloom": ' -c "import sys; from spikeloom.cli import main; sys.exit(main())"'}
    for name, rest in starts.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}"{rest} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    return os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONWARNINGS": "error",
        "COLUMNS": "110",
        "NO_COLOR": "1",
    }


PAGES = sorted(page for page in DOCS.rglob("*.md") if commands_of(page.read_text(encoding="utf-8")))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_page_does_what_it_shows(page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for package in missing(text):
        pytest.skip(f"{package} is not installed, and the page needs it")
    for name, body in files_of(TUTORIAL.read_text(encoding="utf-8")).items():
        (tmp_path / name).write_text(body, encoding="utf-8")  # whoever reads a guide has the tutorial's files
    ran, differences = run_page(text, tmp_path)
    assert ran > 0
    assert differences == []


@pytest.mark.parametrize(
    "page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.relative_to(DOCS).as_posix()
)
def test_commands_stand_in_console_fences(page: Path) -> None:
    fences = FENCE.findall(page.read_text(encoding="utf-8"))
    others = [body for language, _, body in fences if language != "console"]
    assert [body for body in others if re.search("^[$] ", body, re.MULTILINE)] == []


PLANTED = """\
```python two.py
print(2)
```
```console
$ python two.py
2
$ python two.py; echo rest
...
rest
$ echo "a
> b"
a
b
$ exit 3  # exit 3
```
"""


def test_missing_names_packages_that_are_not_there() -> None:
    page = "# A\n\n<!-- needs: numpy -->\n<!-- needs: no_such_package -->\ntext\n"
    assert missing(page) == ["no_such_package"]


def test_run_page_accepts_what_is_true(tmp_path: Path) -> None:
    assert run_page(PLANTED, tmp_path) == (4, [])


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        ("print(2)", "print(3)", "the page shows\n2\nbut it is\n3\n"),
        ("\n2\n", "\n2\nmore\n", "the page shows\n2\nmore\nbut it is\n2\n"),
        ("echo rest", "echo other", "the page shows\n...\nrest\nbut it is\n2\nother\n"),
        ("# exit 3", "# exit 2", "exit code 3, not 2:\n"),
        ("$ exit 3  # exit 3", "$ exit 1", "exit code 1, not 0:\n"),
    ],
)
def test_run_page_finds_planted_faults(old: str, new: str, differs: str, tmp_path: Path) -> None:
    ran, differences = run_page(PLANTED.replace(old, new), tmp_path)
    assert ran == 4
    assert any(found.endswith(differs) for found in differences)
