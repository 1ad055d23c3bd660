"""The equation of all models of local elasticity: features that the means of all classes move, and noise."""

import math
import sys
from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from collapselab.core import checks, extras
from collapselab.core.errors import InputError, NotConverged
from collapselab.theory._problem import State
from collapselab.theory._stochastic import AbstractStochasticDynamics, Moments, normal

Mover = Literal["mean", "self"]
"""What moves a sample: the expected features of every class, or those of its own companions, one of each class."""

MOVERS: tuple[Mover, ...] = ("mean", "self")

_LARGEST_LOG = math.log(sys.float_info.max)


class AbstractLocallyElastic(AbstractStochasticDynamics):
    r"""Base of the models $d\tilde X=M(t)\,\bar X\,dt+\Sigma(t)^{1/2}dW$, $\bar X'=M(t)\bar X$ of Zhang et al. (2021).

    $\tilde X\in\mathbb R^{Kp}$ holds one sample of each class, $\bar X$ the class means, and the blocks of M are
    $M_{kl}=\tfrac1KE_{kl}H_{kl}$: how much class l moves class k, times how a feature is transformed.

    ``moved_by="mean"`` is that equation: entries ``mean`` (K, p), without noise, and ``h`` (..., K, p). Noise adds up,
    so that covariance grows with $\int\Sigma$ alone, and growing class means leave it behind. ``moved_by="self"`` puts
    $\tilde X$ in the place of $\bar X$: the entry ``h`` alone. Its mean is the same, but noise is amplified at the rate
    of the signal, the ratio of the two stays bounded, and the theorem of separability fails.
    """

    strong_order: ClassVar[float] = 1.0

    moved_by: Mover

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Number of classes and number of features: the last axes of every entry."""

    @abstractmethod
    def elasticity(self, t: float) -> Tensor:
        """The matrix E of local elasticity.

        Args:
            t: Time.

        Returns:
            (K, K); row k says how much the samples of each class move those of class k.
        """

    @abstractmethod
    def pulled(self, t: float, x: Tensor) -> Tensor:
        """M(t) x.

        Args:
            t: Time.
            x: (..., K, p).

        Returns:
            Of the same shape.
        """

    @abstractmethod
    def pulled_by(self, t: float, source: Tensor, sampled: Tensor) -> Tensor:
        """What one sampled feature adds to all classes, per unit of time: E_kl H_kl x, not divided by K.

        Args:
            t: Time.
            source: (b, p) features.
            sampled: (b,) their classes l.

        Returns:
            (b, K, p).
        """

    @abstractmethod
    def carried(self, t: float, means: Tensor) -> Tensor:
        """The solution of the equation of class means.

        Args:
            t: Time.
            means: (..., K, p) class means at time 0.

        Returns:
            Class means at time t.
        """

    @abstractmethod
    def noise_root(self, t: float) -> Tensor:
        """A root of the covariance of the noise per unit of time.

        Args:
            t: Time.

        Returns:
            A number where noise is the same in all directions; otherwise (K p, K p).
        """

    @abstractmethod
    def noise_integral(self, t: float) -> Tensor:
        """The integral of the covariance of the noise from 0.

        Args:
            t: Time.

        Returns:
            (K p, K p).
        """

    @property
    def disturbed(self) -> tuple[str, ...]:
        """Entries of a state that noise moves."""
        return ("h",)

    def matrix(self, t: float) -> Tensor:
        """The matrix M.

        Args:
            t: Time.

        Returns:
            (K p, K p), classes first.
        """
        return as_matrix(lambda x: self.pulled(t, x), self.shape)

    def drift(self, t: float, x: State) -> State:
        """The velocity.

        Args:
            t: Time.
            x: ``h``, and ``mean`` where that moves it.

        Returns:
            Time derivative of each entry.
        """
        if self.moved_by == "self":
            return {"h": self.pulled(t, x["h"])}
        velocity = self.pulled(t, x["mean"])
        return {"mean": velocity, "h": velocity.expand_as(x["h"])}

    def diffusion(self, t: float, x: State, increment: State) -> State:
        """What increments of Wiener processes add to the features.

        Args:
            t: Time.
            x: Entries by name; not asked.
            increment: ``h`` (..., K, p).

        Returns:
            ``h``.
        """
        del x
        root, moved = self.noise_root(t), increment["h"]
        return {"h": root * moved if root.ndim == 0 else unflat(flat(moved) @ root.T, self.shape)}

    def draw(self, generator: torch.Generator) -> State:
        """Normal class means, and a sample of each class that lies there.

        Args:
            generator: What they are drawn from.

        Returns:
            ``h`` (K, p), and ``mean`` where that moves it.
        """
        return self.begin(normal(self.shape, generator))

    def begin(self, means: Tensor) -> State:
        """The state in which samples lie at given class means.

        Args:
            means: (..., K, p).

        Returns:
            ``h``, and ``mean`` where that moves it.

        Raises:
            InputError: If they do not end in the axes of classes and features.
        """
        means = self.entry(means, "means")
        return {"h": means} if self.moved_by == "self" else {"mean": means, "h": means}

    def entry(self, x: Tensor, name: str) -> Tensor:
        """Class means, or samples, in float64.

        Args:
            x: (..., K, p).
            name: What to call them.

        Returns:
            The same.

        Raises:
            InputError: If they do not end in the axes of classes and features, or are not finite.
        """
        x = checks.as_tensor(x, name).double()
        if tuple(x.shape[-2:]) != self.shape or not x.numel():
            raise InputError(f"{name} must end in axes of sizes {self.shape}, got shape {tuple(x.shape)}")
        return checks.finite(x, name)

    def solution(self, t: float, start: State) -> State:
        """The exact solution without noise.

        Args:
            t: Time.
            start: State at time 0.

        Returns:
            State at time t.

        Raises:
            InputError: If the time is negative, or the start is no state of the equation.
        """
        t, names = checks.real(t, "t", at_least=0), ("h",) if self.moved_by == "self" else ("mean", "h")
        if missing := [name for name in names if name not in start]:
            raise InputError(f"start must have an entry {missing[0]!r}, got {', '.join(map(repr, start)) or 'none'}")
        begun = {name: self.entry(start[name], name) for name in names}
        if self.moved_by == "self":
            return {"h": self.carried(t, begun["h"])}
        mean = self.carried(t, begun["mean"])
        return {"mean": mean, "h": begun["h"] + (mean - begun["mean"])}

    def moments(self, t: float, start: State, *, covariance: Tensor | None = None) -> Moments:
        r"""Exact mean and covariance: $P(0)+\int\Sigma$ if means move a sample, $P'=MP+PM^T+\Sigma$ if it moves itself.

        Args:
            t: Time.
            start: Mean at time 0.
            covariance: (K p, K p) covariance of ``h`` at time 0; None where the start is certain.

        Returns:
            Mean and covariance at time t.

        Raises:
            InputError: If time, start or covariance are not what they must be.
        """
        mean, size = self.solution(t, start), self.shape[0] * self.shape[1]
        begun = torch.zeros(size, size, dtype=torch.float64) if covariance is None else covariance.double()
        if begun.shape != (size, size):
            raise InputError(f"covariance must have shape ({size}, {size}), got {checks.described(covariance)}")
        spread = begun + self.noise_integral(t) if self.moved_by == "mean" else self.amplified(t, begun)
        return Moments(mean, {"h": spread})

    def amplified(self, t: float, covariance: Tensor) -> Tensor:
        """The covariance of samples that move themselves, by integration of the equation of Lyapunov.

        Args:
            t: Time.
            covariance: (K p, K p) at time 0.

        Returns:
            (K p, K p) at time t.
        """

        def slope(time: float, p: Tensor) -> Tensor:
            moved, root = self.matrix(time) @ p, self.noise_root(time)
            noise = root**2 * torch.eye(p.shape[0], dtype=torch.float64) if root.ndim == 0 else root @ root.T
            return moved + moved.T + noise

        return integrated(slope, covariance, t)


def flat(x: Tensor) -> Tensor:
    """Classes and features in one axis.

    Args:
        x: (..., K, p).

    Returns:
        (..., K p).
    """
    return x.flatten(-2)


def unflat(x: Tensor, shape: tuple[int, int]) -> Tensor:
    """Classes and features in two axes.

    Args:
        x: (..., K p).
        shape: K and p.

    Returns:
        (..., K, p).
    """
    return x.unflatten(-1, shape)


def as_matrix(linear: Callable[[Tensor], Tensor], shape: tuple[int, int]) -> Tensor:
    """The matrix of a linear map of class means.

    Args:
        linear: Maps (..., K, p) to the same shape.
        shape: K and p.

    Returns:
        (K p, K p).
    """
    units = torch.eye(shape[0] * shape[1], dtype=torch.float64)
    return flat(linear(unflat(units, shape))).T.contiguous()


def grown(log: float) -> float:
    """What has grown by a logarithm.

    Args:
        log: The logarithm.

    Returns:
        Its exponential.

    Raises:
        InputError: If that is beyond the range of floats.
    """
    if log > _LARGEST_LOG:
        raise InputError(f"features have grown by e^{log:.4g} at this time, beyond float64: ask for less, or `sampled`")
    return math.exp(log)


def integrated(slope: Callable[[float, Tensor], Tensor], start: Tensor, t: float) -> Tensor:
    """The solution of a smooth differential equation of a matrix.

    Args:
        slope: Time derivative at a time and a value.
        start: Value at time 0.
        t: Time.

    Returns:
        Value at time t.

    Raises:
        NotConverged: If the integrator gave up.
    """
    if t == 0:
        return start
    solve = extras.require("scipy.integrate", extra="theory", purpose="integrating a differential equation")

    def velocity(time: float, values: np.ndarray) -> np.ndarray:
        return slope(time, torch.from_numpy(values).reshape(start.shape)).numpy().ravel()

    found = solve.solve_ivp(velocity, (0.0, t), start.numpy().ravel(), method="DOP853", rtol=1e-12, atol=1e-14)
    if found.status != 0:
        raise NotConverged(f"no solution up to time {t:g}: {found.message}")
    return torch.from_numpy(found.y[:, -1].copy()).reshape(start.shape)
