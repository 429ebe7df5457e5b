# SPDX-License-Identifier: Apache-2.0
"""Modules of PyTorch as users write them; importing this file needs PyTorch."""

from typing import Any

import pytest

__all__ = ["module_of"]

torch: Any = pytest.importorskip("torch", reason="PyTorch, the extra `train`, is not installed")
nn, functional = torch.nn, torch.nn.functional
Module: Any = nn.Module


class Lenet(Module):  # type: ignore[misc]
    """Functions in `forward`, a view by the size of the batch, and logarithms of shares at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 5, padding=2), nn.Conv2d(4, 6, 5)
        self.fc1, self.fc2 = nn.Linear(54, 20), nn.Linear(20, 10)

    def forward(self, x: Any) -> Any:
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = functional.relu(self.fc1(x.view(x.size(0), -1)))
        return functional.log_softmax(self.fc2(x), dim=1)


class Block(Module):  # type: ignore[misc]
    """A residual block, with a convolution beside it where its map changes."""

    def __init__(self, before: int, behind: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, behind, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(behind, behind, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(behind), nn.BatchNorm2d(behind)
        self.skip = nn.Identity()
        if before != behind:
            self.skip = nn.Sequential(
                nn.Conv2d(before, behind, 1, stride, bias=False), nn.BatchNorm2d(behind)
            )

    def forward(self, x: Any) -> Any:
        y = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))
        return functional.relu(y + self.skip(x))


class Recurrent(Module):  # type: ignore[misc]
    """An LSTM along the rows of a picture, and a dense layer on its last step."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.head = nn.LSTM(5, 8, batch_first=True), nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        return self.head(self.cells(x.squeeze(1))[0][:, -1])


class Attentive(Module):  # type: ignore[misc]
    """A block of a transformer, whose sequence are the rows of a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.head = nn.Linear(5, 8), nn.Linear(8, 4)
        self.block = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True)

    def forward(self, x: Any) -> Any:
        return self.head(self.block(self.enter(x.squeeze(1))).mean(1))


def _depthwise(before: int, behind: int, stride: int) -> Any:
    return nn.Sequential(
        nn.Conv2d(before, before, 3, stride, 1, groups=before, bias=False),
        nn.BatchNorm2d(before),
        nn.ReLU6(inplace=True),
        nn.Conv2d(before, behind, 1, bias=False),
        nn.BatchNorm2d(behind),
        nn.ReLU6(inplace=True),
    )


def _build(kind: str) -> tuple[Any, tuple[int, ...]]:
    if kind == "mlp":
        layers = [nn.Flatten(), nn.Linear(25, 12), nn.ReLU(), nn.Dropout(), nn.Linear(12, 4)]
        return nn.Sequential(*layers), (1, 5, 5)
    if kind == "normalised":
        head = [nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.InstanceNorm2d(4)]
        return nn.Sequential(*head, nn.Flatten(), nn.Linear(36, 4)), (1, 5, 5)
    if kind in ("recurrent", "attention"):
        return Recurrent() if kind == "recurrent" else Attentive(), (1, 5, 5)
    if kind == "lenet":
        return Lenet(), (1, 20, 20)
    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if kind == "resnet":
        head = [nn.Conv2d(3, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU()]
        return nn.Sequential(*head, Block(4, 4), Block(4, 6, 2), *pooled, nn.Linear(6, 5)), (3, 8, 8)
    head = [nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU6()]
    return nn.Sequential(*head, _depthwise(4, 6, 1), _depthwise(6, 8, 2), *pooled, nn.Linear(8, 5)), (
        3,
        12,
        12,
    )


def module_of(kind: str) -> tuple[Any, tuple[int, ...]]:
    """Return a seeded module in training mode and the shape of its input.

    Parameters
    ----------
    kind : str
        ``mlp``, ``normalised``, ``recurrent``, ``attention``, ``lenet``, ``resnet`` or ``mobile``.
    """
    torch.manual_seed(0)
    module, shape = _build(kind)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2)
    return module, shape
