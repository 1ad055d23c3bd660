r"""The Gauss-Newton part of the Hessian as a sum of four: class, cross-class, within, and what lies on the diagonal.

For sample i of class c and any class c' the gradient of the cross-entropy, had its label been c', is up to its sign
$g_{ic'} = J_i^T(e_{c'} - p_i)$, and $G = \sum_i\sum_{c'} w_{ic'}\,g_{ic'}g_{ic'}^T$ with $w_{ic'} = p_{ic'}/N$.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call, vjp, vmap

from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.dynamics._curvature.prepared import Prepared, prepared
from collapselab.dynamics._spec import Sight
from collapselab.dynamics._tangent import BUDGET, fixed, rows_at_once, trained

PARTS = ("class", "cross", "within", "own")
"""Names of the four; `own` is that of c' = c."""

_MEAN_BYTES = 2**31
"""Most that the means of gradients by class and class may take."""


@dataclass(frozen=True, eq=False)
class ClassStructure:
    r"""Means of gradients by class and class, and traces of the four parts.

    Attributes:
        mass: $W_{cc'} = \sum_{i\in c} w_{ic'}$ for c' other than c, (k, k) with 0 on the diagonal.
        directions: $\sqrt{W_c}\,\bar g_c$ as rows (k, p), with $W_c = \sum_{c'\ne c}W_{cc'}$: the class part is the sum
            of their outer products.
        cross: $\sqrt{W_{cc'}}\,(\bar g_{cc'} - \bar g_c)$, (k, k, p), 0 for c' = c: likewise for the cross-class part.
        traces: Of the four parts, in the order of `PARTS`.
    """

    mass: Tensor
    directions: Tensor
    cross: Tensor
    traces: Tensor

    def shares(self) -> dict[str, float]:
        """Traces of the four parts over that of their sum.

        Returns:
            Part to share; they sum to 1.

        Raises:
            UndefinedMetric: If the Gauss-Newton matrix is 0.
        """
        total = float(self.traces.sum())
        if total == 0:
            raise UndefinedMetric("the Gauss-Newton matrix is 0: every probability is 0 or 1 to the last bit")
        return {name: float(trace) / total for name, trace in zip(PARTS, self.traces, strict=True)}

    def overlap(self, vectors: Tensor) -> float:
        """How much of a subspace lies in the span of the class directions.

        Args:
            vectors: Orthonormal columns (p, m).

        Returns:
            Mean squared cosine, 0 to 1: of a random subspace it is about the rank of the span over p.

        Raises:
            UndefinedMetric: If the class directions are 0.
        """
        # Rows of equal length, so that a class without doubt left spans its direction like any other.
        length = self.directions.norm(dim=1, keepdim=True)
        unit = (self.directions / length)[length[:, 0] > 0]
        if not len(unit):
            raise UndefinedMetric("the class directions are 0: every probability is 0 or 1 to the last bit")
        s, right = torch.linalg.svd(unit, full_matrices=False)[1:]
        span = right[s > 1e-10 * s[0]]
        return float((span @ vectors.to(span)).square().sum()) / vectors.shape[1]


def class_structure(sight: Sight, rows: Tensor | None = None) -> ClassStructure:
    """Directions of classes and of pairs of classes, and the traces of the four parts of the Gauss-Newton matrix.

    It takes two passes over gradients of single samples, k for each, in blocks.

    Args:
        sight: The network, in eval mode, and its samples; a copy of the network is differentiated, in float64.
        rows: Which samples (n,); all by default.

    Returns:
        The structure.

    Raises:
        InputError: If k² means of gradients do not fit into 2 GiB.
    """
    found = prepared(sight, rows)
    gradients = _Gradients(found)
    mass, means = _means(gradients)
    directions, cross = _between(mass, means)
    spread = [torch.zeros((), dtype=torch.float64, device=mass.device) for _ in range(2)]
    for block in gradients:
        spread[0] += (block.off * (block.g - means[block.y]).square().sum(2)).sum()
        spread[1] += (block.own * block.own_g.square().sum(1)).sum()
    traces = torch.stack([directions.square().sum(), cross.square().sum(), *spread])
    return ClassStructure(mass, directions, cross, traces)


