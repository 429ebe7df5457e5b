# SPDX-License-Identifier: Apache-2.0
"""Five float networks of ordinary shapes, and options of onnxruntime's quantiser, for a sweep over both."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from sim_tests.generators.integer_models import Reader
from sim_tests.generators.model_builder import ModelBuilder

__all__ = ["NETWORKS", "Option", "inputs", "options", "quantised_by"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One way to quantise: its name, arguments, and whether a runtime changes the result.

    Parameters
    ----------
    name : str
        As it is shown.
    arguments : mapping
        Of ``quantize_static``; formats, types and methods by name.
    changed : bool
        Whether onnxruntime rounds what the model leaves real before it runs it.
    """

    name: str
    arguments: Mapping[str, Any]
    changed: bool = False


def _kernel(b: ModelBuilder, *shape: int) -> Floats:
    return b.rng.normal(0, 1.2 / np.sqrt(np.prod(shape[1:])), shape)


def _bias(b: ModelBuilder, rows: int) -> Floats:
    return 0.2 * b.rng.normal(size=rows)


def _lenet() -> onnx.ModelProto:
    b = ModelBuilder((1, 16, 16))
    y = b.op("Relu", b.conv("x", _kernel(b, 4, 1, 5, 5), _bias(b, 4), name="one"))
    y = b.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2], name="pool")
    y = b.op("Relu", b.conv(y, _kernel(b, 8, 4, 3, 3), _bias(b, 8), name="two"))
    y = b.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2], name="pool2")
    y = b.op("Relu", b.dense(b.op("Flatten", y), _kernel(b, 16, 32), _bias(b, 16), name="three"))
    return b.model(b.dense(y, _kernel(b, 10, 16), _bias(b, 10), name="vote"))


def _residual() -> onnx.ModelProto:
    b, around = ModelBuilder((2, 8, 8)), {"pads": [1, 1, 1, 1]}
    skip = b.op("Relu", b.conv("x", _kernel(b, 4, 2, 3, 3), _bias(b, 4), name="one", **around))
    y = b.op("Relu", b.conv(skip, _kernel(b, 4, 4, 3, 3), _bias(b, 4), name="two", **around))
    y = b.conv(y, _kernel(b, 4, 4, 3, 3), _bias(b, 4), name="three", **around)
    skip = b.op("Relu", b.op("Add", y, skip, name="join"))
    y = b.op("Relu", b.conv(skip, _kernel(b, 6, 4, 3, 3), strides=[2, 2], name="four", **around))
    y = b.conv(y, _kernel(b, 6, 6, 3, 3), name="five", **around)
    beside = b.conv(skip, _kernel(b, 6, 4, 1, 1), strides=[2, 2], name="beside")
    y = b.op("Flatten", b.op("GlobalAveragePool", b.op("Relu", b.op("Add", y, beside, name="again"))))
    return b.model(b.dense(y, _kernel(b, 5, 6), _bias(b, 5), name="vote"))


def _normed() -> onnx.ModelProto:
    b, around = ModelBuilder((2, 8, 8)), {"pads": [1, 1, 1, 1]}
    skip = b.op("Relu", b.norm(b.conv("x", _kernel(b, 4, 2, 3, 3), name="one", **around), 4))
    y = b.op("Relu", b.norm(b.conv(skip, _kernel(b, 4, 4, 3, 3), name="two", **around), 4))
    y = b.norm(b.conv(y, _kernel(b, 4, 4, 3, 3), name="three", **around), 4)
    y = b.op("Flatten", b.op("GlobalAveragePool", b.op("Relu", b.op("Add", y, skip, name="join"))))
    return b.model(b.dense(y, _kernel(b, 5, 4), name="vote"))


def _mobile() -> onnx.ModelProto:
    b = ModelBuilder((2, 8, 8))

    def layer(x: str, name: str, kernel: Floats, **attributes: Any) -> str:
        return b.clip(b.conv(x, kernel, _bias(b, len(kernel)), name=name, **attributes), 0.0, 6.0)

    y = layer("x", "one", 2 * _kernel(b, 6, 2, 3, 3), pads=[1, 1, 1, 1])
    z = layer(y, "two", 2 * _kernel(b, 6, 1, 3, 3), pads=[1, 1, 1, 1], group=6)
    y = b.op("Add", b.conv(z, _kernel(b, 6, 6, 1, 1), _bias(b, 6), name="three"), y, name="join")
    z = layer(y, "four", 2 * _kernel(b, 6, 1, 3, 3), pads=[1, 1, 1, 1], group=6, strides=[2, 2])
    y = b.op("Flatten", b.op("GlobalAveragePool", layer(z, "five", 2 * _kernel(b, 8, 6, 1, 1))))
    return b.model(b.dense(y, _kernel(b, 5, 8), _bias(b, 5), name="vote"))


def _mlp() -> onnx.ModelProto:
    b = ModelBuilder((24,))
    y = b.op("Relu", b.dense("x", _kernel(b, 32, 24), _bias(b, 32), name="one"))
    y = b.op("MatMul", y, b.constant(_kernel(b, 16, 32).T), name="two")
    y = b.op("Relu", b.op("Add", b.constant(_bias(b, 16)), y, name="bias"))
    return b.model(b.dense(y, _kernel(b, 5, 16), _bias(b, 5), name="vote"))


