# SPDX-License-Identifier: Apache-2.0
"""Every way out that a sentence names is possible: it is taken, and the layer runs on the chip."""

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import mapping
from emu.spec import PRESETS, CoreSpec
from mapping.codes.convert import convert
from mapping.errors import InfeasibleError, UnsupportedModelError
from mapping.flow import compile_network
from mapping.layout import capacity
from mapping.layout.capacity import misfit
from mapping.layout.partition import partition
from mapping.layout.place import placement, smallest_mesh
from mapping.layout.route import fit
from mapping.layout.schedule import schedule
from mapping.layout.site import Site
from mapping.model.network import Network
from mapping.spiking.network import SpikingLayer
from mapping.spiking.quantisers import Ladders
from sim_tests.generators.mapping_networks import Draft, core_spec
from sim_tests.generators.model_builder import ModelBuilder

Weights = NDArray[Any]


def network(
    *,
    weight: Callable[[ModelBuilder], Weights] = lambda b: b.ternary(5, 6),
    before: Callable[[ModelBuilder], str] = lambda b: b.quantise("x"),
    behind: Callable[[ModelBuilder, str], str] = lambda b, y: b.quantise(y),
    matmul: bool = False,
) -> Network:
    """Return a network of one dense layer ``fc``, with what is asked for before and behind it."""
    b = ModelBuilder((6,))
    y, values = before(b), weight(b)
    if matmul:
        y = b.op("MatMul", y, b.constant(values.T, values.dtype.type), name="fc")
    else:
        y = b.dense(y, values, name="fc")
    return b.network(behind(b, y))


def quant(
    scale: Any = 0.25, zero: Any = 0, dtype: Any = np.uint8, high: float | None = None
) -> Callable[..., str]:
    """Return a builder of QuantizeLinear and DequantizeLinear, perhaps behind a Clip to fewer levels."""

    def build(b: ModelBuilder, y: str = "x") -> str:
        limits = [b.constant(scale), b.constant(np.broadcast_to(zero, np.shape(scale)), dtype)]
        y = y if high is None else b.clip(y, 0.0, high)
        axes: dict[str, Any] = {"axis": 1} if np.ndim(scale) else {}
        return b.op("DequantizeLinear", b.op("QuantizeLinear", y, *limits, name="q", **axes), *limits, **axes)

    return build


def qonnx(zero: float) -> Callable[[ModelBuilder], str]:
    def build(b: ModelBuilder) -> str:
        inputs = [b.constant(value) for value in (0.25, zero, 3.0)]
        return b.op("Quant", b.op("Relu", "x"), *inputs, domain="qonnx.custom_op.general", signed=0, narrow=0)

    return build


def summed(b: ModelBuilder) -> str:
    return b.op("Add", b.quantise("x"), b.quantise(b.op("Neg", "x")))


def curved(b: ModelBuilder, y: str) -> str:
    return b.quantise(b.op("Tanh", y))


def huge(b: ModelBuilder, y: str) -> str:
    for _ in range(9):
        y = b.op("Mul", y, b.constant(3e38))
    return b.quantise(b.op("Mul", y, b.constant(0.0)))


def odd(b: ModelBuilder) -> Weights:
    """Ternary weights but for the last bit of one."""
    weight = b.ternary(5, 6, per_channel=False)
    weight[0, 0] = np.nextafter(weight[weight > 0][0], np.float32(9))
    return weight


def thirds(dtype: Any) -> Callable[[ModelBuilder], Weights]:
    return lambda b: (b.rng.integers(-1, 2, (5, 6)) / 3).astype(dtype)


