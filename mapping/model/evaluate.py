# SPDX-License-Identifier: Apache-2.0
"""The truth of a model: its stored parameters evaluated in float64, layer by layer, with numpy alone.

A layer of weights -a, 0, a that reads counts times a scale s is (a s) S with the integer sum S, two rounded
products and no rounded sum. Other sums of products are exact whenever every partial sum is representable in
float64, and are otherwise taken in a fixed order, so that they depend neither on the batch size nor on the
linear algebra library. `docs/reference/truth.md` says what this is equal to.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from mapping.errors import MappingError
from mapping.model.activations import magnitudes
from mapping.model.analysis import analyse
from mapping.model.elementwise import JOIN, apply_elementwise
from mapping.model.network import ELEMENTWISE, Network, Node

__all__ = ["apply_node", "evaluate", "infer", "lowest_bit", "needed_nodes", "run", "run_single", "windows"]

Floats = NDArray[np.float64]
Reals = NDArray[Any]
"""Values in float64 or float32."""

_BLOCK = 2**22  # elements of a window matrix built at once, 32 MiB
_TILE = 2**12  # columns of a fixed-order sum held in cache
_SAMPLE = 1024


def lowest_bit(values: Floats, *, axis: int | None = None) -> NDArray[np.int64]:
    """Return, over ``axis``, the largest e with every value a multiple of 2**e (1023 if all are zero)."""
    mantissa, exponent = np.frexp(values)
    integers = np.ldexp(mantissa, 53).astype(np.int64)
    trailing = np.frexp((integers & -integers).astype(np.float64))[1] - 1
    lowest = np.where(integers == 0, 1023, exponent - 53 + trailing)
    return np.asarray(lowest.min(axis=axis, initial=1023), dtype=np.int64)


def _sums_are_exact(weight: Reals, values: Reals) -> bool:
    """Tell whether every partial sum of a row of weight (M, K) times K of the values is exact in float64.

    In float32 the question is not asked: there the sums are what the linear algebra library makes of them.
    """
    if values.dtype != np.float64:
        return True
    row_bits, row_sums = lowest_bit(weight, axis=1), np.abs(weight).sum(axis=1)
    flat = values.reshape(-1)
    for part in (flat[:_SAMPLE], flat):  # the sample rejects ordinary float data without looking at all of it
        bits = row_bits + lowest_bit(part)
        largest = row_sums * np.abs(part).max(initial=0.0)
        if (np.ldexp(largest, np.clip(-bits, -2000, 2000)) >= 2.0**53).any():
            return False
    return True


def _product(weight: Reals, columns: Reals, *, exact: bool) -> Reals:
    """Return weight (M, K) times columns (K, P), in a fixed order unless every order is exact."""
    if exact:
        return np.asarray(weight @ columns)
    result = np.zeros((weight.shape[0], columns.shape[1]))
    for start in range(0, columns.shape[1], _TILE):
        part, total = columns[:, start : start + _TILE], result[:, start : start + _TILE]
        for k in range(weight.shape[1]):
            total += weight[:, k, None] * part[None, k]
    return result


def windows(
    values: NDArray[np.generic],
    kernel: tuple[int, int],
    *,
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilation: tuple[int, int] = (1, 1),
) -> NDArray[np.generic]:
    """Return a view (N, C, out_y, out_x, kh, kw) of every window of a zero-padded map (N, C, H, W)."""
    top, left, bottom, right = pads
    padded = np.pad(values, ((0, 0), (0, 0), (top, bottom), (left, right)))
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    view = sliding_window_view(padded, extent, axis=(2, 3))
    return view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def _conv(node: Node, weight: Reals, values: Reals) -> Reals:
    groups = int(node.number("groups"))
    rows, fan_in, kh, kw = weight.shape
    matrix = weight.reshape(groups, rows // groups, -1)
    view = windows(
        values, (kh, kw), stride=node.pair("stride"), pads=node.pads(), dilation=node.pair("dilation")
    )
    height, width = view.shape[2:4]
    exact = _sums_are_exact(weight.reshape(rows, -1), values)
    result = np.empty((len(values), rows, height, width), dtype=values.dtype)
    images = max(1, _BLOCK // max(1, fan_in * kh * kw * height * width))
    for start in range(0, len(values), images):
        part = view[start : start + images]
        for g in range(groups):
            block = part[:, g * fan_in : (g + 1) * fan_in].transpose(1, 4, 5, 0, 2, 3)
            columns = np.ascontiguousarray(block, dtype=values.dtype).reshape(matrix.shape[2], -1)
            sums = _product(matrix[g], columns, exact=exact).reshape(-1, len(part), height, width)
            rows_of_group = slice(g * matrix.shape[1], (g + 1) * matrix.shape[1])
            result[start : start + images, rows_of_group] = sums.transpose(1, 0, 2, 3)
    return result


def _dense(weight: Reals, values: Reals) -> Reals:
    columns = np.ascontiguousarray(values.T)
    return np.ascontiguousarray(_product(weight, columns, exact=_sums_are_exact(weight, columns)).T)


def _linear(node: Node, values: Reals, scale: float | None) -> Reals:
    """Return a convolution or dense layer; ``scale`` is that of the counts it reads, if it does."""
    weight = node.constants["weight"].astype(values.dtype)
    magnitude = None if scale is None else magnitudes(node.constants["weight"])
    if scale is None or magnitude is None:
        return _conv(node, weight, values) if node.op == "Conv" else _dense(weight, values)
    digits, counts = np.sign(weight), np.rint(values / scale)
    sums = _conv(node, digits, counts) if node.op == "Conv" else _dense(digits, counts)
    unit = (magnitude * scale).reshape((-1,) + (1,) * (sums.ndim - 2))
    return np.asarray(unit * sums)


def _max_pool(node: Node, values: Reals) -> Reals:
    (kh, kw), (sy, sx), (top, left, bottom, right) = node.pair("kernel"), node.pair("stride"), node.pads()
    edges = ((0, 0), (0, 0), (top, bottom), (left, right))
    padded = np.pad(values, edges, constant_values=-np.inf)
    height, width = (padded.shape[2] - kh) // sy + 1, (padded.shape[3] - kw) // sx + 1
    result = np.full((*values.shape[:2], height, width), -np.inf, dtype=values.dtype)
    for y in range(kh):
        for x in range(kw):
            tap = padded[:, :, y : y + (height - 1) * sy + 1 : sy, x : x + (width - 1) * sx + 1 : sx]
            np.maximum(result, tap, out=result)
    return result


def _reduce(node: Node, values: Reals) -> Reals:
    """Return a mean, a sum, a maximum or a minimum over some axes, which keep the size 1."""
    axes, kind = tuple(axis + 1 for axis in node.integers("axes")), node.text("kind")
    if kind in ("max", "min"):
        return np.asarray((np.max if kind == "max" else np.min)(values, axis=axes, keepdims=True))
    kept = [axis for axis in range(values.ndim) if axis not in axes]
    rows = np.ascontiguousarray(values.transpose(*kept, *axes))
    number = math.prod(values.shape[axis] for axis in axes)
    sums = _dense(np.ones((1, number), values.dtype), rows.reshape(-1, number))
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(values.shape))
    return (sums / number if kind == "mean" else sums).reshape(shape)


def _softmax(node: Node, values: Reals) -> Reals:
    axis = int(node.number("axis")) + 1
    shifted = values - values.max(axis=axis, keepdims=True)
    powers = np.exp(shifted)
    total = powers.sum(axis=axis, keepdims=True)
    return np.asarray(powers / total if node.op == "Softmax" else shifted - np.log(total))


def _take(node: Node, values: Reals, shape: tuple[int, ...]) -> Reals:
    flat = values.reshape(len(values), -1)
    return flat[:, node.constants["order"].astype(np.int64)].reshape((-1, *shape))


def _together(node: Node, inputs: Sequence[Reals], shape: tuple[int, ...]) -> Reals:
    """Return what an operation makes of any number of tensors."""
    if node.op == "Concat":
        return np.concatenate(inputs, axis=int(node.number("axis")) + 1)
    from mapping.model.importers.onnx_reference import apply_foreign  # onnx loads slowly

    return apply_foreign(node, inputs, shape)


def _apply(node: Node, inputs: Sequence[Reals], shape: tuple[int, ...], scale: float | None) -> Reals:
    if node.op in ELEMENTWISE:
        return JOIN[node.op](*inputs) if len(inputs) > 1 else apply_elementwise(node, inputs[0], axis=1)
    if node.op in {"Conv", "Dense"}:
        return _linear(node, inputs[0], scale)
    if node.op in {"Concat", "Foreign"}:
        return _together(node, inputs, shape)
    if node.op in {"Permute", "Take"}:
        return _take(node, inputs[0], shape)
    if node.op in _RULES:
        return _RULES[node.op](node, inputs[0])
    return inputs[0].reshape((len(inputs[0]), *shape))


def apply_node(node: Node, inputs: Sequence[Reals], shape: tuple[int, ...]) -> Reals:
    """Return what a node gives (N, shape) for inputs (N, their shapes), in the inputs' precision."""
    return _apply(node, inputs, shape, None)


