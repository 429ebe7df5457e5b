# SPDX-License-Identifier: Apache-2.0
"""Networks with random weights that Brevitas quantises and exports, in QCDQ and in QONNX."""

from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

__all__ = ["Form", "exported", "forms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a network is quantised.

    Parameters
    ----------
    network : str
        ``mlp`` or ``cnn``.
    bits : int
        Of weights and of activations behind the input, which has 8.
    per_channel : bool
        Whether weights have a scale per channel.
    bias : str
        ``real``, or the class of Brevitas that quantises it.
    activation : str
        ``relu``; ``signed`` and ``shifted`` have values below zero, the latter by a zero point.
    output : bool
        Whether the output is quantised.
    """

    network: str
    bits: int
    per_channel: bool
    bias: str
    activation: str
    output: bool

    @property
    def name(self) -> str:
        """The form in one word."""
        scales = "channel" if self.per_channel else "tensor"
        parts = (self.network, self.bits, scales, self.bias, self.activation, ("real", "out")[self.output])
        return "_".join(map(str, parts))


_FORMS = (
    (8, False, "real", "relu", False),
    (8, True, "Int32Bias", "relu", False),
    (4, False, "Int32Bias", "relu", True),
    (4, True, "real", "relu", False),
    (8, True, "Int8BiasPerTensorFloatInternalScaling", "relu", True),
    (8, False, "Int32Bias", "signed", True),
    (8, True, "Int32Bias", "shifted", True),
    (4, False, "real", "signed", True),
)
"""Bits, scales per channel, bias, activation, and whether the output is quantised."""


def forms() -> Iterator[Form]:
    """Yield the forms of both networks."""
    keys = ("bits", "per_channel", "bias", "activation", "output")
    for network in ("mlp", "cnn"):
        for values in _FORMS:
            yield Form(network=network, **dict(zip(keys, values, strict=True)))  # type: ignore[arg-type]


def exported(form: Form, folder: Path) -> tuple[Path, Path, tuple[int, ...]]:
    """Write a network as QCDQ and as QONNX; return both paths and the shape of a sample.

    Ranges are those of a few random batches. It needs Brevitas, and what that needs to export.
    """
    import torch  # no extra of ours
    from brevitas.export import export_onnx_qcdq, export_qonnx

    torch.manual_seed(3)
    network, shape = _mlp(form) if form.network == "mlp" else _cnn(form)
    network.train()
    for _ in range(4):
        network(torch.randn(32, *shape))
    network.eval()
    paths = folder / f"{form.name}.qcdq.onnx", folder / f"{form.name}.qonnx.onnx"
    with redirect_stdout(StringIO()):
        one = torch.randn(1, *shape)
        export_onnx_qcdq(network, args=one, export_path=str(paths[0]), opset_version=13, dynamo=False)
        export_qonnx(network, args=one, export_path=str(paths[1]))
    return *paths, shape


def _layers(form: Form) -> dict[str, Any]:
    """Return the arguments of a layer with weights."""
    from brevitas import quant

    weight = "Int8WeightPerChannelFloat" if form.per_channel else "Int8WeightPerTensorFloat"
    given = {"weight_quant": getattr(quant, weight), "weight_bit_width": form.bits, "bias": True}
    return given if form.bias == "real" else {**given, "bias_quant": getattr(quant, form.bias)}


def _activation(form: Form, bits: int) -> Any:
    from brevitas import nn, quant

    if form.activation == "relu":
        return nn.QuantReLU(bit_width=bits, return_quant_tensor=True)
    shifted = {"act_quant": quant.ShiftedUint8ActPerTensorFloat} if form.activation == "shifted" else {}
    return nn.QuantIdentity(bit_width=bits, return_quant_tensor=True, **shifted)


def _ends(form: Form) -> tuple[Any, Any]:
    """Return the quantiser of the input, and that of the output or nothing."""
    import torch
    from brevitas import nn

    entry = nn.QuantIdentity(bit_width=8, return_quant_tensor=True)
    return entry, nn.QuantIdentity(bit_width=8) if form.output else torch.nn.Identity()


def _mlp(form: Form) -> tuple[Any, tuple[int, ...]]:
    import torch
    from brevitas import nn

    entry, end = _ends(form)
    parts = [entry]
    for inputs, outputs in ((24, 32), (32, 16)):
        parts += [nn.QuantLinear(inputs, outputs, **_layers(form)), _activation(form, form.bits)]
    parts += [nn.QuantLinear(16, 5, **_layers(form)), end]
    return torch.nn.Sequential(*parts), (24,)


def _cnn(form: Form) -> tuple[Any, tuple[int, ...]]:
    """Return a residual sum, a depthwise and a pointwise convolution, a max-pool, and a dense layer."""
    import torch
    from brevitas import nn

    def layer(inputs: int, outputs: int, kernel: int, **given: Any) -> Any:
        kernel_ = nn.QuantConv2d(inputs, outputs, kernel, padding=kernel // 2, **given, **_layers(form))
        return torch.nn.Sequential(kernel_, torch.nn.BatchNorm2d(outputs), _activation(form, form.bits))

    entry, end = _ends(form)

    class Network(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.entry, self.end = entry, end
            self.stem, self.one = layer(2, 6, 3), layer(6, 6, 3)
            self.two = nn.QuantConv2d(6, 6, 3, padding=1, **_layers(form))
            self.joined = nn.QuantIdentity(bit_width=8, return_quant_tensor=True)
            self.active = _activation(form, form.bits)
            self.depth, self.point = layer(6, 6, 3, groups=6, stride=2), layer(6, 8, 1)
            self.vote = nn.QuantLinear(32, 5, **_layers(form))

        def forward(self, x: Any) -> Any:
            skip = self.joined(self.stem(self.entry(x)))
            x = self.active(self.joined(self.two(self.one(skip))) + skip)
            x = torch.nn.functional.max_pool2d(self.point(self.depth(x)), 2)
            return self.end(self.vote(torch.flatten(x, 1)))

    return Network(), (2, 8, 8)
