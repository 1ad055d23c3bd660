"""Networks: one file each. All end in a linear layer, the classifier, on top of the features."""

from collapselab.training.networks._spec import NETWORKS, Classifier, Network, network

__all__ = ["NETWORKS", "Classifier", "Network", "network"]