NETWORKS: dict[str, tuple[Network, Network]] = {
    "train it with ternary weights": (
        network(weight=lambda b: b.rng.normal(size=(5, 6))),
        network(),
    ),
    "store the ternary values themselves": (network(weight=odd), network()),
    "store its weights as float32": (
        network(weight=thirds(np.float64), matmul=True),
        network(weight=thirds(np.float32), matmul=True),
    ),
    "put a quantiser before it": (
        network(before=summed),
        network(before=lambda b: b.quantise(summed(b))),
    ),
    "put a quantiser directly behind it": (
        network(behind=curved),
        network(behind=lambda b, y: curved(b, b.quantise(y))),
    ),
    "give its quantiser one scale for the whole tensor": (
        network(before=quant(scale=[0.25, 0.5] * 3)),
        network(before=quant()),
    ),
    "give its quantiser an integer zero point": (
        network(before=qonnx(0.5)),
        network(before=qonnx(0.0)),
    ),
    "put a Relu before its quantiser": (
        network(before=quant(dtype=np.int8)),
        network(before=lambda b: quant(dtype=np.int8)(b, b.op("Relu", "x"))),
    ),
    "give its quantiser a smaller scale": (
        network(before=quant(scale=8.0, high=1.0)),
        network(before=quant(scale=0.5, high=1.0)),
    ),
    "put a Clip to fewer levels before its quantiser": (
        network(before=quant(dtype=np.uint16)),
        network(before=quant(dtype=np.uint16, high=4.0)),
    ),
    "scale its parameters down": (network(behind=huge), network()),
}


def parted(middle: Callable[[ModelBuilder], Weights]) -> Network:
    """Two layers with one between them."""
    b = ModelBuilder((6,))
    y = b.quantise(b.dense(b.quantise("x"), b.ternary(9, 6), name="first"))
    y = b.quantise(b.dense(y, middle(b), name="middle"))
    return b.network(b.quantise(b.dense(y, b.ternary(5, 4), name="fc")))


NETWORKS["let no layer between it and the layers on the chip need the host"] = (
    parted(lambda b: b.rng.normal(size=(4, 9))),
    parted(lambda b: b.ternary(4, 9)),
)


@pytest.mark.parametrize("remedy", NETWORKS)
def test_network_that_does_what_the_sentence_says_runs_on_the_chip(remedy: str) -> None:
    broken, mended = NETWORKS[remedy]
    try:
        told = {layer.name: layer.remedy for layer in convert(broken).host}["fc"]
    except UnsupportedModelError as error:
        told = str(error).rpartition("; ")[2].rstrip(".")
    assert told == remedy
    assert "fc" in [layer.name for layer in convert(mended).layers]


def test_strict_names_a_layer_and_two_ways_out() -> None:
    broken = parted(lambda b: b.rng.normal(size=(4, 9)))
    with pytest.raises(UnsupportedModelError) as error:
        convert(broken, strict=True)
    assert str(error.value) == (
        "Layer 'middle' would run on the host because its weights are not -a, 0 and a with one a per output "
        "channel; train it with ternary weights, or leave strict out."
    )
    assert (convert(broken).host_share or 0.0) > 0
    assert convert(parted(lambda b: b.ternary(4, 9)), strict=True).host_share == 0.0


def layer(
    outputs: int = 4, inputs: int = 20, *, source_levels: int = 3, levels: int = 3, density: float = 1.0
) -> SpikingLayer:
    draft = Draft(shape=(inputs,), levels=source_levels)
    draft.dense(outputs, density=density, levels=levels)
    return draft.layers[-1]


def shifted(bits: int) -> SpikingLayer:
    """A layer whose counts are shifted by so many bits."""
    plain = layer()
    return replace(plain, sources=(replace(plain.only, shift=bits),))


def ladders(payload_bits: int, low: int = 0) -> SpikingLayer:
    """A layer of ladders for payloads of so many bits."""
    words = np.tile(np.array([[1, 2 << 2 * payload_bits, 0, 0]]), (4, 1))
    return replace(layer(), quantiser=Ladders(words=words, payload_bits=payload_bits), low=low)


LARGEST = PRESETS["reference"]
LADDERS = core_spec(payload_bits=7, potential_bits=20, ladder=True)

