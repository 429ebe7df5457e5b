# SPDX-License-Identifier: Apache-2.0
"""The truth of a model: its stored parameters evaluated in float64, layer by layer, without a runtime.

A layer of weights -a, 0, a that reads counts times a scale s is (a s) S with the integer sum S, two rounded
products and no rounded sum. Other sums of products are exact whenever every partial sum is representable in
float64, and are otherwise taken in a fixed order, so that they depend neither on the batch size nor on the
linear algebra library. `docs/reference/truth.md` says what this is equal to.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.errors import MappingError
from mapping.model.analysis import analyse
from mapping.model.network import Network
from mapping.model.node import Node
from mapping.model.operations import OPERATIONS
from mapping.model.operations.operation import Reals

__all__ = ["evaluate", "infer", "needed_nodes", "resume", "run", "run_single"]

Floats = NDArray[np.float64]

Watch = Callable[[Node, Sequence[Reals], Reals], None]
"""Is given a node, its inputs and its output."""


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


def run_single(
    network: Network, x: ArrayLike, wanted: Sequence[str], watch: Watch | None = None
) -> dict[str, Reals]:
    """Compute the wanted tensors from the graph input in float32 throughout, as most runtimes do.

    Sums are taken in the order of the linear algebra library. Values too large for float32 become infinite
    and are not reported. ``watch`` sees every node, with its inputs and its output.

    Raises
    ------
    TypeError, ValueError
        If ``x`` has the wrong type or shape or is not finite.
    """
    with np.errstate(all="ignore"):
        values = _checked(network, network.input, x).astype(np.float32)
        return _compute(network, {network.input: values}, wanted, {}, watch=watch)


def resume(network: Network, given: Mapping[str, ArrayLike], wanted: Sequence[str]) -> dict[str, Reals]:
    """Compute the wanted tensors from given ones in float32 throughout, as `run_single` does from the input.

    Raises
    ------
    TypeError, ValueError
        If a given tensor has the wrong type or shape, is not finite, or does not suffice.
    """
    with np.errstate(all="ignore"):
        tensors = {name: _checked(network, name, values).astype(np.float32) for name, values in given.items()}
        return _compute(network, dict[str, Reals](tensors), wanted, {})


def _compute(
    network: Network,
    tensors: dict[str, Reals],
    wanted: Sequence[str],
    scales: Mapping[str, float],
    *,
    keep: bool = False,
    watch: Watch | None = None,
) -> dict[str, Reals]:
    nodes = needed_nodes(network, tensors, wanted)
    last_use = {tensor: i for i, node in enumerate(nodes) for tensor in node.inputs}
    for i, node in enumerate(nodes):
        inputs = [tensors[tensor] for tensor in node.inputs]
        scale = scales.get(node.inputs[0])
        shape = network.shapes[node.output]
        tensors[node.output] = OPERATIONS[node.op].apply(node, inputs, shape, scale)
        if watch is not None:
            watch(node, inputs, tensors[node.output])
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
