"""Gradients of the loss of samples under the label of each class: by themselves, their means, and their lengths."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call, jacrev, vjp, vmap

from collapselab.core.errors import InputError
from collapselab.dynamics._curvature.prepared import Prepared
from collapselab.dynamics._tangent import BUDGET, fixed, rows_at_once, trained

MEAN_BYTES = 2**31
"""Most that the means of gradients by class and class may take."""

_TOGETHER = 512
"""Samples of a class that are gone through together."""


@dataclass(frozen=True, eq=False)
class Block:
    """Gradients of some samples under the label of each class.

    Attributes:
        g: (b, k, p).
        off: Weights (b, k), 0 at the own class.
        own: Weights (b,) of the gradients at the own class.
        y: Labels (b,).
    """

    g: Tensor
    off: Tensor
    own: Tensor
    y: Tensor

    @property
    def own_g(self) -> Tensor:
        """Gradients at the own class (b, p)."""
        return self.g[torch.arange(len(self.y), device=self.y.device), self.y]


def batches(found: Prepared) -> Iterator[tuple[Tensor, Tensor]]:
    """Samples, in parts whose Jacobians fit into memory.

    Args:
        found: Network and samples.

    Returns:
        Inputs and labels of each part.
    """
    # Jacobians, and what automatic differentiation makes on the way.
    size = rows_at_once(found.network, held=4 * found.num_classes, budget=BUDGET)
    return zip(found.x.split(size), found.y.split(size), strict=True)


def _jacobians(found: Prepared, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Derivatives of the logits of single samples by each parameter (b, k, ...), and probabilities (b, k)."""
    weights, rest = trained(found.network), fixed(found.network)

    def one(own: dict[str, Tensor], sample: Tensor) -> tuple[Tensor, Tensor]:
        z = functional_call(found.network, (own, rest), (sample[None],)).squeeze(0)
        return z, z

    with torch.no_grad():
        jacobian, z = vmap(jacrev(one, has_aux=True), in_dims=(None, 0))(weights, x)
    return jacobian, z.softmax(1)


def block_of(found: Prepared, x: Tensor, y: Tensor) -> Block:
    """Gradients of some samples under the label of each class.

    Args:
        found: Network and samples.
        x: Inputs (b, ...).
        y: Labels (b,).

    Returns:
        The block.
    """
    jacobian, p = _jacobians(found, x)
    g = _residuals(p) @ torch.cat([part.flatten(2) for part in jacobian.values()], 2)
    off, own = _weights(found, p, y)
    return Block(g, off, own, y)


def _weights(found: Prepared, p: Float[Tensor, "b k"], y: Tensor) -> tuple[Float[Tensor, "b k"], Float[Tensor, " b"]]:
    """Weights of the gradients under the labels that samples do not have, 0 at the own one, and of that."""
    p = p / len(found.y)
    return p.scatter(1, y[:, None], 0.0), p.gather(1, y[:, None]).squeeze(1)


def squares(found: Prepared) -> tuple[Tensor, Tensor]:
    """Weighted sums of the squared lengths of gradients, from Gram matrices of the Jacobians of single samples.

    Args:
        found: Network and samples.

    Returns:
        That of the gradients under the labels that samples do not have, and that of those under their own.
    """
    off_sum, own_sum = (torch.zeros((), dtype=torch.float64, device=found.y.device) for _ in range(2))
    for x, y in batches(found):
        jacobian, p = _jacobians(found, x)
        gram = sum(part.flatten(2) @ part.flatten(2).mT for part in jacobian.values())
        residuals = _residuals(p)
        squares = ((residuals @ gram) * residuals).sum(2)
        off, own = _weights(found, p, y)
        off_sum += (off * squares).sum()
        own_sum += (own * squares.gather(1, y[:, None]).squeeze(1)).sum()
    return off_sum, own_sum


def _residuals(p: Float[Tensor, "b k"]) -> Float[Tensor, "b k k"]:
    """Rows e_c' - p; 1 - p as the sum of the others, so that it keeps its digits where p is all but 1."""
    others = p[:, None, :] * (1 - torch.eye(p.shape[1], dtype=p.dtype, device=p.device))
    return torch.diag_embed(others.sum(2)) - others


def class_means(found: Prepared) -> tuple[Float[Tensor, "k k"], Float[Tensor, "k k p"]]:
    """Masses off the diagonal and mean gradients by class and class; 0 where there is no mass.

    Args:
        found: Network and samples.

    Returns:
        (k, k) and (k, k, p).

    Raises:
        InputError: If the means do not fit into 2 GiB.
    """
    k, p = found.num_classes, found.num_parameters
    if 3 * 8 * k * k * p > MEAN_BYTES:
        raise InputError(f"network must be small enough for {k}² means of gradients, got {p} trained parameters")
    like = {"dtype": torch.float64, "device": found.y.device}
    mass, sums = torch.zeros(k, k, **like), torch.zeros(k, k, p, **like)
    for c in found.y.unique().tolist():
        for x in found.x[found.y == c].split(_TOGETHER):
            more_mass, more = _sums_of_class(found, x, c)
            mass[c] += more_mass
            sums[c] += more
    return mass, sums.div_(torch.where(mass > 0, mass, 1.0)[:, :, None])


def _sums_of_class(found: Prepared, x: Tensor, c: int) -> tuple[Float[Tensor, " k"], Float[Tensor, "k p"]]:
    """Sums of weights, and of weighted gradients, over samples of one class under the label of each."""
    weights, rest = trained(found.network), fixed(found.network)
    with torch.no_grad():
        at = vjp(lambda own: functional_call(found.network, (own, rest), (x,)), weights)
        p = at[0].softmax(1)
        off, _ = _weights(found, p, torch.full((len(x),), c, device=x.device))
        (pulled,) = vmap(at[1])((off[:, :, None] * _residuals(p)).transpose(0, 1))
    return off.sum(0), torch.cat([pulled[name].flatten(1) for name in weights], 1)
