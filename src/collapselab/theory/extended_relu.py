"""Unconstrained features with a ReLU layer before the head (Tirer & Bruna 2022): what collapse is worth, and when."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError, NotKnown
from collapselab.theory._deep.deep import through
from collapselab.theory._deep.extended import ExtendedLandscape
from collapselab.theory._geometry import Geometry
from collapselab.theory._model import model
from collapselab.theory._problem import Problem, State


@model("extended_relu", label="squared error with a ReLU layer before the head", source="tirer2022")
@dataclass(frozen=True)
class ExtendedRelu(ExtendedLandscape):
    r"""Half the mean squared error of $W_2\max(W_1H,0)$, all factors decayed: collapse, and when it is the best.

    What the head sees can be an orthogonal frame without negative entries, which the ReLU leaves as it is: `collapsed`
    has the value of `extended_linear` for any number of classes. $W_1H$ may as well have negative entries at no cost,
    such as those of a simplex, so that what the head sees is an orthogonal frame and the class means of H are not.

    For two classes that is the minimum. All samples of a class can be alike, since the best one serves for all; and the
    positive part of a matrix with two columns has no larger nuclear norm than the matrix, so that the ReLU saves no
    decay. With three columns it can: with rows (2, 0, 1), (0, 2, -1) and (2, 2, 0) it is 4 % larger. For more classes
    the minimum is not known here. Close to the threshold, for more classes also farther from it, solutions whose inner
    layer has a lower rank lie below collapse: eight classes on a circle, $(W_1H)_{ij}=a\cos\tfrac{2\pi(i-j)}8$, do so
    at the threshold.

    Attributes:
        problem: Sizes and decay of features and head; balanced classes without bias, d >= K, also between the layers.
        decay_inner: Decay of the layer before the ReLU.
    """

    problem: Problem
    decay_inner: float = 5e-3

    def __post_init__(self) -> None:
        """Check that collapse is known."""
        checks.real(self.decay_inner, "decay_inner", above=0)
        self._check()
        self.problem.per_class  # noqa: B018 - refuses unequal classes
        if self.problem.bias != "none":
            raise InputError(f"bias must be 'none', got {self.problem.bias!r}")

    @property
    def inner(self) -> tuple[float, ...]:
        """Decay of the layer before the ReLU."""
        return (self.decay_inner,)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        return (
            "There are two classes, with the same number of samples.",
            "No layer is narrower than there are classes.",
            "Every factor is decayed. There is no bias.",
        )

    @property
    def benign(self) -> bool:
        """False: zero is always a local minimiser, and a unit that is zero for all samples stays so."""
        return False

    @property
    def collapsed_value(self) -> float:
        """Objective of `collapsed`: the minimum of two classes, and what it cannot be above of more."""
        return self.directions.value(self.directions.best)

    @property
    def minimum(self) -> float:
        """The value at every global minimiser of two classes.

        Raises:
            NotKnown: If there are more classes.
        """
        self._two_classes()
        return self.collapsed_value

    def hidden(self, state: State) -> Tensor:
        """Features through the inner layer and the ReLU.

        Args:
            state: Features and layers.

        Returns:
            (n, d).
        """
        return torch.relu(through(state["h"], [state["inner1"]]))

    def collapsed(self, generator: torch.Generator | None = None) -> State:
        """Collapse with an inner layer that gives no negative value, or zero where that is lower.

        Args:
            generator: Turns the features at random and deals the coordinates that the head sees to the classes.

        Returns:
            Features and layers.
        """
        return self.directions.state(self.directions.best, generator, nonnegative=True)

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        """The collapsed solution of two classes.

        Args:
            generator: As in `collapsed`.

        Returns:
            Features and layers.
        """
        self._two_classes()
        return self.collapsed(generator)

    def geometry(self) -> Geometry | None:
        """Inner products of class vectors and of the class means that the head sees.

        Returns:
            The geometry; None for more than two classes.
        """
        return super().geometry() if self.problem.num_classes == 2 else None

    def local_minimisers(self) -> Sequence[State]:
        """Zero, where collapse is lower.

        Returns:
            At most one state.
        """
        return (self.directions.state(0),) if self.directions.best else ()

    def _two_classes(self) -> None:
        if self.problem.num_classes > 2:
            known = f"collapse has the value {self.collapsed_value:.6g}, and lower ones exist under strong decay"
            raise NotKnown(f"the minimum with a ReLU is known for two classes: {known}")

    @classmethod
    def examples(cls) -> Sequence["ExtendedRelu"]:
        """Below and beyond the threshold.

        Returns:
            Landscapes.
        """
        weak = Problem.balanced(2, 3, 4, decay_head=5e-3, decay_features=1e-2)
        return (cls(weak), cls(dataclasses.replace(weak, decay_head=0.4), 0.4))
