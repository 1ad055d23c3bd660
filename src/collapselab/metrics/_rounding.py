"""What counts as rounding of class means, said once for all metrics of moments."""

import math

from collapselab.core.errors import UndefinedMetric
from collapselab.core.linalg import mean_rounding
from collapselab.evidence.stats import ClassStats


def resolution(stats: ClassStats) -> float:
    """Largest distance that rounding alone can put between two points that should be one: means, or samples.

    Relative to the features as they came, offset included: centring cannot bring back digits that were never there.

    Args:
        stats: Class statistics.

    Returns:
        A distance, twice the rounding of the worst class mean; 0 only if all samples are 0.

    Raises:
        UndefinedMetric: If squares of the features leave the range of float64.
    """
    found = 2 * float(mean_rounding(stats.means, stats.class_variances).max())
    if not math.isfinite(found):
        raise UndefinedMetric("the features are so large that their squares overflow float64")
    if found == 0 and bool(stats.means.any()):
        raise UndefinedMetric("the features are so small that their squares vanish in float64")
    return found
