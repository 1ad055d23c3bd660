r"""The Gauss-Newton part of the Hessian as a sum of four: class, cross-class, within, and what lies on the diagonal.

For sample i of class c and any class c' the gradient of the cross-entropy, had its label been c', is up to its sign
$g_{ic'} = J_i^T(e_{c'} - p_i)$, and $G = \sum_i\sum_{c'} w_{ic'}\,g_{ic'}g_{ic'}^T$ with $w_{ic'} = p_{ic'}/N$.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.dynamics._curvature import gradients
from collapselab.dynamics._curvature.gradients import batches, block_of, class_means, squares
from collapselab.dynamics._curvature.prepared import prepared
from collapselab.dynamics._spec import Sight

PARTS = ("class", "cross", "within", "own")
"""Names of the four; `own` is that of c' = c."""


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

    Means come of k² passes back, each over the samples of a class together; traces of Gram matrices of the Jacobians of
    single samples, in blocks. No gradients of single samples are kept.

    Args:
        sight: The network, in eval mode, and its samples; a copy of the network is differentiated, in float64.
        rows: Which samples (n,); all by default.

    Returns:
        The structure.

    Raises:
        InputError: If k² means of gradients do not fit into 2 GiB.
    """
    found = prepared(sight, rows)
    mass, means = class_means(found)
    directions, cross = _between(mass, means)
    off, own = squares(found)
    # About the means less about 0: rounding may leave less than nothing where all samples of a class are alike.
    within = (off - (mass * means.square().sum(2)).sum()).clamp_min(0.0)
    traces = torch.stack([directions.square().sum(), cross.square().sum(), within, own])
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
    if 4 * 8 * size**2 > gradients.MEAN_BYTES:
        raise InputError(f"network must have at most 8192 trained parameters for dense matrices, got {size}")
    mass, means = class_means(found)
    directions, cross = _between(mass, means)
    flat = cross.flatten(0, 1)
    parts = {"class": directions.T @ directions, "cross": flat.T @ flat}
    parts |= {name: torch.zeros_like(parts["class"]) for name in ("within", "own")}
    for x, y in batches(found):
        block = block_of(found, x, y)
        centred = ((block.g - means[block.y]) * block.off.sqrt()[:, :, None]).flatten(0, 1)
        parts["within"] += centred.T @ centred
        parts["own"] += (block.own_g * block.own[:, None]).T @ block.own_g
    return parts


def _between(
    mass: Float[Tensor, "k k"], means: Float[Tensor, "k k p"]
) -> tuple[Float[Tensor, "k p"], Float[Tensor, "k k p"]]:
    """Rows whose outer products sum to the class part, and to the cross-class part."""
    whole = mass.sum(1)
    weights = mass / torch.where(whole > 0, whole, 1.0)[:, None]
    of_class = torch.einsum("cd,cdp->cp", weights, means)
    return whole.sqrt()[:, None] * of_class, mass.sqrt()[:, :, None] * (means - of_class[:, None])
