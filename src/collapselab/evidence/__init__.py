"""What metrics look at: labelled features, class moments, the head, and the tap that streams features from a model."""

from collapselab.evidence.caching import FeatureCache, Replay
from collapselab.evidence.features import FeatureSource, LabelledFeatures
from collapselab.evidence.files import FeatureFile, read_features, read_head, write_features
from collapselab.evidence.head import LinearHead
from collapselab.evidence.stats import ClassStats, OnlineStats
from collapselab.evidence.tap import FeatureTap, feature_tap

__all__ = [
    "ClassStats",
    "FeatureCache",
    "FeatureFile",
    "FeatureSource",
    "FeatureTap",
    "LabelledFeatures",
    "LinearHead",
    "OnlineStats",
    "Replay",
    "feature_tap",
    "read_features",
    "read_head",
    "write_features",
]
