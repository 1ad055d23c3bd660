"""SVAG: SGD whose noise grows as its steps shrink, so that it approaches the stochastic differential equation."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.dynamics.noise import svag_coefficients
from collapselab.training.optimisers._spec import Optimiser, Work, optimiser


class Slowed(torch.optim.SGD):
    """SGD without momentum at a fraction of the rate that its groups name, weight decay included.

    Args:
        groups: Parameter groups.
        lr: Rate that is divided.
        weight_decay: Coefficient of one half of the squared norm.
        factor: What the rate is divided by.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float, weight_decay: float, factor: int) -> None:
        super().__init__(groups, lr=lr, weight_decay=weight_decay)
        self._factor = factor

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step.

        Args:
            closure: Computes the loss and the gradient again.

        Returns:
            What the closure returned.
        """
        rates = [group["lr"] for group in self.param_groups]
        for group, rate in zip(self.param_groups, rates, strict=True):
            group["lr"] = rate / self._factor
        try:
            return super().step(closure)
        finally:
            for group, rate in zip(self.param_groups, rates, strict=True):
                group["lr"] = rate


@optimiser("svag", label="stochastic variance amplified gradient", source="li2021")
@dataclass(frozen=True)
class SVAG(Optimiser):
    r"""Two independent minibatches a step, put together so that the mean stays and the covariance is l times as large.

    $x \leftarrow x - \frac{\eta}{l} \nabla\left(\frac{1+\sqrt{2l-1}}2 L_1 + \frac{1-\sqrt{2l-1}}2 L_2\right)$.
    The coefficients add up to 1 and their squares to l. For l = 1 it is SGD without momentum and draws one minibatch;
    as l grows it approaches the Itô equation $dX = -\nabla L\,dt + \sqrt{\eta\Sigma}\,dW$ with an error of order 1/l.

    Time: l steps are one step of SGD, so compare after l times as many epochs. Milestones that are parts of the
    training need no change; warm-up and other spans in epochs are to be multiplied by l. Weight decay acts at rate
    η/l. Each minibatch is a forward pass of its own and has its own batch normalisation. The loss that is reported is
    the mean of the two minibatches, not the combination, whose coefficients grow with l. In a training loop of one's
    own `collapselab.dynamics.svag_loss` does the same for any network and loss.

    Attributes:
        learning_rate: Rate η of the SGD that is modelled; the rate of a step is η/l.
        factor: l, what the rate is divided by and the covariance of the noise multiplied with.
        weight_decay: Coefficient of one half of the squared norm of the parameters.
    """

    learning_rate: float = 0.05
    factor: int = 4
    weight_decay: float = 2e-3

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.learning_rate, "learning_rate", above=0)
        checks.whole(self.factor, "factor", at_least=1)
        checks.real(self.weight_decay, "weight_decay", at_least=0)

    @property
    def draws(self) -> int:
        """Minibatches of a step: 2, or 1 where l is 1 and the second one has no weight."""
        return 2 if self.factor > 1 else 1

    @property
    def coefficients(self) -> tuple[float, float]:
        """Of the losses of the two minibatches."""
        return svag_coefficients(self.factor)

    def build(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimiser.

        Args:
            groups: Parameter groups.

        Returns:
            A new optimiser.
        """
        return Slowed(groups, lr=self.learning_rate, weight_decay=self.weight_decay, factor=self.factor)

    def step(self, work: Work, stepper: torch.optim.Optimizer) -> Tensor:
        """One step, 1/l of one of SGD.

        Args:
            work: What the loop lends.
            stepper: What `build` returned.

        Returns:
            Sum of the losses of the samples of both minibatches.
        """
        stepper.zero_grad()
        dtype = stepper.param_groups[0]["params"][0].dtype
        totals = []
        for rows, coefficient in zip(work.rows, self.coefficients, strict=False):  # one minibatch where l is 1
            weights = torch.full((len(rows),), coefficient, dtype=dtype, device=rows.device)
            totals.append(work.accumulate(rows, weights=weights))
        work.clip()
        stepper.step()
        return torch.stack(totals).sum()
