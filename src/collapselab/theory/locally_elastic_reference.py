"""Locally elastic learning of logits as the code of Zhang et al. (2021) has it, which is not the model of the paper."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from collapselab.theory._elastic.base import grown
from collapselab.theory._elastic.phases import combined, pushed_outgrows, tail
from collapselab.theory._elastic.profiles import PowerLaw, Terms, constant
from collapselab.theory._elastic.quadrature import log_integral
from collapselab.theory._elastic.residuals import residual_directions, residual_projections
from collapselab.theory._elastic.uniform import Eigenvalue, UniformElasticity
from collapselab.theory._model import model


@model("locally_elastic_reference", label="local elasticity of logits, along the residual sampled", source="zhang2021")
@dataclass(frozen=True)
class LocallyElasticReference(UniformElasticity):
    r"""Logits that move along the residual of the class that is sampled: $H_{kl}=d_ld_l^T/\kappa$.

    What the published code computes where the paper writes the Hadamard product of `LocallyElasticLogits`; another
    model, with other eigenvalues. Class means turn to $d$ if $\beta<0$ here, which is why that code finds a negative
    $\beta$. Its matrices at different times do not commute; the projections on the residuals have a closed form, and
    what else moves is one integral.

    Attributes:
        num_classes: K, of classes and of logits.
        intra: alpha(t), how much a sample moves those of its class.
        inter: beta(t), how much it moves those of every other class.
        noise: Variance of each logit per unit of time.
        moved_by: What moves a sample: the class means, as in the theorem, or it and its companions themselves.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """Number of classes and number of logits."""
        return self.num_classes, self.num_classes

    def spectrum(self, t: float) -> tuple[Eigenvalue, ...]:
        """Eigenvalues of the matrix M, in closed form.

        Args:
            t: Time.

        Returns:
            Each with its multiplicity.
        """
        k, within, between = self.num_classes, float(self.intra.rate(t)), float(self.inter.rate(t))
        return (
            Eigenvalue("residuals alike", (within - between) / k, 1),
            Eigenvalue("residuals unlike", (within + between / (k - 1)) / k, k - 1),
            Eigenvalue("still", 0.0, k * k - k),
        )

    def pulled(self, t: float, x: Tensor) -> Tensor:
        """M(t) x.

        Args:
            t: Time.
            x: (..., K, K).

        Returns:
            Of the same shape.
        """
        along = residual_projections(x).unsqueeze(-1) * residual_directions(self.num_classes)
        return self.elasticity(t) @ along / self.num_classes

    def pulled_by(self, t: float, source: Tensor, sampled: Tensor) -> Tensor:
        """What one sampled feature adds to all classes, per unit of time.

        Args:
            t: Time.
            source: (b, K) logits.
            sampled: (b,) their classes.

        Returns:
            (b, K, K).
        """
        k = self.num_classes
        residuals = residual_directions(k)[sampled]
        moved = (residuals * source).sum(-1, keepdim=True) * residuals * k / (k - 1)
        return self.elasticity(t)[:, sampled].T.unsqueeze(-1) * moved.unsqueeze(-2)

    def carried(self, t: float, means: Tensor) -> Tensor:
        r"""The solution of the equation of class means.

        Projections grow like $s_k(t)=\bar s\,e^{(A-B)/K}+(s_k-\bar s)\,e^{(A+B/(K-1))/K}$; what they push into other
        directions is $\tfrac1K\int\beta e^{(A+B/(K-1))/K}$ times what they were.

        Args:
            t: Time.
            means: (..., K, K) class means at time 0.

        Returns:
            Class means at time t.
        """
        k = self.num_classes
        residuals, s = residual_directions(k), residual_projections(means)
        shared = s.mean(-1, keepdim=True)
        unlike = s - shared
        alike_grown, unlike_grown = (grown(log) - 1 for log in self._log_growths(t))
        pushed, scale = log_integral(lambda x: self._log_growths(x)[1], t, factor=self.inter.rate, breaks=self._breaks)
        pushed *= grown(scale) / k
        own = shared * alike_grown + unlike * (unlike_grown - pushed * k / (k - 1))
        return means + own.unsqueeze(-1) * residuals + pushed * (unlike @ residuals).unsqueeze(-2)

    def _log_growths(self, t: Any) -> tuple[Any, Any]:
        k, within, between = self.num_classes, self.intra.integral(t), self.inter.integral(t)
        return (within - between) / k, (within + between / (k - 1)) / k

    @property
    def _breaks(self) -> tuple[float, ...]:
        return self.intra.breaks + self.inter.breaks

    @property
    def separating_rates(self) -> tuple[Terms, ...]:
        """Rate of growth of what is alike along the residuals; what is unlike grows as `separates` has it."""
        return (self._apart,)

    @property
    def _apart(self) -> Terms:
        return combined((1 / self.num_classes, self.intra.terms), (-1 / self.num_classes, self.inter.terms))

    def separates(self) -> bool:
        r"""Whether the distance of class means outgrows the noise, from almost every start.

        What is unlike along the residuals pushes all classes, and parts them by
        $\tfrac1K\int(\alpha-\beta)e^{(A+B/(K-1))/K}$ alone: not at all where $\alpha=\beta$. The residuals of two
        classes are opposite, so that it moves both alike.

        Returns:
            Never where samples move themselves: then noise grows with the distance.
        """
        k = self.num_classes
        if super().separates() or k == 2 or self.moved_by == "self":
            return super().separates()
        unlike = combined((1 / k, self.intra.terms), (1 / (k * (k - 1)), self.inter.terms))
        return pushed_outgrows(tail(self._apart), tail(unlike), tail(self.noise.terms))

    @classmethod
    def examples(cls) -> Sequence["LocallyElasticReference"]:
        """Constant and falling rates, moved by means and by themselves.

        Returns:
            Dynamics.
        """
        falling = (PowerLaw(0.9, 0.6), PowerLaw(0.25, 0.8), PowerLaw(0.25, 0.0))
        return (cls(3, *falling), cls(3, *falling, moved_by="self"), cls(4, constant(1.0), constant(-0.2)))
