"""Squared error on unconstrained features (Tirer & Bruna 2022): an orthogonal frame, a simplex ETF or between them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from collapselab.core.errors import InputError
from collapselab.theory._answer import Answer
from collapselab.theory._balanced_squares.balanced import NonnegativeLevels, SignedLevels, strength
from collapselab.theory._balanced_squares.centred import CentredClasses
from collapselab.theory._balanced_squares.separate import SeparateClasses
from collapselab.theory._balanced_squares.untold import untold_class
from collapselab.theory._geometry import Geometry
from collapselab.theory._model import UnconstrainedLandscape, model
from collapselab.theory._problem import Problem, State


@model("mse", label="squared error on unconstrained features", source="tirer2022")
@dataclass(frozen=True)
class SquaredErrorFeatures(UnconstrainedLandscape):
    r"""Half the squared distance of logits to one-hot labels, of free features and a decayed head.

    With $c=K\sqrt{n\lambda_W\lambda_H}$ and balanced classes:

    - Without bias the class means are orthogonal and logits are $(1-c)e_y$; the minimum is $c-c^2/2$.
    - With a free bias, which is $1/K$, they are a simplex ETF and logits without bias are $(1-c)(e_y-1/K)$; the
      minimum is $\frac{K-1}K(c-c^2/2)$.
    - A decayed bias is $\frac1{K(1+\lambda_b)}$ beside a simplex ETF up to $\lambda_b=c/(1-c)$, and
      $\frac c{K\lambda_b}$ beyond, where the class means have a part in common that grows until they are orthogonal.
      With K-1 features there is no room for it, and the simplex ETF remains.
    - From c = 1 on everything but the bias is zero.
    - Features that are not negative attain the same without bias, each class with coordinates of its own. With a bias
      the class means stay orthogonal, so that only centred they are a simplex ETF, and the minimum is higher: with a
      free bias $\frac{K-1}K(c'-c'^2/2)$, $c'=c\sqrt{K/(K-1)}$, for every c' < 1.

    Without bias classes of any sizes are answered: class k has the logit $1-N\sqrt{\lambda_W\lambda_H/n_k}$, or
    vanishes. With a free bias as well, where singular values of the centred labels take the place of $\sqrt{n_k}$.
    With fewer features than these directions the largest are kept; among equal ones any may be, and no geometry is
    stated.

    Attributes:
        problem: Sizes and decay, with both decays above 0. Classes of different sizes without bias, or with a free one
            and features of either sign; non-negative features beside a bias with d >= K.
    """

    problem: Problem

    def __post_init__(self) -> None:
        """Check that the answer is known."""
        p = self.problem
        refuse_without_decay(p)
        if p.bias == "decay" and not p.is_balanced:
            raise InputError("bias must be 'none' or 'free' for classes of different sizes, got 'decay'")
        if p.nonnegative and p.bias != "none":
            if not p.is_balanced:
                raise InputError(f"bias must be 'none' for classes of different sizes with nonnegative, got {p.bias!r}")
            if p.num_features < p.num_classes:
                needed = f"num_features must be at least {p.num_classes} with nonnegative and a bias"
                raise InputError(f"{needed}, got {p.num_features}")

    @cached_property
    def answer(self) -> Answer:
        """Minimum, geometry and a minimiser."""
        p = self.problem
        if p.bias == "none":
            return SeparateClasses(p).answer()
        if p.nonnegative:
            return NonnegativeLevels(p).answer()
        return CentredClasses(p).answer() if p.bias == "free" else SignedLevels(p).answer()

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        p = self.problem
        sizes = "All classes have the same number of samples." if p.is_balanced else "Classes differ in size."
        signs = "Features cannot be negative." if p.nonnegative else "Features can take any value."
        bias = {"none": "There is no bias.", "free": "The bias is free.", "decay": "The bias is decayed."}[p.bias]
        return (sizes, signs, f"Features and head are decayed. {bias}")

    @property
    def benign(self) -> bool:
        """True for features of either sign, where all critical points but the best have a way down beside them.

        Within bounds it is not so: beside a bias a class may be left to the bias alone (`local_minimisers`), and a unit
        that has become zero for all samples can stay there, although that is no minimum.
        """
        return not self.problem.nonnegative

    @property
    def minimum(self) -> float:
        """The value at every minimiser."""
        return self.answer.minimum

    def sample_losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """Half the squared distance to the one-hot label of each sample.

        Args:
            logits: (n, k).
            y: (n,) labels.

        Returns:
            (n,).
        """
        return 0.5 * (logits - functional.one_hot(y, logits.shape[1])).square().sum(1)

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        """A minimiser, features at their class means.

        Args:
            generator: Turns it at random; non-negative features deal their coordinates to the classes.

        Returns:
            Features and head.
        """
        return self.answer.state(self.problem, generator)

    def local_minimisers(self) -> Sequence[State]:
        """Of non-negative features beside a bias: a class without features, which only the bias tells.

        Returns:
            One state, where it is known to be one.
        """
        p = self.problem
        found = untold_class(p) if p.nonnegative and p.bias != "none" else None
        return () if found is None or found[0] <= self.minimum * (1 + 1e-9) else (found[1],)

    def geometry(self) -> Geometry | None:
        """Inner products at every minimiser.

        Returns:
            The geometry; None where features are too few for all directions that are equally good, and for two classes
            of non-negative features beside a free bias.
        """
        return self.answer.geometry

    def thresholds(self) -> dict[str, float]:
        r"""Decays from which on everything but the bias is zero; for balanced classes c and what it must be below.

        A decayed bias has a transition at $\lambda_b=c/(1-c)$, between a simplex ETF and class means with a part in
        common; classes without bias vanish up to a number of samples.

        Returns:
            Name to number.
        """
        p = self.problem
        found = vanishing(p, self.answer.reach)
        if p.bias == "decay" and not p.nonnegative and strength(p) < 1:
            found["decay_bias_transition"] = strength(p) / (1 - strength(p))
        if p.bias == "none" and not p.is_balanced:
            found["vanishing_class_size"] = p.num_samples**2 * p.decay_head * p.decay_features
        return found

    @classmethod
    def examples(cls) -> Sequence["SquaredErrorFeatures"]:
        """Every kind of bias and sign, on both sides of each transition, with room and without, and unequal classes.

        Returns:
            Landscapes.
        """

        def balanced(k: int, n: int, d: int, decay: float = 5e-3, **settings: Any) -> "SquaredErrorFeatures":
            return cls(Problem.balanced(k, n, d, decay_head=decay, decay_features=decay, **settings))

        def unequal(counts: tuple[int, ...], d: int, decay: float = 5e-2, **settings: Any) -> "SquaredErrorFeatures":
            return cls(Problem(counts, d, decay, decay, **settings))

        return (
            balanced(4, 6, 9),
            balanced(4, 6, 3, 0.05),
            balanced(4, 6, 5, 0.105),
            balanced(4, 6, 3, bias="free"),
            balanced(4, 6, 9, bias="decay", decay_bias=0.02),
            balanced(4, 6, 9, bias="decay", decay_bias=0.3),
            balanced(4, 6, 3, bias="decay", decay_bias=0.3),
            balanced(3, 4, 6, 0.2, bias="decay", decay_bias=0.3),
            unequal((9, 9, 4, 1, 1), 6),
            unequal((9, 4, 4, 2, 1), 2, 5e-3),
            unequal((9, 9, 4, 4, 1), 6, 5e-3, bias="free"),
            balanced(4, 6, 6, nonnegative=True),
            unequal((9, 4, 4, 1), 5, nonnegative=True),
            balanced(4, 6, 6, bias="free", nonnegative=True),
            balanced(3, 4, 3, bias="decay", decay_bias=0.3, nonnegative=True),
            balanced(3, 4, 3, 0.17, bias="free", nonnegative=True),
        )


def refuse_without_decay(problem: Problem) -> None:
    """Check that features and head are decayed.

    Args:
        problem: Sizes and decay.

    Raises:
        InputError: If a decay is 0.
    """
    if problem.decay_head == 0 or problem.decay_features == 0:
        raise InputError("decay_head and decay_features must be above 0 for a minimum that is attained, got 0")


def vanishing(problem: Problem, reach: float, factor: float = 1.0) -> dict[str, float]:
    r"""Decays from which on everything but the bias is zero.

    Args:
        problem: Sizes and decay, of the half sum over classes.
        reach: Square of what $N\sqrt{\lambda_W\lambda_H}$ must be below.
        factor: What decay beside the loss in question is, if it is 1 beside the half sum over classes.

    Returns:
        Name to number.
    """
    product = reach / problem.num_samples**2
    found = {
        "decay_head_to_zero": factor * product / problem.decay_features,
        "decay_features_to_zero": factor * product / problem.decay_head,
    }
    if problem.is_balanced:
        found |= {"strength": strength(problem), "strength_to_zero": math.sqrt(reach / problem.per_class)}
    return found
