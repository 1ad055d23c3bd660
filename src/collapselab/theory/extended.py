"""Unconstrained features with linear layers before the head (Tirer & Bruna 2022): collapse, a part of it, or zero."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.theory._deep.deep import through
from collapselab.theory._deep.extended import ExtendedLandscape
from collapselab.theory._model import model
from collapselab.theory._problem import Problem, State


@model("extended_linear", label="squared error with linear layers before the head", source="tirer2022")
@dataclass(frozen=True)
class ExtendedLinear(ExtendedLandscape):
    r"""Half the mean squared error of $W_L\cdots W_2H$, all factors decayed: collapse at every layer, or zero.

    With three factors and balanced classes without bias, $q=K^3n\lambda_2\lambda_1\lambda_H$ decides. The part u of
    each label that is fitted is the larger root of $u(1-u)^3=q$, which exists up to $q=27/256$ and is the global
    minimum up to $q=1/16$, where it drops from 1/2 to zero; the minimum is $\tfrac12(1-u)(1+2u)$. Class means are
    orthogonal frames before and after the inner layer; with a free bias they are simplex ETFs. With L factors it is
    $u^{L-2}(1-u)^L=q=K^Ln\prod_i\lambda_i$ and $\tfrac12(1-u)(1+(L-1)u)$.

    Classes of different sizes do this each by itself, with $q_k=N^Ln_k^{1-L}\prod_i\lambda_i$.

    Attributes:
        problem: Sizes and decay of features and head; as many features as directions of the labels, here and between
            the layers. Classes of different sizes without bias only; the bias is free or there is none.
        decay_inner: Decay of each layer between features and head, the one next to the features first.
    """

    problem: Problem
    decay_inner: tuple[float, ...] = (5e-3,)

    def __post_init__(self) -> None:
        """Check that the answer is known."""
        if not isinstance(self.decay_inner, tuple) or not self.decay_inner:
            raise InputError(f"decay_inner must be one number a layer in a tuple, got {self.decay_inner!r}")
        for decay in self.decay_inner:
            checks.real(decay, "every entry of decay_inner", above=0)
        self._check()
        if self.problem.bias == "decay":
            raise InputError("bias must be 'none' or 'free', got 'decay'")
        if self.problem.bias == "free" and not self.problem.is_balanced:
            raise InputError("bias must be 'none' for classes of different sizes, got 'free'")

    @property
    def inner(self) -> tuple[float, ...]:
        """Decay of the inner layers, the one next to the features first."""
        return self.decay_inner

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        p = self.problem
        sizes = "All classes have the same number of samples." if p.is_balanced else "Classes differ in size."
        bias = "There is no bias." if p.bias == "none" else "The bias is free."
        return (sizes, "No layer is narrower than the labels have directions.", f"Every factor is decayed. {bias}")

    @property
    def benign(self) -> bool:
        """Whether zero is the only critical point: from the existence threshold on.

        Below, zero is always a local minimiser, and so is every state that fits some directions and not others: a
        direction starts to grow only with the third power of its size, and cannot change places with another for less.
        """
        return self.directions.existing == 0

    def hidden(self, state: State) -> Tensor:
        """Features through the inner layers.

        Args:
            state: Features and layers.

        Returns:
            (n, d).
        """
        return through(state["h"], [state[f"inner{j + 1}"] for j in range(len(self.decay_inner))])

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        """Factors that fit what is worth it, features at their class means.

        Args:
            generator: Turns each space between two factors at random.

        Returns:
            Features and layers.
        """
        return self.directions.state(self.directions.best, generator)

    def local_minimisers(self) -> Sequence[State]:
        """States that fit the r largest classes, or r of the directions that are equal, and leave the others at zero.

        Returns:
            One state for each r that is not best.
        """
        found = self.directions
        above = self.minimum * (1 + 1e-9) + 1e-12
        return tuple(found.state(r) for r in range(found.existing + 1) if found.value(r) > above)

    @classmethod
    def examples(cls) -> Sequence["ExtendedLinear"]:
        """Below, between and beyond the thresholds, with bias, with more layers and with unequal classes.

        Returns:
            Landscapes.
        """

        def cubed(strength: float) -> "ExtendedLinear":
            decay = (strength / (27 * 2)) ** (1 / 3)
            return cls(Problem.balanced(3, 2, 4, decay_head=decay, decay_features=decay), (decay,))

        weak = {"decay_head": 1e-2, "decay_features": 2e-3}
        return (
            cls(Problem.balanced(4, 6, 9, **weak), (4e-3,)),
            cubed(0.062),
            cubed(0.07),
            cubed(0.12),
            cls(Problem.balanced(3, 2, 3, bias="free", **weak), (4e-3,)),
            cls(Problem.balanced(3, 2, 3, **weak), (4e-3, 6e-3, 2e-2)),
            cls(Problem((6, 3, 3, 1), 4, 2e-2, 2e-2), (2e-2,)),
        )
