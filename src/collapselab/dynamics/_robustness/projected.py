"""Projected gradient attacks on balls, and the smallest ball in which they succeed."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from collapselab.core import checks
from collapselab.dynamics._robustness.attacked import Attacked, Box, attacked
from collapselab.dynamics._robustness.perturbations import Perturbations, least_perturbations, size_of

# Sum of the lengths of all steps over the radius: a sample can reach every point of the ball, and turn round.
_WAY = 2.5


def pgd_l2(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    largest: float,
    steps: int = 20,
    halvings: int = 8,
    targets: int = 3,
    box: Box | None = None,
) -> Perturbations:
    """Small perturbations in the Euclidean norm by projected gradient steps, all samples and radii at once.

    A sample is attacked within the largest ball first; the radius is then halved between the largest that failed and
    the smallest that did not. It goes towards each of the nearest classes by the linearised network in turn.

    Args:
        network: Inputs (n, ...) to logits (n, k); eval mode is used and the former restored.
        x: Inputs.
        y: Labels (n,).
        largest: Radius of the largest ball; a sample that no step takes across the boundary there counts as failed.
        steps: In each ball.
        halvings: Of the radius.
        targets: Classes that are tried; at most all others are.
        box: Smallest and largest value that inputs may take; None for any.

    Returns:
        Distances, infinite where nothing was found.

    Raises:
        InputError: If an argument is not what it must be.
    """
    return _search(_L2, network, x, y, _Budget(largest, steps, halvings, targets), box)


def pgd_linf(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    largest: float,
    steps: int = 20,
    halvings: int = 8,
    targets: int = 3,
    box: Box | None = None,
) -> Perturbations:
    """`pgd_l2` in the norm of the largest absolute coordinate.

    Args:
        network: See `pgd_l2`.
        x: See `pgd_l2`.
        y: See `pgd_l2`.
        largest: See `pgd_l2`.
        steps: See `pgd_l2`.
        halvings: See `pgd_l2`.
        targets: See `pgd_l2`.
        box: See `pgd_l2`.

    Returns:
        Distances, infinite where nothing was found.

    Raises:
        InputError: If an argument is not what it must be.
    """
    return _search(_LINF, network, x, y, _Budget(largest, steps, halvings, targets), box)


@dataclass(frozen=True)
class _Ball:
    """Balls of a norm: its order and that of its dual."""

    order: float
    dual: float

    def steepest(self, gradient: Tensor) -> Tensor:
        """Direction of length 1 in which a linear function grows most; 0 where it does not grow."""
        if self.order == math.inf:
            return gradient.sign()
        size = size_of(gradient, 2).to(gradient).view(-1, *[1] * (gradient.ndim - 1))
        return gradient / torch.where(size > 0, size, 1.0)

    def projected(self, move: Tensor, radius: Tensor) -> Tensor:
        """The nearest point of the ball."""
        radius = radius.to(move).view(-1, *[1] * (move.ndim - 1))
        if self.order == math.inf:
            return move.clamp(-radius, radius)
        size = size_of(move, 2).to(move).view_as(radius)
        return torch.where(size > radius, move * (radius / torch.where(size > 0, size, 1.0)), move)


_L2, _LINF = _Ball(2, 2), _Ball(math.inf, 1)


@dataclass(frozen=True)
class _Budget:
    """How much is tried."""

    largest: float
    steps: int
    halvings: int
    targets: int

    def __post_init__(self) -> None:
        checks.real(self.largest, "largest", above=0)
        for name in ("steps", "targets"):
            checks.whole(getattr(self, name), name, at_least=1)
        checks.whole(self.halvings, "halvings", at_least=0)


def _search(ball: _Ball, network: nn.Module, x: Tensor, y: Tensor, budget: _Budget, box: Box | None) -> Perturbations:
    with attacked(network, x, y, box=box) as target:
        rows = target.right
        classes = _nearest_classes(target, rows, budget.targets, dual=ball.dual)
        tried = [_toward(target, ball, rows, classes[:, at], budget) for at in range(classes.shape[1])]
        return least_perturbations(*(target.least(moved, found, order=ball.order) for moved, found in tried))


def _nearest_classes(target: Attacked, rows: Tensor, count: int, *, dual: float) -> Tensor:
    """Other classes by distance in the linearised network, (m, count), the nearest first."""
    count = min(count, target.gaps.shape[1] - 1)
    if not len(rows):
        return rows.new_zeros(0, count)
    own = torch.arange(len(rows), device=rows.device)
    _, jacobian = target.jacobians(target.x[rows], rows)
    slopes = torch.linalg.vector_norm(jacobian - jacobian[own, target.y[rows]][:, None], ord=dual, dim=2)
    ratios = torch.where(slopes > 0, target.gaps[rows] / slopes, torch.finfo(slopes.dtype).max)
    return ratios.scatter(1, target.y[rows][:, None], math.inf).topk(count, largest=False).indices


def _toward(target: Attacked, ball: _Ball, rows: Tensor, classes: Tensor, budget: _Budget) -> tuple[Tensor, Tensor]:
    """The smallest ball in which each sample crosses on its way to a class: where it went, and whether it did."""
    moved = target.x.clone()
    found = torch.zeros(len(moved), dtype=torch.bool, device=moved.device)
    low = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
    high = torch.full_like(low, budget.largest)
    radius = high
    for _ in range(budget.halvings + 1):
        ended, crossed = _attempt(target, ball, rows, classes, radius, budget.steps)
        moved[rows[crossed]] = ended[crossed]
        found[rows[crossed]] = True
        reached = size_of(ended - target.x[rows], ball.order)
        low, high = torch.where(crossed, low, radius), torch.where(crossed, reached, high)
        # Where nothing crosses the largest ball there is nothing to halve.
        keep = found[rows]
        rows, classes, low, high = rows[keep], classes[keep], low[keep], high[keep]
        radius = (low + high) / 2
        if not len(rows):
            break
    return moved, found


def _attempt(
    target: Attacked, ball: _Ball, rows: Tensor, classes: Tensor, radius: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """Steps within balls; a sample rests once it has crossed."""
    ended = target.x[rows].clone()
    crossed = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    for _ in range(steps):
        going = (~crossed).nonzero()[:, 0]
        if not len(going):
            break
        at, limit = rows[going], radius[going]
        gradient = _gradient(target, ended[going], at, classes[going])
        length = (limit * (_WAY / steps)).to(gradient).view(-1, *[1] * (gradient.ndim - 1))
        move = ended[going] + length * ball.steepest(gradient) - target.x[at]
        ended[going] = target.clipped(target.x[at] + ball.projected(move, limit))
        crossed[going] = target.crossed(ended[going], at)
    return ended, crossed


def _gradient(target: Attacked, inputs: Tensor, rows: Tensor, classes: Tensor) -> Tensor:
    """Of the logit of a class less that of the own class, by the inputs."""
    with torch.enable_grad():
        leaf = inputs.detach().requires_grad_(True)
        z = target.logits(leaf, rows)
        toward = z.gather(1, classes[:, None]) - z.gather(1, target.y[rows][:, None])
        return torch.autograd.grad(toward.sum(), leaf)[0]
