"""Networks of ReLU layers without bias, and the squared-error flows of such a network: what both have in common."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.theory._model import AbstractDynamics
from collapselab.theory._problem import State


def forward(weights: Sequence[Tensor], inputs: Tensor) -> list[Tensor]:
    """Layers of ReLU without bias, the last one linear.

    Args:
        weights: (out, in) each, the first layer first.
        inputs: (n, p).

    Returns:
        The inputs, and what each layer gives; of hidden layers after the ReLU.
    """
    passed = [inputs]
    for place, weight in enumerate(weights, 1):
        z = passed[-1] @ weight.T
        passed.append(torch.relu(z) if place < len(weights) else z)
    return passed


def pullback(weights: Sequence[Tensor], inputs: Tensor, upstream: Tensor) -> list[Tensor]:
    r"""Derivative of the sum of outputs times given numbers by each layer, $\sum_ng_n\cdot\partial f_n/\partial W_l$.

    Args:
        weights: (out, in) each, the first layer first.
        inputs: (n, p).
        upstream: (n, k), g.

    Returns:
        One matrix a layer.
    """
    passed, back, slopes = forward(weights, inputs), upstream, []
    for place in reversed(range(len(weights))):
        slopes.append(back.T @ passed[place])
        back = (back @ weights[place]) * (passed[place] > 0)
    return slopes[::-1]


@dataclass(frozen=True, eq=False)
class SquareLossDynamics(AbstractDynamics):
    """Base of both flows: a network of ReLU layers without bias, samples and targets.

    A course can slide along a kink: a sample that wants a unit's output lower pushes it to zero, and others push it
    back as soon as that sample has lost its say. `integrate` takes this for stiffness and stalls; small steps of one
    size go on.

    Attributes:
        inputs: (n, p) samples.
        targets: (n, k): +1 and -1 with one output, or one-hot rows.
        hidden: Units of the hidden layers.
        decay: lambda >= 0, of a squared norm, not of one half of it.
    """

    inputs: Tensor
    targets: Tensor
    hidden: tuple[int, ...]
    decay: float

    def __post_init__(self) -> None:
        """Check the settings."""
        inputs = checks.matrix(self.inputs, "inputs", axes="(samples, inputs)").double()
        targets = checks.matrix(self.targets, "targets", axes="(samples, outputs)").double()
        if len(inputs) != len(targets):
            raise InputError(f"targets must be one a sample: {len(inputs)} samples, {len(targets)} targets")
        if isinstance(self.hidden, (int, str)) or len(self.hidden) == 0:
            raise InputError(f"hidden must be the units of at least one layer, got {self.hidden!r}")
        for place, units in enumerate(self.hidden):
            checks.whole(units, f"hidden[{place}]", at_least=1)
        checks.real(self.decay, "decay", at_least=0)
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "targets", targets)

    @property
    def layers(self) -> int:
        """L, degree of homogeneity."""
        return len(self.hidden) + 1

    def weights(self, x: State) -> list[Tensor]:
        """The matrices of the layers.

        Args:
            x: A state.

        Returns:
            The first layer first.
        """
        return [x[f"layer_{place}"] for place in range(1, self.layers + 1)]

    def outputs(self, x: State) -> Tensor:
        """What the layers make of the samples; without the norm, where that is an entry of its own.

        Args:
            x: A state.

        Returns:
            (n, k).
        """
        return forward(self.weights(x), self.inputs)[-1]

    def balance(self, x: State) -> Tensor:
        """Of every hidden unit, the squared norm of its incoming weights minus that of its outgoing ones.

        Args:
            x: A state.

        Returns:
            (units,), layer after layer.
        """
        weights = self.weights(x)
        return torch.cat([into.square().sum(1) - out.square().sum(0) for into, out in pairwise(weights)])

    def _draw_layers(self, generator: torch.Generator) -> State:
        sizes = (self.inputs.shape[1], *self.hidden, self.targets.shape[1])
        return {
            f"layer_{place}": torch.randn(after, before, generator=generator, dtype=torch.float64) / math.sqrt(before)
            for place, (before, after) in enumerate(pairwise(sizes), 1)
        }

    @classmethod
    def _examples(cls) -> "tuple[SquareLossDynamics, ...]":
        signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(3)[:, None]
        one_hot = torch.eye(3, dtype=torch.float64).repeat(2, 1)

        def inputs(seed: int, size: int) -> Tensor:
            draw = torch.Generator().manual_seed(seed)
            return 0.25 * torch.randn(6, size, generator=draw, dtype=torch.float64)

        # Small inputs, and seeds for which no unit comes to its kink in the first unit of time.
        return (
            cls(inputs(42, 4), signs, (5,), 0.05),
            cls(inputs(17, 5), one_hot, (6, 4), 0.02),
            cls(inputs(9, 5), one_hot, (6,), 0.0),
        )