LAYERS: dict[str, tuple[SpikingLayer, CoreSpec, Callable[[], tuple[SpikingLayer, CoreSpec]]]] = {
    "choose the core size small": (
        layer(levels=31),
        PRESETS["tiny"],
        lambda: (layer(levels=31), PRESETS["small"]),
    ),
    "choose the core size medium": (
        layer(inputs=1152),
        PRESETS["small"],
        lambda: (layer(inputs=1152), PRESETS["medium"]),
    ),
    "choose the core size reference": (
        layer(inputs=2100),
        PRESETS["small"],
        lambda: (layer(inputs=2100), LARGEST),
    ),
    "quantise its input to at most 255 levels": (
        layer(source_levels=300),
        LARGEST,
        lambda: (layer(source_levels=255), LARGEST),
    ),
    "quantise its output to at most 255 levels": (
        layer(levels=300),
        LARGEST,
        lambda: (layer(levels=255), LARGEST),
    ),
    "choose the core size article": (
        layer(inputs=9217),
        LARGEST,
        lambda: (layer(inputs=9217), PRESETS["article"]),
    ),
    "let each of its neurons have at most 9216 non-zero weights": (
        layer(inputs=9217, levels=31),
        LARGEST,
        lambda: (layer(inputs=18432, levels=31, density=0.4), LARGEST),
    ),
    "use fewer digits": (
        replace(layer(), strengths=(1,) * 9),
        LARGEST,
        lambda: (replace(layer(), strengths=(1,) * 8), LARGEST),
    ),
    "use more digits": (shifted(8), LARGEST, lambda: (shifted(7), LARGEST)),
    "choose a core with ladders": (ladders(7), core_spec(), lambda: (ladders(7), LADDERS)),
    "choose a core with signed ladders": (
        ladders(7, low=-1),
        LADDERS,
        lambda: (ladders(7, low=-1), LADDERS.resized(signed_ladder=True)),
    ),
    "convert the network for this core": (ladders(7), LARGEST, lambda: (ladders(9), LARGEST)),
}


@pytest.mark.parametrize("remedy", LAYERS)
def test_layer_that_is_as_the_sentence_says_fits(remedy: str) -> None:
    broken, spec, mend = LAYERS[remedy]
    found = misfit(broken, spec)
    assert found is not None
    assert found.remedy == remedy
    mended, other = mend()
    assert misfit(mended, other) is None


def test_layer_whose_inputs_ask_for_too_many_entries_fits_with_fewer_inputs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = core_spec(axons=8, columns=8, fanouts=2)
    weight = np.zeros((80, 30), np.int16)
    for row, random in zip(weight, np.random.default_rng(0).random((80, 30)), strict=True):
        row[np.argsort(random)[:6]] = 1
    plain = layer(80, 30)
    broken = replace(plain, sources=(replace(plain.only, weight=weight),))
    assert "choose the core size tiny" in str(misfit(broken, spec))
    assert misfit(broken, PRESETS["tiny"]) is None
    monkeypatch.setattr(capacity, "PRESETS", {})
    found = misfit(broken, spec)
    assert found is not None
    assert (found.limit, found.remedy) == (
        "fan-out entries for one of its inputs",
        "let it have at most 8 inputs",
    )
    assert misfit(layer(80, 8), spec) is None


def test_neuron_with_too_many_readers_fits_with_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    def readers(number: int) -> Draft:
        draft = Draft(shape=(4,))
        first = draft.dense(1)
        for _ in range(number):
            draft.dense(1, source=first, density=1.0)
        return draft

    monkeypatch.setattr(capacity, "PRESETS", {})
    with pytest.raises(InfeasibleError) as error:
        partition(readers(3).network(), core_spec(fanouts=2))
    assert error.value.remedy == "let fewer layers, or layers of fewer inputs, read it"
    partition(readers(2).network(), core_spec(fanouts=2))


def test_mesh_that_is_named_holds_the_network() -> None:
    draft = Draft(shape=(4,))
    draft.dense(70)
    with pytest.raises(InfeasibleError) as error:
        fit(draft.network(), core_spec(), Site(mesh=(1, 1)))
    words = error.value.remedy.split()
    assert words[:3] == ["choose", "the", "mesh"]
    width, height = map(int, words[3].rstrip(",").split("x"))
    fit(draft.network(), core_spec(), Site(mesh=(width, height)))
    assert error.value.remedy.endswith(", leave its size out, or add --passes")
    fit(draft.network(), core_spec())
    assert len(schedule(draft.network(), core_spec(), Site(mesh=(1, 1))).plan) == 3


