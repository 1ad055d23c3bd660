"""What the classifier and the nearest-class-centre rule decide, counted per class in one look at the features."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from collapselab.evidence.features import FeatureSource
from collapselab.evidence.head import LinearHead
from collapselab.evidence.stats import ClassStats


@dataclass(frozen=True, eq=False)
class Decisions:
    """Counts over the samples of each seen class, in the order of `ClassStats.labels`.

    Attributes:
        counts: (k,) samples looked at.
        nearest_correct: (k,) samples whose nearest class mean is their own.
        classifier_correct: (k,) samples the classifier gets right; None without a head.
        agree: (k,) samples where the classifier decides for the class whose mean is nearest; None without a head.
    """

    counts: Int[Tensor, " k"]
    nearest_correct: Int[Tensor, " k"]
    classifier_correct: Int[Tensor, " k"] | None
    agree: Int[Tensor, " k"] | None

    @classmethod
    def of(cls, stats: ClassStats, head: LinearHead | None, features: FeatureSource) -> "Decisions":
        """Compare the two rules on every sample, in float64.

        Distances are compared after centring on the global mean, so that a large common offset cancels no digits.

        Args:
            stats: Moments whose means are the centres; usually of the same features.
            head: The classifier in float64, on the device of the moments; its bias takes part.
            features: The samples.

        Returns:
            The counts.
        """
        centres, device = stats.centred_means, stats.means.device
        offset = -0.5 * centres.square().sum(1)
        row_of = torch.full((stats.num_classes,), -1, dtype=torch.int64, device=device)
        row_of[stats.labels] = torch.arange(stats.num_seen, device=device)
        totals = torch.zeros(4, stats.num_seen, dtype=torch.int64, device=device)
        for chunk in features.chunks():
            x, y = chunk.h.to(device).double(), chunk.y.to(device)
            row = row_of[y]
            nearest = torch.addmm(offset, x - stats.global_mean, centres.T).argmax(1)
            hits = [torch.ones_like(row, dtype=torch.bool), nearest == row]
            if head is not None:
                decided = head.logits(x).argmax(1)
                hits += [decided == y, decided == stats.labels[nearest]]
            for total, hit in zip(totals, hits, strict=False):
                total += torch.bincount(row[hit], minlength=stats.num_seen)
        with_head = head is not None
        return cls(totals[0], totals[1], totals[2] if with_head else None, totals[3] if with_head else None)
