"""Gradient descent on the logarithm of the loss, with steps that lower it by about the same amount each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from collapselab.core import checks
from collapselab.core.errors import NotConverged
from collapselab.training.losses import Loss
from collapselab.training.optimisers._requirements import plain_cross_entropy, same_loss_each_time
from collapselab.training.optimisers._spec import Optimiser, Work, optimiser
from collapselab.training.optimisers.loss_based import log_cross_entropy, log_mean_loss

_FAR = 1e20
"""Loss over the scale it is computed in, or the other way round, from which on digits are at risk."""


@optimiser("log_loss_descent", label="descent on the log of the loss", source="lyu2020")
@dataclass(frozen=True)
class LogLossDescent(Optimiser):
    r"""Steps $-c\,\nabla\log L / \lVert\nabla\log L\rVert^2$ on the cross-entropy L of the whole training set.

    To first order each step lowers log L by c. The rate on log L is $c/\lVert\nabla\log L\rVert^2$, which falls as
    $\rho^{-2(L-1)}$ with the norm of the parameters of a network that is homogeneous of order L: as fast as its
    curvature asks for, where a fixed rate on log L ends in oscillations. For small c it follows the gradient flow,
    along which the smoothed normalised margin never falls. An epoch is one step. Losses are carried as logarithms, so
    that 1e-300 and less do no harm; take precision ``float64``, as steps become tiny beside the parameters.

    It is refused for losses other than plain cross-entropy, for clipped gradients and for random inputs.

    Attributes:
        learning_rate: c.
    """

    full_batch: ClassVar[bool] = True

    learning_rate: float = 0.02

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.learning_rate, "learning_rate", above=0)

    def check(
        self,
        *,
        network: nn.Module,
        loss: Loss,
        penalty: Loss | None,
        class_weights: bool,
        clipping: bool,
        augmentation: bool,
    ) -> None:
        """Refuse what is not the plain cross-entropy of inputs that stay the same.

        Args:
            network: What is trained.
            loss: What is minimised.
            penalty: What is added to it.
            class_weights: Whether classes weigh differently in the loss.
            clipping: Whether gradients are clipped.
            augmentation: Whether inputs are changed at random.
        """
        del network
        plain_cross_entropy("log_loss_descent", loss=loss, penalty=penalty, class_weights=class_weights)
        same_loss_each_time("log_loss_descent", clipping=clipping, augmentation=augmentation)

    def build(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimiser.

        Args:
            groups: Parameter groups.

        Returns:
            A new optimiser.
        """
        return Descent(list(groups), {"lr": self.learning_rate})

    def step(self, work: Work, stepper: torch.optim.Optimizer) -> Tensor:
        """One step.

        Args:
            work: What the loop lends.
            stepper: What `build` returned.

        Returns:
            Sum of the losses of all samples before the step; 0 where it underflows.
        """
        (rows,) = work.rows
        book = scale_of(stepper)
        if not book:
            book["log_scale"] = log_mean_loss(work)
        ratio = _gradient(work, stepper, book["log_scale"])
        if not 1 / _FAR < ratio < _FAR:
            book["log_scale"] = log_mean_loss(work)
            ratio = _gradient(work, stepper, book["log_scale"])
        total = len(rows) * ratio * math.exp(min(book["log_scale"], 700.0))
        book["ratio"] = ratio
        stepper.step()
        if 0 < ratio < math.inf:
            book["log_scale"] += math.log(ratio)
        return torch.as_tensor(total, dtype=stepper.param_groups[0]["params"][0].dtype, device=rows.device)


def _gradient(work: Work, stepper: torch.optim.Optimizer, log_scale: float) -> float:
    """Leave the gradient of the mean loss over a scale at the parameters; the mean loss over it."""
    (rows,) = work.rows
    stepper.zero_grad()
    return float(
        work.accumulate(rows, each=lambda outputs, y: (log_cross_entropy(outputs, y) - log_scale).exp())
    ) / len(rows)


class Descent(torch.optim.Optimizer):
    """Plain descent by the rate over the squared norm of the whole gradient of log L.

    The state of the first parameter holds ``log_scale``, the logarithm of the scale that the gradient is computed in,
    which is the loss before the last step, and ``ratio``, the loss over it.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step.

        Args:
            closure: Not used.

        Raises:
            NotConverged: If there is no gradient: every network of ReLUs that are all shut stands still for good.
        """
        del closure
        moved = [(p, p.grad, group["lr"]) for group in self.param_groups for p in group["params"] if p.grad is not None]
        square = float(torch.stack([slope.double().square().sum() for _, slope, _ in moved]).sum())
        if square == 0:
            raise NotConverged(
                "log_loss_descent: the gradient is zero and no step can lower the loss; steps that are too long shut"
                " every unit of a ReLU network: take a smaller learning_rate"
            )
        for parameter, slope, rate in moved:
            parameter.sub_(slope, alpha=rate * scale_of(self)["ratio"] / square)


def scale_of(stepper: torch.optim.Optimizer) -> dict[str, Any]:
    """What is kept once, at the first parameter.

    Args:
        stepper: What `LogLossDescent.build` returned.

    Returns:
        The live state; empty before the first step.
    """
    return stepper.state[stepper.param_groups[0]["params"][0]]
