"""The gradient of cross-entropy by the class vectors, taken apart into what its own class and the others contribute."""

from typing import NamedTuple

import torch
from torch import Tensor

from collapselab.core.errors import InputError
from collapselab.evidence import LabelledFeatures, LinearHead


class PullPush(NamedTuple):
    """Two parts of minus the gradient of mean cross-entropy by the class vectors.

    Attributes:
        pull: (k, d) what the samples of its own class add to each class vector, towards them.
        push: (k, d) what the samples of other classes add, away from them.
    """

    pull: Tensor
    push: Tensor

    @property
    def step(self) -> Tensor:
        """(k, d) minus the gradient, their sum."""
        return self.pull + self.push


def pull_and_push(features: LabelledFeatures, head: LinearHead) -> PullPush:
    r"""Split a step of descent into the pull of a class's own samples and the push of all others.

    $-N\nabla_{w_k}L=\sum_{i\in k}(1-p_k(h_i))h_i-\sum_{i\notin k}p_k(h_i)h_i$ (review, eq. 35). A rare class is pulled
    by few samples and pushed by many, in nearly the same directions as other rare classes are: that makes them merge.

    Args:
        features: Input of the head, with labels.
        head: The classifier.

    Returns:
        The parts, divided by N, in float64.

    Raises:
        InputError: If sizes do not fit.

    Example:
        >>> h, y = torch.eye(2).double(), torch.tensor([0, 1])
        >>> found = pull_and_push(LabelledFeatures(h, y, 2), LinearHead(torch.zeros(2, 2)))
        >>> found.pull.tolist(), found.push.tolist()
        ([[0.25, 0.0], [0.0, 0.25]], [[-0.0, -0.25], [-0.25, -0.0]])
    """
    if (head.num_classes, head.num_features) != (features.num_classes, features.num_features):
        sizes, wanted = (head.num_classes, head.num_features), (features.num_classes, features.num_features)
        raise InputError(f"head must have a weight of shape {wanted} for these features, got {sizes}")
    h, exact = features.h.detach().double(), head.double()
    logits = h @ exact.weight.detach().T + (0 if exact.bias is None else exact.bias.detach())
    probabilities = logits.softmax(1)
    own = torch.nn.functional.one_hot(features.y, features.num_classes).bool()
    # 1 - p of the own class as the sum of all others keeps its digits where p is close to 1.
    missed = probabilities.masked_fill(own, 0.0)
    pull = torch.where(own, missed.sum(1, keepdim=True), 0.0).T @ h
    return PullPush(pull / len(h), -(missed.T @ h) / len(h))
