"""Squared error averaged over classes, with more weight on the true one (Hui & Belkin 2021), on free features."""

import dataclasses
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.theory._answer import Answer
from collapselab.theory._balanced_squares.balanced import SignedLevels
from collapselab.theory._balanced_squares.separate import SeparateClasses
from collapselab.theory._geometry import Geometry
from collapselab.theory._model import UnconstrainedLandscape, model
from collapselab.theory._problem import Problem, State
from collapselab.theory.squared_error import SquaredErrorFeatures, refuse_without_decay, vanishing


def half_sum(problem: Problem) -> Problem:
    r"""The decay that does beside half the sum over classes what the problem's does beside the mean over classes.

    The mean is $\tfrac2K$ times the half sum, so that decay counts $\tfrac K2$ times as much beside it, and the
    minimum is $\tfrac2K$ times as large.

    Args:
        problem: Sizes and decay beside the mean over classes.

    Returns:
        A problem with all decays times K / 2.

    Example:
        >>> half_sum(Problem.balanced(10, 5, 16, decay_head=1e-3, decay_features=2e-3)).decay_features
        0.01
    """
    factor = problem.num_classes / 2
    decays = {name: factor * getattr(problem, name) for name in ("decay_head", "decay_features", "decay_bias")}
    return dataclasses.replace(problem, **decays)


class _MeanOverClasses(UnconstrainedLandscape):
    """Base of both: an answer for half the sum over classes, at K / 2 times the decay."""

    @cached_property
    @abstractmethod
    def answer(self) -> Answer:
        """What is known for half the sum over classes, at K / 2 times the decay."""

    @property
    def benign(self) -> bool:
        """True for features of either sign; within bounds a unit that is zero for all samples can stay so."""
        return not self.problem.nonnegative

    @property
    def minimum(self) -> float:
        """The value at every minimiser."""
        return 2 / self.problem.num_classes * self.answer.minimum

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        """A minimiser, features at their class means.

        Args:
            generator: Turns it at random; non-negative features deal their coordinates to the classes.

        Returns:
            Features and head.
        """
        return self.answer.state(self.problem, generator)

    def geometry(self) -> Geometry | None:
        """Inner products at every minimiser.

        Returns:
            The geometry; None where features are too few for all directions that are equally good.
        """
        return self.answer.geometry

    def thresholds(self) -> dict[str, float]:
        r"""Decays from which on everything but the bias is zero; for balanced classes c and what it must be below.

        Here $c=\tfrac{K^2}2\sqrt{n\lambda_W\lambda_H}$.

        Returns:
            Name to number.
        """
        return vanishing(half_sum(self.problem), self.answer.reach, 2 / self.problem.num_classes)


@model("mean_squared_error", label="squared error, mean over classes, on unconstrained features", source="tirer2022")
@dataclass(frozen=True)
class MeanSquaredErrorFeatures(_MeanOverClasses):
    r"""Squared distance of logits to one-hot labels averaged over classes, as `torch.nn.MSELoss` does it.

    All that `mse` says holds with every decay times $\tfrac K2$; the minimum is $\tfrac2K$ times as large. With
    $c=\tfrac{K^2}2\sqrt{n\lambda_W\lambda_H}$ it is $\tfrac2K(c-c^2/2)$ without bias.

    Attributes:
        problem: Sizes and decay, as `mse` takes them.
    """

    problem: Problem

    def __post_init__(self) -> None:
        """Check that the answer is known."""
        self.half  # noqa: B018 - refuses what it does not know

    @cached_property
    def half(self) -> SquaredErrorFeatures:
        """The model of half the sum over classes."""
        return SquaredErrorFeatures(half_sum(self.problem))

    @cached_property
    def answer(self) -> Answer:
        """That of half the sum over classes."""
        return self.half.answer

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        return self.half.assumptions

    def sample_losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """Squared distance to the one-hot label of each sample, over K.

        Args:
            logits: (n, k).
            y: (n,) labels.

        Returns:
            (n,).
        """
        return (logits - functional.one_hot(y, logits.shape[1])).square().mean(1)

    def local_minimisers(self) -> Sequence[State]:
        """Those of half the sum over classes.

        Returns:
            States.
        """
        return self.half.local_minimisers()

    @classmethod
    def examples(cls) -> Sequence["MeanSquaredErrorFeatures"]:
        """Without bias, with a decayed one, and non-negative features.

        Returns:
            Landscapes.
        """
        decay = {"decay_head": 4e-3, "decay_features": 2e-3}
        return (
            cls(Problem.balanced(6, 3, 7, **decay)),
            cls(Problem.balanced(3, 4, 5, bias="decay", decay_bias=0.2, **decay)),
            cls(Problem.balanced(4, 6, 6, bias="free", nonnegative=True, **decay)),
        )


