"""Whether a hyperplane separates two clouds of samples: exactly, and how often for random clouds."""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from collapselab.core import checks, extras
from collapselab.core.errors import InputError
from collapselab.theory._elastic.modal import AbstractModal
from collapselab.theory._stochastic import normal

# Numbers of projections that are held at once.
_BUDGET = 4_000_000


def separable(a: Tensor, b: Tensor) -> bool:
    r"""Whether some direction $\nu$ has $\min_i\langle\nu,a_i\rangle>\max_j\langle\nu,b_j\rangle$.

    A linear program looks for the direction with the largest gap, and what it gives is checked on the samples.

    Args:
        a: (n, p) samples of one class.
        b: (m, p) samples of another.

    Returns:
        Whether there is such a direction; one whose gap is below a ten-millionth of the extent may be missed.

    Raises:
        InputError: If the two are no matrices with as many columns.

    Example:
        >>> square = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> separable(square[:2], square[2:]), separable(square[[0, 3]], square[[1, 2]])
        (True, False)
    """
    first, second = checks.matrix(a, "a").double(), checks.matrix(b, "b").double()
    if first.shape[1] != second.shape[1]:
        raise InputError(f"a and b must have as many features, got {first.shape[1]} and {second.shape[1]}")
    return _separable(first.numpy(), second.numpy())


def _separable(a: np.ndarray, b: np.ndarray) -> bool:
    optimize = extras.require("scipy.optimize", extra="theory", purpose="looking for a separating direction")
    both = np.concatenate([a, b])
    centre = both.mean(0)
    extent = np.abs(both - centre).max()
    if extent == 0:
        return False
    signs = np.concatenate([np.ones(len(a)), -np.ones(len(b))])[:, None]
    # Unknowns: direction, offset, gap; each sample lies on its side of the offset by the gap at least.
    rows = np.hstack([-signs * (both - centre) / extent, signs, np.ones_like(signs)])
    features = a.shape[1]
    bounds = [(-1.0, 1.0)] * features + [(None, None), (0.0, None)]
    goal = np.zeros(features + 2)
    goal[-1] = -1.0
    found = optimize.linprog(goal, A_ub=rows, b_ub=np.zeros(len(rows)), bounds=bounds, method="highs")
    direction = found.x[:features]
    return bool(((a - centre) @ direction).min() > ((b - centre) @ direction).max())


