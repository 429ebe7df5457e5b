# SPDX-License-Identifier: Apache-2.0
"""What the chips of others cannot hold, a sentence each, and the way out of it."""

from collections.abc import Callable

import pytest

from mapping.datasets.load import load_data
from mapping.errors import InfeasibleError, MappingError, UnsupportedModelError
from mapping.flow import compile_network, compile_passes
from mapping.report.machine import estimate
from mapping.spiking.network import INPUT
from mapping.targets.model import LayerWork
from mapping.targets.patches import LayerShape
from sim_tests.tests.mapping.test_target_models import cost, dense

REFUSED = [
    (
        "truenorth",
        dense("wide", 129, 4, INPUT, output=True),
        (
            "Layer 'wide' needs 258 axons for one output but 256 are allowed: give its neurons fewer inputs, "
            "by groups or smaller kernels, or quantise its input to fewer levels."
        ),
        dense("wide", 128, 4, INPUT, output=True),
    ),
    (
        "loihi",
        dense("wide", 4097, 4, INPUT, output=True),
        (
            "Layer 'wide' needs 4097 input axons for one output but 4096 are allowed: let its neurons have "
            "fewer inputs, or quantise its input to fewer levels."
        ),
        dense("wide", 4096, 4, INPUT, output=True),
    ),
]


@pytest.mark.parametrize(("name", "layer", "sentence", "less"), REFUSED)
def test_neuron_with_too_many_inputs_is_refused(
    name: str, layer: LayerWork, sentence: str, less: LayerWork
) -> None:
    with pytest.raises(InfeasibleError) as caught:
        cost(name, layer)
    assert str(caught.value) == sentence
    assert cost(name, less).cores == 1


def leveled(levels: int, source_levels: int = 1) -> LayerWork:
    shape = LayerShape(
        name="fine",
        kind="fc",
        input=(1, 1, 2),
        output=(1, 1, 1),
        levels=levels,
        source_levels=source_levels,
    )
    return LayerWork(shape=shape, source=INPUT, output=True)


@pytest.mark.parametrize(
    ("name", "many", "limit", "most"),
    [
        ("truenorth", leveled(257), "257 neurons for one output but 256", leveled(256)),
        ("loihi", leveled(1025), "1025 compartments for one output but 1024", leveled(1024)),
        ("loihi", leveled(512, 200), "204800 synapses for one output but 131072", leveled(320, 200)),
    ],
)
def test_output_of_too_many_levels_is_refused(
    name: str, many: LayerWork, limit: str, most: LayerWork
) -> None:
    with pytest.raises(InfeasibleError) as caught:
        cost(name, many)
    told = f"Layer 'fine' needs {limit} are allowed: quantise its output to fewer levels."
    assert str(caught.value) == told
    assert cost(name, most).cores == 1


def test_neuron_of_loihi_with_too_many_inputs_is_told_to_have_fewer() -> None:
    """Its axons are fewer than its synapses, and fewer levels of its output would not help."""
    with pytest.raises(InfeasibleError) as caught:
        cost("loihi", dense("a", 200_000, 1, INPUT, output=True))
    assert str(caught.value) == (
        "Layer 'a' needs 200000 input axons for one output but 4096 are allowed: let its neurons have fewer "
        "inputs, or quantise its input to fewer levels."
    )
    assert cost("loihi", dense("a", 4096, 1, INPUT, output=True)).cores == 1


def test_output_that_too_many_axons_read_is_refused() -> None:
    with pytest.raises(InfeasibleError) as caught:
        cost("truenorth", dense("a", 4, 4, INPUT), dense("b", 4, 129 * 256, "a", output=True))
    assert str(caught.value) == (
        "Layer 'a' needs 258 axons that read one of its outputs but 256 are allowed: let the layers that "
        "read it have fewer outputs or fewer levels."
    )
    found = cost("truenorth", dense("a", 4, 4, INPUT), dense("b", 4, 128 * 256, "a", output=True))
    assert [part.cores for part in found.layers] == [1, 4, 128]


def test_output_that_too_many_cores_of_loihi_read_is_refused() -> None:
    layer = LayerShape(name="a", kind="fc", input=(1, 1, 2), output=(1, 1, 1), levels=1000)
    first = LayerWork(shape=layer, source=INPUT)
    shape = LayerShape(name="b", kind="fc", input=(1, 1, 1), output=(1, 1, 4100), source_levels=1000)
    with pytest.raises(InfeasibleError, match=r"^Layer 'a' needs 32000 output axons for one output but 4096"):
        cost("loihi", first, LayerWork(shape=shape, source="a", output=True))


def test_graded_code_is_refused_where_a_packet_has_no_payload() -> None:
    data = load_data("digits").first(3)
    with pytest.raises(UnsupportedModelError) as caught:
        estimate("digits", data, ("truenorth",), code="graded")
    assert str(caught.value) == (
        "Code graded does not run on truenorth, whose packets have no payload: choose scatter-and-gather, or "
        "the target loom."
    )
    for target, code in (("kuang2021", "scatter-and-gather"), ("loom", "graded")):
        assert estimate("digits", data, (target,), code=code, core="reference").accepted


@pytest.mark.parametrize("compiler", [compile_network, compile_passes])
def test_image_of_a_formula_is_refused(compiler: Callable[..., object]) -> None:
    with pytest.raises(MappingError) as caught:
        compiler("digits", target="truenorth")
    assert str(caught.value) == (
        "Target truenorth is a formula that describes no core to build; choose loom or kuang2021."
    )
    assert all(compile_network("digits", target=target) for target in ("loom", "kuang2021"))