@model("rescaled_mse", label="rescaled squared error on unconstrained features", source="hui2021")
@dataclass(frozen=True)
class RescaledSquaredErrorFeatures(_MeanOverClasses):
    r"""Squared error averaged over classes with a weight and a target of the true class: geometry as without them.

    The loss of a sample is $\tfrac1K\bigl(\kappa(z_y-M)^2+\sum_{j\ne y}z_j^2\bigr)$. With
    $c=\tfrac{K^2}2\sqrt{n\lambda_W\lambda_H}$, which is what $K\sqrt{n\lambda_W\lambda_H}$ is beside half the sum over
    classes:

    - Without bias the class means are orthogonal and logits are $(M-c/\kappa)e_y$; the minimum is
      $\tfrac2K\bigl(cM-\tfrac{c^2}{2\kappa}\bigr)$.
    - With a free bias they are a simplex ETF; the own logit is $M-\frac{(K-1)c}{K\kappa}$ and every other $c/K$.
    - A decayed bias is $\frac{2c}{K^2\lambda_b}$ from a transition on, with orthogonal directions of unequal size.

    Only $c/\kappa$ matters without bias: the weight of the true class acts like less decay. Classes of any sizes are
    answered there, with $M-\frac{KN}{2\kappa}\sqrt{\lambda_W\lambda_H/n_k}$ for the logit of class k.

    Attributes:
        problem: Sizes and decay, with both decays above 0 and room for all directions: d >= K, or K-1 where class means
            sum to zero. Classes of different sizes or non-negative features without bias only.
        kappa: Weight of the true class.
        target: M, what the logit of the true class should be.
    """

    problem: Problem
    kappa: float = 5.0
    target: float = 1.0

    def __post_init__(self) -> None:
        """Check that the answer is known."""
        p = self.problem
        checks.real(self.kappa, "kappa", above=0)
        checks.real(self.target, "target", above=0)
        refuse_without_decay(p)
        if p.bias != "none" and not p.is_balanced:
            raise InputError(f"bias must be 'none' for classes of different sizes, got {p.bias!r}")
        if p.bias != "none" and p.nonnegative:
            raise InputError(f"bias must be 'none' with nonnegative, got {p.bias!r}")
        if self.needed > p.num_features:
            raise InputError(f"num_features must be at least {self.needed}, got {p.num_features}")

    @property
    def needed(self) -> int:
        """Features that the directions of the answer take."""
        half, settings = half_sum(self.problem), (self.kappa, self.target)
        return SeparateClasses(half, *settings).wanted if half.bias == "none" else SignedLevels(half, *settings).needed

    @cached_property
    def answer(self) -> Answer:
        """What is known for half the sum over classes, at K / 2 times the decay."""
        half = half_sum(self.problem)
        solved = SeparateClasses if half.bias == "none" else SignedLevels
        return solved(half, self.kappa, self.target).answer()

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        p = self.problem
        sizes = "All classes have the same number of samples." if p.is_balanced else "Classes differ in size."
        bias = {"none": "There is no bias.", "free": "The bias is free.", "decay": "The bias is decayed."}[p.bias]
        return (sizes, "There are features for all directions.", f"Features and head are decayed. {bias}")

    def sample_losses(self, logits: Tensor, y: Tensor) -> Tensor:
        r"""$\tfrac1K\bigl(\kappa(z_y-M)^2+\sum_{j\ne y}z_j^2\bigr)$ of each sample.

        Args:
            logits: (n, k).
            y: (n,) labels.

        Returns:
            (n,).
        """
        own = functional.one_hot(y, logits.shape[1]).to(logits.dtype)
        return ((1 + (self.kappa - 1) * own) * (logits - self.target * own).square()).mean(1)

    @classmethod
    def examples(cls) -> Sequence["RescaledSquaredErrorFeatures"]:
        """Every kind of bias, on both sides of its transition, beyond the zero threshold, and unequal classes.

        Returns:
            Landscapes.
        """

        def balanced(decay: float, kappa: float, target: float, **settings: object) -> "RescaledSquaredErrorFeatures":
            return cls(Problem.balanced(4, 6, 5, decay_head=decay, decay_features=decay, **settings), kappa, target)

        return (
            balanced(2.5e-3, 5.0, 1.0),
            balanced(2.5e-3, 5.0, 2.0, bias="free"),
            balanced(1e-2, 0.5, 1.0, bias="decay", decay_bias=0.02),
            balanced(1e-2, 3.0, 2.0, bias="decay", decay_bias=0.5),
            balanced(0.1, 2.0, 1.0, bias="decay", decay_bias=0.5),
            cls(Problem((9, 4, 1), 4, 2e-2, 3e-2, nonnegative=True), 3.0, 0.8),
        )