_RULES: Mapping[str, Callable[[Node, Reals], Reals]] = {
    "LogSoftmax": _softmax,
    "MaxPool": _max_pool,
    "Reduce": _reduce,
    "Softmax": _softmax,
}


def needed_nodes(network: Network, given: Iterable[str], wanted: Iterable[str]) -> tuple[Node, ...]:
    """Return, in topological order, the nodes that compute the wanted tensors from the given ones.

    Raises
    ------
    ValueError
        If a wanted tensor needs the graph input and that is not given.
    """
    known, missing, nodes = set(given), set(wanted), []
    missing -= known
    for node in reversed(network.nodes):
        if node.output in missing:
            missing.discard(node.output)
            missing.update(tensor for tensor in node.inputs if tensor not in known)
            nodes.append(node)
    if missing:
        raise ValueError(f"tensors must be computable from those given, not {', '.join(sorted(missing))}")
    return tuple(reversed(nodes))


def _checked(network: Network, tensor: str, values: ArrayLike) -> Floats:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"Tensor {tensor!r} must be real numbers, not {array.dtype}")
    shape = network.shapes[tensor]
    if array.shape[1:] != shape or array.ndim != len(shape) + 1:
        raise ValueError(
            f"Tensor {tensor!r} must have shape (N, {', '.join(map(str, shape))}), not {array.shape}"
        )
    result = array.astype(np.float64)
    if not np.isfinite(result).all():
        raise ValueError(f"Tensor {tensor!r} must be finite, not NaN or infinite")
    return result