def gauss_newton_parts(sight: Sight, rows: Tensor | None = None) -> dict[str, Tensor]:
    """The four parts as dense matrices, for small networks.

    Args:
        sight: See `class_structure`.
        rows: See `class_structure`.

    Returns:
        Part to matrix (p, p); they sum to the Gauss-Newton matrix.

    Raises:
        InputError: If the four matrices do not fit into 2 GiB.
    """
    found = prepared(sight, rows)
    size = found.num_parameters
    if 4 * 8 * size**2 > _MEAN_BYTES:
        raise InputError(f"network must have at most 8192 trained parameters for dense matrices, got {size}")
    gradients = _Gradients(found)
    mass, means = _means(gradients)
    directions, cross = _between(mass, means)
    flat = cross.flatten(0, 1)
    parts = {"class": directions.T @ directions, "cross": flat.T @ flat}
    parts |= {name: torch.zeros_like(parts["class"]) for name in ("within", "own")}
    for block in gradients:
        centred = ((block.g - means[block.y]) * block.off.sqrt()[:, :, None]).flatten(0, 1)
        parts["within"] += centred.T @ centred
        parts["own"] += (block.own_g * block.own[:, None]).T @ block.own_g
    return parts


@dataclass(frozen=True, eq=False)
class _Block:
    """Gradients g (b, k, p) of some samples, weights `off` (b, k), 0 at the own class, weights `own` (b,), labels."""

    g: Tensor
    off: Tensor
    own: Tensor
    y: Tensor

    @property
    def own_g(self) -> Tensor:
        """Gradients at the own class (b, p)."""
        return self.g[torch.arange(len(self.y), device=self.y.device), self.y]


class _Gradients:
    """Blocks of gradients, computed again for each pass unless one block holds all of them."""

    def __init__(self, found: Prepared) -> None:
        self.found = found
        k, p = found.num_classes, found.num_parameters
        if 3 * 8 * k * k * p > _MEAN_BYTES:
            raise InputError(f"network must be small enough for {k}² means of gradients, got {p} trained parameters")
        # The gradients, their differences from means, and what automatic differentiation makes on the way.
        self._size = rows_at_once(found.network, held=4 * k, budget=BUDGET)
        self._kept: _Block | None = None

    def __iter__(self) -> Iterator[_Block]:
        if self._kept is not None:
            yield self._kept
            return
        x, y = self.found.x, self.found.y
        for start in range(0, len(y), self._size):
            block = self._block(x[start : start + self._size], y[start : start + self._size])
            if len(block.y) == len(y):
                self._kept = block
            yield block

    def _block(self, x: Tensor, y: Tensor) -> _Block:
        network = self.found.network
        weights, rest = trained(network), fixed(network)

        def one(sample: Tensor) -> tuple[Tensor, Tensor]:
            def logits(own: dict[str, Tensor]) -> Tensor:
                return functional_call(network, (own, rest), (sample[None],)).squeeze(0)

            found = vjp(logits, weights)
            p = found[0].softmax(0)
            (pulled,) = vmap(found[1])(_residuals(p))
            return torch.cat([pulled[name].flatten(1) for name in weights], 1), p

        with torch.no_grad():
            g, p = vmap(one)(x)
        p = p / len(self.found.y)
        own = p.gather(1, y[:, None]).squeeze(1)
        return _Block(g, p.scatter(1, y[:, None], 0.0), own, y)


def _residuals(p: Float[Tensor, " k"]) -> Float[Tensor, "k k"]:
    """Rows e_c' - p; 1 - p as the sum of the others, so that it keeps its digits where p is all but 1."""
    others = p * (1 - torch.eye(len(p), dtype=p.dtype, device=p.device))
    return torch.diag(others.sum(1)) - others


def _means(gradients: _Gradients) -> tuple[Float[Tensor, "k k"], Float[Tensor, "k k p"]]:
    """Masses off the diagonal and mean gradients by class and class; 0 where there is no mass."""
    k, p = gradients.found.num_classes, gradients.found.num_parameters
    like = {"dtype": torch.float64, "device": gradients.found.y.device}
    mass, sums = torch.zeros(k, k, **like), torch.zeros(k, k, p, **like)
    for block in gradients:
        mass.index_add_(0, block.y, block.off)
        sums.index_add_(0, block.y, block.off[:, :, None] * block.g)
    return mass, sums / torch.where(mass > 0, mass, 1.0)[:, :, None]


def _between(
    mass: Float[Tensor, "k k"], means: Float[Tensor, "k k p"]
) -> tuple[Float[Tensor, "k p"], Float[Tensor, "k k p"]]:
    """Rows whose outer products sum to the class part, and to the cross-class part."""
    whole = mass.sum(1)
    weights = mass / torch.where(whole > 0, whole, 1.0)[:, None]
    of_class = torch.einsum("cd,cdp->cp", weights, means)
    return whole.sqrt()[:, None] * of_class, mass.sqrt()[:, :, None] * (means - of_class[:, None])
