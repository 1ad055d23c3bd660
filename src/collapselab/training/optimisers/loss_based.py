"""A learning rate that is inversely proportional to the loss, for losses far below what a float can hold."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from collapselab.core import checks
from collapselab.core.errors import NotConverged
from collapselab.dynamics.log_loss import log_logistic, smooth_margins_of
from collapselab.training.losses import Loss, Outputs
from collapselab.training.optimisers._requirements import no_batch_norm, plain_cross_entropy
from collapselab.training.optimisers._spec import Optimiser, Work, optimiser

_SMALLEST_RATE = 1e-50


def log_cross_entropy(outputs: Outputs, y: Tensor) -> Tensor:
    """Logarithm of the cross-entropy of each sample, finite for any finite margin; see `collapselab.dynamics`.

    Args:
        outputs: Logits z (n, k) are what is looked at.
        y: Labels (n,).

    Returns:
        (n,) in float64.
    """
    return log_logistic(smooth_margins_of(outputs.logits, y))


@optimiser("loss_based", label="learning rate over loss", source="lyu2020")
@dataclass(frozen=True)
class LossBased(Optimiser):
    r"""SGD on the logarithm of the cross-entropy: the rate is $\hat\alpha$ over the loss L of the last good epoch.

    After each epoch the loss of the whole training set is measured. If it has not grown, the epoch is kept and
    $\hat\alpha$ multiplied by `increase`; otherwise, or if a minibatch had a loss above `largest_ratio` times L, the
    weights are put back and $\hat\alpha$ is multiplied by `decrease`. Epochs that were taken back count as epochs of
    the training. Losses are carried as logarithms in float64, so margins in the thousands (losses of 1e-800) do no
    harm; the loss that is reported is an ordinary number, 0 where it underflows. Neither momentum nor weight decay.

    It is refused for losses other than plain cross-entropy, and for networks with batch normalisation, whose running
    statistics of an epoch cannot be taken back.

    Attributes:
        learning_rate: First $\hat\alpha$; a schedule multiplies it besides, so take one that does not change.
        increase: Factor on it after an epoch that is kept, 2 to the power 1/5 as published.
        decrease: Factor on it after an epoch that is taken back, 2 to the power -1/10 as published.
        largest_ratio: Loss of a minibatch over L from which on an epoch has failed.
    """

    learning_rate: float = 0.1
    increase: float = 2**0.2
    decrease: float = 2**-0.1
    largest_ratio: float = 500.0

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            InputError: If one is not what it must be.
        """
        checks.real(self.learning_rate, "learning_rate", above=0)
        checks.real(self.increase, "increase", at_least=1)
        checks.real(self.decrease, "decrease", above=0, below=1)
        checks.real(self.largest_ratio, "largest_ratio", above=1)

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
        """Refuse what is not the plain cross-entropy of a network without batch normalisation.

        Args:
            network: What is trained.
            loss: What is minimised.
            penalty: What is added to it.
            class_weights: Whether classes weigh differently in the loss.
            clipping: Whether gradients are clipped.
            augmentation: Whether inputs are changed at random.
        """
        del clipping, augmentation
        plain_cross_entropy("loss_based", loss=loss, penalty=penalty, class_weights=class_weights)
        no_batch_norm(
            network, "loss_based", because="the running statistics of an epoch that fails cannot be taken back"
        )

    def build(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimiser.

        Args:
            groups: Parameter groups.

        Returns:
            A new optimiser.
        """
        return Revocable(groups, lr=self.learning_rate)

    def step(self, work: Work, stepper: torch.optim.Optimizer) -> Tensor:
        """One step along minus the gradient of the minibatch loss over L.

        Args:
            work: What the loop lends.
            stepper: What `build` returned.

        Returns:
            Sum of the losses of the minibatch; a loss above the largest ratio counts as that ratio times L.
        """
        (rows,) = work.rows
        book = book_of(stepper)
        if not book:
            begin(stepper, log_loss=log_mean_loss(work))
        log_loss = book["log_loss"]
        stepper.zero_grad()
        ratio = work.accumulate(rows, each=lambda outputs, y: (log_cross_entropy(outputs, y) - log_loss).exp())
        ratio = ratio / len(rows)
        book["healthy"] = book["healthy"] * (ratio <= self.largest_ratio)  # NaN fails
        work.clip()
        stepper.step()
        most = self.largest_ratio
        return ratio.nan_to_num(nan=most, posinf=most).clamp(max=most) * len(rows) * math.exp(log_loss)

    def end_epoch(self, work: Work, stepper: torch.optim.Optimizer) -> None:
        """Keep the epoch, or take it back.

        Args:
            work: What the loop lends.
            stepper: What `build` returned.

        Raises:
            NotConverged: If the rate has become so small that nothing can change any more.
        """
        book, log_loss = book_of(stepper), log_mean_loss(work)
        if bool(book["healthy"]) and math.isfinite(log_loss) and log_loss <= book["log_loss"]:
            keep(stepper)
            book["log_loss"] = log_loss
            book["factor"] *= self.increase
        else:
            take_back(stepper)
            book["factor"] *= self.decrease
        book["healthy"] = torch.ones_like(book["healthy"])
        if self.learning_rate * book["factor"] < _SMALLEST_RATE:  # whatever the schedule makes of it
            raise NotConverged(f"loss_based: no rate above {_SMALLEST_RATE:g} makes the loss fall any further")


def log_mean_loss(work: Work) -> float:
    """Logarithm of the mean cross-entropy over the training set.

    Args:
        work: What the loop lends.

    Returns:
        The number.
    """
    found = work.evaluate(each=log_cross_entropy)
    return float(torch.logsumexp(found, 0)) - math.log(len(found))


class Revocable(torch.optim.Optimizer):
    """Plain descent whose steps since the last good place can be taken back.

    The state of each parameter is its value ``kept`` there; that of the first one also holds ``log_loss`` there, the
    ``factor`` on the rate, and ``healthy``, 0 once a step of the epoch has failed: then nothing moves until it ends.

    Args:
        groups: Parameter groups.
        lr: Rate.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float) -> None:
        super().__init__(list(groups), {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step, unless the epoch has failed.

        Args:
            closure: Not used.
        """
        del closure
        book = book_of(self)
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    move = torch.where(book["healthy"] > 0, parameter.grad, torch.zeros_like(parameter.grad))
                    parameter.sub_(move, alpha=group["lr"] * book["factor"])


def book_of(stepper: torch.optim.Optimizer) -> dict[str, Any]:
    """What is kept once, at the first parameter.

    Args:
        stepper: What `LossBased.build` returned.

    Returns:
        The live state; empty before the first step.
    """
    return stepper.state[stepper.param_groups[0]["params"][0]]


def begin(stepper: torch.optim.Optimizer, *, log_loss: float) -> None:
    """Start the books.

    Args:
        stepper: What `LossBased.build` returned.
        log_loss: Logarithm of the loss before the first step.
    """
    first = stepper.param_groups[0]["params"][0]
    book_of(stepper).update(
        log_loss=log_loss, factor=1.0, healthy=torch.ones((), dtype=first.dtype, device=first.device)
    )
    keep(stepper)


def keep(stepper: torch.optim.Optimizer) -> None:
    """Make this the place to come back to.

    Args:
        stepper: What `LossBased.build` returned.
    """
    for group in stepper.param_groups:
        for parameter in group["params"]:
            stepper.state[parameter]["kept"] = parameter.detach().clone()


def take_back(stepper: torch.optim.Optimizer) -> None:
    """Undo all steps since the last place that was kept.

    Args:
        stepper: What `LossBased.build` returned.
    """
    with torch.no_grad():
        for group in stepper.param_groups:
            for parameter in group["params"]:
                parameter.copy_(stepper.state[parameter]["kept"])
