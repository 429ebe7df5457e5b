# SPDX-License-Identifier: Apache-2.0
"""The base of every component of the hardware: what Amaranth does at run time, told to the type checker."""

from typing import TYPE_CHECKING, Any

from amaranth.hdl import ClockSignal, Instance, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

__all__ = ["Component", "reference"]


class Component(wiring.Component):
    """A component whose members are attributes.

    Amaranth creates one attribute for each member of the signature, which depends on the sizes and so is
    known at run time only. A type checker cannot see them: for it, and for nobody else, every attribute that
    is not written down has the type ``Any``. At run time this class adds nothing, and a wrong name is still
    an AttributeError.

    A component may be made and never elaborated: a reader asks its widths, a chip refers to the module of a
    core that is exported apart, and the parts of such a component are not elaborated either. Amaranth's
    warning about that comes at garbage collection, far from any cause, and is off; that an elaborated
    component attaches every part it made is a test.
    """

    _MustUse__silence = True

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Stand for the members of the signature."""


def reference(part: wiring.Component, module: str) -> Instance:
    """Return a reference to a module that is elaborated once, with the signals of a part as its ports."""
    ports: dict[str, Value] = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
    for path, member, value in part.signature.flatten(part):
        direction = "i" if member.flow == In else "o"
        ports[f"{direction}_{'__'.join(map(str, path))}"] = Value.cast(value)
    return Instance(module, **ports)