def test_network_larger_than_every_chip_fits_a_larger_core_or_with_fewer_layers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(placement, "MAX_CORES", 2)
    monkeypatch.setattr(placement, "MAX_WIDTH", 2)
    monkeypatch.setattr(placement, "MAX_HEIGHT", 1)

    def build(last: Callable[[ModelBuilder], Weights]) -> Network:
        b = ModelBuilder((6,))
        y = b.quantise(b.dense(b.quantise("x"), b.ternary(32, 6), name="first"))
        y = b.quantise(b.dense(y, b.ternary(32, 32), name="second"))
        return b.network(b.quantise(b.dense(y, last(b), name="third")))

    large = build(lambda b: b.ternary(40, 32))
    (left,) = compile_network(large, core="reference").spiking.left
    assert left.told == (
        "it needs 1 of the 3 cores that its run of layers needs but 2 are allowed; "
        "let the layers need at most 2 cores"
    )
    fewer = build(lambda b: b.rng.normal(size=(40, 32)))
    assert compile_network(fewer, core="reference").spiking.left == ()

    wide = Draft(shape=(6,))
    wide.dense(96)
    with pytest.raises(InfeasibleError) as error:
        smallest_mesh(partition(wide.network(), PRESETS["tiny"]))
    assert error.value.remedy == "choose the core size small"
    smallest_mesh(partition(wide.network(), PRESETS["small"]))


VERBS = ("choose", "give", "leave", "let", "put", "quantise", "scale", "store", "train", "use", "write")
SENTENCES = tuple(f"{verb} " for verb in VERBS)
OTHER = {
    "use a network of at most ",  # 4096 layers in a row: by its number alone
    "train with ternary weights and quantised activations before and after them.",  # of a model without any
    "write it as QuantizeLinear and DequantizeLinear",  # in test_floors.py
    "let its sources be equally deep",  # of a potential, in test_graded.py
    "choose another one.",  # of a mesh: any smaller one
    "give a model with such layers.",  # of one that computes nothing
    'write cores = [[x, y], ...] and ports = [[x, y, "E"], ...], or one of them',  # in test_site.py
    "quantise activations and weights to 8 bits for equal ones.",  # in test_int8_wide.py
    "quantise biases to int32 for equal ones.",  # in test_int8_doubts.py
    "quantise both inputs of the sum for equal ones.",  # in test_int8_skips.py
    "put convolutions or dense layers in its place or behind it.",  # in test_graded_entries.py
    "choose loom or kuang2021.",  # in test_target_refused.py
    "choose the target loom, or the objective cores or latency.",  # in test_thrift.py
}


def literals(file: Path) -> set[str]:
    """Return the beginnings of the texts of a module that tell somebody to do something."""
    tree, found = ast.parse(file.read_text(encoding="utf-8")), set()
    documentation = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documentation:
            found |= {part for part in node.value.split("; ") if part.startswith(SENTENCES)}
    return found


def test_every_remedy_of_conversion_and_layout_is_tried_here() -> None:
    root = Path(mapping.__file__).parent
    folders = (root / "codes", root / "layout", root / "layout" / "place")
    files = [file for folder in folders for file in folder.glob("*.py")]
    files += [root / "model" / "analysis.py", root / "flow.py"]
    said = set().union(*(literals(file) for file in files))
    tried = {*NETWORKS, *LAYERS, *OTHER} | {
        "let it have at most 8 inputs",
        "let fewer layers, or layers of fewer inputs, read it",
        "choose the mesh 4x3",
        "choose a mesh of at least 7 cores",
        "let the layers need at most ",
        "leave strict out",
    }
    assert said
    assert {text for text in said if not any(known.startswith(text) for known in tried)} == set()