def separable_pairs(h: Tensor) -> Tensor:
    """Which pairs of classes a hyperplane separates, in many clouds at once.

    Two directions are tried for all pairs together, between the means and the same after whitening; linear programs
    decide those that neither separates.

    Args:
        h: (..., n, K, p) samples of every class.

    Returns:
        (..., K (K - 1) / 2) booleans, for pairs in the order (0, 1), (0, 2), ..., (1, 2), ...

    Raises:
        InputError: If there are not two classes or more, or no samples or features, or if some are not finite.
    """
    h = checks.as_tensor(h, "h").double()
    if h.ndim < 3 or h.shape[-2] < 2 or 0 in h.shape:
        raise InputError(f"h must have axes of samples, of two classes or more and of features, got {tuple(h.shape)}")
    checks.finite(h, "h")
    clouds = h.reshape(-1, *h.shape[-3:])
    pairs = torch.tensor(list(itertools.combinations(range(h.shape[-2]), 2)))
    per = max(1, _BUDGET // (len(pairs) * h.shape[-3] * (h.shape[-1] + 2)))
    found = torch.cat([_pairs_of(part, pairs) for part in clouds.split(per)])
    return found.reshape(*h.shape[:-3], len(pairs))


def _pairs_of(clouds: Tensor, pairs: Tensor) -> Tensor:
    found = _separated_by_means(clouds, pairs)
    for cloud, pair in (~found).nonzero().tolist():
        one, other = pairs[pair].tolist()
        found[cloud, pair] = _separable(clouds[cloud, :, one].numpy(), clouds[cloud, :, other].numpy())
    return found


def _separated_by_means(clouds: Tensor, pairs: Tensor) -> Tensor:
    """(clouds, pairs) booleans: whether one of two directions does it; False says nothing."""
    classes = clouds.transpose(1, 2)  # (clouds, K, n, p)
    means = classes.mean(2)
    apart = means[:, pairs[:, 0]] - means[:, pairs[:, 1]]
    deviations = (classes - means[:, :, None]).flatten(1, 2)
    within = deviations.transpose(1, 2) @ deviations
    whitened = apart @ torch.linalg.pinv(within, hermitian=True)
    found = torch.zeros(apart.shape[:2], dtype=torch.bool)
    for direction in (apart, whitened):
        one, other = (torch.einsum("bpnd,bpd->bpn", classes[:, pairs[:, side]], direction) for side in (0, 1))
        found |= one.amin(2) > other.amax(2)
    return found


@dataclass(frozen=True, eq=False)
class Separation:
    """Which pairs of classes could be separated in independent trials.

    Attributes:
        pairs: (trials, K (K - 1) / 2) booleans.
    """

    pairs: Tensor

    @property
    def share(self) -> float:
        """Share of all pairs of all trials that could be."""
        return float(self.pairs.double().mean())

    @property
    def complete(self) -> int:
        """Trials in which all pairs could be."""
        return int(self.pairs.all(1).sum())

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Exact confidence interval of the probability that all pairs can be separated.

        Args:
            confidence: Its level.

        Returns:
            Lower and upper end (Clopper and Pearson); pairs of one trial are not independent, trials are.
        """
        return binomial_interval(self.complete, len(self.pairs), confidence=confidence)


def binomial_interval(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Exact confidence interval of a probability, by Clopper and Pearson.

    Args:
        successes: How often it happened.
        trials: Out of how many independent trials.
        confidence: Level of the interval.

    Returns:
        Lower and upper end.

    Raises:
        InputError: If there are more successes than trials.

    Example:
        >>> [round(end, 3) for end in binomial_interval(20, 20)]
        [0.832, 1.0]
    """
    checks.whole(trials, "trials", at_least=1)
    if checks.whole(successes, "successes", at_least=0) > trials:
        raise InputError(f"successes must be {trials} at most, got {successes}")
    tail = (1 - checks.real(confidence, "confidence", above=0, below=1)) / 2
    beta = extras.require("scipy.stats", extra="theory", purpose="an exact interval of a probability").beta
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(beta.ppf(1 - tail, successes + 1, trials - successes))
    return low, high


def separation(
    dynamics: AbstractModal, t: float, *, samples: int, trials: int, generator: torch.Generator
) -> Separation:
    """Estimate how often samples of different classes are separable at one time, from normal class means at time 0.

    Args:
        dynamics: The equation; samples are drawn exactly, so that late times cost no more than early ones.
        t: Time.
        samples: n, of each class.
        trials: Independent starts and clouds.
        generator: What both are drawn from.

    Returns:
        Which pairs of classes could be separated in each trial.

    Raises:
        InputError: If samples of the equation cannot be drawn exactly.

    Example:
        >>> from collapselab.theory import LocallyElastic, PowerLaw
        >>> model = LocallyElastic(3, PowerLaw(1.5, 0.5), PowerLaw(0.0, 0.0))
        >>> found = separation(model, 1e4, samples=100, trials=20, generator=torch.Generator().manual_seed(0))
        >>> found.share, [round(end, 2) for end in found.interval()]
        (1.0, [0.83, 1.0])
    """
    checks.whole(trials, "trials", at_least=1)
    if not isinstance(dynamics, AbstractModal):
        raise InputError(f"dynamics must be LocallyElastic or LocallyElasticLogits, got {type(dynamics).__name__}")
    starts = normal((trials, *dynamics.shape), generator)
    found = dynamics.sampled(t, starts, samples=samples, generator=generator, centred=True)
    return Separation(separable_pairs(found.h))
