"""Remedies for class imbalance: oversampling and class weights."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.training.data._rows import class_counts, class_ranks


@dataclass(frozen=True)
class Balance:
    """Whether rare classes are drawn more often or count more.

    Attributes:
        oversample: Whether each class appears in an epoch as often as the largest.
        class_weights: Factor of each sample's loss: one for all, inverse to the size of its class, or inverse to the
            effective number of samples of its class (cui2019).
        beta: What the effective number is made with, in [0, 1): 0 gives equal weights, towards 1 the inverse sizes.
    """

    oversample: bool = False
    class_weights: Literal["none", "inverse", "effective"] = "none"
    beta: float = 0.999

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.flag(self.oversample, "oversample")
        checks.one_of(self.class_weights, "class_weights", ("none", "inverse", "effective"))
        checks.real(self.beta, "beta", at_least=0, below=1)
        if self.oversample and self.class_weights != "none":
            raise InputError(f"class_weights must be none with oversampling, got {self.class_weights}")

    def order(self, y: Tensor, num_classes: int, generator: torch.Generator) -> Tensor:
        """Training samples of one epoch.

        Oversampled, every sample of a class of n_k comes floor(n_max / n_k) times, and a random part of them, drawn
        without replacement, once more.

        Args:
            y: Training labels (n,).
            num_classes: K.
            generator: What the order comes from; only ever on the CPU.

        Returns:
            Indices (m,) in random order, on the CPU, m being `epoch_size`.

        Raises:
            InputError: If a class has no sample.
        """
        if not self.oversample:
            return torch.randperm(len(y), generator=generator)
        y = y.cpu()
        counts = class_counts(y, num_classes)
        whole, rest = counts.max() // counts, counts.max() % counts
        times = whole[y] + (class_ranks(y, generator) < rest[y])
        rows = torch.repeat_interleave(torch.arange(len(y)), times)
        return rows[torch.randperm(len(rows), generator=generator)]

    def epoch_size(self, y: Tensor, num_classes: int) -> int:
        """Samples in an epoch.

        Args:
            y: Training labels (n,).
            num_classes: K.

        Returns:
            n, or K times the size of the largest class.

        Raises:
            InputError: If a class has no sample.
        """
        return num_classes * int(class_counts(y, num_classes).max()) if self.oversample else len(y)

    def weights(self, y: Tensor, num_classes: int) -> Tensor | None:
        r"""Factor of the loss of each class's samples.

        Inverse: $w_k \propto 1 / n_k$. Effective: $w_k \propto (1 - \beta) / (1 - \beta^{n_k})$, equation 2 of cui2019.
        Scaled so that the mean over all training samples is 1, where cui2019 has the mean over classes: the loss, and
        with it the learning rate, keeps its scale.

        Args:
            y: Training labels (n,).
            num_classes: K.

        Returns:
            (k,) positive numbers, float32, on the CPU; None where all are 1.

        Raises:
            InputError: If a class has no sample.
        """
        if self.class_weights == "none":
            return None
        counts = class_counts(y, num_classes).double()
        raw = 1 / counts if self.class_weights == "inverse" else _effective(counts, self.beta)
        return (raw * counts.sum() / (raw * counts).sum()).float()


def _effective(counts: Tensor, beta: float) -> Tensor:
    if beta == 0:
        return torch.ones_like(counts)
    return (1 - beta) / -torch.expm1(counts * math.log(beta))  # 1 - beta^n without cancellation as beta nears 1
