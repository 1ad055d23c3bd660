"""Multilayer perceptron."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from collapselab.training.networks._spec import Network, check_widths, network


@network("mlp", label="multilayer perceptron", source="zhu2021")
@dataclass(frozen=True)
class MLP(Network):
    """Linear layers, each followed by batch normalisation and ReLU; the last hidden layer makes the features.

    Attributes:
        widths: Units of each hidden layer; the last is the number of features.
        batch_norm: Whether to normalise over the batch before each ReLU.
    """

    default_widths: ClassVar[tuple[int, ...]] = (256, 256, 64)

    widths: tuple[int, ...] = default_widths
    batch_norm: bool = True

    def __post_init__(self) -> None:
        """Check the fields."""
        check_widths(self.widths)

    def body(self, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
        """A freshly initialised body; draws from torch's global generator.

        Args:
            shape: Shape of one input; flattened.

        Returns:
            Inputs to features (n, d), on the CPU; and d.
        """
        layers: list[nn.Module] = [nn.Flatten()]
        before = math.prod(shape)
        for width in self.widths:
            layers.append(nn.Linear(before, width))
            if self.batch_norm:
                layers.append(nn.BatchNorm1d(width))
            layers.append(nn.ReLU())
            before = width
        return nn.Sequential(*layers), before
