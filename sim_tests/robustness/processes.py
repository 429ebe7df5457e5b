# SPDX-License-Identifier: Apache-2.0
"""The command line as a process of its own: interrupted, killed, without room, with its files looked at."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from emu.container import load_image
from spikeloom.cli import main

__all__ = ["OLD", "Ended", "half_written", "leftovers", "outputs", "refused", "start", "survivors"]

OLD = "what was there before"
"""Content of files that a test puts where a command will write."""

_LAUNCH = """\
import os, sys
limit = int(sys.argv.pop(1))
if limit:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
if int(sys.argv.pop(1)) and not os.geteuid():
    import ctypes
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        assert not ctypes.CDLL(None, use_errno=True).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
    os.execv(sys.executable, [sys.executable, "-c", sys.orig_argv[2], str(limit), "0", *sys.argv[1:]])
import signal
from spikeloom.__main__ import main
signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))  # heard as soon as the program listens
os.write(int(sys.argv.pop(1)), b".")
sys.exit(main())
"""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process ended, and after which time."""

    code: int
    out: str
    err: str
    seconds: float
    session: int


def start(
    arguments: Sequence[str],
    *,
    folder: Path,
    environment: dict[str, str] | None = None,
    signals: Sequence[tuple[float, int]] = (),
    group: bool = False,
    limit: int = 0,
    humble: bool = False,
    timeout: float = 600,
) -> Ended:
    """Run the command line in a session of its own and return how it ended.

    Parameters
    ----------
    folder : where it runs; ``tmp`` in it is its folder of temporary files.
    signals : what to send how many seconds after the program has begun.
    group : send to the whole process group, as a terminal does, not to the process alone.
    limit : most bytes of a file that it may write, 0 for no limit.
    humble : without the superuser's right to write everywhere (Linux).
    """
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    reader, writer = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", _LAUNCH, str(limit), str(int(humble)), str(writer), *arguments],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder / "tmp"), **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=(writer,),
        start_new_session=True,
    ) as process:
        os.close(writer)
        os.read(reader, 1)
        os.close(reader)
        begin = time.monotonic()
        for moment, number in signals:
            try:
                process.wait(max(0.0, begin + moment - time.monotonic()))
            except subprocess.TimeoutExpired:
                (os.killpg if group else os.kill)(process.pid, number)
        out, err = process.communicate(timeout=timeout)
        seconds = time.monotonic() - begin
    return Ended(code=process.returncode, out=out, err=err, seconds=seconds, session=process.pid)


def _processes() -> Iterator[tuple[int, int, str]]:
    """Yield process, session and name of everything that runs."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, rest = path.read_text().rpartition(") ")
        except OSError:
            continue
        fields = rest.split()
        if fields[0] != "Z":
            yield int(path.parent.name), int(fields[3]), head.partition("(")[2]


def survivors(session: int, seconds: float = 5.0) -> list[str]:
    """Return the names of a session's processes that are still there after a while, and end them."""
    deadline = time.monotonic() + seconds
    while (left := [(pid, name) for pid, own, name in _processes() if own == session]) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.05)
    for pid, _ in left:
        os.kill(pid, signal.SIGKILL)
    return [name for _, name in left]


def leftovers(folder: Path) -> list[str]:
    """Return every temporary file or folder below a folder."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if (path.name.startswith(".") or path.parent == folder / "tmp" or path.name.endswith(".part"))
        and path.name != f"torchinductor_{getpass.getuser()}"  # PyTorch keeps this folder, empty, for ever
    )


def _visible(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that are no temporary files."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and (folder / "tmp") not in path.parents:
            yield path


def half_written(folder: Path) -> list[str]:
    """Return every file below a folder that bears its final name and is neither `OLD` nor whole."""
    wrong = []
    for path in _visible(folder):
        try:
            if path.read_bytes() != OLD.encode():
                _read(path)
        except Exception as error:  # noqa: BLE001 - whatever it is, the file is not whole
            wrong.append(f"{path.name}: {error}")
    return wrong


def outputs(folder: Path) -> dict[str, str]:
    """Return name -> digest of the files below a folder; those that hold dates or times have none."""
    return {
        path.relative_to(folder).as_posix(): ""
        if path.suffix in (".xml", ".vcd")
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in _visible(folder)
    }


def _read(path: Path) -> None:
    if path.suffix == ".json":
        json.loads(path.read_text())
    elif path.suffix == ".spikeloom":
        load_image(path)
    elif path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as data:
            for name in data.files:
                assert data[name] is not None
    elif path.suffix == ".v":
        assert path.read_text().rstrip().endswith("endmodule")
        files = {"neurocore.v", "router.v", "chip.v", "tb/bench.v"}
        top = path.parent.parent if path.parent.name == "tb" else path.parent
        missing = [name for name in files if not (top / name).exists()]
        assert not missing, f"the design lacks {missing}"
    elif path.suffix == ".onnx":
        import onnx

        onnx.checker.check_model(onnx.load(path))
    elif path.suffix == ".xml":
        assert path.read_text().rstrip().endswith("</testsuites>")
    elif path.suffix == ".vcd":
        assert "$enddefinitions" in path.read_text()


def refused(arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Demand exit code 2 and one sentence with some text; return the sentence."""
    capsys.readouterr()
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert part in captured.err
    assert captured.err.count("\n") == 1, captured.err
    assert "Traceback" not in captured.err
    return captured.err
