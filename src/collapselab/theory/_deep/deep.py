"""Products of decayed factors under squared error: each direction of the labels is fitted in full or not at all."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.geometry import orthogonal_frame
from collapselab.geometry.configurations import canonical_simplex
from collapselab.theory._balanced_squares.orthogonal import nonnegative_frame
from collapselab.theory._balanced_squares.roots import last_that_holds
from collapselab.theory._problem import Problem, State


def existence_threshold(num_factors: int) -> float:
    r"""The strength of decay up to which a product of decayed factors has a critical point other than zero.

    The largest $q$ with a root of $u^{L-2}(1-u)^L=q$, where u is the fitted part of a label and
    $q=K^Ln\prod_i\lambda_i$: at $u=\frac{L-2}{2(L-1)}$.

    Args:
        num_factors: L, of head, inner layers and features together; at least 2.

    Returns:
        The threshold of q.

    Example:
        >>> existence_threshold(3) == 27 / 256
        True
    """
    n = checks.whole(num_factors, "num_factors", at_least=2)
    return _strength_of(_least_fit(n), n)


def globality_threshold(num_factors: int) -> float:
    r"""The strength of decay up to which that critical point is no higher than zero.

    $\frac{(L-2)^{L-2}}{(L-1)^{2(L-1)}}$, at $u=\frac{L-2}{L-1}$: 1 for two factors, 1/16 for three.

    Args:
        num_factors: L, of head, inner layers and features together; at least 2.

    Returns:
        The threshold of q.

    Example:
        >>> globality_threshold(3)
        0.0625
    """
    n = checks.whole(num_factors, "num_factors", at_least=2)
    return _strength_of((n - 2) / (n - 1), n)


def fitted_part(strength: float, num_factors: int) -> float | None:
    r"""The larger root of $u^{L-2}(1-u)^L=q$: what part of a label is fitted where it is fitted at all.

    Args:
        strength: q.
        num_factors: L.

    Returns:
        u, or None beyond `existence_threshold`.
    """
    least = _least_fit(num_factors)
    if strength > _strength_of(least, num_factors):
        return None
    return last_that_holds(lambda u: _strength_of(u, num_factors) >= strength, least, 1.0)


def _strength_of(fit: float, num_factors: int) -> float:
    return fit ** (num_factors - 2) * (1 - fit) ** num_factors


def _least_fit(num_factors: int) -> float:
    return (num_factors - 2) / (2 * (num_factors - 1))


@dataclass(frozen=True)
class DeepDirections:
    r"""The directions of the labels, and the factors that fit some of them.

    Without bias a class with n samples has the singular value $\sqrt n$ and a direction of its own; with a free bias
    balanced classes have K-1 directions. For given product, decay is least if all factors have the same singular
    vectors and $\lambda_i\sigma_i^2$ is the same for all: $\tfrac nN u(1-u)$ where the part u is fitted. The objective
    is then a sum over directions of $\frac n{2N}(1-u)\bigl(1+(L-1)u\bigr)$.

    Attributes:
        problem: Sizes and decay of head and features.
        decay_inner: Decay of the inner layers, the one next to the features first.
    """

    problem: Problem
    decay_inner: tuple[float, ...]

    @property
    def decays(self) -> tuple[float, ...]:
        """Of features, inner layers and head, in this order."""
        return (self.problem.decay_features, *self.decay_inner, self.problem.decay_head)

    @property
    def num_factors(self) -> int:
        """L."""
        return len(self.decays)

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Squared singular value of the labels in each direction, largest first."""
        ordered = tuple(sorted(self.problem.counts, reverse=True))
        return ordered if self.problem.bias == "none" else ordered[1:]

    def strength(self, count: int) -> float:
        r"""$q=N^Ln^{1-L}\prod_i\lambda_i$.

        Args:
            count: n, the squared singular value of the direction.

        Returns:
            q; $K^Ln\prod_i\lambda_i$ for balanced classes.
        """
        n, total = self.num_factors, self.problem.num_samples
        return math.prod(total * decay for decay in self.decays) / count ** (n - 1)

    def fit(self, count: int) -> float | None:
        """The part that is fitted of a direction, if it is.

        Args:
            count: n.

        Returns:
            u, or None where decay is too strong.
        """
        return fitted_part(self.strength(count), self.num_factors)

    @cached_property
    def existing(self) -> int:
        """How many directions can be fitted; they are the first."""
        return sum(self.fit(count) is not None for count in self.counts)

    @cached_property
    def best(self) -> int:
        """How many directions are fitted at the global minimiser."""
        threshold = globality_threshold(self.num_factors)
        return sum(self.strength(count) <= threshold for count in self.counts)

    def value(self, fitted: int) -> float:
        """The objective where the first directions are fitted.

        Args:
            fitted: How many.

        Returns:
            The value.
        """
        parts = []
        for place, count in enumerate(self.counts):
            u = (self.fit(count) or 0.0) if place < fitted else 0.0
            parts.append(count * (1 - u) * (1 + (self.num_factors - 1) * u))
        return math.fsum(parts) / (2 * self.problem.num_samples)

    def sizes(self, fitted: int, decay: float) -> Tensor:
        """Singular values of a factor.

        Args:
            fitted: How many directions are fitted.
            decay: Of the factor.

        Returns:
            (r,).
        """
        fits = [(count, self.fit(count) or 0.0) for count in self.counts[:fitted]]
        squares = [count * u * (1 - u) / (self.problem.num_samples * decay) for count, u in fits]
        return torch.tensor(squares, dtype=torch.float64).sqrt()

    def state(self, fitted: int, generator: torch.Generator | None = None, *, nonnegative: bool = False) -> State:
        """Factors that fit the first directions.

        Args:
            fitted: How many.
            generator: Turns each space between two factors at random.
            nonnegative: Whether what the head sees must not be negative.

        Returns:
            ``h``, ``inner1`` ..., ``weight`` and, where there is one, ``bias``.
        """
        d, inner = self.problem.num_features, len(self.decay_inner)
        frames = [_frame(fitted, d, generator, nonnegative=nonnegative and j == inner) for j in range(inner + 1)]
        sizes = [self.sizes(fitted, decay) for decay in self.decays]
        left = self._left()[:, :fitted]
        roots = torch.tensor(self.counts[:fitted], dtype=torch.float64).sqrt()
        state = {"h": self.problem.spread((left * sizes[0] / roots) @ frames[0])}
        for j in range(inner):
            state[f"inner{j + 1}"] = frames[j + 1].T * sizes[j + 1] @ frames[j]
        state["weight"] = left * sizes[-1] @ frames[-1]
        if self.problem.bias == "free":
            k = self.problem.num_classes
            state["bias"] = torch.full((k,), 1 / k, dtype=torch.float64)
        return state

    def _left(self) -> Tensor:
        """(k, modes) directions over the classes."""
        k = self.problem.num_classes
        if self.problem.bias == "free":
            return canonical_simplex(k) * math.sqrt(1 - 1 / k)
        order = sorted(range(k), key=lambda label: -self.problem.counts[label])
        return torch.eye(k, dtype=torch.float64)[:, order]


def _frame(rows: int, columns: int, generator: torch.Generator | None, *, nonnegative: bool) -> Tensor:
    if rows == 0:
        return torch.zeros(0, columns, dtype=torch.float64)
    frame_of = nonnegative_frame if nonnegative else orthogonal_frame
    return frame_of(rows, columns, generator=generator)


def through(h: Tensor, layers: Sequence[Tensor]) -> Tensor:
    """Features through linear layers.

    Args:
        h: (n, d).
        layers: (d, d) each, the first one first.

    Returns:
        (n, d).
    """
    for layer in layers:
        h = h @ layer.T
    return h
