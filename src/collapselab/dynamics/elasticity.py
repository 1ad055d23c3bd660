"""Local elasticity over training: how much a step on a sample moves its own class and others."""

from dataclasses import dataclass
from functools import partial

from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import UndefinedMetric
from collapselab.dynamics._elasticity.classes import class_elasticity, intra_inter
from collapselab.dynamics._elasticity.kernel import tangent_kernel
from collapselab.dynamics._elasticity.readings import all_logits, own_residual
from collapselab.dynamics._elasticity.similarity import normalised_kernel
from collapselab.dynamics._spec import Found, Quantity, Sight, quantity
from collapselab.dynamics._tangent import BUDGET
from collapselab.records import Declaration
from collapselab.records.numbers import declared

_similarity = partial(declared, source="he2020", family="local_elasticity", at_collapse=None, lower=-1.0, upper=1.0)
_elasticity = partial(
    declared, source="zhang2021", family="local_elasticity", at_collapse=None, lower=None, unit="1/time"
)

INTRA_SIMILARITY = _similarity(
    "intra_similarity",
    "similarity within classes",
    "Mean cosine of the gradients of two samples of a class, over classes.",
    symbol=r"\overline{\Theta(x,x')/\sqrt{\Theta(x,x)\Theta(x',x')}}",
)
INTER_SIMILARITY = _similarity(
    "inter_similarity",
    "similarity between classes",
    "Mean cosine of the gradients of samples of different classes, over pairs of classes.",
    symbol=r"\overline{\Theta(x,x')/\sqrt{\Theta(x,x)\Theta(x',x')}}",
)
GAP = declared(
    "similarity_gap",
    "similarity gap",
    "Mean cosine of the gradients of samples within classes minus that between classes.",
    symbol=r"\overline{\Theta}_{\text{intra}}-\overline{\Theta}_{\text{inter}}",
    source="he2020",
    family="local_elasticity",
    at_collapse=None,
    lower=-2.0,
    upper=2.0,
)
INTRA_JACOBIAN = _similarity(
    "intra_jacobian_similarity",
    "similarity of Jacobians within classes",
    "Mean cosine of the Jacobians of all logits of two samples of a class, over classes; labels have no part in it.",
    symbol=r"\overline{\operatorname{tr}J J'^T/(\lVert J\rVert\lVert J'\rVert)}",
)
INTER_JACOBIAN = _similarity(
    "inter_jacobian_similarity",
    "similarity of Jacobians between classes",
    "Mean cosine of the Jacobians of all logits of samples of different classes, over pairs of classes.",
    symbol=r"\overline{\operatorname{tr}J J'^T/(\lVert J\rVert\lVert J'\rVert)}",
)
INTRA = _elasticity(
    "intra_elasticity",
    "elasticity within classes",
    "How fast a unit step on a sample moves another of its class along the residual of the class, over classes.",
    symbol=r"\alpha=\tfrac1K\sum_k d_k^T\Theta_{kk}d_k/\kappa",
)
INTER = _elasticity(
    "inter_elasticity",
    "elasticity between classes",
    "How fast a unit step on a sample moves one of another class along the residual of that class, over pairs.",
    symbol=r"\beta=\tfrac1{K(K-1)}\sum_{k\ne l}d_k^T\Theta_{kl}d_l/\kappa",
)
NUMBERS = (INTRA_SIMILARITY, INTER_SIMILARITY, GAP, INTRA, INTER, INTRA_JACOBIAN, INTER_JACOBIAN)

MATRIX = _similarity(
    "class_similarity",
    "similarity of classes",
    "Mean cosine of the gradients of samples of each two classes; within a class, of different samples.",
    symbol=r"\overline{\Theta(x,x')/\sqrt{\Theta(x,x)\Theta(x',x')}}",
)
JACOBIANS = _similarity(
    "class_jacobian_similarity",
    "similarity of Jacobians of classes",
    "Mean cosine of the Jacobians of all logits of samples of each two classes; within a class, of different samples.",
    symbol=r"\overline{\operatorname{tr}J J'^T/(\lVert J\rVert\lVert J'\rVert)}",
)


@quantity("local_elasticity", label="local elasticity", source="he2020")
@dataclass(frozen=True)
class LocalElasticity(Quantity):
    r"""How much a step on a sample moves samples of its class, and of others.

    From exact tangent kernels between a few samples of each class, without pairs of a sample with itself; every class
    and every pair of classes counts alike. The elasticities are the direct estimate of α and β of the locally elastic
    model, from gradients of $\langle d_y, z\rangle/\sqrt\kappa$ (`own_residual`), and the similarities are cosines of
    these. They know the labels: where a network tells no samples apart they are 1 and $-1/(K-1)$, not equal. The
    similarities of Jacobians, of all logits together, do not know them: there they are 1 and 1.

    Attributes:
        samples_per_class: Samples of each class, the same at every moment; at least two.
        budget: Bytes that the kernel and the gradients may take together.
    """

    samples_per_class: int = 10
    budget: int = BUDGET

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.samples_per_class, "samples_per_class", at_least=2)
        checks.whole(self.budget, "budget", at_least=1)

    def look(self, sight: Sight) -> Found:
        """Measure.

        Args:
            sight: The network and the samples.

        Returns:
            Similarities, their gap and elasticities, and both matrices of similarities between classes.
        """
        x, y = sight.take(sight.few_of_each(self.samples_per_class, "local elasticity"))
        k = sight.num_classes
        try:
            along, whole = self._kernels(sight, x, y)
            raw = intra_inter(class_elasticity(along, y, k))
        except UndefinedMetric as undefined:
            return Found(tuple((one, str(undefined)) for one in NUMBERS))
        similar = _cosines(along, y, k, (INTRA_SIMILARITY, INTER_SIMILARITY, GAP), MATRIX)
        alike = _cosines(whole, y, k, (INTRA_JACOBIAN, INTER_JACOBIAN), JACOBIANS)
        numbers = (*similar.numbers, (INTRA, raw.intra), (INTER, raw.inter), *alike.numbers)
        return Found(numbers, similar.matrices + alike.matrices)

    def _kernels(self, sight: Sight, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Kernels (n, n) along the own residual, and of all logits."""
        most = int((self.budget / 16) ** 0.5)  # in float64 half of the budget
        if len(y) > most:
            raise UndefinedMetric(f"a kernel of {len(y)} samples is over the budget, which is enough for {most}")
        along = tangent_kernel(sight.network, x, y, read=own_residual, budget=self.budget)
        whole = tangent_kernel(sight.network, x, y, read=all_logits, budget=self.budget)
        if not bool(along.isfinite().all() and whole.isfinite().all()):
            raise UndefinedMetric("products of gradients are beyond every number, or none")
        return along, whole


def _cosines(kernel: Tensor, y: Tensor, k: int, means: tuple[Declaration, ...], picture: Declaration) -> Found:
    """Cosines within classes, between them, and their gap, as far as declared; a sample without gradient has none."""
    try:
        matrix = class_elasticity(normalised_kernel(kernel), y, k)
    except UndefinedMetric as undefined:
        return Found(tuple((one, str(undefined)) for one in means))
    found = intra_inter(matrix)
    numbers = tuple(zip(means, (found.intra, found.inter, found.gap), strict=False))
    return Found(numbers, ((picture, matrix.cpu().numpy()),))
