"""How far features and a head are from the best that free features could do: a rigorous bound, in words as well."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.core.linalg import right_svd
from collapselab.evidence import LabelledFeatures, LinearHead
from collapselab.theory._convex.lower_bound import best_class_logits, lower_bound
from collapselab.theory._convex.sample_losses import Loss, logit_gradient
from collapselab.theory._problem import Problem, State
from collapselab.theory.nuclear import balance_residual, balancing_decay, nuclear_norm

_CAVEAT = (
    "This judges the unconstrained model alone: its features can be anything, at the price of their decay. The "
    "features of a network are functions of its inputs, so that the bound may be out of its reach; and nothing is "
    "said about test data, or about other minima of the network."
)
_FITTED = (
    " The decay of the features, {decay:.3g}, was not given: it is the one at which the norms of features and head "
    "balance, as at every critical point, so that this balance is assumed and not tested."
)

# Largest entry of the gradient at what counts as a critical point, and excess of a singular value that is none.
_FLAT, _NO_LARGER = 1e-6, 1e-5

Kind = Literal["global minimum", "critical, not minimal", "not critical"]
"""A critical point that is not minimal is a saddle if a feature is unused, see `escape_direction`."""


@dataclass(frozen=True)
class Certificate:
    r"""What is known of how far a point of an unconstrained-features model is from its global minimum.

    Attributes:
        loss: Mean loss plus decay there.
        lower_bound: What the loss is nowhere below, for any number of features.
        spectral_ratio: Largest singular value of the gradient by the logits, divided by $\sqrt{\lambda_W\lambda_H}$: a
            critical point is a global minimum of a convex loss if and only if this is at most 1.
        multiplicity: How many singular values of the gradient are as large as the largest.
        balance_residual: See the function `balance_residual`.
        unbalance: What decay costs beyond what logits like these have to cost, part of the gap.
        slope: Largest entry of the gradient by features, head and bias; 0 at a critical point. Features are in the unit
            $\sqrt{\lambda_W/\lambda_H}$, in which their decay is that of the head: their own gradient falls as samples
            are added, however far from optimal they are.
        decay_head: lambda_W.
        decay_features: lambda_H.
        decay_bias: lambda_b, 0 without bias or for one that is free.
        fitted: Whether lambda_H was not given.
    """

    loss: float
    lower_bound: float
    spectral_ratio: float
    multiplicity: int
    balance_residual: float
    unbalance: float
    slope: float
    decay_head: float
    decay_features: float
    decay_bias: float
    fitted: bool = False

    @property
    def gap(self) -> float:
        """The loss less its lower bound: the distance from the global minimum is not larger."""
        return max(0.0, self.loss - self.lower_bound)

    @property
    def kind(self) -> Kind:
        """What point it is, for a convex loss, up to the accuracy of an optimiser."""
        if self.slope > _FLAT:
            return "not critical"
        return "global minimum" if self.spectral_ratio <= 1 + _NO_LARGER else "critical, not minimal"

    @property
    def statement(self) -> str:
        """What follows, in a sentence."""
        share = f" ({100 * self.gap / self.loss:.2g} %)" if self.loss > 0 else ""
        return (
            f"The loss with decay, {self.loss:.6g}, is at most {self.gap:.3g}{share} above the lowest that free "
            f"features and a decayed head can reach; the largest singular value of its gradient by the logits is "
            f"{self.spectral_ratio:.4g} times the one at which nothing can be gained, and "
            f"{self.multiplicity} of them {'is' if self.multiplicity == 1 else 'are'} as large."
        )

    @property
    def caveat(self) -> str:
        """What does not follow, in words."""
        return _CAVEAT + (_FITTED.format(decay=self.decay_features) if self.fitted else "")


def certificate(
    problem: Problem,
    state: State,
    loss: Loss = "cross_entropy",
    *,
    floor: float = 0.0,
    refine: bool = True,
    tolerance: float = 1e-5,
) -> Certificate:
    r"""How far a point of an unconstrained-features model is from its global minimum, for any convex loss.

    With g the mean loss as a function of the logits and $\mu=\sqrt{\lambda_W\lambda_H}$ the model is nowhere below
    $\min_{Z,b}g(Z+1b^\top)+\mu\|Z\|_*+\tfrac{\lambda_b}2\|b\|^2$. By Fenchel's duality that is at least
    $-g^*(U)-\|U^\top1\|^2/(2\lambda_b)$ for every U of spectral norm at most $\mu$; with a free bias U must have
    columns that sum to zero instead, without one the last term is absent. Here $U=sG$ with the gradient
    $G=\nabla g(Z+1b^\top)$, which is $U^\top1=-\lambda_bb$ and $\|G\|_2\le\mu$ with equality in the bound at a global
    minimum, and $s\le\mu/\|G\|_2$ is chosen for the largest bound. For cross-entropy $-g^*(sG)$ is the mean entropy of
    $s\,p_i+(1-s)e_{y_i}$, with p the softmax (with a free bias first changed until columns sum to class sizes); for
    squared error it is quadratic; for a function it is bounded by the tangent at Z and the `floor`.

    Far from the optimum that bound is loose. As it holds for the gradient at any logits, it is taken a second time at
    those that L-BFGS reaches from here when all samples of a class have the same features, which makes it nearly
    exact; how good these logits are decides how tight the bound is, not whether it holds.

    Args:
        problem: Sizes and decay; both decays above 0, and any class sizes. Non-negative features change nothing.
        state: ``h``, ``weight`` and, where there is one, ``bias``; for logits alone see `balanced_factors`.
        loss: ``cross_entropy`` in nats, ``mse`` (half of the squared distance from the one-hot label), or a function of
            logits (n, k) and labels (n,) that gives losses (n,), differentiable and convex in the logits.
        floor: A number that no loss of a sample lies below, for a function.
        refine: Whether a better bound is looked for as well.
        tolerance: Part by which a singular value may be smaller and still count as one of the largest.

    Returns:
        The certificate.

    Raises:
        InputError: If a decay is 0, or the state does not fit the problem.

    Example:
        >>> from collapselab.theory import CrossEntropyFeatures
        >>> problem = Problem.balanced(4, 10, 8, decay_head=5e-3, decay_features=5e-3)
        >>> found = certificate(problem, CrossEntropyFeatures(problem).minimiser())
        >>> found.multiplicity, round(found.spectral_ratio, 9), found.gap < 1e-12
        (3, 1.0, True)
    """
    h, weight, bias = _fitting(problem, state)
    z, y = h @ weight.T, problem.labels
    threshold = (problem.decay_head * problem.decay_features) ** 0.5
    value, slope = logit_gradient(loss, z + bias, y)
    sizes = right_svd(slope)[0]
    penalty = float(problem.penalty(state))
    bound = lower_bound(problem, loss, z + bias, floor=floor)
    if refine:
        bound = max(bound, lower_bound(problem, loss, best_class_logits(problem, state, loss), floor=floor))
    return Certificate(
        loss=value + penalty,
        lower_bound=bound,
        spectral_ratio=float(sizes[0]) / threshold,
        multiplicity=int((sizes >= (1 - tolerance) * sizes[0]).sum()),
        balance_residual=balance_residual(
            h, weight, decay_head=problem.decay_head, decay_features=problem.decay_features
        ),
        unbalance=max(0.0, penalty - problem.decay_bias * float(bias.square().sum()) / 2 - threshold * nuclear_norm(z)),
        slope=_steepest(problem, h, weight, bias, slope=slope),
        decay_head=problem.decay_head,
        decay_features=problem.decay_features,
        decay_bias=problem.decay_bias,
    )


def certificate_of(
    features: LabelledFeatures,
    head: LinearHead,
    loss: Loss = "cross_entropy",
    *,
    decay_head: float,
    decay_features: float | None = None,
    decay_bias: float = 0.0,
    floor: float = 0.0,
    refine: bool = True,
) -> Certificate:
    r"""The certificate of the last layer of a network, as a point of its unconstrained model.

    A network has no decay of its features. The one they behave as if they had is taken from the balance that holds at
    every critical point, $\lambda_H=\lambda_W\|W\|^2/\|H\|^2$, where it is not given.

    Args:
        features: Input of the last layer for all training samples, in the mode that is judged.
        head: The last layer.
        loss: See `certificate`; the mean over the samples, scaled as it was in training (decay 5e-4 beside
            ``torch.nn.MSELoss`` is decay 5e-4 K / 2 beside ``mse``).
        decay_head: lambda_W, what an optimiser calls weight decay where it is not decoupled.
        decay_features: lambda_H, of the squared norm of all features together; None to fit it.
        decay_bias: lambda_b; 0 for a bias that is not decayed.
        floor: See `certificate`.
        refine: See `certificate`.

    Returns:
        The certificate; see its `statement` and `caveat`.

    Raises:
        InputError: If sizes do not fit, a class has no samples, or a decay is not above 0.
    """
    checks.real(decay_head, "decay_head", above=0)
    if (head.num_classes, head.num_features) != (features.num_classes, features.num_features):
        sizes, wanted = (head.num_classes, head.num_features), (features.num_classes, features.num_features)
        raise InputError(f"head must have a weight of shape {wanted} for these features, got {sizes}")
    exact, order = head.double(), torch.argsort(features.y.cpu(), stable=True)
    h = features.h.detach().cpu()[order].double()
    weight = exact.weight.cpu()
    if decay_features is None:
        fitted = balancing_decay(h, weight, decay_head=decay_head)
    else:
        fitted = checks.real(decay_features, "decay_features", above=0)
    counts = tuple(int(n) for n in torch.bincount(features.y.cpu(), minlength=features.num_classes))
    bias = "none" if exact.bias is None else ("decay" if decay_bias > 0 else "free")
    problem = Problem(counts, h.shape[1], decay_head, fitted, bias=bias, decay_bias=decay_bias)
    state = {"h": h, "weight": weight} | ({} if exact.bias is None else {"bias": exact.bias.cpu()})
    found = certificate(problem, state, loss, floor=floor, refine=refine)
    return replace(found, fitted=decay_features is None)


def _fitting(problem: Problem, state: State) -> tuple[Tensor, Tensor, Tensor]:
    """Features, weights and bias, zero where there is none, after a check of their sizes."""
    if problem.decay_head == 0 or problem.decay_features == 0:
        raise InputError("decay_head and decay_features must be above 0 for a certificate, got 0")
    n, k, d = problem.num_samples, problem.num_classes, problem.num_features
    wanted = {"h": (n, d), "weight": (k, d)} | ({} if problem.bias == "none" else {"bias": (k,)})
    for name, shape in wanted.items():
        found = tuple(state[name].shape) if name in state else None
        if found != shape:
            raise InputError(f"state must have {name!r} of shape {shape} in this problem, got {found}")
    if problem.bias == "none" and "bias" in state:
        raise InputError("state must have no 'bias' in a problem without one, got one")
    h, weight = state["h"].detach().double(), state["weight"].detach().double()
    return h, weight, state["bias"].detach().double() if "bias" in state else weight.new_zeros(k)


def _steepest(problem: Problem, h: Tensor, weight: Tensor, bias: Tensor, *, slope: Tensor) -> float:
    """Largest entry of the gradient by features, head and bias."""
    unit = (problem.decay_head / problem.decay_features) ** 0.5
    parts = [unit * (slope @ weight + problem.decay_features * h), slope.T @ h + problem.decay_head * weight]
    if problem.bias != "none":
        parts.append(slope.sum(0) + problem.decay_bias * bias)
    return max(float(part.abs().max()) for part in parts)
