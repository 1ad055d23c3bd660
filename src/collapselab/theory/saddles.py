"""Critical points that are no global minimum: how they are made, and the way down from them."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError, NotKnown
from collapselab.core.linalg import right_svd
from collapselab.theory._convex.sample_losses import Loss, logit_gradient, sample_losses
from collapselab.theory._model import UnconstrainedLandscape
from collapselab.theory._problem import Problem, State
from collapselab.theory._solve import minimise

# Part of the size of features and head below which what they have of a direction is rounding.
_NONE_OF_IT = 1e-6


@dataclass(frozen=True, eq=False)
class Escape:
    """A way down from a critical point.

    Attributes:
        direction: What to add to each entry of the state; both signs lead down alike.
        curvature: Second derivative of the loss along it, negative.
    """

    direction: State
    curvature: float


def escape_direction(problem: Problem, state: State, loss: Loss = "cross_entropy") -> Escape:
    r"""The direction of steepest negative curvature that an unused feature opens, at a critical point.

    With the largest singular value $\sigma$ of the gradient of the mean loss by the logits, its singular vectors u
    over classes and v over samples, and a unit vector a of features that neither head nor features use ($Wa=0$,
    $Ha=0$ with rows for samples), the loss has along $\Delta W=(\lambda_H/\lambda_W)^{1/4}ua^\top$,
    $\Delta H=-(\lambda_W/\lambda_H)^{1/4}va^\top$ the second derivative $-2(\sigma-\sqrt{\lambda_W\lambda_H})$ (Zhu et
    al. 2021; review, eq. 26 and 27). Nothing but a gradient is asked of the loss: it need not be convex.

    Args:
        problem: Sizes and decay; both decays above 0.
        state: A critical point: ``h``, ``weight`` and, where there is one, ``bias``.
        loss: ``cross_entropy``, ``mse``, or a function of logits and labels that gives the losses of samples.

    Returns:
        The direction and its curvature.

    Raises:
        InputError: If a decay is 0.
        NotKnown: If the singular value is not above its threshold, so that a convex loss is minimal there; or if all
            features are in use.

    Example:
        >>> problem = Problem.balanced(5, 7, 8, decay_head=4e-3, decay_features=2e-3)
        >>> zero = {name: 0 * x for name, x in problem.draw(torch.Generator()).items()}
        >>> round(escape_direction(problem, zero).curvature, 6)  # 2 (sqrt(4e-3 * 2e-3) - 1 / (5 sqrt(7)))
        -0.145529
    """
    if problem.decay_head == 0 or problem.decay_features == 0:
        raise InputError("decay_head and decay_features must be above 0 for a direction of escape, got 0")
    _, slope = logit_gradient(loss, problem.logits(state).double(), problem.labels)
    sizes, right = right_svd(slope)
    threshold = (problem.decay_head * problem.decay_features) ** 0.5
    if float(sizes[0]) <= threshold:
        raise NotKnown(f"no way down: the gradient has spectral norm {float(sizes[0]):.6g} of at most {threshold:.6g}")
    u, ratio, unused = right[:, 0], (problem.decay_head / problem.decay_features) ** 0.25, _unused(state)
    direction = {
        "h": -ratio * torch.outer(slope @ u / sizes[0], unused),
        "weight": torch.outer(u, unused) / ratio,
    }
    if "bias" in state:
        direction["bias"] = torch.zeros_like(state["bias"])
    return Escape(direction, 2 * (threshold - float(sizes[0])))


def saddle(problem: Problem, width: int, generator: torch.Generator, loss: Loss = "cross_entropy") -> State:
    """A critical point that is not minimal: the best with few features, and nothing in all others.

    Gradients of features that neither head nor samples use are zero, so that a minimum of the narrow problem is a
    critical point of the wide one. `escape_direction` leads down from it, if more features would help.

    Args:
        problem: Sizes and decay.
        width: How many features are used, below the rank of the best logits and below d.
        generator: What the start is drawn from.
        loss: See `escape_direction`.

    Returns:
        The state.

    Raises:
        InputError: If the width is not below the number of features.
    """
    if checks.whole(width, "width", at_least=1) >= problem.num_features:
        raise InputError(f"width must be below num_features, {problem.num_features}, got {width}")
    narrow = _Narrow(replace(problem, num_features=width), loss)
    found = minimise(narrow, generator, max_steps=20_000).require().end
    return widened(found, problem.num_features)


def widened(state: State, num_features: int) -> State:
    """The same with further features that are zero in samples and head.

    Args:
        state: ``h`` (n, d), ``weight`` (k, d) and others.
        num_features: At least d.

    Returns:
        New features and weights; everything else as it is.

    Raises:
        InputError: If there are more features already.
    """
    more = num_features - state["h"].shape[1]
    if more < 0:
        raise InputError(f"num_features must be at least {state['h'].shape[1]}, got {num_features}")
    wide = {name: torch.nn.functional.pad(state[name], (0, more)) for name in ("h", "weight")}
    return {**state, **wide}


def _unused(state: State) -> Tensor:
    """A unit vector of features that neither head nor samples have a part of."""
    rows = torch.cat([state["weight"], state["h"]]).double()
    sizes, right = right_svd(rows)
    if float(sizes[-1]) > _NONE_OF_IT * float(sizes[0]):
        raise NotKnown(f"no direction is known: all {rows.shape[1]} features are in use")
    return right[:, -1]


@dataclass(frozen=True)
class _Narrow(UnconstrainedLandscape):
    """A landscape about which nothing is stated."""

    problem: Problem
    of: Loss

    @property
    def assumptions(self) -> tuple[str, ...]:
        return ()

    @property
    def minimum(self) -> float:
        raise NotKnown("the minimum with fewer features than the best logits have rank is not known")

    def sample_losses(self, logits: Tensor, y: Tensor) -> Tensor:
        return sample_losses(self.of)(logits, y)

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        raise NotKnown("the minimum with fewer features than the best logits have rank is not known")

    @classmethod
    def examples(cls) -> "tuple[_Narrow, ...]":
        return ()
