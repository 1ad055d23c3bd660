"""DeepFool: to the nearest boundary of the linearised network, and again from there."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from collapselab.core import checks
from collapselab.dynamics._robustness.attacked import Attacked, Box, attacked
from collapselab.dynamics._robustness.closed_forms import gaps_of
from collapselab.dynamics._robustness.perturbations import Perturbations


def deepfool(
    network: nn.Module, x: Tensor, y: Tensor, *, steps: int = 50, overshoot: float = 0.02, box: Box | None = None
) -> Perturbations:
    """Small perturbations in the Euclidean norm, all samples at once.

    Each step goes to the nearest class boundary of the network linearised where the sample is. What has crossed goes
    back along its way as far as the boundary, so that for linear classifiers the distance is exact but for rounding. In
    a box more samples fail than with `pgd_l2`: steps that the box cuts short may lead nowhere.

    Args:
        network: Inputs (n, ...) to logits (n, k); eval mode is used and the former restored.
        x: Inputs.
        y: Labels (n,).
        steps: After how many a sample that has not crossed counts as failed.
        overshoot: Part by which each perturbation is lengthened on the way.
        box: Smallest and largest value that inputs may take; None for any.

    Returns:
        Distances, infinite where nothing was found.

    Raises:
        InputError: If an argument is not what it must be.
    """
    checks.whole(steps, "steps", at_least=1)
    checks.real(overshoot, "overshoot", at_least=0)
    with attacked(network, x, y, box=box) as target:
        return target.least(*_steps(target, steps, overshoot), order=2)


def _steps(target: Attacked, steps: int, overshoot: float) -> tuple[Tensor, Tensor]:
    """Where the samples went, and which of them crossed."""
    moved, total = target.x.clone(), torch.zeros_like(target.x)
    found = torch.zeros(len(moved), dtype=torch.bool, device=moved.device)
    rows = target.right
    for _ in range(steps):
        if not len(rows):
            break
        z, jacobian = target.jacobians(moved[rows], rows)
        total[rows] += _step(z, jacobian, target.y[rows]).view_as(total[rows])
        moved[rows] = target.clipped(target.x[rows] + (1 + overshoot) * total[rows])
        crossed = target.crossed(moved[rows], rows)
        found[rows[crossed]] = True
        rows = rows[~crossed]
    return moved, found


def _step(z: Float[Tensor, "m k"], jacobian: Float[Tensor, "m k d"], y: Int[Tensor, " m"]) -> Float[Tensor, "m d"]:
    """To the nearest boundary of the linearised network; nowhere where no other class can be reached."""
    gaps, all_rows = gaps_of(z, y), torch.arange(len(y), device=y.device)
    normals = jacobian - jacobian[all_rows, y][:, None]
    slopes = torch.linalg.vector_norm(normals, dim=2)
    ratios = torch.where(slopes > 0, gaps / slopes, math.inf)
    nearest = ratios.argmin(1)
    length = ratios[all_rows, nearest]
    direction = normals[all_rows, nearest] / torch.where(slopes > 0, slopes, 1.0)[all_rows, nearest][:, None]
    return torch.where(length.isfinite(), length, 0.0)[:, None] * direction
