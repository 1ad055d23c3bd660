"""The squared-error flow near zero: linear, solved in closed form, with invariant subspaces (Mixon et al. 2020)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from collapselab.core import checks
from collapselab.core.errors import InputError, NotKnown
from collapselab.theory._flows.squared_error import SquaredErrorDynamics, class_parts
from collapselab.theory._model import model
from collapselab.theory._problem import State

_SPACES = ("attracting", "contracting", "common_growing", "common_shrinking", "within")


@dataclass(frozen=True)
class InvariantSpace:
    """A subspace of class vectors and features that the linearised flow does not lead out of.

    Attributes:
        eigenvalue: The rate at which its states grow, at the moment that was asked for.
        dimension: How many directions it has.
    """

    eigenvalue: float
    dimension: int


@model("linearised_squared_error_flow", label="squared-error flow near zero, linearised", source="mixon2020")
@dataclass(frozen=True)
class LinearisedSquaredErrorFlow(SquaredErrorDynamics):
    r"""The squared-error flow without the products of small class vectors and features: all but one subspace fades.

    The bias runs ahead on its own, $b(t)=\tfrac1K(1-e^{-sNt})$ from zero, and $W'=s(Y-1b^T)^TH$, $H'=s(Y-1b^T)W$ is a
    symmetric operator at every moment, with $r=s\sqrt n$:

    | space | states, with $1^TW=0$ | rate | dimension |
    |---|---|---|---|
    | attracting | $(W,\ w_y/\sqrt n)$ | r | (K-1)d |
    | contracting | $(W,\ -w_y/\sqrt n)$ | -r | (K-1)d |
    | common, growing and shrinking | $(1u^T,\ \pm u/\sqrt n)$ | $\pm re^{-sNt}$ | d each |
    | within | $(0,\ H)$ with class means zero | 0 | (N-K)d |

    In the theorem's form (review eq. 19): the distance of $(W,H)(t)$ from $e^{rt}$ times the attracting part of the
    start stays below `bound`, so that relative to its size it falls like $e^{-rt}$.
    """

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the facts to be ones."""
        return (
            "All classes have the same number of samples.",
            "Class vectors and features are small: their product is neglected.",
            "Nothing is decayed; the bias starts at one value for all classes.",
        )

    def drift(self, t: float, x: State) -> State:
        """The velocity; linear in class vectors and features at a given bias.

        Args:
            t: Time, of no account.
            x: Features and head.

        Returns:
            Time derivative of each entry.
        """
        del t
        push = self.speed * (self.targets - x["bias"])
        return {"weight": push.T @ x["h"], "h": push @ x["weight"], "bias": push.sum(0)}

    def components(self, x: State) -> dict[str, State]:
        """The orthogonal parts of a state in the invariant subspaces.

        Args:
            x: Features and head.

        Returns:
            Name of the subspace to ``weight`` and ``h``; they add up to those of the state.
        """
        parts = class_parts(x)
        agreeing, opposed = parts.agreeing.mean(0), parts.opposed.mean(0)
        return {
            "attracting": self._joined(parts.agreeing - agreeing, 1),
            "contracting": self._joined(parts.opposed - opposed, -1),
            "common_growing": self._joined(agreeing.expand_as(parts.agreeing), 1),
            "common_shrinking": self._joined(opposed.expand_as(parts.opposed), -1),
            "within": {"weight": torch.zeros_like(x["weight"]), "h": parts.within},
        }

    def _joined(self, weight: torch.Tensor, sign: int) -> State:
        return {"weight": weight.clone(), "h": sign / math.sqrt(self.per_class) * weight[self.labels]}

    def invariant_spaces(self, t: float = math.inf, *, bias: float = 0.0) -> dict[str, InvariantSpace]:
        """Rates and dimensions of the subspaces at one moment.

        Args:
            t: Time; infinity, when the bias has settled, by default.
            bias: Value of the bias of every class at time 0.

        Returns:
            Name to space; the dimensions add up to (K + N)d.
        """
        k, d, r = self.num_classes, self.num_features, self.rate
        common = r * (1 - k * bias) * math.exp(-self.bias_rate * t)
        rates = (r, -r, common, -common, 0.0)
        sizes = ((k - 1) * d, (k - 1) * d, d, d, (self.num_samples - k) * d)
        return {name: InvariantSpace(rate, size) for name, rate, size in zip(_SPACES, rates, sizes, strict=True)}

    def solution(self, t: float, start: State) -> State:
        r"""Each part grows by its own exponent: $\pm rt$, and $\pm\eta$ with $\eta=(1-Kb_0)(1-e^{-sNt})/(K\sqrt n)$.

        Args:
            t: Time of at least 0.
            start: State at time 0, with the same bias for all classes.

        Returns:
            State at time t.

        Raises:
            NotKnown: If the bias differs between classes.
        """
        t = checks.real(t, "t", at_least=0)
        bias = start["bias"]
        if not bool((bias == bias[0]).all()):
            raise NotKnown("the solution is known from a bias that is the same for all classes: see integrate")
        exponents = self._exponents(t, float(bias[0]))
        found = {name: torch.zeros_like(start[name]) for name in ("weight", "h")}
        for space, part in self.components(start).items():
            for name in found:
                found[name] += math.exp(exponents[space]) * part[name]
        settled = 1 / self.num_classes
        return found | {"bias": settled + (bias - settled) * math.exp(-self.bias_rate * t)}

    def _exponents(self, t: float, bias: float) -> Mapping[str, float]:
        common = (1 - self.num_classes * bias) * -math.expm1(-self.bias_rate * t)
        common /= self.num_classes * math.sqrt(self.per_class)
        return dict(zip(_SPACES, (self.rate * t, -self.rate * t, common, -common, 0.0), strict=True))

    def attracted(self, x: State) -> State:
        """The part of a state in the attracting subspace, where class vectors have mean zero and features follow them.

        Args:
            x: Features and head.

        Returns:
            ``weight`` and ``h``.
        """
        return self.components(x)["attracting"]

    def bound(self, start: State) -> float:
        r"""What the distance of $(W,H)(t)$ from $e^{rt}$ times the attracting part of the start never exceeds (eq. 19).

        $e^{1/(K\sqrt n)}$ times the norm of the rest of the start.

        Args:
            start: State at time 0, with a bias of zero.

        Returns:
            A distance.

        Raises:
            InputError: If the bias is not zero.
        """
        if bool(start["bias"].any()):
            raise InputError(f"start must have a bias of zero, got {start['bias'].tolist()}")
        part = self.attracted(start)
        rest = math.hypot(*(float((start[name] - part[name]).norm()) for name in ("weight", "h")))
        return math.exp(1 / (self.num_classes * math.sqrt(self.per_class))) * rest

    @classmethod
    def examples(cls) -> Sequence["LinearisedSquaredErrorFlow"]:
        """Summed and mean squares, one sample a class, as few features as can be.

        Returns:
            Flows.
        """
        return (cls(4, 6, 10), cls(4, 6, 10, normalised=True), cls(3, 1, 2, scale=0.1), cls(2, 5, 1))
