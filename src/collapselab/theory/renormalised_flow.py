"""The continually renormalised gradient flow on the central path (Han, Papyan and Donoho 2022), with its exact law."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.theory._flows.renormalised import central_path_loss
from collapselab.theory._model import AbstractDynamics, model
from collapselab.theory._problem import State

# Newton's method goes down to the root from above and doubles its digits at the end; 12 steps were met.
_STEPS = 100


@model("renormalised_flow", label="renormalised gradient flow on the central path", source="han2022")
@dataclass(frozen=True)
class RenormalisedFlow(AbstractDynamics):
    r"""Gradient flow of features whose covariance within classes is kept at the identity, under their best classifier.

    Deviations within classes do not move, singular vectors of the class means do not turn, and each singular value goes
    its own way: $\dot\omega=\tfrac1n\,\omega/(K+\omega^2)^2$, that is
    $n(K^2\log\omega+K\omega^2+\tfrac14\omega^4)=t+a$ with a constant offset a. So $\omega\approx(4t/n)^{1/4}$
    whatever it began at: all become equal, which makes the class means a simplex, and NC1, $\sum_j\omega_j^{-2}$, falls
    to zero. `renormalised_step` takes steps of the flow on features themselves.

    Attributes:
        num_classes: K.
        per_class: n >= 2.
    """

    num_classes: int
    per_class: int

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.num_classes, "num_classes", at_least=2)
        checks.whole(self.per_class, "per_class", at_least=2)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the facts to be ones."""
        return (
            "All classes have the same number of samples, enough for a covariance within classes of full rank.",
            "The classifier is the least-squares one of the features at every moment, with a bias and without decay.",
            "There are at least K - 1 features; time is that of the gradient by all features of the mean loss.",
        )

    def drift(self, t: float, x: State) -> State:
        """The velocity.

        Args:
            t: Time, of no account.
            x: ``singular_values`` (k-1,), above 0.

        Returns:
            Time derivative.
        """
        del t
        omega = x["singular_values"]
        return {"singular_values": omega / (self.num_classes + omega.square()).square() / self.per_class}

    def draw(self, generator: torch.Generator) -> State:
        """Singular values from 1/2 to 5, evenly in their logarithm.

        Args:
            generator: What they are drawn from.

        Returns:
            ``singular_values``, descending.
        """
        uniform = torch.rand(self.num_classes - 1, generator=generator, dtype=torch.float64)
        return {"singular_values": (0.5 * 10**uniform).sort(descending=True).values}

    def clock(self, x: State) -> Tensor:
        r"""$n(K^2\log\omega+K\omega^2+\tfrac14\omega^4)$: what runs as fast as time.

        Args:
            x: ``singular_values``, above 0.

        Returns:
            (k-1,) times plus offsets a.

        Raises:
            InputError: If one is not above 0.
        """
        omega = x["singular_values"].double()
        if bool((omega <= 0).any()):
            raise InputError(f"singular_values must be above 0, got {float(omega.min())}")
        return self.per_class * _law(omega.log(), self.num_classes)

    def conserved(self, x: State) -> dict[str, Tensor]:
        """Differences of the offsets a of the singular values, from the first.

        Args:
            x: ``singular_values``.

        Returns:
            ``offsets`` (k-1,), the first of them 0.
        """
        clock = self.clock(x)
        return {"offsets": clock - clock[0]}

    def solution(self, t: float, start: State) -> State:
        """The law, solved for the singular values.

        Args:
            t: Time of at least 0.
            start: ``singular_values`` at time 0.

        Returns:
            ``singular_values`` at time t.
        """
        t = checks.real(t, "t", at_least=0)
        return {"singular_values": _law_solved((self.clock(start) + t) / self.per_class, self.num_classes).exp()}

    def loss(self, x: State) -> Tensor:
        """The loss on the central path.

        Args:
            x: ``singular_values``.

        Returns:
            0-d float64.
        """
        return central_path_loss(x["singular_values"], self.num_classes)

    @classmethod
    def examples(cls) -> Sequence["RenormalisedFlow"]:
        """One singular value, and several.

        Returns:
            Flows.
        """
        return (cls(2, 5), cls(4, 10), cls(10, 3))


def _law(logarithm: Tensor, num_classes: int) -> Tensor:
    return num_classes**2 * logarithm + num_classes * (2 * logarithm).exp() + (4 * logarithm).exp() / 4


def _law_solved(wanted: Tensor, num_classes: int) -> Tensor:
    """The logarithm at which the law has a value."""
    # The law is increasing and convex: from above the root Newton's method comes down to it and never passes it.
    k = num_classes
    above = torch.where(wanted > 0, (4 * wanted.clamp_min(0.25)).log() / 4, math.inf)
    x = torch.minimum(wanted / k**2, above)
    for _ in range(_STEPS):
        down = (_law(x, k) - wanted) / (k + (2 * x).exp()).square()
        x = x - down
        if bool((down.abs() <= 4 * torch.finfo(torch.float64).eps * x.abs().clamp_min(1)).all()):
            break
    return x
