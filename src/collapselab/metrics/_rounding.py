"""What counts as rounding of class means, said once for all metrics of moments."""

from collapselab.core.linalg import mean_rounding
from collapselab.evidence.stats import ClassStats


def resolution(stats: ClassStats) -> float:
    """Largest distance that rounding alone can put between two points that should be one: means, or samples.

    Relative to the features as they came, offset included: centring cannot bring back digits that were never there.

    Args:
        stats: Class statistics.

    Returns:
        A distance, twice the rounding of the worst class mean.
    """
    return 2 * float(mean_rounding(stats.means, stats.class_variances).max())
