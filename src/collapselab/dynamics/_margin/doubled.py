"""A network computed in float64, whatever the type of its weights: margins in the thousands need their last digits."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from collapselab.dynamics._tangent import fixed, trained


@dataclass(frozen=True, eq=False)
class Doubled:
    """Copies of all that a network is made of, in float64; the network itself is never touched.

    Attributes:
        network: The network, in its mode.
        weights: Trained parameters by name.
        rest: Frozen parameters and buffers by name.
    """

    network: nn.Module
    weights: Mapping[str, Tensor]
    rest: Mapping[str, Tensor]

    @classmethod
    def of(cls, network: nn.Module) -> "Doubled":
        """Copy a network.

        Args:
            network: Inputs (n, ...) to logits (n, k).

        Returns:
            The copy.
        """
        return cls(network, _copied(trained(network)), _copied(fixed(network)))

    @property
    def norm(self) -> float:
        """Norm of all trained parameters together, rho."""
        return float(norm_of(self.weights))

    def scaled(self, factor: float) -> "Doubled":
        """The network with all trained parameters times a number.

        Args:
            factor: The number.

        Returns:
            A new copy.
        """
        return Doubled(self.network, {name: factor * one for name, one in self.weights.items()}, self.rest)

    def logits(self, x: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """What the network makes of inputs.

        Args:
            x: Inputs (n, ...).
            weights: Trained parameters instead of its own.

        Returns:
            (n, k) in float64.
        """
        own = self.weights if weights is None else weights
        return functional_call(
            self.network, (dict(own), dict(self.rest)), (x.double() if x.is_floating_point() else x,)
        )


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Eval mode for a while; every module gets its flag back.

    Args:
        network: Any module.

    Yields:
        Nothing.
    """
    flags = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, flag in flags:
            module.training = flag


def norm_of(parts: Mapping[str, Tensor]) -> Tensor:
    """Norm of several tensors as one vector.

    Args:
        parts: Tensors by name.

    Returns:
        0-d.
    """
    return torch.stack([part.square().sum() for part in parts.values()]).sum().sqrt()


def dot(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Tensor:
    """Inner product of several tensors as one vector.

    Args:
        one: Tensors by name.
        other: As many of the same names and shapes.

    Returns:
        0-d.
    """
    return torch.stack([(part * other[name]).sum() for name, part in one.items()]).sum()


def _copied(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: part.clone() if not part.is_floating_point() else part.double().clone() for name, part in parts.items()
    }
