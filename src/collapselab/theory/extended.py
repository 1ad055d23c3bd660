"""Unconstrained features with further layers before the head (Tirer & Bruna 2022): linear, or one with a ReLU."""

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.core.errors import InputError, NotKnown
from collapselab.evidence import LabelledFeatures
from collapselab.theory._answer import diagonal, equal_sizes
from collapselab.theory._deep import DeepDirections, existence_threshold, globality_threshold, through
from collapselab.theory._geometry import Geometry
from collapselab.theory._levels import two_levels
from collapselab.theory._model import AbstractLandscape, model
from collapselab.theory._problem import Problem, State
from collapselab.theory.squared_error import refuse_without_decay


class _Extended(AbstractLandscape):
    """Base of both: directions of the labels that are fitted or not, and factors that do so."""

    problem: Problem

    @property
    @abstractmethod
    def inner(self) -> tuple[float, ...]:
        """Decay of the inner layers, the one next to the features first."""

    @abstractmethod
    def hidden(self, state: State) -> Tensor:
        """What the head sees.

        Args:
            state: Features and layers.

        Returns:
            (n, d).
        """

    @cached_property
    def directions(self) -> DeepDirections:
        """The directions of the labels and what fits them."""
        return DeepDirections(self.problem, self.inner)

    def _check(self) -> None:
        p = self.problem
        refuse_without_decay(p)
        if p.nonnegative:
            raise InputError("nonnegative must be false: features of an extended model take any value, got true")
        if p.num_features < len(self.directions.counts):
            needed = len(self.directions.counts)
            raise InputError(f"num_features must be at least {needed}, also between the layers, got {p.num_features}")

    @property
    def labels(self) -> Tensor:
        """(n,) label of each sample, class by class."""
        return self.problem.labels

    @property
    def minimum(self) -> float:
        """The value at every global minimiser."""
        return self.directions.value(self.directions.best)

    def loss(self, state: State) -> Tensor:
        """Half the mean squared distance to one-hot labels, plus decay of every factor.

        Args:
            state: Features and layers.

        Returns:
            0-d float64.
        """
        logits = self.problem.logits(state | {"h": self.hidden(state)})
        error = (logits - functional.one_hot(self.labels, logits.shape[1])).square().sum(1).mean() / 2
        inner = [decay * state[f"inner{j + 1}"].square().sum() / 2 for j, decay in enumerate(self.inner)]
        return error + self.problem.penalty(state) + sum(inner)

    def draw(self, generator: torch.Generator) -> State:
        """Normal features and layers.

        Args:
            generator: What they are drawn from.

        Returns:
            Features and layers.
        """
        d, state = self.problem.num_features, self.problem.draw(generator)
        for j in range(len(self.inner)):
            state[f"inner{j + 1}"] = torch.randn(d, d, generator=generator, dtype=torch.float64) / math.sqrt(d)
        return state

    def features(self, state: State) -> LabelledFeatures:
        """What the head sees: the output of the last inner layer.

        Args:
            state: Features and layers.

        Returns:
            Features with labels.
        """
        return LabelledFeatures(self.hidden(state), self.labels, self.problem.num_classes)

    def norms(self) -> dict[str, float]:
        r"""Frobenius norm of every factor at the global minimisers; $\lambda_i\|W_i\|^2$ is the same for all.

        Returns:
            Name in a state to norm.
        """
        names = ("h", *(f"inner{j + 1}" for j in range(len(self.inner))), "weight")
        found, directions = {}, self.directions
        for name, decay in zip(names, directions.decays, strict=True):
            found[name] = float(directions.sizes(directions.best, decay).norm())
        return found

    def geometry(self) -> Geometry | None:
        """Inner products of class vectors and of the class means that the head sees.

        Returns:
            The geometry.
        """
        p, found = self.problem, self.directions
        sizes, counts = equal_sizes(p)
        squares = {count: (0.0, 0.0, 0.0) for count in counts}
        for count in found.counts[: found.best]:
            fit = found.fit(count) or 0.0
            weight = count * fit * (1 - fit) / (p.num_samples * p.decay_head)
            squares[count] = (weight, fit**2 / weight, fit)
        parts = tuple(tuple(squares[count][j] for count in counts) for j in range(3))
        if p.bias == "free":
            blocks = [two_levels(p.num_classes, part[0], 0.0) for part in parts]
            return Geometry(*blocks, bias=(1 / p.num_classes,))
        return Geometry(*(diagonal(sizes, part) for part in parts), bias=(0.0,) * len(sizes))

    def thresholds(self) -> dict[str, float]:
        r"""$N^Ln^{1-L}\prod_i\lambda_i$ of the largest class, and up to where it has a solution, and a global one.

        For balanced classes and three factors it is $K^3n\lambda_2\lambda_1\lambda_H$: up to 27/256 there is a critical
        point other than zero, and up to 1/16 it is the global minimiser.

        Returns:
            Name to number.
        """
        found = self.directions
        return {
            "strength": found.strength(found.counts[0]),
            "existence": existence_threshold(found.num_factors),
            "globality": globality_threshold(found.num_factors),
        }


@model("extended_linear", label="squared error with linear layers before the head", source="tirer2022")
@dataclass(frozen=True)
class ExtendedLinear(_Extended):
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


@model("extended_relu", label="squared error with a ReLU layer before the head", source="tirer2022")
@dataclass(frozen=True)
class ExtendedRelu(_Extended):
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
