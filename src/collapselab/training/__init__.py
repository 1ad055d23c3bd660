"""Training small networks until they collapse: networks, data, losses, schedules and the one loop."""

from collapselab.training.data import DATA, Samples, Splits
from collapselab.training.environment import computing
from collapselab.training.loop import Training
from collapselab.training.losses import LOSSES
from collapselab.training.networks import NETWORKS, Classifier

__all__ = ["DATA", "LOSSES", "NETWORKS", "Classifier", "Samples", "Splits", "Training", "computing"]
