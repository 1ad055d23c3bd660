"""Locally elastic learning with any matrix of elasticity and any transform of features (Zhang et al. 2021)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from collapselab.core import checks, extras
from collapselab.core.errors import InputError
from collapselab.theory._elastic.base import MOVERS, AbstractLocallyElastic, Mover, as_matrix, flat, integrated, unflat
from collapselab.theory._model import model

OverTime = Tensor | Callable[[float], Tensor]
"""A tensor, or what gives one for every time."""

# Moments at which matrices that are said to commute are compared, and what of their products rounding may leave.
_COMPARED, _ROUNDING = 12, 1e-10


@model("locally_elastic_general", label="local elasticity, any matrices", source="zhang2021")
@dataclass(frozen=True, eq=False)
class LocallyElasticGeneral(AbstractLocallyElastic):
    r"""Any elasticity and transform: $M_{kl}=\tfrac1KE_{kl}(t)H_{kl}(t)$, solved by a matrix exponential or integrated.

    Attributes:
        impact: E, (K, K), or its value at every time.
        transform: H, (K, K, p, p), or its value at every time.
        noise: Covariance of the noise per unit of time, (K p, K p), or its value at every time.
        commutes: Whether the matrices M at all times commute, so that class means are exp of their integral; that is
            compared at several times before it is used. Without, the equation is integrated.
        moved_by: What moves a sample: the class means, as in the theorem, or it and its companions themselves.
    """

    impact: OverTime
    transform: OverTime
    noise: OverTime
    commutes: bool = False
    moved_by: Mover = "mean"

    def __post_init__(self) -> None:
        """Check the settings."""
        checks.one_of(self.moved_by, "moved_by", MOVERS)
        checks.flag(self.commutes, "commutes")
        impact, transform, noise = (self._now(name, 0.0) for name in ("impact", "transform", "noise"))
        if impact.ndim != 2 or impact.shape[0] != impact.shape[1] or len(impact) < 2:
            raise InputError(f"impact must be a square matrix of two classes or more, got {checks.described(impact)}")
        k, p = len(impact), transform.shape[-1] if transform.ndim else 0
        if p == 0 or transform.shape != (k, k, p, p):
            raise InputError(f"transform must have shape ({k}, {k}, p, p), got {checks.described(transform)}")
        if noise.shape != (k * p, k * p):
            raise InputError(f"noise must have shape ({k * p}, {k * p}), got {checks.described(noise)}")
        _root(noise)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the facts to be ones."""
        return ("Elasticity, transform and noise are continuous in time.", "Drift is linear in the features.")

    @property
    def shape(self) -> tuple[int, int]:
        """Number of classes and number of features."""
        return self._shape

    @cached_property
    def _shape(self) -> tuple[int, int]:
        k, _, p, _ = self._now("transform", 0.0).shape
        return k, p

    def elasticity(self, t: float) -> Tensor:
        """The matrix E of local elasticity.

        Args:
            t: Time.

        Returns:
            (K, K).
        """
        return self._now("impact", t)

    def matrix(self, t: float) -> Tensor:
        """The matrix M.

        Args:
            t: Time.

        Returns:
            (K p, K p), classes first.
        """
        k, p = self.shape
        blocks = self.elasticity(t)[:, :, None, None] * self._now("transform", t) / k
        return blocks.transpose(1, 2).reshape(k * p, k * p)

    def pulled(self, t: float, x: Tensor) -> Tensor:
        """M(t) x.

        Args:
            t: Time.
            x: (..., K, p).

        Returns:
            Of the same shape.
        """
        return unflat(flat(x) @ self.matrix(t).T, self.shape)

    def pulled_by(self, t: float, source: Tensor, sampled: Tensor) -> Tensor:
        """What one sampled feature adds to all classes, per unit of time.

        Args:
            t: Time.
            source: (b, p) features.
            sampled: (b,) their classes.

        Returns:
            (b, K, p).
        """
        impact, transform = self.elasticity(t)[:, sampled], self._now("transform", t)[:, sampled]
        return torch.einsum("kb,kbij,bj->bki", impact, transform, source)

    def carried(self, t: float, means: Tensor) -> Tensor:
        """The solution of the equation of class means.

        Args:
            t: Time.
            means: (..., K, p) class means at time 0.

        Returns:
            Class means at time t.
        """
        return unflat(flat(means) @ self.propagator(t).T, self.shape)

    def propagator(self, t: float) -> Tensor:
        """The matrix that takes class means from time 0 to time t.

        Args:
            t: Time.

        Returns:
            (K p, K p).
        """
        if t == 0:
            return as_matrix(lambda x: x, self.shape)
        if not (callable(self.impact) or callable(self.transform)):
            return _exponential(t * self.matrix(0.0))
        if not self.commutes:
            return integrated(lambda s, x: self.matrix(s) @ x, self.propagator(0.0), t)
        self._refuse_if_not_commuting(t)
        return _exponential(_integral(self.matrix, t))

    def noise_root(self, t: float) -> Tensor:
        """The symmetric root of the covariance of the noise per unit of time.

        Args:
            t: Time.

        Returns:
            (K p, K p).
        """
        return _root(self._now("noise", t)) if callable(self.noise) else self._constant_root

    @cached_property
    def _constant_root(self) -> Tensor:
        return _root(self._now("noise", 0.0))

    def noise_integral(self, t: float) -> Tensor:
        """The integral of the covariance of the noise from 0.

        Args:
            t: Time.

        Returns:
            (K p, K p).
        """
        return _integral(lambda s: self._now("noise", s), t) if callable(self.noise) else t * self._now("noise", 0.0)

    def _now(self, name: str, t: float) -> Tensor:
        given: Any = getattr(self, name)
        found = checks.as_tensor(given(t) if callable(given) else given, name)
        return checks.finite(found.double(), name)

    def _refuse_if_not_commuting(self, t: float) -> None:
        found = torch.stack([self.matrix(t * step / (_COMPARED - 1)) for step in range(_COMPARED)])
        products = found[:, None] @ found
        off = float((products - products.transpose(0, 1)).abs().max())
        if off > _ROUNDING * float(products.abs().max()):
            raise InputError(f"commutes must be false: matrices up to time {t:g} do not, by {off:.2g}")

    @classmethod
    def examples(cls) -> Sequence["LocallyElasticGeneral"]:
        """Constant matrices, matrices that commute, and a transform that turns.

        Returns:
            Dynamics.
        """
        draw = torch.Generator().manual_seed(0)
        impact = torch.tensor([[0.9, 0.2, 0.1], [0.3, 0.8, 0.0], [0.1, 0.2, 0.7]], dtype=torch.float64)
        transform = torch.randn(3, 3, 2, 2, generator=draw, dtype=torch.float64)
        factor = 0.4 * torch.randn(6, 6, generator=draw, dtype=torch.float64)
        plane = torch.eye(2, dtype=torch.float64).expand(3, 3, 2, 2)

        def turning(t: float) -> Tensor:
            angle = torch.tensor(t, dtype=torch.float64)
            rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).reshape(2, 2)
            return plane @ (rotation + transform[0, 1] * t)

        return (
            cls(impact, transform, factor @ factor.T),
            cls(lambda t: impact / (1 + t), plane, 0.2 * torch.eye(6, dtype=torch.float64), commutes=True),
            cls(impact, turning, lambda t: factor @ factor.T / (1 + t)),
            cls(impact, transform, factor @ factor.T, moved_by="self"),
        )


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    largest = float(values.abs().max())
    symmetric = bool(torch.allclose(covariance, covariance.T, rtol=0, atol=1e-12 * largest))
    if not symmetric or float(values.min()) < -1e-12 * largest:
        raise InputError("noise must be a covariance: symmetric, without negative eigenvalues")
    return vectors * values.clamp_min(0).sqrt() @ vectors.T


def _exponential(exponent: Tensor) -> Tensor:
    found = torch.linalg.matrix_exp(exponent)
    if not bool(found.isfinite().all()):
        raise InputError("features have grown beyond float64 at this time: ask for less")
    return found


def _integral(of: Callable[[float], Tensor], t: float) -> Tensor:
    integrate = extras.require("scipy.integrate", extra="theory", purpose="integrating matrices over time")
    found, _ = integrate.quad_vec(lambda s: of(float(s)).numpy(), 0.0, t, epsrel=1e-13, epsabs=1e-15)
    return torch.from_numpy(found)
