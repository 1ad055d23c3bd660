"""A deep linear network on one-hot labels with decayed layers (Saxe 2014; Taghvaei 2017), mode by mode."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.evidence import LabelledFeatures
from collapselab.geometry import orthogonal_frame
from collapselab.theory._deep.frame import frame_geometry
from collapselab.theory._deep.linear_roots import (
    ModeThresholds,
    global_strength,
    mode_thresholds,
    mode_value,
    regularised_roots,
)
from collapselab.theory._geometry import Geometry
from collapselab.theory._model import AbstractLandscape, model
from collapselab.theory._problem import State


@model("deep_linear", label="deep linear network, all layers decayed", source="taghvaei2017")
@dataclass(frozen=True)
class DeepLinear(AbstractLandscape):
    r"""Squared error of a product of decayed matrices: one mode a class, each shrunk or cut by itself.

    The objective is $\tfrac12\|W_L\cdots W_1-Y\|^2+\tfrac\lambda2\sum_l\|W_l\|^2$ for one-hot labels Y, whose singular
    values are $\sqrt{n_k}$: whitened inputs, or features $W_1=H$ that are free. All layers have the same singular
    values $\sigma_k$ with $\sigma_k=0$ or $\sigma_k^{L-2}(\sqrt{n_k}-\sigma_k^L)=\lambda$ at every critical point. The
    last layer is the classifier, and what comes before it, the features, have orthogonal class means.

    With two layers the landscape is benign. With three and more zero is a local minimiser whatever the decay, and so is
    every state where only the largest classes are learnt.

    Attributes:
        counts: Samples of each class.
        num_features: d >= K, the width of every layer.
        decay: lambda.
        layers: L >= 2.
    """

    counts: tuple[int, ...]
    num_features: int
    decay: float
    layers: int = 3

    def __post_init__(self) -> None:
        """Check that the answer is known."""
        if isinstance(self.counts, (int, str)) or len(self.counts) < 2:
            raise InputError(f"counts must be those of two classes or more, got {self.counts!r}")
        for k, count in enumerate(self.counts):
            checks.whole(count, f"counts[{k}]", at_least=1)
        checks.whole(self.num_features, "num_features", at_least=len(self.counts))
        checks.real(self.decay, "decay", above=0)
        checks.whole(self.layers, "layers", at_least=2)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        return (
            "Layers are linear, without bias, at least as wide as there are classes, and decayed alike.",
            "Inputs are whitened: every sample has a feature vector of its own in the first layer.",
            "The loss is half the squared error summed over samples.",
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Entries of a state, the first layer first."""
        return ("h", *(f"inner_{place}" for place in range(1, self.layers - 1)), "weight")

    @property
    def labels(self) -> Tensor:
        """(n,) label of each sample, class by class."""
        return torch.repeat_interleave(torch.arange(len(self.counts)), torch.tensor(self.counts))

    @property
    def benign(self) -> bool:
        """With two layers, or where decay leaves no critical point but zero."""
        return self.layers == 2 or self.decay >= self._thresholds(max(self.counts)).exists

    @property
    def minimum(self) -> float:
        """Sum over the modes."""
        return math.fsum(self._value(self._strength(n), n) for n in self.counts)

    def loss(self, state: State) -> Tensor:
        """Half the squared error, plus decay.

        Args:
            state: Entries by name.

        Returns:
            0-d float64.
        """
        targets = torch.eye(len(self.counts), dtype=torch.float64)[self.labels]
        error = (self._hidden(state) @ state["weight"].T - targets).square().sum()
        return (error + self.decay * sum(state[name].square().sum() for name in self.names)) / 2

    def draw(self, generator: torch.Generator) -> State:
        """Normal layers.

        Args:
            generator: What they are drawn from.

        Returns:
            Entries by name.
        """
        d = self.num_features
        rows = {name: d for name in self.names} | {"h": len(self.labels), "weight": len(self.counts)}
        return {
            name: torch.randn(many, d, generator=generator, dtype=torch.float64) / math.sqrt(d)
            for name, many in rows.items()
        }

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        """Every mode at its best strength.

        Args:
            generator: Turns each layer at random.

        Returns:
            Entries by name.
        """
        return self._state([self._strength(count) for count in self.counts], generator)

    def local_minimisers(self) -> Sequence[State]:
        """Only the largest classes learnt, from none to all, as far as that is possible and not the best.

        Returns:
            States; none with two layers.
        """
        if self.layers == 2:
            return ()
        order = sorted(range(len(self.counts)), key=lambda k: -self.counts[k])
        states, strengths = [], [0.0] * len(self.counts)
        for k in (None, *order):
            if k is not None:
                roots = regularised_roots(math.sqrt(self.counts[k]), self.decay, layers=self.layers)
                if not roots:
                    break
                strengths[k] = roots[-1]
            value = math.fsum(self._value(u, n) for u, n in zip(strengths, self.counts, strict=True))
            if value > self.minimum + 1e-9 * max(1.0, self.minimum):
                states.append(self._state(strengths, None))
        return tuple(states)

    def features(self, state: State) -> LabelledFeatures:
        """What the last layer sees.

        Args:
            state: Entries by name.

        Returns:
            Features with labels.
        """
        return LabelledFeatures(self._hidden(state), self.labels, len(self.counts))

    def geometry(self) -> Geometry:
        """Inner products of class vectors and class means, the same at every global minimiser.

        Returns:
            The geometry.
        """

        def squared(count: int) -> float:
            return self._strength(count) ** (2 / self.layers)

        return frame_geometry(self.counts, squared, lambda count: squared(count) ** (self.layers - 1) / count)

    def thresholds(self) -> dict[str, float]:
        """Decays from which on the smallest and the largest class are not learnt at the minimum; where nothing can be.

        Returns:
            Name to number.
        """
        return {
            "decay_smallest_vanishes": self._thresholds(min(self.counts)).best,
            "decay_largest_vanishes": self._thresholds(max(self.counts)).best,
            "decay_only_zero": self._thresholds(max(self.counts)).exists,
        }

    @classmethod
    def examples(cls) -> Sequence["DeepLinear"]:
        """Two to four layers; classes of several sizes, some of which vanish; zero best, and zero alone.

        Returns:
            Landscapes.
        """
        return (
            cls((6, 6, 6), 4, 0.5, 2),
            cls((9, 4, 1), 3, 1.5, 2),
            cls((4, 4), 3, 3.0, 2),
            cls((5, 5, 5), 4, 0.1, 3),
            cls((9, 4, 1), 5, 0.6, 3),
            cls((8, 8), 3, 2.0, 3),
            cls((4, 3), 2, 0.05, 4),
            cls((4, 3), 2, 3.0, 4),
        )

    def _hidden(self, state: State) -> Tensor:
        h = state["h"]
        for name in self.names[1:-1]:
            h = h @ state[name].T
        return h

    def _strength(self, count: int) -> float:
        return global_strength(math.sqrt(count), self.decay, layers=self.layers)

    def _value(self, strength: float, count: int) -> float:
        return mode_value(strength, math.sqrt(count), self.decay, layers=self.layers)

    def _thresholds(self, count: int) -> ModeThresholds:
        return mode_thresholds(math.sqrt(count), layers=self.layers)

    def _state(self, strengths: Sequence[float], generator: torch.Generator | None) -> State:
        """Layers with these modes; each layer hands its modes on in a frame of its own."""
        k, d, counts = len(self.counts), self.num_features, torch.tensor(self.counts, dtype=torch.float64)
        sigma = torch.tensor(tuple(strengths), dtype=torch.float64) ** (1 / self.layers)
        frames = [orthogonal_frame(k, d, generator=generator) for _ in range(self.layers - 1)]
        state = {"h": ((sigma / counts.sqrt())[:, None] * frames[0])[self.labels]}
        for name, before, after in zip(self.names[1:-1], frames, frames[1:], strict=False):
            state[name] = after.T @ (sigma[:, None] * before)
        return state | {"weight": sigma[:, None] * frames[-1]}
