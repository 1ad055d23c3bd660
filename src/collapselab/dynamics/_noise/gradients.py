"""Gradients of the losses of samples and of minibatches, many at once and within a budget of memory."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.dynamics._mapped import mapped, require_apart
from collapselab.dynamics._noise.moments import MinibatchGradients, SampleGradients
from collapselab.dynamics._spec import Sight
from collapselab.dynamics._tangent import BUDGET, fixed, rows_at_once, trained


class _Losses(nn.Module):
    """The losses of a sight as a module, whose parameters can be put in place of the network's own for a call."""

    def __init__(self, sight: Sight) -> None:
        super().__init__()
        self.network = sight.network
        self._sight = sight

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean loss of samples."""
        return self._sight.loss_of(x, y).mean()


def loss_gradients(sight: Sight, groups: Tensor, *, budget: int = BUDGET) -> Iterator[Tensor]:
    """Gradients of the mean losses of groups of samples by all trained parameters, block by block.

    The network is looked at in eval mode, so that batch normalisation with its running statistics treats samples one by
    one; decay is not part of the losses.

    Args:
        sight: The network, its losses and the samples.
        groups: Indices (m, b) of the samples of each group.
        budget: Bytes that a block may take.

    Yields:
        (some, p) gradients in float64, parameters as `network.parameters()` orders them.
    """
    require_apart(sight.network)
    losses = _Losses(sight)
    weights = {f"network.{name}": p for name, p in trained(sight.network).items()}
    rest = {f"network.{name}": p for name, p in fixed(sight.network).items()}

    def mean(own: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return functional_call(losses, (own, rest), (x, y))

    gradients = vmap(grad(mean), in_dims=(None, 0, 0))
    for some in groups.split(rows_at_once(sight.network, held=4, budget=budget)):  # float32 parts, float64 whole
        x, y = sight.take(some.flatten())
        with mapped(sight.network):
            found = gradients(weights, x.unflatten(0, some.shape), y.unflatten(0, some.shape))
        yield torch.cat([found[name].flatten(1).double() for name in weights], 1)


def sample_gradient_moments(sight: Sight, *, budget: int = BUDGET) -> SampleGradients:
    """Moments of the loss gradients of all samples of a split, exact.

    Args:
        sight: The network, its losses and the samples.
        budget: Bytes that gradients may take at once.

    Returns:
        The moments.

    Raises:
        InputError: If the network has no trained parameters, or looks at several samples at once.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from collapselab.dynamics import Sight, sample_gradient_moments
        >>> x, y = torch.tensor([[1.0], [1.0]]), torch.tensor([0, 1])
        >>> network = nn.Linear(1, 2, bias=False)
        >>> _ = nn.init.zeros_(network.weight)
        >>> sample_gradient_moments(Sight.of(network, x, y))
        SampleGradients(num_samples=2, squared_mean=0.0, variance=0.5)
    """
    every = torch.arange(len(sight.y), device=sight.y.device)[:, None]
    return SampleGradients.merged(loss_gradients(sight, every, budget=budget))


def minibatch_gradient_moments(
    sight: Sight, *, batch_size: int, minibatches: int, budget: int = BUDGET
) -> MinibatchGradients:
    """What estimates of signal and noise need, from independent minibatches of different samples.

    The gradients are held where they fit; else they are computed twice, first for their mean.

    Args:
        sight: The network, its losses and the samples.
        batch_size: Samples of a minibatch, B.
        minibatches: How many, m.
        budget: Bytes that gradients may take at once.

    Returns:
        Squared norms, and inner products with the mean.

    Raises:
        InputError: If there are fewer samples than B, or fewer than two minibatches.
    """
    groups = _drawn(sight, batch_size=batch_size, minibatches=minibatches)
    size = 8 * sum(p.numel() for p in trained(sight.network).values())
    if len(groups) * size <= budget:
        return MinibatchGradients.of(torch.cat(list(loss_gradients(sight, groups, budget=budget))))
    mean = torch.stack([block.sum(0) for block in loss_gradients(sight, groups, budget=budget)]).sum(0) / len(groups)
    found = [(block.square().sum(1), block @ mean) for block in loss_gradients(sight, groups, budget=budget)]
    squares, along = zip(*found, strict=True)
    return MinibatchGradients(torch.cat(squares), torch.cat(along))


def _drawn(sight: Sight, *, batch_size: int, minibatches: int) -> Tensor:
    """Indices (m, b); within a minibatch no sample comes twice."""
    n = len(sight.y)
    if checks.whole(batch_size, "batch_size", at_least=1) > n:
        raise InputError(f"batch_size must be at most {n}, the number of samples, got {batch_size}")
    draw = sight.generator("minibatches of gradient noise")
    count = checks.whole(minibatches, "minibatches", at_least=2)
    chosen = torch.stack([torch.randperm(n, generator=draw)[:batch_size] for _ in range(count)])
    return chosen.to(sight.y.device)
