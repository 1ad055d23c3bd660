"""A quantity of a moving network that costs nothing, for tests of what carries quantities."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from collapselab.dynamics import QUANTITIES, Found, Quantity, Sight
from collapselab.dynamics._spec import Declared
from collapselab.records.numbers import declared

LARGEST = declared("largest_logit", "logit", "Mean largest logit.", symbol="z", source="papyan2020", family="sizes")
MEANS = declared("mean_logits", "mean logits", "Mean logits.", symbol="Z", source="papyan2020", family="sizes")


@dataclass(frozen=True)
class LogitSize(Quantity):
    """How large logits are, of a few samples of each class.

    Attributes:
        per_class: Samples of each class.
    """

    per_class: int = 3

    def look(self, sight: Sight) -> Found:
        """Look at the logits."""
        x, y = sight.take(sight.few_of_each(self.per_class, "logits"))
        with torch.no_grad():
            z = sight.network(x).double()
        means = torch.stack([z[y == k].mean(0) for k in range(sight.num_classes)])
        return Found(((LARGEST, float(z.max(1).values.mean().abs())),), ((MEANS, np.asarray(means)),))


@contextlib.contextmanager
def registered() -> Iterator[str]:
    """Let recipes know the quantity for a while; gives its name."""
    len(QUANTITIES)  # fills it first, which may put its entries into another mapping
    QUANTITIES.add("logit_size", Declared("logit_size", LogitSize, "size of logits", "papyan2020"))
    try:
        yield "logit_size"
    finally:
        del QUANTITIES._entries["logit_size"]
