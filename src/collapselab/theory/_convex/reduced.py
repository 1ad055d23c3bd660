"""The convex problem in two numbers that is left of a balanced model when all classes are alike."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from collapselab.core import extras
from collapselab.core.errors import NotConverged
from collapselab.theory._problem import Problem

# Largest violation of the optimality conditions, relative to the slopes that balance there.
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class ReducedOptimum:
    r"""The logits $a\,\Pi_K+\tfrac mKJ_K$ of the classes, and a bias $\beta1$.

    Attributes:
        value: Of the objective.
        difference: a, the logit of a sample's own class minus that of another.
        mean: m, K times the mean logit without bias.
        bias: beta.
    """

    value: float
    difference: float
    mean: float
    bias: float


@dataclass(frozen=True)
class Reduced:
    r"""Minimise $\phi(a,\tau)+(K-1)c|a|+R(\tau)$ over the difference a of logits and their mean $\tau=m/K+\beta$.

    $\phi$ is the loss of a sample with the logit $\tau+a(1-1/K)$ of its class and $\tau-a/K$ of the others. R is the
    least price $cK|\tau-\beta|+\tfrac{\lambda_b}2K\beta^2$ of a mean: $cK|\tau|$ without bias, 0 with a free one, and
    with a decayed one quadratic up to $|\tau|=c/\lambda_b$, where the bias stays and the logits take over.

    Attributes:
        problem: Balanced classes.
        sample_loss: Of logits (k,) to the loss of a sample of class 0.
        shift_invariant: Whether the loss ignores the mean of the logits, which then stays at zero.
    """

    problem: Problem
    sample_loss: Callable[[Tensor], Tensor]
    shift_invariant: bool = False

    @property
    def strength(self) -> float:
        r"""$c=\sqrt{\lambda_W\lambda_Hn}$."""
        return math.sqrt(self.problem.decay_head * self.problem.decay_features * self.problem.per_class)

    def solve(self) -> ReducedOptimum:
        """Find the minimum to rounding.

        Returns:
            The optimum.

        Raises:
            NotConverged: If no point satisfies the optimality conditions.
        """
        best, worst = None, math.inf
        for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            point = self._polished(self._descended(signs), signs)
            violation = self._violation(point)
            if violation < worst:
                best, worst = point, violation
            if worst <= 1e-3 * _TOLERANCE:
                break
        if best is None or worst > _TOLERANCE:
            raise NotConverged(f"the reduced problem was not solved: its conditions are violated by {worst:.3g}")
        return self._optimum(best)

    def loss(self, point: Tensor) -> Tensor:
        """Phi.

        Args:
            point: a and tau.

        Returns:
            0-d.
        """
        off = point[1] - point[0] / self.problem.num_classes
        first = torch.zeros(self.problem.num_classes, dtype=torch.float64)
        first[0] = 1.0
        return self.sample_loss(off + point[0] * first)

    def _slopes(self, point: Tensor) -> tuple[float, Tensor]:
        leaf = point.clone().requires_grad_()
        value = self.loss(leaf)
        return float(value.detach()), torch.autograd.grad(value, leaf)[0]

    def _prices(self) -> tuple[float, float]:
        """Kinks at zero: what a unit of either number costs there."""
        c, k = self.strength, self.problem.num_classes
        return (k - 1) * c, k * c if self.problem.bias == "none" else 0.0

    def _smooth(self, tau: float) -> tuple[float, float, float]:
        """The price of a mean with a decayed bias, its slope and its curvature."""
        if self.problem.bias != "decay":
            return 0.0, 0.0, 0.0
        k, c, decay = self.problem.num_classes, self.strength, self.problem.decay_bias
        if abs(tau) <= c / decay:
            return k * decay * tau * tau / 2, k * decay * tau, k * decay
        return k * (c * abs(tau) - c * c / (2 * decay)), k * math.copysign(c, tau), 0.0

    def _descended(self, signs: tuple[int, int]) -> Tensor:
        """The minimum where both numbers have given signs, about; a smooth problem with bounds."""
        optimize: Any = extras.require("scipy.optimize", extra="theory", purpose="solving the reduced problem")
        prices, sizes = self._prices(), torch.tensor(signs, dtype=torch.float64)

        def objective(x: Any) -> tuple[float, Any]:
            point = torch.from_numpy(x.copy())
            value, slopes = self._slopes(point)
            price, slope, _ = self._smooth(float(point[1]))
            kinks = sizes * torch.tensor(prices, dtype=torch.float64)
            return value + price + float(kinks @ point), (slopes + kinks + torch.tensor([0.0, slope])).numpy()

        bounds: list[Any] = [(0.0, None) if sign > 0 else (None, 0.0) for sign in signs]
        if self.shift_invariant:
            bounds[1] = (0.0, 0.0)
        elif self.problem.bias != "none":
            bounds[1] = (None, None)
        start = [0.5 * signs[0], 0.0]
        options = {"ftol": 0.0, "gtol": 1e-12, "maxiter": 500}
        return torch.from_numpy(optimize.minimize(objective, start, jac=True, bounds=bounds, options=options).x)

    def _polished(self, point: Tensor, signs: tuple[int, int]) -> Tensor:
        """Newton's method on what is not held at zero by its kink, as long as it helps."""
        violation = self._violation(point)
        for _ in range(30):
            step = self._newton_step(point)
            moved = point - step
            # A number that would change its sign stops at the kink.
            for i in range(2):
                if self._prices()[i] > 0 and moved[i] * signs[i] < 0:
                    moved[i] = 0.0
            after = self._violation(moved)
            if not after < violation:
                break
            point, violation = moved, after
        return point

    def _newton_step(self, point: Tensor) -> Tensor:
        curvature = torch.autograd.functional.hessian(self.loss, point)
        assert isinstance(curvature, Tensor)
        curvature[1, 1] += self._smooth(float(point[1]))[2]
        free = torch.tensor([x != 0 or price == 0 for x, price in zip(point.tolist(), self._prices(), strict=True)])
        free[1] &= not self.shift_invariant
        step = torch.zeros_like(point)
        if bool(free.any()):
            step[free] = torch.linalg.pinv(curvature[free][:, free], hermitian=True) @ self._residual(point)[free]
        return step

    def _residual(self, point: Tensor) -> Tensor:
        """Slopes of the objective, with kinks counted as far as they oppose."""
        _, slopes = self._slopes(point)
        slopes = slopes + torch.tensor([0.0, self._smooth(float(point[1]))[1]], dtype=torch.float64)
        for i, price in enumerate(self._prices()):
            if point[i] != 0:
                slopes[i] += math.copysign(price, float(point[i]))
            else:
                slopes[i] = torch.sign(slopes[i]) * (slopes[i].abs() - price).clamp_min(0)
        return slopes

    def _violation(self, point: Tensor) -> float:
        """Largest residual, relative to what balances."""
        _, slopes = self._slopes(point)
        return float((self._residual(point).abs() / slopes.abs().clamp_min(1.0)).max())

    def _optimum(self, point: Tensor) -> ReducedOptimum:
        a, tau = point.tolist()
        k, c, problem = self.problem.num_classes, self.strength, self.problem
        cap = {"none": 0.0, "free": math.inf}.get(problem.bias) if problem.bias != "decay" else c / problem.decay_bias
        bias = math.copysign(min(abs(tau), cap), tau) if cap else 0.0
        mean = k * (tau - bias)
        value = float(self.loss(point)) + (k - 1) * c * abs(a) + c * abs(mean) + problem.decay_bias * k * bias**2 / 2
        return ReducedOptimum(value, a, mean, bias)
