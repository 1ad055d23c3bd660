"""Stochastic equations of locally elastic learning (Zhang et al. 2021): how samples move those of their own class."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from collapselab.core import checks
from collapselab.theory._elastic.modal import AbstractModal, Mode
from collapselab.theory._elastic.phases import tail
from collapselab.theory._elastic.profiles import PowerLaw, Sampled, constant
from collapselab.theory._elastic.residuals import residual_directions, residual_projections
from collapselab.theory._model import model


@model("locally_elastic", label="local elasticity", source="zhang2021")
@dataclass(frozen=True)
class LocallyElastic(AbstractModal):
    r"""Features that move along each other as they are: $H_{kl}=I$, the model of features in Zhang et al. (2021).

    The mean of all classes grows at the rate $(\alpha+(K-1)\beta)/K$, what classes have more than it at
    $(\alpha-\beta)/K$, in whatever directions they began: classes separate, but there is no simplex.

    Attributes:
        num_classes: K.
        intra: alpha(t), how much a sample moves those of its class.
        inter: beta(t), how much it moves those of every other class.
        noise: Variance of each feature per unit of time.
        moved_by: What moves a sample: the class means, as in the theorem, or it and its companions themselves.
        num_features: p.

    Example:
        >>> model = LocallyElastic(3, PowerLaw(2.0, 1.0), constant(0.0), num_features=3)
        >>> model.separates(), model.theorem()
        (True, 'undecided')
    """

    num_features: int = 3

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        checks.whole(self.num_features, "num_features", at_least=1)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of classes and number of features."""
        return self.num_classes, self.num_features

    def _modes(self) -> tuple[Mode, ...]:
        k, p = self.shape
        return (
            Mode("mean of classes", 1 / k, (k - 1) / k, p, _mean_of_classes, tells_apart=False, common=True),
            Mode("differences", 1 / k, -1 / k, p * (k - 1), lambda x: x - _mean_of_classes(x), tells_apart=True),
        )

    def pulled_by(self, t: float, source: Tensor, sampled: Tensor) -> Tensor:
        """What one sampled feature adds to all classes, per unit of time.

        Args:
            t: Time.
            source: (b, p) features.
            sampled: (b,) their classes.

        Returns:
            (b, K, p).
        """
        return self.elasticity(t)[:, sampled].T.unsqueeze(-1) * source.unsqueeze(-2)

    def critical_scale(self) -> float:
        """The c up to which alpha - beta = c / t does not separate.

        Returns:
            K / 2 where the rate of the noise is constant.
        """
        return self.num_classes * max(1.0 - tail(self.noise.terms).exponent, 0.0) / 2

    @classmethod
    def examples(cls) -> Sequence["LocallyElastic"]:
        """Constant and falling rates, moved by means and by themselves.

        Returns:
            Dynamics.
        """
        falling = (PowerLaw(0.9, 0.6), PowerLaw(0.25, 0.8), PowerLaw(0.25, 0.0))
        measured = Sampled((0.0, 0.4, 2.0), (0.2, 1.0, 0.5))
        return (
            cls(3, *falling),
            cls(3, *falling, moved_by="self"),
            cls(2, measured, constant(-0.3), num_features=4),
        )


@model("locally_elastic_logits", label="local elasticity of logits, residual-aligned", source="zhang2021")
@dataclass(frozen=True)
class LocallyElasticLogits(AbstractModal):
    r"""Logits that move along their own residual, whatever class is sampled: $H_{kl}=d_kd_l^T$, as Hadamard product.

    With $\beta>0$ and a start that lies along the residuals on average, $\bar s>0$, class means turn to
    $d=(d_1,\dots,d_K)$, a simplex: neural collapse. From $\bar s<0$ they turn to $-d$, and with $\beta<0$ the
    differences between classes grow faster than what they share.

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

    def _modes(self) -> tuple[Mode, ...]:
        k = self.num_classes
        share = (k - 1) / k
        residuals = residual_directions(k)

        def along(x: Tensor) -> Tensor:
            return residual_projections(x).unsqueeze(-1) * residuals

        def alike(x: Tensor) -> Tensor:
            return residual_projections(x).mean(-1)[..., None, None] * residuals

        return (
            Mode("residuals alike", share / k, share * (k - 1) / k, 1, alike, tells_apart=True),
            # The residuals of two classes are opposite: what is unlike along them moves both alike.
            Mode(
                "residuals unlike",
                share / k,
                -share / k,
                k - 1,
                lambda x: along(x) - alike(x),
                tells_apart=k > 2,
                common=k == 2,
            ),
            Mode("still", 0.0, 0.0, k * k - k, lambda x: x - along(x), tells_apart=False),
        )

    def pulled_by(self, t: float, source: Tensor, sampled: Tensor) -> Tensor:
        """What one sampled feature adds to all classes, per unit of time.

        Args:
            t: Time.
            source: (b, K) logits.
            sampled: (b,) their classes.

        Returns:
            (b, K, K).
        """
        residuals = residual_directions(self.num_classes)
        along = (residuals[sampled] * source).sum(-1, keepdim=True)
        return (self.elasticity(t)[:, sampled].T * along).unsqueeze(-1) * residuals

    @classmethod
    def examples(cls) -> Sequence["LocallyElasticLogits"]:
        """Constant and falling rates, moved by means and by themselves.

        Returns:
            Dynamics.
        """
        falling = (PowerLaw(0.9, 0.6), PowerLaw(0.25, 0.8), PowerLaw(0.25, 0.0))
        return (cls(3, *falling), cls(3, *falling, moved_by="self"), cls(4, constant(1.0), constant(-0.2)))


def _mean_of_classes(x: Tensor) -> Tensor:
    return x.mean(-2, keepdim=True).expand(x.shape)
