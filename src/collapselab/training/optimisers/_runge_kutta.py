"""Embedded Runge-Kutta pairs along minus the gradient, with the step size chosen by the error."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from collapselab.core.errors import NotConverged
from collapselab.training.optimisers._closure import Closure, decayed, slope_of

_SMALLEST = 1e-12  # of the time of a step: where a substep is shorter, it is not accuracy that is missing
_SAFETY, _SHRINK, _GROW = 0.9, 0.2, 5.0  # the usual controller


@dataclass(frozen=True)
class Pair:
    """A pair whose last stage is the first of the next step.

    Attributes:
        order: Of the solution that is kept.
        stages: Weights of the stages so far, one row for each stage after the first; the last row is the solution.
        error: Weights of the stages in the difference to the solution of lower order.
    """

    order: int
    stages: tuple[tuple[float, ...], ...]
    error: tuple[float, ...]


BOGACKI_SHAMPINE = Pair(
    3,
    ((1 / 2,), (0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
    (-5 / 72, 1 / 12, 1 / 9, -1 / 8),
)
"""Bogacki and Shampine (1989)."""

DORMAND_PRINCE = Pair(
    5,
    (
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
)
"""Dormand and Prince (1980)."""

PAIRS = {"bogacki_shampine": BOGACKI_SHAMPINE, "dormand_prince": DORMAND_PRINCE}


class Flow(torch.optim.Optimizer):
    """Gradient flow with weight decay in the field; a step is the flow over a time of ``lr``.

    The state of each parameter is its ``slope``, the field where the flow stands, which is both the last stage of one
    substep and the first of the next. The state of the first parameter also holds the ``loss`` there and the ``size``
    of the next substep.

    Args:
        groups: Parameter groups, each with its own weight decay if it names one.
        pair: The method.
        lr: Time of one step.
        weight_decay: Coefficient of one half of the squared norm.
        relative: Error of a substep allowed per size of a parameter.
        absolute: Error of a substep allowed at parameters near zero.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        pair: Pair,
        *,
        lr: float,
        weight_decay: float,
        relative: float,
        absolute: float,
    ) -> None:
        super().__init__(list(groups), {"lr": lr, "weight_decay": weight_decay})
        self._pair, self._relative, self._absolute = pair, relative, absolute

    @torch.no_grad()
    def step(self, closure: Closure) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Flow over the time ``lr``.

        Args:
            closure: Computes the gradient anew and gives the loss.

        Returns:
            The loss before the step.

        Raises:
            NotConverged: If the substeps become too short; the parameters then stand where the last one ended.
        """
        time = self.param_groups[0]["lr"]
        book = self.state[self._parameters()[0]]
        if not book:
            loss, slopes = self._field(closure)
            self._keep(loss, slopes)
        if time > 0 and "size" not in book:
            book["size"] = self._first_size(time)
        before, left = book["loss"], time
        while left > 0:
            # Never a last substep that is much shorter than the others.
            h = left if book["size"] >= left else min(book["size"], left / 2)
            if h < _SMALLEST * time:
                raise NotConverged(
                    f"gradient flow: a substep would have to be shorter than {_SMALLEST:g} of the time {time:g} of a "
                    "step; the gradient is not finite, or the tolerances are too small for the precision of the network"
                )
            error = self._substep(closure, h)
            wanted = (
                h * min(max(_SAFETY * error ** (-1 / self._pair.order), _SHRINK), _GROW) if error > 0 else h * _GROW
            )
            if error <= 1:
                left = 0.0 if h == left else left - h
                wanted = (
                    max(wanted, book["size"]) if h < book["size"] else wanted
                )  # it was cut to fit, not by the error
            book["size"] = wanted
        return before

    def _substep(self, closure: Closure, h: float) -> float:
        """Go on by h if the error allows it.

        Returns:
            Error over what is allowed; infinite if something is not finite.
        """
        parameters = self._parameters()
        start = [parameter.clone() for parameter in parameters]
        stages = [[self.state[parameter]["slope"] for parameter in parameters]]
        loss = 0.0
        for weights in self._pair.stages:
            for parameter, old, move in zip(parameters, start, _combined(weights, stages), strict=True):
                parameter.copy_(torch.add(old, move, alpha=h))
            loss, slopes = self._field(closure)
            stages.append(slopes)
        error = self._error(start, _combined(self._pair.error, stages), h)
        if error <= 1:
            self._keep(loss, stages[-1])
        else:
            for parameter, old in zip(parameters, start, strict=True):
                parameter.copy_(old)
        return error

    def _error(self, start: list[Tensor], off: list[Tensor], h: float) -> float:
        """Root mean square of the error over what is allowed, over all parameters."""
        total, count = 0.0, 0
        for parameter, old, error in zip(self._parameters(), start, off, strict=True):
            allowed = self._absolute + self._relative * torch.maximum(old.abs(), parameter.abs())
            total += float((h * error / allowed).square().sum())
            count += error.numel()
        return math.sqrt(total / count) if math.isfinite(total) else math.inf

    def _first_size(self, time: float) -> float:
        """A hundredth of the time that the parameters would take to change by their own size."""
        parameters = self._parameters()
        size = math.sqrt(sum(float(parameter.square().sum()) for parameter in parameters))
        speed = math.sqrt(sum(float(self.state[parameter]["slope"].square().sum()) for parameter in parameters))
        guess = 0.01 * size / speed if speed > 0 else math.inf
        return min(guess, time) if guess > 0 else 0.01 * time

    def _field(self, closure: Closure) -> tuple[float, list[Tensor]]:
        loss = float(closure())
        return loss, [slope_of(parameter, decay).neg_() for parameter, decay in decayed(self.param_groups)]

    def _keep(self, loss: float, slopes: list[Tensor]) -> None:
        parameters = self._parameters()
        for parameter, slope in zip(parameters, slopes, strict=True):
            self.state[parameter]["slope"] = slope
        self.state[parameters[0]]["loss"] = loss

    def _parameters(self) -> list[Tensor]:
        return [parameter for parameter, _ in decayed(self.param_groups)]


def _combined(weights: tuple[float, ...], stages: list[list[Tensor]]) -> list[Tensor]:
    """Weighted sums of the stages, for each parameter."""
    sums = [torch.zeros_like(slope) for slope in stages[0]]
    for weight, stage in zip(weights, stages, strict=True):
        for total, slope in zip(sums, stage, strict=True):
            total.add_(slope, alpha=weight)
    return sums
