"""Training networks until they collapse: the one loop, and the parts that it is put together from."""

from collapselab.training.data import DATA, Samples, Splits
from collapselab.training.environment import computing
from collapselab.training.heads import HEADS
from collapselab.training.loop import Progress, Training
from collapselab.training.losses import LOSSES, Outputs
from collapselab.training.networks import NETWORKS, Classifier
from collapselab.training.optimisers import OPTIMISERS
from collapselab.training.penalties import PENALTIES
from collapselab.training.plan import Plan
from collapselab.training.schedules import SCHEDULES
from collapselab.training.stop import Stop

__all__ = [
    "DATA",
    "HEADS",
    "LOSSES",
    "NETWORKS",
    "OPTIMISERS",
    "PENALTIES",
    "SCHEDULES",
    "Classifier",
    "Outputs",
    "Plan",
    "Progress",
    "Samples",
    "Splits",
    "Stop",
    "Training",
    "computing",
]
