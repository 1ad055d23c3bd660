"""Class means over trials, iteration by iteration, and the same of trials drawn again."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.core.errors import InputError


@dataclass(frozen=True, eq=False)
class ClassSums:
    """What each trial's minibatches hold of each class at each iteration.

    Attributes:
        sums: (r, t, k, p) sums of features, in float64.
        counts: (r, t, k) how many were summed.
    """

    sums: Float[Tensor, "r t k p"]
    counts: Float[Tensor, "r t k"]

    @classmethod
    def of(cls, features: Tensor, labels: Tensor, *, num_classes: int) -> "ClassSums":
        """Sort what minibatches held by class.

        Args:
            features: (t, r, b, p) of iterations, trials, samples of a minibatch.
            labels: (t, r, b) their labels, from 0.
            num_classes: K.

        Returns:
            The sums.

        Raises:
            InputError: If the shapes do not fit, or a class was never drawn.
        """
        features, labels = checks.as_tensor(features, "features"), checks.as_tensor(labels, "labels")
        if features.ndim != 4 or labels.shape != features.shape[:3] or features.numel() == 0:
            raise InputError(
                "features must be (iterations, trials, samples, p) with a label each, got shapes"
                f" {tuple(features.shape)} and {tuple(labels.shape)}"
            )
        checks.finite(features, "features")
        num_classes = checks.whole(num_classes, "num_classes", at_least=2)
        whole = checks.labels_in_range(checks.labels(labels.flatten()), num_classes)
        labels = whole.view(labels.shape)
        of_class = functional.one_hot(labels, num_classes).double()
        counts = of_class.sum(2).transpose(0, 1)
        if not bool((counts.sum((0, 1)) > 0).all()):
            missing = int((counts.sum((0, 1)) == 0).nonzero()[0])
            raise InputError(f"labels must hold every class, got none of class {missing}")
        return cls(torch.einsum("trbk,trbp->rtkp", of_class, features.double()), counts)

    def means(self, weights: Tensor | None = None) -> Tensor:
        r"""$\bar X_k(t)$, the mean over all trials that drew class k at iteration t.

        An iteration at which no trial drew the class keeps the mean of the last one at which one did; those before the
        first keep the mean of that.

        Args:
            weights: (b, r) how often each trial counts, for b draws of trials; each counts once by default.

        Returns:
            (t, k, p), or (b, t, k, p) with weights.

        Raises:
            InputError: If no trial that counts ever drew a class, or the weights are not (b, r) from 0 up.
        """
        chosen = torch.ones(1, len(self.counts)).double() if weights is None else self._as_weights(weights)
        counts = torch.einsum("br,rtk->btk", chosen, self.counts)
        if not bool((counts.sum(1) > 0).all()):
            raise InputError("every class must be drawn by a trial that counts, got one that is not")
        sums = torch.einsum("br,rtkp->btkp", chosen, self.sums)
        found = _filled(sums / torch.where(counts > 0, counts, 1.0)[..., None], counts > 0)
        return found[0] if weights is None else found

    def _as_weights(self, weights: Tensor) -> Tensor:
        if weights.ndim != 2 or weights.shape[1] != len(self.counts) or not bool((weights >= 0).all()):
            raise InputError(
                f"weights must be (draws, {len(self.counts)} trials) and none below 0, got {checks.described(weights)}"
            )
        return checks.finite(weights.double(), "weights")

    def again(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw as many trials as there are, with replacement, again and again.

        Args:
            count: How many draws.
            generator: What they come from.

        Returns:
            (b, r) how often each trial was drawn.
        """
        trials = len(self.counts)
        drawn = torch.randint(trials, (checks.whole(count, "count", at_least=1), trials), generator=generator)
        return functional.one_hot(drawn, trials).sum(1).double()


def _filled(values: Float[Tensor, "b t k p"], seen: Tensor) -> Float[Tensor, "b t k p"]:
    """Cells that were not seen take the value of the last that was, or of the first."""
    places = torch.arange(seen.shape[1])[None, :, None].expand(seen.shape)
    first = seen.double().argmax(1, keepdim=True)
    last = torch.where(seen, places, first).cummax(1).values
    return values.gather(1, last[..., None].expand(values.shape))
