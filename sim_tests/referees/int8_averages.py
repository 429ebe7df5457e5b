# SPDX-License-Identifier: Apache-2.0
"""Averages of quantised activations: those of onnxruntime, and the exact ones.

python -m sim_tests.referees.int8_averages

A runtime sums real numbers in float32. Where the exact mean lies half-way between two integers, the rounding
of these sums takes either; the truth of a model takes the even one.
"""

import sys
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import onnx

from mapping.model.evaluate import infer
from mapping.model.importers.onnx import network_from_onnx
from sim_tests.generators.model_builder import ModelBuilder

__all__ = ["Averages", "averaged", "main"]

HEAD = """| window | scales | zero point | means | half-way | differ | of these half-way | by at most |
|---|---|---|---|---|---|---|---|"""

_SHAPE = (4, 16, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Averages:
    """Means that were compared, those half-way, those that differ, these half-way, and by how much."""

    means: int
    halves: int
    differ: int
    differ_at_halves: int
    largest: int


def averaged(
    window: tuple[int, int, int], scales: tuple[float, float], zero: int = 0, samples: int = 100
) -> Averages:
    """Compare the means of random bytes over windows in onnxruntime and in the network.

    Parameters
    ----------
    window : int, int, int
        Size, stride and pads, on both axes; pads do not count.
    scales : float, float
        Of the activations that are read and written.
    zero : int
        Their zero point.
    samples : int
        Maps of 4 x 16 x 16.
    """
    import onnxruntime  # an extra of the tests

    model = _model(window, scales, zero)
    one, other = np.float32(scales[0]), np.float32(scales[1])
    integers = np.random.default_rng(0).integers(0, 200, (samples, *_SHAPE))
    x = ((integers - zero) * one).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    got = np.rint(session.run(None, {"x": x})[0] / other)
    right = np.rint(infer(network_from_onnx(model, name="averages"), x) / float(other))
    differ, ratio = got != right, Fraction(float(one)) / Fraction(float(other))
    half = _halves(integers, window, ratio)
    return Averages(
        means=right.size,
        halves=int(half.sum()),
        differ=int(differ.sum()),
        differ_at_halves=int((differ & half).sum()),
        largest=int(np.abs(got - right).max()),
    )


def _model(window: tuple[int, int, int], scales: tuple[float, float], zero: int) -> onnx.ModelProto:
    size, stride, pad = window
    b = ModelBuilder(_SHAPE)
    ends = [[b.constant(scale), b.constant(zero, np.uint8)] for scale in scales]
    y = b.op("DequantizeLinear", b.op("QuantizeLinear", "x", *ends[0]), *ends[0])
    y = b.op("AveragePool", y, kernel_shape=[size] * 2, strides=[stride] * 2, pads=[pad] * 4)
    return b.model(b.op("DequantizeLinear", b.op("QuantizeLinear", y, *ends[1]), *ends[1]))


def _halves(integers: np.ndarray, window: tuple[int, int, int], ratio: Fraction) -> np.ndarray:
    """Return whether each mean, in units of the scale that is written, is a whole number and a half."""
    size, stride, pad = window
    sides = [(0, 0), (0, 0), (pad, pad), (pad, pad)]
    views = [
        np.lib.stride_tricks.sliding_window_view(np.pad(part, sides), (size, size), axis=(2, 3))
        for part in (integers, np.ones_like(integers))
    ]
    sums, numbers = (view[:, :, ::stride, ::stride].sum(axis=(4, 5)).reshape(-1) for view in views)
    half = [(2 * ratio * int(s) / int(n)) % 2 == 1 for s, n in zip(sums, numbers, strict=True)]
    maps = integers.shape[0] * integers.shape[1]
    side = round((len(half) / maps) ** 0.5)
    return np.array(half).reshape(*integers.shape[:2], side, side)


_CASES = ((2, 2, 0), (4, 4, 0), (3, 2, 1))
_SCALES = (
    (0.0123, 0.0123, 0),
    (0.0123, 0.0123, 37),
    (0.0123, 0.0123, 128),
    (0.0123, 0.00731, 0),
    (2.0**-6, 2.0**-6, 0),
)
"""Scales of what is read and written, and their zero point."""


def main() -> int:
    """Print the table; return 1 if a mean differs that is not half-way, or by more than one."""
    wrong = 0
    print(HEAD)
    for one, other, zero in _SCALES:
        for size, stride, pad in _CASES:
            found = averaged((size, stride, pad), (one, other), zero)
            window = f"{size} x {size}" + (", across borders" if pad else "")
            shown = "one" if one == other else "two"
            shown += ", a power of two" if one == 2.0**-6 else ""
            cells = (window, shown, zero, found.means, found.halves, found.differ, found.differ_at_halves)
            print(f"| {' | '.join(map(str, cells))} | {found.largest} |")
            wrong += found.differ - found.differ_at_halves + (found.largest > 1)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
