"""Multilayer perceptron."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from collapselab.core import checks
from collapselab.training.networks._layers import check_widths, stages
from collapselab.training.networks._spec import Network, network

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "identity": nn.Identity}


@network("mlp", label="multilayer perceptron", source="zhu2021")
@dataclass(frozen=True)
class MLP(Network):
    """Linear layers, each followed by batch normalisation and ReLU; the last hidden layer makes the features.

    Every hidden layer is a stage, ``layer1`` and so on. Weights start as in torch: uniform, variance 1 / (3 inputs).

    Attributes:
        widths: Units of each hidden layer; the last is the number of features.
        batch_norm: Whether to normalise over the batch before each activation.
        bias: Whether the linear layers have a bias. Without bias and batch normalisation the network is homogeneous.
        activation: What follows each linear layer: ``relu``, or ``identity`` for a deep linear network.
        last_activation: Whether the features are activated too; if not, they can be negative, as a fixed classifier
            outside the positive orthant asks for.
    """

    default_widths: ClassVar[tuple[int, ...]] = (256, 256, 64)

    widths: tuple[int, ...] = default_widths
    batch_norm: bool = True
    bias: bool = True
    activation: Literal["relu", "identity"] = "relu"
    last_activation: bool = True

    def __post_init__(self) -> None:
        """Check the fields."""
        check_widths(self.widths)
        checks.flag(self.batch_norm, "batch_norm")
        checks.flag(self.bias, "bias")
        checks.flag(self.last_activation, "last_activation")
        checks.one_of(self.activation, "activation", _ACTIVATIONS)

    def body(self, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
        """A freshly initialised body; draws from torch's global generator.

        Args:
            shape: Shape of one input; flattened.

        Returns:
            Inputs to features (n, d), on the CPU; and d.
        """
        named: dict[str, nn.Module] = {}
        before = math.prod(shape)
        for position, width in enumerate(self.widths, start=1):
            layers: list[nn.Module] = [nn.Flatten()] if position == 1 else []
            layers.append(nn.Linear(before, width, bias=self.bias))
            if self.batch_norm:
                layers.append(nn.BatchNorm1d(width))
            if self.last_activation or position < len(self.widths):
                layers.append(_ACTIVATIONS[self.activation]())
            named[f"layer{position}"] = nn.Sequential(*layers)
            before = width
        return stages(named), before
