"""A copy of a network and some samples in float64, in which curvature is computed."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.core.linalg import accumulator_device
from collapselab.dynamics._spec import Sight
from collapselab.dynamics._tangent import trained

# How far the losses of a training may be from the cross-entropy by rounding: they may come in float32.
_ROUNDING = 1e-4

# Samples that are compared.
_COMPARED = 64


@dataclass(frozen=True, eq=False)
class Prepared:
    """What curvature is computed of.

    Attributes:
        network: A copy in float64 and eval mode.
        x: Inputs (n, ...), in float64 unless they are integers.
        y: Labels (n,).
        num_classes: K.
    """

    network: nn.Module
    x: Tensor
    y: Tensor
    num_classes: int

    @property
    def num_parameters(self) -> int:
        """P, of the parameters that are trained."""
        return sum(p.numel() for p in trained(self.network).values())


def prepared(sight: Sight, rows: Tensor | None) -> Prepared:
    """Copy a network and take samples.

    Args:
        sight: The network and its samples.
        rows: Which samples (n,); all by default.

    Returns:
        Both in float64.

    Raises:
        InputError: If there are no samples, nothing or what is not used is trained, or logits are not one a class.
    """
    rows = torch.arange(len(sight.y), device=sight.y.device) if rows is None else checks.labels(rows, "rows")
    checks.labels_in_range(rows, len(sight.y), "rows")
    if not len(rows):
        raise InputError("rows must be at least one sample, got none")
    x, y = sight.take(rows)
    device = accumulator_device(x.device)
    network = copy.deepcopy(sight.network).to(device=device, dtype=torch.float64).eval()
    x = x.to(device=device, dtype=torch.float64) if x.is_floating_point() else x.to(device)
    _refuse_unfit(network, x[:1], sight.num_classes)
    return Prepared(network, x, y.to(device), sight.num_classes)


def _refuse_unfit(network: nn.Module, x: Tensor, num_classes: int) -> None:
    names = list(trained(network))
    given = x.clone()
    with torch.enable_grad():
        z = network(given)
        if not torch.equal(given.nan_to_num(), x.nan_to_num()):
            raise InputError("network must leave its inputs as they are, got one that writes into them")
        if z.shape != (1, num_classes):
            raise InputError(f"network must give one logit for each of {num_classes} classes, got {z.shape[-1]}")
        weights = [p for p in network.parameters() if p.requires_grad]
        slopes = torch.autograd.grad(z.sum(), weights, allow_unused=True)
    # curvlinops cannot differentiate by what is not there.
    if idle := [name for name, slope in zip(names, slopes, strict=True) if slope is None]:
        raise InputError(f"network must use all parameters that require gradients: {idle[0]} does not move its logits")


def minimises_cross_entropy(sight: Sight, rows: Tensor) -> bool:
    """Whether what a training minimises is the cross-entropy of the logits and nothing else.

    Args:
        sight: The network, its samples and its losses.
        rows: Samples (n,) of which the first are compared.

    Returns:
        Whether the losses agree.

    Raises:
        UndefinedMetric: If the cross-entropy is no number.
    """
    x, y = sight.take(rows[:_COMPARED])
    with torch.no_grad():
        z = sight.network(x.clone())
        checks.labels_in_range(y, z.shape[1])
        wanted = functional.cross_entropy(z, y, reduction="none")
        if not bool(wanted.isfinite().all()):
            raise UndefinedMetric("the cross-entropy is not finite")
        return torch.allclose(sight.loss_of(x.clone(), y).to(wanted), wanted, rtol=_ROUNDING, atol=_ROUNDING)
