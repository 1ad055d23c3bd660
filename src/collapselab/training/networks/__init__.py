"""Networks: one file each. All end in a linear layer, the classifier, on top of the features."""

from typing import Any

from collapselab.training._choice import class_named, class_names
from collapselab.training.networks._spec import NETWORKS, Classifier, Network, network

__all__ = ["NETWORKS", "Classifier", "Network", "network"]


def __getattr__(name: str) -> Any:
    return class_named(NETWORKS, name)


def __dir__() -> list[str]:
    return sorted([*__all__, *class_names(NETWORKS)])
