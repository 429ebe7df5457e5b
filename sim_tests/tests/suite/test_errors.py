# SPDX-License-Identifier: Apache-2.0
"""One root holds every error that a user can cause, and the command line asks for nothing else."""

import ast
from pathlib import Path

import pytest

from emu.errors import SpikeloomError
from emu.image import ImageError
from emu.spec import CoreSpec, SpecError
from mapping.errors import InfeasibleError, MappingError
from mapping.targets.files import TargetError
from rtl.export import VerilogError
from sim_tests.bench.engines import EngineError
from sim_tests.bench.systems import VerifyError
from spikeloom import cli
from spikeloom.bench import BenchEnvironmentError

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("emu", "rtl", "mapping", "spikeloom")
INTERNAL = {"_DamageError"}
"""Caught in the module that raises them."""


def declared() -> dict[str, str]:
    """Return every exception class of the packages and the names of its bases."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and node.name.endswith("Error"):
                    found[node.name] = ",".join(ast.unparse(base) for base in node.bases)
    return found


def test_every_declared_error_descends_from_the_root() -> None:
    errors = declared()
    assert len(errors) >= 8
    for name in errors.keys() - INTERNAL - {SpikeloomError.__name__}:
        base = name
        while base in errors and base != SpikeloomError.__name__:
            base = errors[base].split(",")[0]
        assert base == SpikeloomError.__name__, f"{name} descends from {base}"


@pytest.mark.parametrize(
    "kind",
    [
        BenchEnvironmentError,
        EngineError,
        ImageError,
        MappingError,
        SpecError,
        TargetError,
        VerilogError,
        VerifyError,
    ],
)
def test_command_line_turns_every_kind_into_code_2(
    kind: type[SpikeloomError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise kind("The name a\nb is bad; use another.")

    monkeypatch.setattr(cli, "app", fail)
    assert cli.main([]) == 2
    assert capsys.readouterr().err == "spikeloom: The name a\\nb is bad; use another.\n"


def test_infeasible_layer_is_an_error_of_mapping() -> None:
    assert issubclass(InfeasibleError, MappingError)


def test_spec_error_is_one_sentence() -> None:
    with pytest.raises(SpecError, match=r"^axons must be 2\.\.4096, not 1\.$"):
        CoreSpec(
            axons=1,
            columns=8,
            lanes=8,
            payload_bits=4,
            potential_bits=12,
            strengths=2,
            thresholds=8,
            fanouts=8,
            schedule=2,
        )
