"""What balanced problems whose optimum is a simplex ETF have in common: one margin fixes everything."""

import math
from abc import abstractmethod

import torch

from collapselab.core.errors import InputError
from collapselab.geometry import simplex_etf
from collapselab.theory._blocks import BlockMatrix
from collapselab.theory._geometry import Geometry
from collapselab.theory._model import UnconstrainedLandscape
from collapselab.theory._problem import Problem, State


class SimplexLandscape(UnconstrainedLandscape):
    """Base of models with a loss of softmax probabilities, whose minimisers are simplex ETFs that differ in size only.

    Such a loss does not change when a number is added to all logits of a sample. Balanced classes, d >= K-1, both
    decays above 0, features of either sign.
    """

    def __post_init__(self) -> None:
        """Check that the answer is known."""
        refuse_unless_simplex(self.problem)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        return (
            "All classes have the same number of samples.",
            "There are at least K - 1 features, and they can take any value.",
            "Features and head are decayed; the bias is zero, free or decayed.",
        )

    @property
    def strength(self) -> float:
        r"""$c=\sqrt{\lambda_W\lambda_Hn}$, the only combination of settings that the logits depend on."""
        return math.sqrt(self.problem.decay_head * self.problem.decay_features * self.problem.per_class)

    @property
    def benign(self) -> bool:
        """True for convex losses: a critical point has rank below d, with a way down beside it, or rank K-1.

        Weights of a critical point sum to zero over the classes. If they have rank below d and are not optimal,
        `escape_direction` leads down. If they have rank K-1 = d, stationarity alone makes all singular values of the
        gradient equal to the threshold of the certificate, so that they are optimal.
        """
        return True

    @property
    @abstractmethod
    def margin(self) -> float:
        """The logit of a sample's own class minus that of another at every minimiser; 0 where everything is zero."""

    @property
    def squared_norm(self) -> float:
        r"""$\|W\|_F^2$ at every minimiser; the features have $\lambda_W/\lambda_H$ times as much."""
        return (self.problem.num_classes - 1) * self.margin / balance(self.problem)

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        """The simplex of the optimal size, features at their class means.

        Args:
            generator: Turns it at random.

        Returns:
            Features and head.
        """
        return simplex_state(self.problem, self.margin, generator)

    def geometry(self) -> Geometry:
        """Inner products at every minimiser; of a free bias the one without mean.

        Returns:
            The geometry.
        """
        return simplex_geometry(self.problem, self.margin)


def refuse_unless_simplex(problem: Problem) -> None:
    """Check what all of these models assume.

    Args:
        problem: Sizes and decay.

    Raises:
        InputError: If classes differ in size, there are fewer than K-1 features or they cannot be negative, or a decay
            is 0.
    """
    problem.per_class  # noqa: B018 - refuses unequal classes
    if problem.num_features < problem.num_classes - 1:
        raise InputError(f"num_features must be at least {problem.num_classes - 1}, got {problem.num_features}")
    if problem.decay_head == 0 or problem.decay_features == 0:
        raise InputError("decay_head and decay_features must be above 0 for a minimum that is attained, got 0")
    if problem.nonnegative:
        raise InputError("nonnegative must be false: the answer with non-negative features is not known, got true")


def balance(problem: Problem) -> float:
    r"""$s=\sqrt{\lambda_W/(\lambda_Hn)}$, class means divided by class vectors at balanced optima.

    Args:
        problem: Balanced classes; decays above 0.

    Returns:
        The ratio.
    """
    return math.sqrt(problem.decay_head / (problem.decay_features * problem.per_class))


def simplex_state(problem: Problem, margin: float, generator: torch.Generator | None, *, bias: float = 0.0) -> State:
    r"""The balanced factors of logits $a\,\Pi_K\otimes 1_n^T$ with the margin a, features at their class means.

    Args:
        problem: Balanced classes; d >= K-1.
        margin: a, the logit of a sample's own class minus that of another.
        generator: Turns it at random; None for a fixed position.
        bias: Entry of the bias, where there is one.

    Returns:
        Features and head: $w_k=\sqrt{\rho/K}\,m_k$ and $h_{k,i}=s\,w_k$ with $s=\sqrt{\lambda_W/(\lambda_Hn)}$.
    """
    k, ratio = problem.num_classes, balance(problem)
    length = math.sqrt(margin * (k - 1) / (k * ratio))
    weight = length * simplex_etf(k, problem.num_features, generator=generator)
    state = {"h": problem.spread(ratio * weight), "weight": weight}
    if problem.bias != "none":
        state["bias"] = torch.full((k,), bias, dtype=torch.float64)
    return state


def simplex_geometry(problem: Problem, margin: float, *, bias: float = 0.0) -> Geometry:
    """Inner products in `simplex_state`.

    Args:
        problem: Balanced classes.
        margin: The logit of a sample's own class minus that of another.
        bias: Entry of the bias.

    Returns:
        The geometry.
    """
    k, ratio = problem.num_classes, balance(problem)
    logits = BlockMatrix.uniform(k, margin * (1 - 1 / k), -margin / k)
    return Geometry(logits.scaled(1 / ratio), logits.scaled(ratio), logits, (bias,))


def proportional_geometry(num_classes: int, energy: float, ratio: float) -> Geometry:
    """Inner products where class vectors are a simplex ETF and every class mean is a multiple of its class vector.

    Args:
        num_classes: K.
        energy: Squared norm of a class vector.
        ratio: Class means divided by class vectors.

    Returns:
        The geometry, without bias.
    """
    rows = BlockMatrix.uniform(num_classes, energy, -energy / (num_classes - 1))
    return Geometry(rows, rows.scaled(ratio**2), rows.scaled(ratio), (0.0,))
