"""Which registry a part of a training comes from, by the class that all such parts share."""

from collections.abc import Mapping
from typing import Any

from collapselab.core.registry import Registry
from collapselab.training.data import DATA, DataSet
from collapselab.training.heads import HEADS, Head
from collapselab.training.losses import LOSSES, Loss
from collapselab.training.networks import NETWORKS, Network
from collapselab.training.optimisers import OPTIMISERS, Optimiser
from collapselab.training.penalties import PENALTIES, Penalty
from collapselab.training.schedules import SCHEDULES, Schedule

REGISTRIES: Mapping[type, Registry[Any]] = {
    DataSet: DATA,
    Network: NETWORKS,
    Head: HEADS,
    Loss: LOSSES,
    Penalty: PENALTIES,
    Optimiser: OPTIMISERS,
    Schedule: SCHEDULES,
}
"""Base class to registry."""
