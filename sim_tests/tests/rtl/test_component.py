# SPDX-License-Identifier: Apache-2.0
"""Components: parts are made with their owner, and elaboration attaches all of them."""

import gc
import warnings
from dataclasses import replace
from typing import Any

import pytest
from amaranth.hdl import Elaboratable, Fragment, Module

from emu.links import LinkSpec
from emu.spec import SystemSpec, preset
from rtl.chip import Chip
from rtl.component import Component
from rtl.gateway import Gateway
from rtl.router import Router
from rtl.system import System

SPEC = SystemSpec(core=preset("tiny"), width=2, height=1)


def elaborate(component: Component) -> None:
    """Do what a back end does with a component, but for the text."""
    Fragment.get(component, None)  # type: ignore[no-untyped-call]


def parts(value: Any) -> list[Elaboratable]:
    """Return the parts that hang on a component, in lists or not."""
    if isinstance(value, Elaboratable):
        return [value]
    return [part for item in value for part in parts(item)] if isinstance(value, list) else []


def unattached(component: Component) -> list[str]:
    """Return the path of every part, at any depth, that elaboration left out."""
    missing = []
    for name, value in vars(component).items():
        for part in parts(value):
            path = f"{type(component).__name__}.{name}"
            missing += [] if part._MustUse__used else [path]  # type: ignore[attr-defined]
            missing += unattached(part) if isinstance(part, Component) else []
    return missing


class Forgetful(Component):
    """A component that makes a part and forgets it."""

    def __init__(self) -> None:
        super().__init__({})
        self._attached, self._forgotten = Gateway(SPEC), [Gateway(SPEC)]

    def elaborate(self, _: object) -> Module:
        m = Module()
        m.submodules.attached = self._attached
        return m


@pytest.mark.parametrize(
    "block",
    [
        lambda: Router(SPEC),
        lambda: Chip(SPEC, instances=False),
        lambda: System(replace(SPEC, links=LinkSpec(width=1, height=1, wires=9)), instances=False),
        lambda: System(
            replace(SPEC, links=LinkSpec(width=1, height=1, wires=9, shared=True)), instances=False
        ),
    ],
)
def test_elaboration_attaches_every_part(block: Any) -> None:
    component = block()
    assert len(unattached(component)) > 1
    elaborate(component)
    assert unattached(component) == []


def test_forgotten_part_is_named() -> None:
    component = Forgetful()
    elaborate(component)
    assert unattached(component) == ["Forgetful._forgotten"]


def test_component_that_nobody_elaborates_is_silent() -> None:
    elaborate(Gateway(SPEC))  # from here on Amaranth complains
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        chip = Chip(SPEC)
        del chip
        gc.collect()
    assert complaints == []
