"""What an unconstrained-features model with a convex loss is nowhere below: dual points along a gradient."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from collapselab.core.errors import NotKnown
from collapselab.core.linalg import right_svd
from collapselab.theory._convex.sample_losses import Loss, logit_gradient, one_hot, sample_losses
from collapselab.theory._model import AbstractLandscape
from collapselab.theory._problem import Bias, Problem, State
from collapselab.theory._solve import minimise

# Random part that is added to a start so that it is no saddle, relative to the size of what is there.
_SHAKE = 1e-3


def lower_bound(problem: Problem, loss: Loss, logits: Tensor, *, floor: float) -> float:
    """The largest dual value along the gradient at some logits; see `certificate` for the derivation.

    Args:
        problem: Sizes and decay.
        loss: Name or function, convex in the logits.
        logits: With bias, (n, k) of all samples; or (k, k) of classes whose samples have the same ones.
        floor: A number that no loss of a sample lies below, for functions.

    Returns:
        The bound, which holds whatever the logits are.
    """
    by_class = len(logits) == problem.num_classes
    y = torch.arange(problem.num_classes) if by_class else problem.labels
    counts = torch.tensor(problem.counts, dtype=torch.float64) if by_class else torch.ones(len(y), dtype=torch.float64)
    ray = _dual_ray(_Rows(logits, y, counts / counts.sum()), loss, bias=problem.bias, floor=floor)
    # A row that stands for n samples is n equal ones, of 1/n of it each.
    size = float(right_svd(ray.point / counts.sqrt()[:, None])[0][0])
    threshold = math.sqrt(problem.decay_head * problem.decay_features)
    unpaid = float(ray.point.sum(0).square().sum()) / (2 * problem.decay_bias) if problem.bias == "decay" else 0.0
    return _largest(lambda s: ray.bound(s) - s * s * unpaid, min(1.0, threshold / size) if size > 0 else 1.0)


def best_class_logits(problem: Problem, state: State, loss: Loss) -> Tensor:
    """Logits of classes whose samples coincide, with bias, after going down from a state's class means.

    Args:
        problem: Sizes and decay.
        state: Features and head.
        loss: Name or function.

    Returns:
        (k, k).
    """
    width = max(problem.num_features, problem.num_classes)
    means = torch.stack([part.mean(0) for part in state["h"].split(list(problem.counts))])
    draw = torch.Generator().manual_seed(0)
    start = {"h": _shaken(means, width, draw), "weight": _shaken(state["weight"], width, draw)}
    if "bias" in state:
        start["bias"] = state["bias"]
    end = minimise(_Classes(replace(problem, num_features=width), loss), start, max_steps=2000).end
    return problem.logits(end)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Logits (n, k), labels (n,), and weights (n,) of the mean, of sum 1."""

    logits: Tensor
    y: Tensor
    shares: Tensor


@dataclass(frozen=True, eq=False)
class _Ray:
    """Dual points s U for s from 0 to 1, and a concave function of s of which each is a lower bound -g*(sU)."""

    point: Tensor
    bound: Callable[[float], float]


def _dual_ray(rows: _Rows, loss: Loss, *, bias: Bias, floor: float) -> _Ray:
    if loss == "cross_entropy":
        return _entropy_ray(rows, bias)
    if loss == "mse":
        return _quadratic_ray(rows, bias)
    if bias == "free":
        raise NotKnown("a lower bound for a loss given as a function is only known without bias or with decay of it")
    value, slope = logit_gradient(loss, rows.logits, rows.y, rows.shares)
    tangent = value - float((slope * rows.logits).sum())
    return _Ray(slope, lambda s: s * tangent + (1 - s) * floor)


def _entropy_ray(rows: _Rows, bias: Bias) -> _Ray:
    labels = one_hot(rows.y, rows.logits)
    probabilities = rows.logits.softmax(1)
    if bias == "free":
        probabilities = transported(probabilities, rows.shares @ labels, rows.shares)

    def entropy(s: float) -> float:
        return float(rows.shares @ torch.special.entr(s * probabilities + (1 - s) * labels).sum(1))

    return _Ray((probabilities - labels) * rows.shares[:, None], entropy)


def _quadratic_ray(rows: _Rows, bias: Bias) -> _Ray:
    labels = one_hot(rows.y, rows.logits)
    residual = rows.logits - labels
    if bias == "free":
        residual = residual - rows.shares @ residual
    squares, own = (float(rows.shares @ (residual * x).sum(1)) for x in (residual, labels))
    return _Ray(residual * rows.shares[:, None], lambda s: -(s * s * squares / 2 + s * own))


def transported(probabilities: Tensor, wanted: Tensor, shares: Tensor) -> Tensor:
    """Rows of probabilities changed until they have a given mean: what is too much goes where something is missing.

    Args:
        probabilities: (n, k) non-negative, rows sum to 1.
        wanted: (k,) the mean, non-negative, of sum 1.
        shares: (n,) weights of the mean, of sum 1.

    Returns:
        (n, k) of the same kind.

    Example:
        >>> even = torch.full((2, 2), 0.5)
        >>> transported(even, torch.tensor([0.25, 0.75]), torch.tensor([0.5, 0.5])).tolist()
        [[0.25, 0.75], [0.25, 0.75]]
    """
    means = shares @ probabilities
    excess, missing = (means - wanted).clamp_min(0), (wanted - means).clamp_min(0)
    if float(missing.sum()) == 0:
        return probabilities
    taken = probabilities * (excess / means.clamp_min(torch.finfo(means.dtype).tiny))
    return probabilities - taken + taken.sum(1, keepdim=True) * (missing / missing.sum())


def _largest(value: Callable[[float], float], high: float, *, steps: int = 40) -> float:
    """The largest value of a concave function between 0 and `high`, by golden section; any point found is a bound."""
    low, ratio, best = 0.0, (math.sqrt(5) - 1) / 2, value(high)
    if value(high * (1 - 1e-6)) <= best:
        return best
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = value(left), value(right)
    for _ in range(steps):
        best = max(best, at_left, at_right)
        if at_left > at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = value(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = value(right)
    return best


def _shaken(rows: Tensor, width: int, generator: torch.Generator) -> Tensor:
    wide = torch.nn.functional.pad(rows.double(), (0, width - rows.shape[1]))
    size = _SHAKE * max(float(wide.abs().max()), _SHAKE)
    return wide + size * torch.randn(wide.shape, generator=generator, dtype=wide.dtype)


@dataclass(frozen=True)
class _Classes(AbstractLandscape):
    """The problem with one feature vector a class: its minimum is the same, by convexity."""

    problem: Problem
    of: Loss

    @property
    def assumptions(self) -> tuple[str, ...]:
        return ()

    @property
    def minimum(self) -> float:
        raise NotKnown("the minimum is what is looked for")

    @property
    def labels(self) -> Tensor:
        return torch.arange(self.problem.num_classes)

    def loss(self, state: State) -> Tensor:
        counts = torch.tensor(self.problem.counts, dtype=torch.float64)
        losses = sample_losses(self.of)(self.problem.logits(state), self.labels)
        every = {**state, "h": state["h"] * counts.sqrt()[:, None]}
        return counts @ losses / self.problem.num_samples + self.problem.penalty(every)

    def draw(self, generator: torch.Generator) -> State:
        raise NotKnown("this starts where it is told to")

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        raise NotKnown("the minimum is what is looked for")

    @classmethod
    def examples(cls) -> "tuple[_Classes, ...]":
        return ()
