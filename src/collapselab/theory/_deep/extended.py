"""What models with layers before the head have in common: a loss, its minimum by directions, and a geometry."""

import math
from abc import abstractmethod
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from collapselab.core.errors import InputError
from collapselab.evidence import LabelledFeatures
from collapselab.theory._answer import diagonal, equal_sizes
from collapselab.theory._balanced_squares.levels import two_levels
from collapselab.theory._deep.deep import DeepDirections, existence_threshold, globality_threshold
from collapselab.theory._geometry import Geometry
from collapselab.theory._model import AbstractLandscape
from collapselab.theory._problem import Problem, State
from collapselab.theory.squared_error import refuse_without_decay


class ExtendedLandscape(AbstractLandscape):
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