def run(
    network: Network, given: Mapping[str, ArrayLike], wanted: Sequence[str], *, keep: bool = False
) -> dict[str, Floats]:
    """Compute the wanted tensors, each (N, shape), from the given ones.

    With ``keep`` every tensor on the way is returned too.

    Raises
    ------
    TypeError, ValueError
        If a given tensor has the wrong type or shape, is not finite, or does not suffice.
    MappingError
        If a wanted tensor is not a number somewhere, because an operation before it left the range of
        float64 or is not defined there, as the root of a negative number.
    """
    tensors: dict[str, Reals] = {name: _checked(network, name, values) for name, values in given.items()}
    scales = {tensor: activation.scale for tensor, activation in analyse(network).counts.items()}
    with np.errstate(all="ignore"):  # infinities may be clipped; NaN is refused below
        computed = _compute(network, tensors, wanted, scales, keep=keep)
    for tensor in wanted:
        wrong = np.argwhere(np.isnan(computed[tensor]))
        if len(wrong):
            raise MappingError(
                f"Tensor {tensor!r} is not a number for sample {wrong[0][0]}: an operation before it leaves "
                "the range of float64 or has no value there; keep data and weights inside."
            )
    return computed


def run_single(network: Network, x: ArrayLike, wanted: Sequence[str]) -> dict[str, Reals]:
    """Compute the wanted tensors from the graph input in float32 throughout, as most runtimes do.

    Sums are taken in the order of the linear algebra library. Values too large for float32 become infinite
    and are not reported.

    Raises
    ------
    TypeError, ValueError
        If ``x`` has the wrong type or shape or is not finite.
    """
    with np.errstate(all="ignore"):
        values = _checked(network, network.input, x).astype(np.float32)
        return _compute(network, {network.input: values}, wanted, {})


def _compute(
    network: Network,
    tensors: dict[str, Reals],
    wanted: Sequence[str],
    scales: Mapping[str, float],
    *,
    keep: bool = False,
) -> dict[str, Reals]:
    nodes = needed_nodes(network, tensors, wanted)
    last_use = {tensor: i for i, node in enumerate(nodes) for tensor in node.inputs}
    for i, node in enumerate(nodes):
        inputs = [tensors[tensor] for tensor in node.inputs]
        scale = scales.get(node.inputs[0])
        tensors[node.output] = _apply(node, inputs, network.shapes[node.output], scale)
        for tensor in set(node.inputs):
            if not keep and last_use[tensor] == i and tensor not in wanted:
                del tensors[tensor]
    return tensors if keep else {tensor: tensors[tensor] for tensor in wanted}


def evaluate(network: Network, x: ArrayLike, *, until: str | None = None) -> dict[str, Floats]:
    """Return every tensor on the way from ``x`` (N, input shape) to tensor ``until``, by default the output.

    Raises
    ------
    TypeError, ValueError
        If ``x`` has the wrong type or shape or is not finite, or ``until`` names no tensor.
    """
    target = network.output if until is None else until
    if target not in network.shapes:
        raise ValueError(f"until must be a tensor of the network, not {until!r}")
    return run(network, {network.input: x}, [target], keep=True)


def infer(network: Network, x: ArrayLike) -> Floats:
    """Return only the output (N, output shape) for ``x`` (N, input shape), holding few tensors at a time."""
    return run(network, {network.input: x}, [network.output])[network.output]
