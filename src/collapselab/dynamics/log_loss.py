r"""Losses as logarithms, exact where the losses themselves underflow.

The cross-entropy of a sample with margin 2000 is $10^{-868}$: torch's own in float64 is 0 from a margin of 37 on, and
its gradient from 746 on. The logarithm is an ordinary number, and so is the gradient of that.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from collapselab.core import checks

LINEAR = -37.0
"""Below it log log(1 + e^x) = x to the last bit of float64."""

SAME = 40.0
"""Above it log(1 + e^x) = x to the last bit of float64."""


def smooth_margins(z: Tensor, y: Tensor) -> Tensor:
    r"""What the cross-entropy of each sample is a function of: $\tilde q = -\log\sum_{j\ne y} e^{z_j - z_y}$.

    The cross-entropy is $\log(1 + e^{-\tilde q})$. With the margin q it obeys $q - \log(K-1) \le \tilde q \le q$, and
    both are the same number where there are two classes.

    Args:
        z: Logits (n, k), k of at least 2.
        y: Labels (n,).

    Returns:
        (n,) in float64, differentiable.

    Example:
        >>> smooth_margins(torch.tensor([[2000.0, 0.0]]), torch.tensor([0])).tolist()
        [2000.0]
    """
    return smooth_margins_of(*logits_and_labels(z, y))


def smooth_margins_of(z: Float[Tensor, "n k"], y: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """`smooth_margins` of what has been checked, or may be NaN as in a training that diverges.

    Args:
        z: Logits.
        y: Labels.

    Returns:
        (n,) in float64, differentiable.
    """
    z = z.double()
    others = z.scatter(1, y[:, None], -math.inf)
    return z.gather(1, y[:, None]).squeeze(1) - torch.logsumexp(others, 1)


def log_cross_entropy(z: Tensor, y: Tensor) -> Tensor:
    r"""Logarithm of the cross-entropy of each sample, $\log\log(1 + e^{-\tilde q})$.

    Args:
        z: Logits (n, k), k of at least 2.
        y: Labels (n,).

    Returns:
        (n,) in float64, finite where the differences of the logits are, differentiable.

    Example:
        >>> float(log_cross_entropy(torch.tensor([[2000.0, 0.0]]), torch.tensor([0])) / math.log(10))
        -868.58...
    """
    return log_logistic(smooth_margins(z, y))


def log_logistic(q: Tensor) -> Tensor:
    r"""Logarithm of the logistic loss, $\log\log(1 + e^{-q})$; it is -q itself where q is large.

    Args:
        q: Margins of any shape.

    Returns:
        As many in float64, differentiable.
    """
    x = -q.double()
    return torch.where(x < LINEAR, x, functional.softplus(x.clamp(min=LINEAR), threshold=SAME).log())


def log_exponential(q: Tensor) -> Tensor:
    """Logarithm of the exponential loss, which is the margin with the other sign.

    Args:
        q: Margins of any shape.

    Returns:
        As many in float64, differentiable.
    """
    return -q.double()


def log_sum(log_losses: Tensor) -> Tensor:
    r"""Logarithm of the sum of losses, $\log\mathcal L$; margins are stated in terms of the sum.

    Args:
        log_losses: Logarithms of losses (n,).

    Returns:
        0-d, differentiable: its gradient is exact where the losses underflow.
    """
    return torch.logsumexp(log_losses, 0)


def log_mean(log_losses: Tensor) -> Tensor:
    r"""Logarithm of the mean of losses, $\log(\mathcal L / N)$.

    Args:
        log_losses: Logarithms of losses (n,).

    Returns:
        0-d, differentiable.
    """
    return log_sum(log_losses) - math.log(len(log_losses))


def scaled_losses(log_losses: Tensor, *, log_scale: Tensor | float | None = None) -> Tensor:
    r"""Losses over a common scale F that is no part of the graph, $e^{\log\ell_n - \log F}$.

    With F the mean of the losses themselves, which is the default, the gradient of their mean is that of the logarithm
    of the mean loss. With F the mean loss of more samples, means over minibatches have gradients that average to it.

    Args:
        log_losses: Logarithms of losses (n,).
        log_scale: log F.

    Returns:
        (n,), differentiable.
    """
    scale = log_mean(log_losses).detach() if log_scale is None else log_scale
    return (log_losses - scale).exp()


def logits_and_labels(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Check logits and labels at the door.

    Args:
        z: Logits (n, k), k of at least 2.
        y: Labels (n,).

    Returns:
        The logits in float64, still part of the graph, and the labels.

    Raises:
        InputError: If they are anything else.
    """
    checks.matrix(z, "logits", axes="(samples, classes)")
    checks.whole(z.shape[1], "classes of the logits", at_least=2)
    y = checks.labels(y, num_rows=len(z))
    return z.double(), checks.labels_in_range(y, z.shape[1])
