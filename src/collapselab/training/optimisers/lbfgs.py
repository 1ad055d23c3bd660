"""L-BFGS: quasi-Newton steps from the last few changes of the gradient."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from collapselab.core import checks
from collapselab.training.losses import Loss
from collapselab.training.optimisers._closure import Closure, decayed, slope_of, whole_set
from collapselab.training.optimisers._line_search import Probe, StrongWolfe, search
from collapselab.training.optimisers._requirements import same_loss_each_time
from collapselab.training.optimisers._spec import Optimiser, Work, optimiser


@optimiser("lbfgs", label="L-BFGS with strong Wolfe line search", source="liu1989")
@dataclass(frozen=True)
class LBFGS(Optimiser):
    """One quasi-Newton iteration on the whole training set; an epoch is one iteration.

    Weight decay is part of the objective of the line search. A step at a minimum, or where rounding hides all
    further descent, leaves the parameters as they are; that is no error. The network must give the same loss each
    time: no dropout, no augmentation. Batch normalisation works; its running statistics see every trial step.

    Attributes:
        learning_rate: Length of the first trial step, as a share of the quasi-Newton step.
        memory: Changes of the gradient that are kept.
        weight_decay: Coefficient of one half of the squared norm of the parameters.
        evaluations: Trial steps of one line search at most.
    """

    full_batch: ClassVar[bool] = True

    learning_rate: float = 1.0
    memory: int = 20
    weight_decay: float = 0.0
    evaluations: int = 25

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.learning_rate, "learning_rate", above=0)
        checks.whole(self.memory, "memory", at_least=1)
        checks.real(self.weight_decay, "weight_decay", at_least=0)
        checks.whole(self.evaluations, "evaluations", at_least=1)

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
        """Refuse clipped gradients and random inputs.

        Args:
            network: What is trained.
            loss: What is minimised.
            penalty: What is added to it.
            class_weights: Whether classes weigh differently in the loss.
            clipping: Whether gradients are clipped.
            augmentation: Whether inputs are changed at random.
        """
        del network, loss, penalty, class_weights
        same_loss_each_time("lbfgs", clipping=clipping, augmentation=augmentation)

    def build(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimiser.

        Args:
            groups: Parameter groups.

        Returns:
            A new optimiser.
        """
        return QuasiNewton(
            groups,
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            memory=self.memory,
            evaluations=self.evaluations,
        )

    def step(self, work: Work, stepper: torch.optim.Optimizer) -> Tensor:
        """One iteration.

        Args:
            work: What the loop lends.
            stepper: What `build` returned.

        Returns:
            Sum of the losses of all samples, before the step.
        """
        closure, count = whole_set(work, stepper), len(work.rows[0])
        total = stepper.step(lambda: closure() / count)  # pyright: ignore[reportArgumentType, reportCallIssue]
        return torch.as_tensor(total * count, device=work.rows[0].device)


