"""The one loop over the registry: evidence in, measurements out. Only here does `UndefinedMetric` become a record."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from collapselab.core.errors import CollapselabError, InputError, UndefinedMetric
from collapselab.evidence.decisions import Decisions
from collapselab.evidence.features import FeatureSource
from collapselab.evidence.head import LinearHead
from collapselab.evidence.stats import ClassStats
from collapselab.metrics._spec import REGISTRY, Metric, Need
from collapselab.records.schema import Declaration, Measurement, PerClass

_WHY_NOT: dict[Need, str] = {
    "scatter": "needs the pooled within-class scatter, which was not accumulated",
    "head": "needs the linear classifier (head), none was given",
    "bias": "needs a classifier bias, the head has none",
    "features": "needs the features a second time, only their moments were given",
}

_OVERFLOW = "squares of the features, or of their differences, leave the range of float64"


@dataclass(frozen=True)
class Evidence:
    """Everything that may be known about a set of features: moments, and perhaps the head and the features themselves.

    Attributes:
        stats: Class moments.
        head: The classifier.
        features: A source that hands out the features again.
    """

    stats: ClassStats
    head: LinearHead | None = None
    features: FeatureSource | None = None

    def __post_init__(self) -> None:
        """Check that the head fits the features."""
        head, stats = self.head, self.stats
        if head is None:
            return
        if head.num_features != stats.num_features:
            raise InputError(f"head must have {stats.num_features} columns, got weight {tuple(head.weight.shape)}")
        if head.num_classes < stats.num_classes:
            raise InputError(f"head must have {stats.num_classes} rows or more, got weight {tuple(head.weight.shape)}")

    @cached_property
    def head64(self) -> LinearHead | None:
        """The head in float64 on the device of the moments."""
        if self.head is None:
            return None
        double, device = self.head.double(), self.stats.means.device
        return LinearHead(double.weight.to(device), None if double.bias is None else double.bias.to(device))

    @cached_property
    def decisions(self) -> Decisions:
        """What the classifier and the nearest-class-centre rule decide; one look at the features for all metrics."""
        if self.features is None:
            raise UndefinedMetric(_WHY_NOT["features"])
        return Decisions.of(self.stats, self.head64, self.features)

    def lacks(self, needs: Iterable[Need]) -> str | None:
        """Why a metric with these needs cannot be computed.

        Args:
            needs: What the metric declared.

        Returns:
            A reason, or None if nothing is missing.
        """
        have: dict[Need, bool] = {
            "scatter": self.stats.scatter is not None,
            "head": self.head is not None,
            "bias": self.head is not None and self.head.bias is not None,
            "features": self.features is not None,
        }
        return next((_WHY_NOT[need] for need in needs if not have[need]), None)


def select(names: Iterable[str] | None) -> list[Metric]:
    """Declarations of the named metrics.

    Args:
        names: Keys; None for all.

    Returns:
        The declarations in the order of the names, or of the registry.

    Raises:
        UnknownName: If a name is not registered.
        InputError: If no name is given at all, or a string in place of a list.
    """
    if isinstance(names, str):
        raise InputError(f"metrics must be a list of names, got the string {names!r}; write [{names!r}]")
    chosen = [REGISTRY[name] for name in (REGISTRY if names is None else dict.fromkeys(names))]
    if not chosen:
        raise InputError("metrics must name at least one metric, got none")
    return chosen


def evaluate(metric: Metric, evidence: Evidence) -> Tensor:
    """One metric on the evidence.

    Args:
        metric: Its declaration.
        evidence: What is known.

    Returns:
        A finite float64 tensor: 0-d, or (k,) for a per-class metric.

    Raises:
        UndefinedMetric: If the metric does not exist for this evidence.
        CollapselabError: If the metric's code returns something else than it declared.
    """
    missing = evidence.lacks(metric.needs)
    if missing is not None:
        raise UndefinedMetric(missing)
    given = {"stats": lambda: evidence.stats, "head": lambda: evidence.head64}
    given |= {"features": lambda: evidence.features, "decisions": lambda: evidence.decisions}
    try:
        value = metric.fn(**{name: given[name]() for name in metric.inputs})
    except torch.linalg.LinAlgError as error:  # pyright: ignore[reportPrivateImportUsage]
        # What LAPACK says of a matrix that holds infinity or NaN.
        raise UndefinedMetric(_OVERFLOW) from error
    wanted = (evidence.stats.num_seen,) if metric.per_class else ()
    if tuple(value.shape) != wanted or value.dtype != torch.float64:
        raise CollapselabError(f"metric {metric.name} must return float64 of shape {wanted}, got {value!r}")
    if not bool(torch.isfinite(value).all()):
        raise UndefinedMetric(_OVERFLOW)
    return value


def measure_evidence(
    evidence: Evidence, names: Iterable[str] | None = None
) -> tuple[dict[str, Measurement], dict[str, PerClass], dict[str, Declaration]]:
    """Every named metric on the evidence.

    Args:
        evidence: What is known.
        names: Keys of metrics; None for all.

    Returns:
        Measurements of the scalar metrics, of the per-class metrics, and the declarations of both.
    """
    scalars: dict[str, Measurement] = {}
    per_class: dict[str, PerClass] = {}
    declarations: dict[str, Declaration] = {}
    for metric in select(names):
        declared = metric.declaration(evidence.stats.num_seen, evidence.stats.num_features)
        declarations[metric.name] = declared
        try:
            value, reason = evaluate(metric, evidence), None
        except UndefinedMetric as undefined:
            value, reason = None, str(undefined)
        if metric.per_class:
            values = None if value is None else tuple(value.tolist())
            per_class[metric.name] = PerClass(
                values=values, unit=metric.unit if reason is None else None, undefined=reason
            )
        elif value is None:
            scalars[metric.name] = Measurement(undefined=reason)
        else:
            scalars[metric.name] = Measurement(value=float(value), unit=metric.unit, at_collapse=declared.at_collapse)
    return scalars, per_class, declarations
