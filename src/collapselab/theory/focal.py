"""The focal loss on unconstrained features (Zhou et al. 2022): not convex, and its minimum is known all the same."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.theory._model import model
from collapselab.theory._problem import Problem, State
from collapselab.theory._simplex import SimplexLandscape, refuse_unless_simplex, simplex_state


@model("focal", label="focal loss on unconstrained features", source="zhou2022losses")
@dataclass(frozen=True)
class FocalFeatures(SimplexLandscape):
    r"""Mean focal loss of free features and a decayed head: a simplex ETF, or zero where decay is strong.

    With $c=\sqrt{\lambda_W\lambda_Hn}$ the probability p of a sample's own class solves
    $(1-p)^\gamma\bigl((1-p)-\gamma p\log p\bigr)=(K-1)c$, or is $1/K$, whichever is lower in
    $-(1-p)^\gamma\log p+(K-1)ca$, where $a=\log\frac{(K-1)p}{1-p}$ is the margin.

    That is the global minimum although the loss is not convex. It falls with the probability of the own class, so
    that for a given difference a of the own logit and the mean of the others it is least where the others are equal;
    and $\|Z\|_*\ge\frac{K-1}{K\sqrt n}\sum_ia_i^+$. The objective is hence at least the mean over samples of
    $-(1-p(a_i))^\gamma\log p(a_i)+(K-1)ca_i^+$, and a simplex ETF makes all of these least at once. A bias cancels in
    the second step where the sum can go over all samples, which needs $(K-1)c\le1$ or, at $p=1/K$, a left side of at
    most 1.

    Attributes:
        problem: Sizes and decay; balanced classes, d >= K-1, both decays above 0, features of either sign.
        gamma: The power; 0 is cross-entropy.
    """

    problem: Problem
    gamma: float = 2.0

    def __post_init__(self) -> None:
        """Check that the answer is known."""
        refuse_unless_simplex(self.problem)
        checks.real(self.gamma, "gamma", at_least=0)
        if self.problem.bias != "none" and self._cost > 1 and self._pull(0.0) > 1:
            raise InputError(f"bias must be 'none' where decay is as strong as here, got {self.problem.bias!r}")

    @property
    def benign(self) -> bool:
        """Whether gamma is 0: in general it is not known, and where `local_minimisers` has some it is not so.

        Zhou et al. prove it for features so small that the loss is convex there. Classes that coincide in equal groups
        are saddles, as for cross-entropy. Zero is a minimiser from a certain decay on, and for many classes from
        before the simplex ETF ceases to be one.
        """
        return self.gamma == 0

    @property
    def margin(self) -> float:
        """Logit of a sample's own class minus that of another; 0 where everything is zero."""
        root = self._root(self._cost)
        return root if root is not None and self._gain(root, self._cost) >= 0 else 0.0

    @property
    def minimum(self) -> float:
        """The value at every minimiser, in nats."""
        return self._loss_at(self.margin) + self._cost * self.margin

    def sample_losses(self, logits: Tensor, y: Tensor) -> Tensor:
        r"""$-(1-p_y)^\gamma\log p_y$ of each sample.

        Args:
            logits: (n, k).
            y: (n,) labels.

        Returns:
            (n,), in nats.
        """
        own = functional.one_hot(y, logits.shape[1]).bool()
        rest = logits.masked_fill(own, -math.inf).logsumexp(1) - logits[own]
        # p = sigmoid(-rest): both logarithms are exact where p rounds to 1.
        return (self.gamma * functional.logsigmoid(rest)).exp() * -functional.logsigmoid(-rest)

    def local_minimisers(self) -> Sequence[State]:
        """Of zero and the simplex ETF the one that is not lowest, where both are local minimisers.

        Returns:
            One state or none.
        """
        root = self._root(self._cost)
        if root is None or self._pull(0.0) >= self._cost:
            return ()
        return (simplex_state(self.problem, 0.0 if self.margin > 0 else root, None),)

    def thresholds(self) -> dict[str, float]:
        r"""$cK$, and from where on zero is a local minimiser, is the global one, and is the only one.

        Returns:
            Name to number.
        """
        k = self.problem.num_classes
        first, last = self._pull(0.0), self._pull(self._peak)

        def zero_is_lower(cost: float) -> bool:
            root = self._root(cost)
            return root is None or self._gain(root, cost) < 0

        return {
            "strength_times_classes": self.strength * k,
            "zero_is_local_minimiser_from": first * k / (k - 1),
            "zero_is_global_minimiser_from": _bisect(zero_is_lower, first, last) * k / (k - 1),
            "zero_is_only_minimiser_from": last * k / (k - 1),
        }

    @property
    def _cost(self) -> float:
        """(K-1) c: what a unit of margin costs."""
        return (self.problem.num_classes - 1) * self.strength

    def _logs(self, margin: float) -> tuple[float, float]:
        """Logarithms of the probability of the own class, and of all others together."""
        rest = math.log(self.problem.num_classes - 1) - margin
        return -math.log1p(math.exp(rest)), rest - math.log1p(math.exp(rest))

    def _loss_at(self, margin: float) -> float:
        own, rest = self._logs(margin)
        return -math.exp(self.gamma * rest) * own

    def _gain(self, margin: float, cost: float) -> float:
        """How much lower than zero that margin is."""
        return self._loss_at(0.0) - self._loss_at(margin) - cost * margin

    def _pull(self, margin: float) -> float:
        """Minus the slope of the loss in the margin: rises at most once, to its peak, then falls to 0."""
        own, rest = self._logs(margin)
        return math.exp(self.gamma * rest) * (math.exp(rest) - self.gamma * math.exp(own) * own)

    @cached_property
    def _peak(self) -> float:
        """The margin of at least 0 at which the pull is largest."""

        def falls(margin: float) -> bool:
            own, rest = self._logs(margin)
            # The slope of the pull by p, divided by what is positive; it falls all the way.
            tail = self.gamma * math.exp(own - rest) * own
            return self.gamma * (tail - own) <= 1 + 2 * self.gamma

        return 0.0 if falls(0.0) else _bisect(falls, 0.0, math.log(self.problem.num_classes) + 10)

    def _root(self, cost: float) -> float | None:
        """The margin behind the peak where pull and cost are equal; None where the cost is higher throughout."""
        if self._pull(self._peak) <= cost:
            return None
        beyond = self._peak + 1
        while self._pull(beyond) > cost:
            beyond *= 2
        return _bisect(lambda margin: self._pull(margin) <= cost, self._peak, beyond)

    @classmethod
    def examples(cls) -> Sequence["FocalFeatures"]:
        """Small and large gamma, with and without bias, beyond the threshold, and where both are local minimisers.

        Returns:
            Landscapes.
        """
        small = Problem.balanced(5, 6, 7, decay_head=4e-3, decay_features=2e-3)
        free = Problem.balanced(4, 5, 3, decay_head=5e-3, decay_features=1e-3, bias="free")
        beyond = Problem.balanced(4, 4, 4, decay_head=0.3, decay_features=0.3, bias="decay", decay_bias=0.1)
        # With gamma 3 and 40 classes zero is a minimiser from cK = 1.190, the global one from 1.220, alone from 1.232.
        many = [Problem.balanced(40, 1, 39, decay_head=x / 40, decay_features=x / 40) for x in (1.205, 1.226)]
        return (cls(small, 1.0), cls(small, 5.0), cls(free), cls(beyond), *(cls(problem, 3.0) for problem in many))


def _bisect(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Where a statement begins to hold, which it does from there on and up to the upper end."""
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
