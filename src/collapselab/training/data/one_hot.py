"""Inputs that say which sample they are and nothing else: what unconstrained features are trained on."""

from dataclasses import dataclass

import torch

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.training.data._samples import Samples, Splits
from collapselab.training.data._spec import DataSet, dataset

# Beyond these many samples the inputs, one number for each pair of samples, would fill the memory (1.6 GB).
_MOST_SAMPLES = 20_000


@dataset("one_hot", label="one-hot inputs", source="mixon2020")
@dataclass(frozen=True)
class OneHot(DataSet):
    """One input axis for each sample: a linear layer on them gives every sample free features of its own.

    Not standardised: with centred inputs the features would no longer be free. There are no other samples, so that the
    test split is the training split.

    Attributes:
        num_classes: Number of classes, K.
        samples_per_class: Samples of each class.
    """

    num_classes: int = 10
    samples_per_class: int = 20

    def __post_init__(self) -> None:
        """Check the fields."""
        k = checks.whole(self.num_classes, "num_classes", at_least=2)
        n = checks.whole(self.samples_per_class, "samples_per_class", at_least=1)
        if k * n > _MOST_SAMPLES:
            raise InputError(f"samples must be at most {_MOST_SAMPLES} in all, got {k} classes of {n}")

    def load(self, generator: torch.Generator) -> Splits:
        """The rows of an identity matrix, class by class.

        Args:
            generator: Decides nothing.

        Returns:
            The same samples twice, on the CPU.
        """
        del generator
        y = torch.arange(self.num_classes).repeat_interleave(self.samples_per_class)
        samples = Samples(torch.eye(len(y)), y)
        return Splits(samples, samples, self.num_classes)
