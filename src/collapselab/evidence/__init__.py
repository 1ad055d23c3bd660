"""What metrics look at: labelled features, class moments, the head, and the tap that streams features from a model."""

from collapselab.evidence.features import FeatureSource, LabelledFeatures
from collapselab.evidence.head import LinearHead
from collapselab.evidence.stats import ClassStats, OnlineStats

__all__ = ["ClassStats", "FeatureSource", "LabelledFeatures", "LinearHead", "OnlineStats"]
