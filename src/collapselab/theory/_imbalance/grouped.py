r"""Cross-entropy of unequal classes in the few numbers that are left when classes of one kind are alike.

Classes come in groups of K_g. Averaging over all renamings within groups raises neither the loss nor the nuclear norm,
so that logits, times $1/s_g$ for a sample of group g, may be taken as a matrix Z of blocks
$Z_{gg}=a_g\,\Pi+\tfrac{B_{gg}}{K_g}J$ and $Z_{gh}=\tfrac{B_{gh}}{\sqrt{K_gK_h}}J$; rows are classes of samples. Its
nuclear norm is $\sum_g(K_g-1)|a_g|+\|B\|_*$. A number added to all logits of a sample changes nothing, hence
$BK^{1/2}=0$ at an optimum, and B has rank G-1 at most.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Logits(NamedTuple):
    """The numbers that fix a matrix of blocks, and a bias.

    Attributes:
        differences: a, (g,).
        shared: B, (g, g).
        bias: (g,), one number for each class of a group.
    """

    differences: Array
    shared: Array
    bias: Array


class Slopes(NamedTuple):
    """Loss and its derivatives at some logits.

    Attributes:
        value: The weighted mean of cross-entropy.
        wrong: (g, g) probability that a sample of a group gives to all wrong classes of another one together.
        differences: (g,) derivative by a.
        shared: (g, g) derivative by B, a block of the gradient by Z of the same form.
        bias: (g,) derivative by the bias.
    """

    value: Array | float
    wrong: Array
    differences: Array
    shared: Array
    bias: Array


@dataclass(frozen=True, eq=False)
class Grouped:
    """Groups of classes that are alike, under a budget of the nuclear norm or a price for it.

    Attributes:
        sizes: (g,) classes in each group.
        masses: (g,) weight of each group in the mean, of sum 1 unless a threshold asks for another scale; or (m, g) for
            many programs at once.
        scales: (g,) s, what logits are divided by in Z.
        budget: Largest nuclear norm of Z; None where it has a price.
        price: What a unit of the nuclear norm costs; not used beside a budget.
        bias: Whether there is one.
        decay_bias: Coefficient of one half of its square.
        apart: (g,) whether classes of a group may differ at all.
    """

    sizes: Array
    masses: Array
    scales: Array
    budget: float | None = None
    price: float = 0.0
    bias: bool = False
    decay_bias: float = 0.0
    apart: Array | None = None

    @property
    def num_groups(self) -> int:
        """G."""
        return len(self.sizes)

    @cached_property
    def others(self) -> Array:
        """(g,) K_g - 1, or 0 where classes of a group do not differ."""
        return np.where(self.apart, self.sizes - 1, 0.0) if self.apart is not None else self.sizes - 1

    @cached_property
    def inverse(self) -> Array:
        """(g,) 1 / (K_g - 1), or 0 where classes of a group do not differ."""
        return np.where(self.others > 0, 1 / np.maximum(self.others, 1), 0.0)

    @cached_property
    def log_many(self) -> Array:
        """(g, g) logarithm of the number of wrong classes of each group."""
        with np.errstate(divide="ignore"):
            return np.log(self.sizes - np.eye(self.num_groups))

    @cached_property
    def cross(self) -> Array:
        """(g, g) slope of a logit by its entry of B."""
        roots = np.sqrt(self.sizes)
        return self.scales[:, None] / (roots[:, None] * roots)

    @cached_property
    def own(self) -> Array:
        """(g, g) slope of the difference of a wrong logit and the own one by a, without its sign."""
        wide = np.repeat((self.scales * (1 - 1 / self.sizes))[:, None], self.num_groups, 1)
        np.fill_diagonal(wide, self.scales)
        return wide

    @cached_property
    def diagonal(self) -> Array:
        """(g,) slope of the own logit by the diagonal of B."""
        return self.scales / self.sizes

    def slopes(self, at: Logits) -> Slopes:
        """Loss and derivatives.

        Args:
            at: Where.

        Returns:
            Value and slopes.
        """
        value, wrong = self.probabilities(self.away(at))
        return self.of_probabilities(float(value), wrong)

    def away(self, at: Logits) -> Array:
        """Wrong logits minus own ones, linear in what they are made of.

        Args:
            at: The logits.

        Returns:
            (g, g) one number for all wrong classes of a group; rows are groups of samples.
        """
        found = self.cross * at.shared - (self.diagonal * at.shared.diagonal())[:, None]
        found -= self.own * at.differences[:, None]
        return found + at.bias - at.bias[:, None] if self.bias else found

    def probabilities(self, away: Array) -> tuple[Array, Array]:
        """Loss and probabilities of what is wrong, which keep their digits where they are small.

        Args:
            away: (..., g, g) logit of a wrong class of each group minus the own one; rows are groups of samples.

        Returns:
            The loss (...), and (..., g, g) the probability of all wrong classes of a group together.
        """
        away = away + self.log_many
        top = np.maximum(away.max(-1), 0.0)
        terms = np.exp(away - top[..., None])
        missed = terms.sum(-1)
        rest = np.exp(-top)  # the own class, 1 where it is the likeliest
        losses = top + np.log1p(missed - (1 - rest))
        return (self.masses * losses).sum(-1), terms / (missed + rest)[..., None]

    def of_probabilities(self, value: Array | float, wrong: Array) -> Slopes:
        """Derivatives from probabilities.

        Args:
            value: The loss.
            wrong: (g, g) probability of all wrong classes of each group.

        Returns:
            The slopes.
        """
        return self.of_masses(value, wrong, self.masses[:, None] * wrong)

    def of_masses(self, value: Array | float, wrong: Array, moved: Array) -> Slopes:
        """What the adjoint of `away` makes of derivatives by its entries.

        Args:
            value: The loss.
            wrong: (g, g) probabilities.
            moved: (g, g) derivatives by the entries.

        Returns:
            The slopes.
        """
        shared, every = self.cross * moved, moved.sum(1)
        np.fill_diagonal(shared, self.diagonal * (moved.diagonal() - every))
        return Slopes(value, wrong, -(self.own * moved).sum(1), shared, moved.sum(0) - every)

    def steepest(self, slopes: Slopes) -> float:
        """Spectral norm of the gradient by Z.

        Args:
            slopes: Derivatives.

        Returns:
            The largest singular value, from those of its blocks.
        """
        return max(float(self.steepness(slopes).max()), _spectral(slopes.shared))

    def steepness(self, slopes: Slopes) -> Array:
        """Singular value of the gradient along differences within each group.

        Args:
            slopes: Derivatives.

        Returns:
            (g,) 0 for groups whose classes do not differ.
        """
        return -slopes.differences * self.inverse

    def norm(self, at: Logits) -> float:
        """Nuclear norm of Z.

        Args:
            at: The logits.

        Returns:
            The sum over its blocks.
        """
        inside = float(((self.sizes - 1) * np.abs(at.differences)).sum())
        return inside + float(np.linalg.svd(at.shared, compute_uv=False).sum())

    def objective(self, at: Logits) -> float:
        """What is minimised.

        Args:
            at: The logits.

        Returns:
            The loss, and prices where there are any.
        """
        value = float(self.slopes(at).value)
        if self.budget is None:
            value += self.price * self.norm(at)
        return value + 0.5 * self.decay_bias * float(self.sizes @ at.bias**2)

    def inner(self, at: Logits, slopes: Slopes) -> float:
        """Inner product of Z and the gradient by it.

        Args:
            at: The logits.
            slopes: Derivatives there.

        Returns:
            A number.
        """
        return float(at.differences @ slopes.differences + (at.shared * slopes.shared).sum())


def _spectral(matrix: Array) -> float:
    if len(matrix) == 1:
        return abs(float(matrix[0, 0]))
    if len(matrix) == 2:
        a, b, c, d = map(float, matrix.ravel())
        return (math.hypot(a + d, b - c) + math.hypot(a - d, b + c)) / 2
    return float(np.linalg.svd(matrix, compute_uv=False)[0])
