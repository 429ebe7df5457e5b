# SPDX-License-Identifier: Apache-2.0
"""Operators of ONNX that work element by element, wherever an element lies."""

__all__ = ["ELEMENTWISE", "OF_ONE", "OF_TWO"]

OF_ONE = frozenset(
    {"Abs", "Cast", "Ceil", "Celu", "Clip", "Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid"}
    | {"HardSwish", "Identity", "LeakyRelu", "Log", "Mish", "Neg", "Not", "Relu", "Round", "Selu", "Sigmoid"}
    | {"Sign", "Softplus", "Softsign", "Sqrt", "Swish", "Tanh", "ThresholdedRelu"}
)
"""Functions of one number; what else they read are numbers."""

OF_TWO = frozenset(
    {"Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min"}
    | {"Mul", "PRelu", "Pow", "Sub", "Sum"}
)
"""Functions of two numbers or more, which are broadcast along each other."""

ELEMENTWISE = OF_ONE | OF_TWO | {"DequantizeLinear", "QuantizeLinear", "Where"}
"""All of them, with those that read numbers of different kinds."""
