"""InfoNCE: one partner against all other samples of the batch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.training.losses._features import FeatureLoss, log_sum_over, others, similarities
from collapselab.training.losses._spec import loss


@loss("info_nce", label="InfoNCE", source="oord2018")
@dataclass(frozen=True)
class InfoNCE(FeatureLoss):
    r"""Cross-entropy of finding one partner among all other samples of the batch, in nats.

    A batch has one view of each sample, so the partner is the next sample of the same class in the order of the batch,
    which comes round at its end; all others are negatives, those of the own class too, as in a draw from the marginal.
    Over random orders its mean is `supervised_contrastive`, and so is its minimiser; with an order that never changes
    the negatives of the own class keep the samples of a class apart at small temperatures. Features are divided by
    their norms. A sample alone of its class in the batch has no partner: its loss is 0. A class weight counts the
    samples of the class as anchors; as others they count as before.

    Attributes:
        probe: Whether the cross-entropy of the head on detached features is added. It trains the head and leaves the
            features alone; without it the head stays as it was initialised.
        temperature: tau, which divides the cosines.
    """

    temperature: float = 0.1

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.temperature, "temperature", above=0)

    def of_features(self, h: Tensor, y: Tensor, num_classes: int) -> Tensor:
        r"""$-\log\frac{e^{\cos(h_i,h_{p(i)})/\tau}}{\sum_{a\ne i}e^{\cos(h_i,h_a)/\tau}}$ with the partner p(i).

        Args:
            h: Features (n, d).
            y: Labels (n,).
            num_classes: K, which plays no part.

        Returns:
            One number a sample.
        """
        scores, different = similarities(h, self.temperature), others(y)
        partner, has_one = next_of_class(y)
        losses = log_sum_over(scores, different) - scores[torch.arange(y.shape[0], device=y.device), partner]
        return torch.where(has_one, losses, 0.0)


def next_of_class(y: Tensor) -> tuple[Tensor, Tensor]:
    """The next sample of the same class, the first one being next to the last.

    Args:
        y: Labels (n,).

    Returns:
        Its place (n,), and whether there is one (n,).
    """
    n = y.shape[0]
    places = torch.arange(n, device=y.device)
    ahead = (places - places[:, None]) % n
    nearest = torch.where((y[:, None] == y) & (ahead > 0), ahead, n).min(1)
    return nearest.indices, nearest.values < n
