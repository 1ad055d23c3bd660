"""Features and class vectors on the unit sphere, one of each a class (Lu and Steinerberger 2022)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.functional import hessian, jacobian
from torch.nn import functional

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.evidence import LinearHead
from collapselab.geometry import simplex_etf
from collapselab.theory._charts import on_sphere
from collapselab.theory._geometry import Geometry
from collapselab.theory._model import AbstractLandscape, model
from collapselab.theory._problem import State
from collapselab.theory._simplex import proportional_geometry
from collapselab.theory._solve import minimise

# On a circle three classes can be caught where the vectors of two of them are almost one; found by random starts, of
# which a sixth ends there at a sharpness of 20 and none at 9. Angles in degrees, of features and then of class vectors.
_CAUGHT_FROM, _CAUGHT_UNTIL = 10.0, 60.0
_CAUGHT = (156.4, 91.5, 258.4, 0.0, 3.1, 336.0)
_NEWTON = 3


@model("sphere_pairs", label="cross-entropy of unit features and unit class vectors", source="lu2022")
@dataclass(frozen=True)
class SpherePairs(AbstractLandscape):
    r"""Cross-entropy of K unit features u and K unit class vectors v: a simplex ETF, each feature on its class vector.

    The loss is $\sum_i\log\bigl(1+\sum_{j\ne i}e^{\alpha(v_j-v_i)^Tu_i}\bigr)$. The minimisers are simplex ETFs with
    $u_i=v_i$, and the minimum is $K\log\bigl(1+(K-1)e^{-\alpha K/(K-1)}\bigr)$, for every sharpness alpha > 0,
    whether class vectors are free or the features themselves.

    Attributes:
        num_classes: K.
        num_features: d, at least K-1 and 2.
        sharpness: alpha, one over the temperature.
        tied: Whether features are their own class vectors, u = v.
    """

    num_classes: int
    num_features: int
    sharpness: float = 1.0
    tied: bool = False

    def __post_init__(self) -> None:
        """Check the fields."""
        needed = max(2, checks.whole(self.num_classes, "num_classes", at_least=2) - 1)
        checks.whole(self.num_features, "num_features", at_least=1)
        if self.num_features < needed:
            raise InputError(f"num_features must be at least {needed}, got {self.num_features}")
        checks.real(self.sharpness, "sharpness", above=0)
        checks.flag(self.tied, "tied")

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold for the answer to be one."""
        return (
            "Every class has one feature; more of them a class lie at one point.",
            "Features and class vectors have norm 1; the sharpness is fixed, and there is no bias.",
            "There are at least K - 1 features.",
        )

    @property
    def benign(self) -> bool:
        """Whether that is known: for d > K with free class vectors, from Yaras et al. 2022.

        On a circle three classes have local minimisers where the sharpness is 10 or more. Elsewhere none was met.
        """
        return self.num_features > self.num_classes and not self.tied

    @property
    def minimum(self) -> float:
        """The value at every minimiser, in nats; a sum over the classes."""
        k = self.num_classes
        return k * math.log1p((k - 1) * math.exp(-self.sharpness * k / (k - 1)))

    @property
    def labels(self) -> Tensor:
        """(k,) one feature a class."""
        return torch.arange(self.num_classes)

    def loss(self, state: State) -> Tensor:
        """Cross-entropy, summed over the classes.

        Args:
            state: Unit features ``h`` and, unless they are tied, unit class vectors ``weight``.

        Returns:
            0-d float64, in nats.
        """
        logits = self.sharpness * state["h"] @ state.get("weight", state["h"]).T
        return functional.cross_entropy(logits, self.labels, reduction="sum")

    def chart(self, free: State) -> State:
        """All vectors brought to norm 1.

        Args:
            free: Vectors other than zero.

        Returns:
            Unit vectors.
        """
        return {name: on_sphere(rows) for name, rows in free.items()}

    def draw(self, generator: torch.Generator) -> State:
        """Vectors spread evenly over the sphere.

        Args:
            generator: What they are drawn from.

        Returns:
            Unit vectors.
        """
        shape = (self.num_classes, self.num_features)
        names = ("h",) if self.tied else ("h", "weight")
        return self.chart({name: torch.randn(shape, generator=generator, dtype=torch.float64) for name in names})

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        """The simplex.

        Args:
            generator: Turns it at random.

        Returns:
            Unit vectors.
        """
        rows = simplex_etf(self.num_classes, self.num_features, generator=generator)
        return {"h": rows} if self.tied else {"h": rows, "weight": rows.clone()}

    def local_minimisers(self) -> Sequence[State]:
        """Of three classes on a circle: two class vectors almost at one place, all features on their far side.

        Returns:
            One state or none.
        """
        circle = (self.num_classes, self.num_features, self.tied) == (3, 2, False)
        if not (circle and _CAUGHT_FROM <= self.sharpness <= _CAUGHT_UNTIL):
            return ()
        near = minimise(self, _on_circle(torch.tensor(_CAUGHT, dtype=torch.float64).deg2rad())).end
        angles = torch.cat([torch.atan2(x[:, 1], x[:, 0]) for x in (near["h"], near["weight"])])

        def loss(turned: Tensor) -> Tensor:
            return self.loss(_on_circle(turned))

        for _ in range(_NEWTON):  # where rounding of the loss lets a line search get no further
            slope, curvature = jacobian(loss, angles), hessian(loss, angles)
            angles = angles - torch.linalg.pinv(curvature, rtol=1e-9, hermitian=True) @ slope  # turning is free
        return (_on_circle(angles),)

    def head(self, state: State) -> LinearHead:
        """Class vectors times the sharpness.

        Args:
            state: Unit vectors.

        Returns:
            The head.
        """
        return LinearHead(self.sharpness * state.get("weight", state["h"]))

    def geometry(self) -> Geometry:
        """Inner products at every minimiser.

        Returns:
            The geometry.
        """
        return proportional_geometry(self.num_classes, self.sharpness**2, 1 / self.sharpness)

    @classmethod
    def examples(cls) -> Sequence["SpherePairs"]:
        """Free and tied, few and many features, soft and sharp; and where a descent can be caught.

        Returns:
            Landscapes.
        """
        return cls(5, 8, 3.0), cls(5, 4, 1.0), cls(4, 6, 2.0, tied=True), cls(2, 3, 5.0), cls(3, 2, 20.0)


def _on_circle(angles: Tensor) -> State:
    """Three features and three class vectors at angles."""
    vectors = torch.stack([angles.cos(), angles.sin()], 1)
    return {"h": vectors[:3], "weight": vectors[3:]}
