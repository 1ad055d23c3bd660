"""What the classifier and the nearest-class-centre rule decide, counted per class in one look at the features."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from collapselab.evidence.features import FeatureSource
from collapselab.evidence.head import LinearHead
from collapselab.evidence.stats import ClassStats

# Scores, and float64 copies of features, held at once: 2^18 values are 2 MB, which the sweeps over them find in the
# cache. At 20,000 classes that would be a dozen rows, too few for full BLAS speed: hence the least number.
_BLOCK_VALUES = 2**18
_LEAST_ROWS = 256

# With fewer scores than this the product is faster the other way round (1.7 times at 20, on one core).
_FEW_SCORES = 64


@dataclass(frozen=True, eq=False)
class Decisions:
    """Counts over the samples of each seen class, in the order of `ClassStats.labels`.

    Attributes:
        counts: (k,) samples looked at.
        nearest_correct: (k,) samples whose nearest class mean is their own.
        classifier_correct: (k,) samples the classifier gets right; None without a head.
        agree: (k,) samples where the classifier decides for the class whose mean is nearest; None without a head.
        num_left_out: Samples of classes that have no mean, because the statistics never saw them. No rule can get them
            right by distance, so they are in none of the counts.
    """

    counts: Int[Tensor, " k"]
    nearest_correct: Int[Tensor, " k"]
    classifier_correct: Int[Tensor, " k"] | None
    agree: Int[Tensor, " k"] | None
    num_left_out: int = 0

    @classmethod
    def of(cls, stats: ClassStats, head: LinearHead | None, features: FeatureSource) -> "Decisions":
        """Compare the two rules on every sample, in float64.

        Both rules see the features centred on the global mean, so that a large common offset cancels no digits, and
        both scores come from one product, so that the features are read once.

        Args:
            stats: Moments whose means are the centres; usually of the same features.
            head: The classifier in float64, on the device of the moments; its bias takes part.
            features: The samples.

        Returns:
            The counts.
        """
        k, device = stats.num_seen, stats.means.device
        vectors, offsets = _scorers(stats, head)
        # Row of each label in the statistics; k for a class that has no mean.
        row_of = torch.full((max(stats.num_classes, features.num_classes),), k, dtype=torch.int64, device=device)
        row_of[stats.labels] = torch.arange(k, device=device)
        totals = torch.zeros(2 if head is None else 4, k + 1, dtype=torch.int64, device=device)
        for x, y in _blocks(features, stats.global_mean, vectors.shape[0]):
            scores, row = _scores(x, vectors, offsets), row_of[y]
            nearest = scores[:, :k].argmax(1)
            hits = [torch.ones_like(row, dtype=torch.bool), nearest == row]
            if head is not None:
                decided = scores[:, k:].argmax(1)
                hits += [decided == y, decided == stats.labels[nearest]]
            for total, hit in zip(totals, hits, strict=True):
                total += torch.bincount(row[hit], minlength=k + 1)
        kept = totals[:, :k]
        with_head = head is not None
        return cls(kept[0], kept[1], kept[2] if with_head else None, kept[3] if with_head else None, int(totals[0, k]))


def _scorers(stats: ClassStats, head: LinearHead | None) -> tuple[Float[Tensor, "m d"], Float[Tensor, " m"]]:
    """Vectors and offsets of scores of centred features: first -|h - mu_k|^2 / 2 up to a constant, then the logits."""
    centres = stats.centred_means
    offsets = -0.5 * centres.square().sum(1)
    if head is None:
        return centres, offsets
    at_mean = head.logits(stats.global_mean[None])[0]
    return torch.cat([centres, head.weight]), torch.cat([offsets, at_mean])


def _scores(
    x: Float[Tensor, "n d"], vectors: Float[Tensor, "m d"], offsets: Float[Tensor, " m"]
) -> Float[Tensor, "n m"]:
    if vectors.shape[0] < _FEW_SCORES:
        return torch.addmm(offsets[:, None], vectors, x.T).T.contiguous()
    return torch.addmm(offsets, x, vectors.T)


def _blocks(features: FeatureSource, centre: Float[Tensor, " d"], num_scores: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Centred float64 features, overwritten by the next block, with their labels; so many that scores stay small."""
    rows = max(_BLOCK_VALUES // max(num_scores, centre.shape[0]), _LEAST_ROWS)
    buffer = centre.new_empty(rows, centre.shape[0])
    for chunk in features.chunks():
        for x, y in zip(torch.split(chunk.h, rows), torch.split(chunk.y, rows), strict=True):
            yield buffer[: x.shape[0]].copy_(x).sub_(centre), y.to(centre.device)