NETWORKS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "LeNet": _lenet,
    "residual": _residual,
    "normed": _normed,
    "mobile": _mobile,
    "MLP": _mlp,
}
"""Networks with random weights, by name."""

_TYPES = (("QUInt8", "QUInt8"), ("QUInt8", "QInt8"), ("QInt8", "QInt8"))


def options() -> Iterator[Option]:
    """Yield the options: those of both formats, then those of QDQ alone."""
    for form in ("QDQ", "QOperator"):
        yield from (_both(form, option) for option in _shared(form))
    for name, extra in _OF_QDQ.items():
        wide = "per channel" in name
        yield Option(
            name=f"QDQ, {name}",
            arguments={"quant_format": "QDQ", "per_channel": wide, "extra_options": extra},
            changed="QuantizeBias" in extra,
        )


def _both(form: str, option: Option) -> Option:
    arguments = {"quant_format": form, **option.arguments}
    return Option(name=f"{form}, {option.name}", arguments=arguments, changed=option.changed)


def _shared(form: str) -> Iterator[Option]:
    for activation, weight in _TYPES:
        for wide in (False, True):
            shown = f"{_short(activation)}{_short(weight)}, per {'channel' if wide else 'tensor'}"
            types = {"activation_type": activation, "weight_type": weight, "per_channel": wide}
            yield Option(name=shown, arguments=types)
    for method in ("Entropy", "Percentile"):
        yield Option(name=method, arguments={"calibrate_method": method})
    yield Option(name="reduce_range", arguments={"reduce_range": True, "per_channel": True})
    for name in ("one", "two", "vote"):
        shown = f"nodes_to_exclude={name}"
        yield Option(name=shown, arguments={"nodes_to_exclude": [name]}, changed=True)
    for kinds in (["Conv"], ["Conv", "Gemm", "MatMul"]):
        shown = f"op_types_to_quantize={' '.join(kinds)}"
        yield Option(name=shown, arguments={"op_types_to_quantize": kinds}, changed=form == "QDQ")
    for name, (activation, extra) in _EXTRA.items():
        more = {"activation_type": activation, "extra_options": extra, "per_channel": "channel" in name}
        yield Option(name=name, arguments=more)


def _short(kind: str) -> str:
    return kind.removeprefix("Q").replace("UInt", "u").replace("Int", "s")


_EXTRA: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "ActivationSymmetric": ("QInt8", {"ActivationSymmetric": True}),
    "WeightSymmetric=False": ("QUInt8", {"WeightSymmetric": False}),
    "WeightSymmetric=False, per channel": ("QUInt8", {"WeightSymmetric": False}),
    "WeightSymmetric=False, s8, per channel": ("QInt8", {"WeightSymmetric": False}),
    "ActivationRestrictedAsymmetric": ("QUInt8", {"ActivationRestrictedAsymmetric": True}),
    "CalibTensorRangeSymmetric": ("QUInt8", {"CalibTensorRangeSymmetric": True}),
    "CalibMovingAverage": ("QUInt8", {"CalibMovingAverage": True}),
    "ForceQuantizeNoInputCheck": ("QUInt8", {"ForceQuantizeNoInputCheck": True}),
    "MatMulConstBOnly": ("QUInt8", {"MatMulConstBOnly": True}),
    "MinimumRealRange": ("QUInt8", {"MinimumRealRange": 0.001}),
}

_OF_QDQ: Mapping[str, Mapping[str, Any]] = {
    "DedicatedQDQPair": {"DedicatedQDQPair": True},
    "AddQDQPairToWeight": {"AddQDQPairToWeight": True},
    "UseQDQContribOps": {"UseQDQContribOps": True},
    "QDQKeepRemovableActivations": {"QDQKeepRemovableActivations": True},
    "QDQDisableWeightAdjustForInt32Bias": {"QDQDisableWeightAdjustForInt32Bias": True},
    "outputs of Conv not quantised": {"OpTypesToExcludeOutputQuantization": ["Conv"]},
    "outputs of Gemm not quantised": {"OpTypesToExcludeOutputQuantization": ["Gemm"]},
    "outputs of Add not quantised": {"OpTypesToExcludeOutputQuantization": ["Add"]},
    "QuantizeBias=False": {"QuantizeBias": False},
    "QuantizeBias=False, per channel": {"QuantizeBias": False},
}


def inputs(model: onnx.ModelProto, n: int) -> NDArray[np.float32]:
    """Return seeded inputs (n, shape) of a model."""
    shape = [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    return np.random.default_rng(1).normal(size=(n, *shape)).astype(np.float32)


def quantised_by(option: Option, model: onnx.ModelProto, samples: NDArray[np.float32], path: Path) -> None:
    """Quantise a model by ``quantize_static`` with an option, ranges from samples; write it to a path."""
    import onnxruntime.quantization as by  # an extra of the tests

    given: dict[str, Any] = {"activation_type": "QUInt8", "weight_type": "QInt8", **option.arguments}
    kinds = {
        "quant_format": by.QuantFormat,
        "activation_type": by.QuantType,
        "weight_type": by.QuantType,
        "calibrate_method": by.CalibrationMethod,
    }
    given |= {key: kinds[key][value] for key, value in given.items() if key in kinds}
    real = path.with_suffix(".float.onnx")
    onnx.save(model, real)
    with redirect_stdout(StringIO()):
        by.quantize_static(real, path, Reader(samples, model.graph.input[0].name), **given)
