"""Learning in deep linear networks (Saxe et al. 2014): a mode by itself, and the whole gradient flow of the layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError, NotKnown
from collapselab.theory._deep.linear_modes import mode_clock, mode_trajectory, mode_velocity
from collapselab.theory._model import AbstractDynamics, model
from collapselab.theory._problem import State


def _checked_targets(targets: Sequence[float]) -> None:
    if isinstance(targets, (int, float, str)) or len(targets) == 0:
        raise InputError(f"targets must be at least one number, got {targets!r}")
    for k, target in enumerate(targets):
        checks.real(target, f"targets[{k}]", above=0)


@model("linear_mode", label="modes of a deep linear network", source="saxe2014")
@dataclass(frozen=True)
class LinearMode(AbstractDynamics):
    r"""Modes of a deep linear network, each learnt by itself: $\dot u_i=L\,u_i^{2-2/L}(s_i-u_i)$, small ones last.

    Attributes:
        targets: $s_i$, singular values of the correlation of outputs with whitened inputs.
        layers: L.
    """

    targets: tuple[float, ...]
    layers: int = 2

    def __post_init__(self) -> None:
        """Check the settings."""
        _checked_targets(self.targets)
        checks.whole(self.layers, "layers", at_least=1)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the facts to be ones."""
        return (
            "Inputs are whitened, and the loss is half the squared error.",
            "All layers start with the same singular values, aligned with the modes of the target.",
            "Strengths start above 0 and below their targets, and there is no decay.",
        )

    def drift(self, t: float, x: State) -> State:
        """The velocity.

        Args:
            t: Time.
            x: ``strength`` (m,).

        Returns:
            Time derivative of the strength.
        """
        del t
        return {"strength": mode_velocity(x["strength"], self._goals, self.layers)}

    def draw(self, generator: torch.Generator) -> State:
        """Strengths between a tenth and half of their targets.

        Args:
            generator: What they are drawn from.

        Returns:
            ``strength`` (m,).
        """
        share = 0.1 + 0.4 * torch.rand(len(self.targets), generator=generator, dtype=torch.float64)
        return {"strength": share * self._goals}

    def conserved(self, x: State) -> dict[str, Tensor]:
        """How far every mode is ahead of the first, in time: of two modes the lag stays.

        Args:
            x: ``strength`` (m,).

        Returns:
            ``lag`` (m - 1,); nothing where there is one mode.
        """
        if len(self.targets) == 1:
            return {}
        clock = mode_clock(x["strength"], self._goals, layers=self.layers)
        return {"lag": clock[1:] - clock[0]}

    def solution(self, t: float, start: State) -> State:
        """The exact solution for one and two layers.

        Args:
            t: Time.
            start: ``strength`` (m,) at time 0.

        Returns:
            ``strength`` at time t.

        Raises:
            NotKnown: For more layers, where only the time that a strength takes is known: see `mode_time`.
        """
        if self.layers > 2:
            raise NotKnown("for three layers or more only the inverse is known: see mode_time, mode_trajectory")
        pairs = zip(start["strength"].tolist(), self.targets, strict=True)
        ends = [mode_trajectory(u, s, [t], layers=self.layers) for u, s in pairs]
        return {"strength": torch.cat(ends)}

    @property
    def _goals(self) -> Tensor:
        return torch.tensor(self.targets, dtype=torch.float64)

    @classmethod
    def examples(cls) -> Sequence["LinearMode"]:
        """One, two, three and four layers.

        Returns:
            Dynamics.
        """
        goals = (1.0, 0.6, 0.3)
        return (cls((1.5,), 1), cls((2.0, *goals), 2), cls(goals, 3), cls(goals, 4))


@model("linear_network_flow", label="gradient flow of a deep linear network", source="saxe2014")
@dataclass(frozen=True)
class LinearNetworkFlow(AbstractDynamics):
    r"""Gradient flow of $\tfrac12\|W_L\cdots W_1-R\|^2$: what one layer has more than the next it keeps for ever.

    $W_{l+1}^TW_{l+1}-W_lW_l^T$ does not change. From layers that are balanced and aligned with the target, every mode
    follows `LinearMode`.

    Attributes:
        targets: Singular values of R, which is diagonal.
        layers: L >= 2.
    """

    targets: tuple[float, ...]
    layers: int = 2

    def __post_init__(self) -> None:
        """Check the settings."""
        _checked_targets(self.targets)
        checks.whole(self.layers, "layers", at_least=2)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the facts to be ones."""
        return ("Inputs are whitened, and the loss is half the squared error.", "There is no decay.")

    def drift(self, t: float, x: State) -> State:
        """The velocity.

        Args:
            t: Time.
            x: ``layer_1`` to ``layer_L``, (m, m) each; the first acts first.

        Returns:
            Time derivative of each layer.
        """
        del t
        factors = list(x.values())
        eye = torch.eye(len(self.targets), dtype=torch.float64)
        error = torch.diag(torch.tensor(self.targets, dtype=torch.float64)) - product(factors)
        moves = {}
        for place, name in enumerate(x):
            before, after = product([eye, *factors[:place]]), product([eye, *factors[place + 1 :]])
            moves[name] = after.T @ error @ before.T
        return moves

    def draw(self, generator: torch.Generator) -> State:
        """Normal weights, not balanced.

        Args:
            generator: What they are drawn from.

        Returns:
            The layers.
        """
        m = len(self.targets)
        return {
            f"layer_{place + 1}": 0.5 * torch.randn(m, m, generator=generator, dtype=torch.float64)
            for place in range(self.layers)
        }

    def balanced(self, strengths: Sequence[float]) -> State:
        """Layers of equal strength, aligned with the target.

        Args:
            strengths: Products of the singular values, one a target.

        Returns:
            The layers.
        """
        factor = torch.diag(torch.tensor(tuple(strengths), dtype=torch.float64) ** (1 / self.layers))
        return {f"layer_{place + 1}": factor.clone() for place in range(self.layers)}

    def conserved(self, x: State) -> dict[str, Tensor]:
        """What each layer's inputs have more than the outputs of the one before.

        Args:
            x: The layers.

        Returns:
            ``balance_l`` (m, m) for each pair.
        """
        factors = list(x.values())
        pairs = enumerate(pairwise(factors), 1)
        return {f"balance_{k}": after.T @ after - before @ before.T for k, (before, after) in pairs}

    @classmethod
    def examples(cls) -> Sequence["LinearNetworkFlow"]:
        """Two, three and four layers.

        Returns:
            Dynamics.
        """
        return (cls((2.0, 1.0, 0.5), 2), cls((1.5, 0.8), 3), cls((1.2, 0.7), 4))


def product(factors: Sequence[Tensor]) -> Tensor:
    """The map of layers one after the other.

    Args:
        factors: Matrices; the first acts first.

    Returns:
        Their product, the last on the left.
    """
    return reduce(lambda done, factor: factor @ done, factors)
