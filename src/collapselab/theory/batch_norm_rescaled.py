r"""Batch normalisation with units of unit length (Ergen & Pilanci 2021; the review's appendix A.4): what eq. 62 solves.

Put as it stands into the decayed problem of `batch_norm`, eq. 62 lies above the minimum by
$\tfrac\beta2\sum_k(\sqrt{n_k}-\beta-1)^2$: see `literal_excess`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.theory._deep.frame import frame_geometry
from collapselab.theory._geometry import Geometry
from collapselab.theory._model import model
from collapselab.theory._normalisation.batch_norm import BatchNormLandscape
from collapselab.theory._normalisation.batch_norm_layer import unit_shape
from collapselab.theory._problem import State


@model("batch_norm_l1", label="batch-normalised features, outgoing weights penalised", source="ergen2021")
@dataclass(frozen=True)
class RescaledBatchNormFeatures(BatchNormLandscape):
    r"""Squared error of batch-normalised ReLU features with scale and shift of unit length: the problem of eq. 62.

    The objective is $\tfrac12\|W\,\mathrm{relu}(\mathrm{BN}(H))-Y\|^2+\beta\sum_j\|w_j\|$ over outgoing weights $w_j$
    of units with $\gamma_j^2+\alpha_j^2=1$: what is left of the decayed problem once every unit is rescaled, because
    $\min_t\tfrac\beta2(t^2+\|w\|^2/t^2)=\beta\|w\|$. Minimum and logits are those of `BatchNormFeatures`. Units that
    are not used cost nothing, and a class shared by m units has a mean m times as long, squared: features are the same
    at every minimiser only where there are K units and all classes survive; then $\mu_k=e_k/\sqrt{n_k}$ (eq. 63).

    It is not benign: a unit whose shift is -1 is dead for good, and where all are, nothing is ever learnt.
    """

    def chart(self, free: State) -> State:
        """Scale and shift of every unit divided by their length.

        Args:
            free: Entries of any size.

        Returns:
            Entries that satisfy the constraints.
        """
        length = torch.hypot(free["gamma"], free["alpha"])
        return free | {"gamma": free["gamma"] / length, "alpha": free["alpha"] / length}

    def loss(self, state: State) -> Tensor:
        """Half the squared error, plus the norms of the outgoing weights of units.

        Args:
            state: Entries by name.

        Returns:
            0-d float64.
        """
        return self.error(state) + self.decay * torch.linalg.vector_norm(state["weight"], dim=0).sum()

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        """One unit for each class, as eq. 62 has it; or the units of a class share it at random. Other units are dead.

        Args:
            generator: Shares the units out, and draws scale and offset of their inputs.

        Returns:
            Entries by name.
        """
        owner = self.owners(generator)
        owner = torch.where(self.sizes[owner.clamp_min(0)] > 0, owner, -1)
        used, place = owner >= 0, owner.clamp_min(0)
        counts = torch.tensor(self.counts, dtype=torch.float64)[place]
        gamma, alpha = unit_shape(counts, self.num_samples)
        shared = torch.bincount(owner[used], minlength=self.num_classes)[place]
        weight = torch.zeros(self.num_classes, self.num_features, dtype=torch.float64)
        weight[owner[used], used.nonzero().squeeze(1)] = (self.sizes[place] / shared)[used]
        return {
            "h": self.inputs(owner, generator),
            "gamma": torch.where(used, gamma, 0.0),
            "alpha": torch.where(used, alpha, -1.0),
            "weight": weight,
        }

    def local_minimisers(self) -> Sequence[State]:
        """All units dead.

        Returns:
            One state; none where nothing survives anyway.
        """
        if self.benign:
            return ()
        unused = torch.full((self.num_features,), -1)
        alpha = -torch.ones(self.num_features, dtype=torch.float64)
        weight = torch.zeros(self.num_classes, self.num_features, dtype=torch.float64)
        return ({"h": self.inputs(unused, None), "gamma": torch.zeros_like(alpha), "alpha": alpha, "weight": weight},)

    def geometry(self) -> Geometry | None:
        """Inner products of class vectors and of the means of relu(BN(H)), where minimisers agree in them.

        Returns:
            The geometry with K units and no class that vanishes; otherwise None.
        """
        if self.num_features > self.num_classes or self.thresholds()["vanished_classes"] > 0:
            return None
        return frame_geometry(self.counts, lambda n: (math.sqrt(n) - self.decay) ** 2, lambda n: 1 / n)

    def predicts(self) -> dict[str, float]:
        """What metrics are worth at every minimiser: without a geometry, what follows from the logits.

        Returns:
            Key of a metric to value.
        """
        if self.geometry() is None and self.thresholds()["vanished_classes"] == 0:
            return {"accuracy": 1.0}
        return super().predicts()

    @classmethod
    def examples(cls) -> Sequence["RescaledBatchNormFeatures"]:
        """Balanced; with spare units; imbalanced; with a class that vanishes; where everything does.

        Returns:
            Landscapes.
        """
        return (
            cls((6,) * 4, 4, 0.4),
            cls((6,) * 4, 10, 0.4),
            cls((5, 3, 2), 3, 0.7),
            cls((12, 6, 2, 1), 8, 1.2),
            cls((5, 4), 4, 2.5),
        )


def literal_solution(landscape: BatchNormLandscape) -> State:
    r"""Equation 62 as it stands: $w_k=(\sqrt{n_k}-\beta)_+e_k$ with scale and shift of unit length.

    It solves `RescaledBatchNormFeatures`. In `BatchNormFeatures` it lies `literal_excess` above the minimum.

    Args:
        landscape: Sizes and decay.

    Returns:
        Entries by name.
    """
    settings = (landscape.counts, landscape.num_features, landscape.decay)
    state = RescaledBatchNormFeatures(*settings).minimiser()
    return state | {"alpha": state["alpha"].clamp_min(0)}  # units that are not used are zero in the decayed problem


def literal_excess(landscape: BatchNormLandscape) -> float:
    r"""How far eq. 62 as it stands lies above the minimum of the decayed problem.

    $\tfrac\beta2\sum_k(\sqrt{n_k}-\beta-1)^2$ over the classes that survive: the gap between the arithmetic and the
    geometric mean of $\|w_k\|^2$ and 1, which closes only where $\sqrt{n_k}-\beta=1$.

    Args:
        landscape: Sizes and decay.

    Returns:
        At least 0.

    Example:
        >>> problem = RescaledBatchNormFeatures((6,) * 4, 10, 0.4)
        >>> round(problem.minimum, 6), round(problem.minimum + literal_excess(problem), 6)
        (3.599184, 4.480327)
    """
    gaps = [math.sqrt(n) - landscape.decay - 1 for n in landscape.counts if math.sqrt(n) > landscape.decay]
    return landscape.decay / 2 * math.fsum(gap * gap for gap in gaps)
