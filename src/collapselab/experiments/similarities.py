"""Similarities of samples from their tangent kernel, and what becomes of them between classes."""

from torch import Tensor

from collapselab.core.errors import UndefinedMetric
from collapselab.dynamics import class_elasticity, intra_inter, normalised_kernel, relative_similarity
from collapselab.records import Declaration
from collapselab.records.elasticity import BetweenClasses
from collapselab.records.numbers import declared

_OF = {"family": "local_elasticity", "at_collapse": None}
DECLARED = {
    one.name: one
    for one in (
        declared(
            "normalised_kernel",
            "similarity of gradients",
            "Mean cosine of the gradients of samples of each two classes; within a class, of different samples.",
            symbol=r"\Theta(x,x')/\sqrt{\Theta(x,x)\Theta(x',x')}",
            source="he2020",
            lower=-1.0,
            upper=1.0,
            **_OF,
        ),
        declared(
            "relative_similarity",
            "relative similarity",
            "How far a small step on a sample of the row's class moves one of the column's, relative to itself.",
            symbol=r"|\Theta(x,x')|/\Theta(x,x)",
            source="he2020",
            **_OF,
        ),
        declared(
            "jacobian_similarity",
            "similarity of Jacobians",
            "Mean cosine of the Jacobians of all logits of samples of each two classes, which know nothing of labels.",
            symbol=r"\operatorname{tr}JJ'^T/(\lVert J\rVert\lVert J'\rVert)",
            source="he2020",
            lower=-1.0,
            upper=1.0,
            **_OF,
        ),
        declared(
            "elasticity",
            "elasticity",
            "How fast a unit step on a sample of the row's class moves one of the column's along its own residual.",
            symbol=r"\Theta(x,x')",
            source="zhang2021",
            lower=None,
            unit="1/time",
            **_OF,
        ),
    )
}
"""The similarities of a record, in their order, where own residuals are read."""


def declared_of(reading: str) -> dict[str, Declaration]:
    """What the similarities of a record say of themselves.

    Args:
        reading: ``own_residual`` or ``single_logit``.

    Returns:
        Key to declaration, in their order.
    """
    if reading == "own_residual":
        return DECLARED
    summary = "How fast a unit step on a sample of the row's class moves the output of one of the column's."
    own = {"elasticity": DECLARED["elasticity"].model_copy(update={"summary": summary})}
    return {name: own.get(name, one) for name, one in DECLARED.items() if name != "jacobian_similarity"}


def similarities_of(kernel: Tensor, whole: Tensor | None = None) -> dict[str, Tensor | str]:
    """All similarities of some samples.

    Args:
        kernel: Their tangent kernel (n, n).
        whole: That of all logits together; None where there is one logit, whose gradient is the Jacobian.

    Returns:
        Key of `DECLARED` to the similarity (n, n), or the reason why there is none.
    """
    asked = [("normalised_kernel", normalised_kernel, kernel), ("relative_similarity", relative_similarity, kernel)]
    asked += [] if whole is None else [("jacobian_similarity", normalised_kernel, whole)]
    found: dict[str, Tensor | str] = {}
    for name, formula, given in asked:
        try:
            found[name] = formula(given)
        except UndefinedMetric as undefined:
            found[name] = str(undefined)
    return found | {"elasticity": kernel}


def between_classes(found: Tensor | str, place: Tensor, k: int) -> BetweenClasses:
    """A similarity of samples averaged over pairs of classes.

    Args:
        found: The similarity (n, n), or the reason why there is none.
        place: Labels (n,) from 0 to k - 1, at least two of each.
        k: Classes.

    Returns:
        The part of the record.
    """
    if isinstance(found, str):
        return BetweenClasses(undefined=found)
    matrix = class_elasticity(found, place, k)
    means = intra_inter(matrix)
    rows = tuple(tuple(row) for row in matrix.tolist())
    return BetweenClasses(matrix=rows, intra=means.intra, inter=means.inter)
