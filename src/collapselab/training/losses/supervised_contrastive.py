"""Supervised contrastive loss: samples of a class against all other samples of the batch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.training.losses._features import FeatureLoss, log_sum_over, others, similarities
from collapselab.training.losses._spec import loss


@loss("supervised_contrastive", label="supervised contrastive", source="khosla2020")
@dataclass(frozen=True)
class SupervisedContrastive(FeatureLoss):
    r"""Cross-entropy of finding the other samples of the own class among all others of the batch, in nats.

    Features are divided by their norms; no sample is compared with itself (`supervised_contrastive_with_self` does
    that). A sample alone of its class in the batch has no partner: its loss is 0, and it still stands among the others
    of the rest. With n samples of each of K classes at least
    $\log\bigl(n-1+n(K-1)e^{-\frac K{(K-1)\tau}}\bigr)$, at the collapsed simplex ETF, which needs $d\ge K-1$.
    A class weight counts the samples of the class as anchors; as others they count as before.

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
        r"""$-\frac1{|P_i|}\sum_{p\in P_i}\log\frac{e^{\cos(h_i,h_p)/\tau}}{\sum_{a\ne i}e^{\cos(h_i,h_a)/\tau}}$.

        $P_i$ are the other samples of the class of i.

        Args:
            h: Features (n, d).
            y: Labels (n,).
            num_classes: K, which plays no part.

        Returns:
            One number a sample.
        """
        scores, different = similarities(h, self.temperature), others(y)
        return mean_negative_log(scores, (y[:, None] == y) & different, among=different)


@loss("supervised_contrastive_with_self", label="supervised contrastive with self-pairs", source="fang2021")
@dataclass(frozen=True)
class SupervisedContrastiveWithSelf(FeatureLoss):
    r"""Cross-entropy of finding the samples of the own class, itself among them, in the whole batch, in nats.

    The form of the theory. Features are divided by their norms; the theory bounds their squared norm by E instead, and
    its minimum is the one here with the temperature $\tau/E$. With n samples of each of K classes at least
    $\log\bigl(n+n(K-1)e^{-\frac K{(K-1)\tau}}\bigr)$, at the collapsed simplex ETF, which needs $d\ge K-1$.
    A class weight counts the samples of the class as anchors; as others they count as before.

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
        r"""$-\frac1{n_{y_i}}\sum_{p:y_p=y_i}\log\frac{e^{\cos(h_i,h_p)/\tau}}{\sum_ae^{\cos(h_i,h_a)/\tau}}$.

        Args:
            h: Features (n, d).
            y: Labels (n,).
            num_classes: K, which plays no part.

        Returns:
            One number a sample.
        """
        scores, same = similarities(h, self.temperature), y[:, None] == y
        return mean_negative_log(scores, same, among=torch.ones_like(same))


def mean_negative_log(scores: Tensor, partners: Tensor, *, among: Tensor) -> Tensor:
    """Mean over the partners in a row of minus the logarithm of their softmax probability.

    Args:
        scores: (n, m).
        partners: Which entries are partners (n, m).
        among: Over which entries the softmax is taken (n, m).

    Returns:
        (n,); 0 where there is no partner.
    """
    losses = log_sum_over(scores, among)[:, None] - scores
    # `where` and not a product: the logarithm of an empty sum is infinite.
    return torch.where(partners, losses, 0.0).sum(1) / partners.sum(1).clamp_min(1)
