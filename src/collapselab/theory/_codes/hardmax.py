"""The hard maximum that cross-entropy on the sphere tends to as the temperature falls, and a descent towards it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError, NotKnown
from collapselab.geometry import ways_to_rest
from collapselab.theory._charts import on_sphere
from collapselab.theory._margins.log_domain import log_mean_cross_entropy
from collapselab.theory._model import AbstractLandscape
from collapselab.theory._problem import State
from collapselab.theory._solve import Trajectory, minimise
from collapselab.theory.softmax_codes import drawn_on_sphere


def hardmax(weight: Tensor, h: Tensor) -> float:
    r"""$\max_k\max_{j\ne k}\langle w_j-w_k,h_k\rangle$: what $\tau\log$ of cross-entropy on the sphere tends to.

    Args:
        weight: (k, d) class vectors.
        h: (k, d) one feature a class.

    Returns:
        Minus the smallest margin.

    Raises:
        InputError: If there is not one feature a class.
    """
    w, features = checks.matrix(weight, "weight").double(), checks.matrix(h, "h").double()
    if w.shape != features.shape or len(w) < 2:
        raise InputError(
            f"h must have the shape of weight, at least two rows, got {tuple(h.shape)} and {tuple(w.shape)}"
        )
    logits = features @ w.T
    return float((logits - logits.diagonal()[:, None]).fill_diagonal_(-torch.inf).max())


def hardmax_features(weight: Tensor) -> Tensor:
    r"""Features of norm 1 with the largest margins that class vectors leave them.

    By duality $\max_{\|h\|\le1}\min_{j\ne k}\langle w_k-w_j,h\rangle$ is the distance of $w_k$ from the convex hull of
    the others, reached by h along the way from there. So the smallest `hardmax` over features is minus the smallest
    one-versus-rest distance, and class vectors that make that as small as possible are a softmax code.

    Args:
        weight: (k, d) class vectors, none in the hull of the others.

    Returns:
        (k, d) unit rows in float64.

    Raises:
        InputError: If a class vector lies in the hull of the others, which leaves it no margin.

    Example:
        >>> from collapselab.geometry import simplex_etf
        >>> rows = simplex_etf(4, 3)
        >>> round(hardmax(rows, hardmax_features(rows)), 12)  # minus K / (K - 1)
        -1.333333333333
    """
    ways = ways_to_rest(weight)
    distances = torch.linalg.vector_norm(ways, dim=1)
    if float(distances.min()) <= 1e-12 * float(weight.abs().max()):
        inside = int(distances.argmin())
        raise InputError(f"weight must have no row in the hull of the others, got one: row {inside}")
    return -ways / distances[:, None]


def descend_on_sphere(
    num_classes: int,
    num_features: int,
    temperature: float,
    start: State | torch.Generator,
    *,
    max_steps: int = 5000,
) -> Trajectory:
    """Minimise cross-entropy of unit features and unit class vectors, for any numbers of classes and features.

    Its logarithm is what goes down, in which a temperature of 0.01 has as many digits as one of 1. Where a search ends
    depends on its start: take the lowest of several.

    Args:
        num_classes: K.
        num_features: d.
        temperature: tau, what inner products are divided by.
        start: ``h`` and ``weight``, for instance the end at a higher temperature; or a generator to draw them from.
        max_steps: Most steps.

    Returns:
        Start and end, with ``log_loss`` in `Trajectory.stats`.
    """
    sphere = _LogLossOnSphere(
        checks.whole(num_classes, "num_classes", at_least=2),
        checks.whole(num_features, "num_features", at_least=2),
        checks.real(temperature, "temperature", above=0),
    )
    found = minimise(sphere, start, max_steps=max_steps)
    stats: Mapping[str, float] = {**found.stats, "log_loss": found.stats["loss"]}
    return Trajectory(found.times, found.states, found.status, found.message, stats)


@dataclass(frozen=True)
class _LogLossOnSphere(AbstractLandscape):
    """The logarithm of `SoftmaxCodes.loss` where no answer is known."""

    num_classes: int
    num_features: int
    temperature: float

    @property
    def assumptions(self) -> tuple[str, ...]:
        """Nothing is stated that would need any."""
        return ()

    @property
    def minimum(self) -> float:
        """Not known."""
        raise NotKnown("the lowest point is searched for, not known")

    @property
    def labels(self) -> Tensor:
        """One feature a class."""
        return torch.arange(self.num_classes)

    def loss(self, state: State) -> Tensor:
        """Logarithm of the mean cross-entropy."""
        return log_mean_cross_entropy(state["h"] @ state["weight"].T / self.temperature, self.labels)

    def chart(self, free: State) -> State:
        """Unit vectors."""
        return {name: on_sphere(rows) for name, rows in free.items()}

    def draw(self, generator: torch.Generator) -> State:
        """Unit vectors."""
        return drawn_on_sphere(self.num_classes, self.num_features, generator)

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        """Not known."""
        raise NotKnown("the lowest point is searched for, not known")

    @classmethod
    def examples(cls) -> Sequence["_LogLossOnSphere"]:
        """None: it states nothing."""
        return ()
