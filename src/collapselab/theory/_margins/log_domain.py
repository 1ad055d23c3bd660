"""The logarithm of cross-entropy: it and its gradient keep their digits where the loss itself is 1e-500."""

import math

import torch
from torch import Tensor

# Below this, log(1 + e^r) is e^r to the last digit of its logarithm.
_LINEAR = -40.0


def competition(logits: Tensor, y: Tensor) -> Tensor:
    r"""$r_i=\log\sum_{j\ne y_i}e^{z_{ij}-z_{iy_i}}$: minus a soft margin.

    Args:
        logits: (n, k), at least two classes.
        y: (n,) labels.

    Returns:
        (n,).
    """
    own = y[:, None]
    return torch.logsumexp((logits - logits.gather(1, own)).scatter(1, own, -math.inf), 1)


def log_cross_entropies(logits: Tensor, y: Tensor) -> Tensor:
    r"""$\log\ell_i$ with $\ell_i=\log(1+e^{r_i})$, the cross-entropy of each sample.

    Args:
        logits: (n, k), at least two classes.
        y: (n,) labels.

    Returns:
        (n,).
    """
    r = competition(logits, y)
    # The branch that is not taken must not divide by zero in the gradient either; softplus would round past r = 20.
    return torch.where(r < _LINEAR, r, torch.logaddexp(r.new_zeros(()), r.clamp_min(_LINEAR)).log())


def log_mean_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Logarithm of the mean cross-entropy.

    Args:
        logits: (n, k), at least two classes.
        y: (n,) labels.

    Returns:
        0-d, differentiable.
    """
    return torch.logsumexp(log_cross_entropies(logits, y), 0) - math.log(y.shape[0])


def log_loss_slopes(logits: Tensor, y: Tensor) -> tuple[float, Tensor]:
    """`log_mean_cross_entropy` and its gradient, written out: several times as fast as through the graph.

    Args:
        logits: (n, k), at least two classes.
        y: (n,) labels.

    Returns:
        The value, and its derivative by each logit, (n, k).
    """
    own = y[:, None]
    gaps = (logits - logits.gather(1, own)).scatter_(1, own, -math.inf)
    r = torch.logsumexp(gaps, 1)
    losses = torch.logaddexp(r.new_zeros(()), r)
    total = torch.logsumexp(torch.where(r < _LINEAR, r, losses.log()), 0)
    slopes = torch.exp_(gaps - (losses + total)[:, None])  # zero at a sample's own class
    return float(total) - math.log(y.shape[0]), slopes.scatter_(1, own, -slopes.sum(1, keepdim=True))
