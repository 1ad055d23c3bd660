"""NC4: does the classifier decide for the class whose mean is nearest?

Needs the class means first and then the features: a second look. All metrics of this family share it.
"""

from jaxtyping import Float, Int
from torch import Tensor

from collapselab.core.errors import UndefinedMetric
from collapselab.evidence.decisions import Decisions
from collapselab.evidence.stats import ClassStats
from collapselab.metrics._spec import Invariance, metric

_OF_NEAREST: tuple[Invariance, ...] = ("rotation", "scale", "translation", "relabelling", "duplication")
_OF_CLASSIFIER: tuple[Invariance, ...] = ("rotation", "relabelling", "duplication", "head_scale")


def _share(part: Int[Tensor, " k"] | None, counts: Int[Tensor, " k"]) -> Float[Tensor, ""]:
    """Samples counted in `part` as a share of all samples, each counted once."""
    if part is None:
        raise UndefinedMetric("needs the linear classifier (head), none was given")
    total = int(counts.sum())
    if total == 0:
        raise UndefinedMetric("no sample belongs to a class that has a mean")
    return part.sum().double() / total


def _shares(part: Int[Tensor, " k"] | None, stats: ClassStats, counts: Int[Tensor, " k"]) -> Float[Tensor, " k"]:
    """... and class by class."""
    if part is None:
        raise UndefinedMetric("needs the linear classifier (head), none was given")
    if int(counts.min()) == 0:
        label = int(stats.labels[counts.argmin()])
        raise UndefinedMetric(f"class {label} has a mean but no sample among the features looked at")
    return part.double() / counts.double()


@metric(
    label="NC4, disagreement with nearest class mean",
    symbol=r"\Pr\left[\arg\max_k (Wh+b)_k\ne\arg\min_k\|h-\mu_k\|\right]",
    at_collapse=0.0,
    range=(0.0, 1.0),
    invariant_under=_OF_CLASSIFIER,
    unit="fraction",
    needs=("head", "features"),
    source="papyan2020",
)
def nc4_disagreement(decisions: Decisions) -> Float[Tensor, ""]:
    """Share of samples that the classifier, with its bias, gives another class than the nearest class mean does.

    Args:
        decisions: What the two rules decide.

    Returns:
        Fraction in [0, 1]; labels play no part in it.
    """
    differ = None if decisions.agree is None else decisions.counts - decisions.agree
    return _share(differ, decisions.counts)


@metric(
    label="Accuracy of the nearest class mean",
    symbol=r"\Pr\left[\arg\min_k\|h-\mu_k\|=y\right]",
    at_collapse=1.0,
    range=(0.0, 1.0),
    invariant_under=_OF_NEAREST,
    unit="fraction",
    needs=("features",),
    source="papyan2020",
)
def ncc_accuracy(decisions: Decisions) -> Float[Tensor, ""]:
    """Share of samples whose nearest class mean is that of their own class.

    Args:
        decisions: What the two rules decide.

    Returns:
        Fraction in [0, 1].
    """
    return _share(decisions.nearest_correct, decisions.counts)


@metric(
    label="Accuracy of the classifier",
    symbol=r"\Pr\left[\arg\max_k (Wh+b)_k=y\right]",
    at_collapse=1.0,
    range=(0.0, 1.0),
    invariant_under=_OF_CLASSIFIER,
    unit="fraction",
    needs=("head", "features"),
    source="papyan2020",
)
def accuracy(decisions: Decisions) -> Float[Tensor, ""]:
    """Share of samples that the classifier, with its bias, gives their own class.

    Args:
        decisions: What the two rules decide.

    Returns:
        Fraction in [0, 1].
    """
    return _share(decisions.classifier_correct, decisions.counts)


@metric(
    label="Accuracy of the nearest class mean in a class",
    symbol=r"\Pr\left[\arg\min_l\|h-\mu_l\|=k\mid y=k\right]",
    at_collapse=1.0,
    range=(0.0, 1.0),
    invariant_under=_OF_NEAREST,
    unit="fraction",
    needs=("features",),
    source="papyan2020",
    per_class=True,
)
def class_ncc_accuracy(stats: ClassStats, decisions: Decisions) -> Float[Tensor, " k"]:
    """Share of each class's samples whose nearest class mean is its own.

    Args:
        stats: Class statistics whose means are the centres.
        decisions: What the two rules decide.

    Returns:
        One fraction for each seen class.
    """
    return _shares(decisions.nearest_correct, stats, decisions.counts)


@metric(
    label="Accuracy of the classifier in a class",
    symbol=r"\Pr\left[\arg\max_l (Wh+b)_l=k\mid y=k\right]",
    at_collapse=1.0,
    range=(0.0, 1.0),
    invariant_under=_OF_CLASSIFIER,
    unit="fraction",
    needs=("head", "features"),
    source="papyan2020",
    per_class=True,
)
def class_accuracy(stats: ClassStats, decisions: Decisions) -> Float[Tensor, " k"]:
    """Share of each class's samples that the classifier, with its bias, gets right.

    Args:
        stats: Class statistics; names the classes.
        decisions: What the two rules decide.

    Returns:
        One fraction for each seen class.
    """
    return _shares(decisions.classifier_correct, stats, decisions.counts)
