"""What losses of features, blind to the head, have in common."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from collapselab.training.losses._spec import Loss, Outputs


@dataclass(frozen=True)
class FeatureLoss(Loss):
    """Base of the losses that look at features alone, and train the head as a probe beside.

    Attributes:
        probe: Whether the cross-entropy of the head on detached features is added. It trains the head and leaves the
            features alone; without it the head stays as it was initialised, and what is measured of it (self-duality,
            agreement, accuracy) means nothing.
    """

    unit: ClassVar[str] = "nat"
    separable: ClassVar[bool] = False

    probe: bool = True

    @property
    def head_role(self) -> Literal["joint", "probe", "untrained"]:
        """How the head learns."""
        return "probe" if self.probe else "untrained"

    @abstractmethod
    def of_features(self, h: Tensor, y: Tensor, num_classes: int) -> Tensor:
        """Loss of each sample, without the probe.

        Args:
            h: Features (n, d).
            y: Labels (n,).
            num_classes: K.

        Returns:
            (n,).
        """

    def __call__(self, outputs: Outputs, y: Tensor) -> Tensor:
        """Loss of each sample.

        Args:
            outputs: Features h (n, d) are what is looked at; and the head that acts, if it is a probe.
            y: Labels (n,).

        Returns:
            (n,), the probe's cross-entropy included.
        """
        losses = self.of_features(outputs.features, y, outputs.logits.shape[1])
        return losses + probe_loss(outputs, y) if self.probe else losses


def probe_loss(outputs: Outputs, y: Tensor) -> Tensor:
    """Cross-entropy of the head on features that it cannot change.

    Args:
        outputs: Features, and the head that acts.
        y: Labels (n,).

    Returns:
        (n,); its gradient reaches the head alone.
    """
    logits = functional.linear(outputs.features.detach(), outputs.weight, outputs.bias)
    return functional.cross_entropy(logits, y, reduction="none")


def unit_rows(x: Tensor) -> Tensor:
    """Rows divided by their norms.

    Args:
        x: (n, d).

    Returns:
        Unit rows. A row of zeros has no direction and stays zero, with the gradient of a row of norm 1: dividing by a
        tiny number instead would multiply the gradient by its inverse.
    """
    norms = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / torch.where(norms > 0, norms, 1.0)


def similarities(h: Tensor, temperature: float) -> Tensor:
    """Cosines of all pairs of samples, divided by the temperature.

    Args:
        h: Features (n, d).
        temperature: tau.

    Returns:
        (n, n).
    """
    z = unit_rows(h)
    return z @ z.T / temperature


def others(y: Tensor) -> Tensor:
    """Which pairs are two different samples.

    Args:
        y: Labels (n,).

    Returns:
        (n, n), false on the diagonal.
    """
    return ~torch.eye(y.shape[0], dtype=torch.bool, device=y.device)


def log_sum_over(scores: Tensor, chosen: Tensor) -> Tensor:
    """Logarithm of the sum of exponentials of the chosen entries of each row.

    Args:
        scores: (n, m).
        chosen: Which entries count (n, m).

    Returns:
        (n,); minus infinity where none counts, with gradient zero.
    """
    return scores.masked_fill(~chosen, -torch.inf).logsumexp(1)