class QuasiNewton(torch.optim.Optimizer):
    """Limited-memory BFGS; loss and gradient of the last accepted step are kept, so that it costs no evaluation twice.

    All is kept in the state of the first parameter: ``gradient``, ``value`` and ``loss`` at the parameters, the
    ``moves`` and ``changes`` of the last iterations, and whether it is ``stalled``.

    Args:
        groups: Parameter groups, each with its own weight decay if it names one.
        lr: First trial step.
        weight_decay: Coefficient of one half of the squared norm.
        memory: Iterations that are kept.
        evaluations: Trial steps of one line search at most.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], *, lr: float, weight_decay: float, memory: int, evaluations: int
    ) -> None:
        super().__init__(list(groups), {"lr": lr, "weight_decay": weight_decay})
        self._memory, self._evaluations = memory, evaluations

    @torch.no_grad()
    def step(self, closure: Closure) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One iteration.

        Args:
            closure: Computes the gradient anew and gives the mean loss.

        Returns:
            The mean loss before the step, without weight decay.
        """
        book = self.state[self.param_groups[0]["params"][0]]
        if not book:
            start = self._probe(closure, None, 0.0)
            book.update(gradient=start.gradient, value=start.value, loss=start.loss)
            book.update(moves=[], changes=[], stalled=False)
        loss = book["loss"]
        rate = self.param_groups[0]["lr"]
        # Not even a first step where the loss is no number: the caller sees it.
        if rate > 0 and not book["stalled"] and math.isfinite(book["value"]):
            book["stalled"] = not self._moved(closure, book, rate)
        return loss

    def _moved(self, closure: Closure, book: dict[str, Any], rate: float) -> bool:
        direction = quasi_newton(book["gradient"], book["moves"], book["changes"])
        if book["moves"] and _nothing(direction, self._flat()):
            return False
        if self._try(closure, book, direction, rate=rate):
            return True
        if not book["moves"]:
            return False
        book.update(moves=[], changes=[])  # the curvature that was kept misleads: once more along the gradient
        return self._try(closure, book, -book["gradient"], rate=rate)

    def _try(self, closure: Closure, book: dict[str, Any], direction: Tensor, *, rate: float) -> bool:
        """Search along a direction; leave the parameters as they were if nothing lies lower."""
        before, gradient = self._flat(), book["gradient"]
        slope = float(gradient @ direction)
        if not -math.inf < slope < 0:
            return False
        first = rate if book["moves"] else rate * min(1.0, 1.0 / float(gradient.abs().sum()))
        start = Probe(0.0, book["value"], slope, book["loss"], gradient)
        rounding = 100 * torch.finfo(gradient.dtype).eps * abs(start.value)

        def probe(length: float) -> Probe:
            self._go(before, direction, length)
            return self._probe(closure, direction, length)

        found = search(probe, StrongWolfe(start, rounding), first=first, evaluations=self._evaluations)
        self._go(before, direction, 0.0 if found is None else found.length)
        if found is None:
            return False
        self._remember(book, self._flat() - before, found.gradient - gradient)
        book.update(gradient=found.gradient, value=found.value, loss=found.loss)
        return True

    def _remember(self, book: dict[str, Any], move: Tensor, change: Tensor) -> None:
        curvature, scale = float(move @ change), float(move.norm() * change.norm())
        if curvature > torch.finfo(move.dtype).eps * scale:  # otherwise it is rounding, and may have any sign
            book["moves"] = [*book["moves"], move][-self._memory :]
            book["changes"] = [*book["changes"], change][-self._memory :]

    def _probe(self, closure: Closure, direction: Tensor | None, length: float) -> Probe:
        loss = float(closure())
        value, pieces = loss, []
        for parameter, decay in decayed(self.param_groups):
            value += 0.5 * decay * float(parameter.square().sum())
            pieces.append(slope_of(parameter, decay).flatten())
        gradient = torch.cat(pieces)
        slope = 0.0 if direction is None else float(gradient @ direction)
        return Probe(length, value, slope, loss, gradient)

    def _flat(self) -> Tensor:
        return torch.cat([parameter.detach().flatten() for parameter, _ in decayed(self.param_groups)])

    def _go(self, before: Tensor, direction: Tensor, length: float) -> None:
        """To a place on a line; back to its start bit for bit where the length is 0."""
        place = before + length * direction if length else before
        at = 0
        for parameter, _ in decayed(self.param_groups):
            parameter.copy_(place[at : at + parameter.numel()].view_as(parameter))
            at += parameter.numel()


def _nothing(move: Tensor, place: Tensor) -> bool:
    """Whether a step is lost in the rounding of the parameters."""
    return float(move.norm()) <= torch.finfo(move.dtype).eps * float(place.norm())


def quasi_newton(gradient: Tensor, moves: Sequence[Tensor], changes: Sequence[Tensor]) -> Tensor:
    """Minus the inverse Hessian, as the last iterations show it, times the gradient: the two-loop recursion.

    Args:
        gradient: Gradient (p,).
        moves: Steps of the last iterations, oldest first, each (p,).
        changes: How the gradient changed over each, (p,).

    Returns:
        A direction (p,).
    """
    q = gradient.clone()
    shares = []
    for s, y in zip(reversed(moves), reversed(changes), strict=True):
        share = (s @ q) / (s @ y)
        q -= share * y
        shares.append(share)
    if moves:
        q *= (moves[-1] @ changes[-1]) / (changes[-1] @ changes[-1])
    for s, y, share in zip(moves, changes, reversed(shares), strict=True):
        q += (share - (y @ q) / (s @ y)) * s
    return -q
