r"""Batch normalisation before the last ReLU (Ergen & Pilanci 2021; the review's appendix A.4), everything decayed.

This problem (l2) and the one of `batch_norm_rescaled`, where scale and shift of a unit have unit length (l1), have the
same minimum and the same logits at it, but not the same parameters: equation 62 of the review solves the other one.
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


@model("batch_norm_l2", label="batch-normalised features, all parameters decayed", source="ergen2021")
@dataclass(frozen=True)
class BatchNormFeatures(BatchNormLandscape):
    r"""Squared error of batch-normalised ReLU features with all parameters decayed (eq. 61): orthogonal class means.

    The objective is $\tfrac12\|W\,\mathrm{relu}(\mathrm{BN}(H))-Y\|^2+\tfrac\beta2(\|W\|^2+\|\gamma\|^2+\|\alpha\|^2)$.
    Class k survives if $\sqrt{n_k}>\beta$; the logits are then $1-\beta/\sqrt{n_k}$ at its place and zero elsewhere,
    $\|w_k\|^2=\sqrt{n_k}-\beta$ and $\|\mu_k\|^2=(\sqrt{n_k}-\beta)/n_k$. Several units can share a class, so that
    minimisers differ in their units, but not in these inner products. Centred, the class means of balanced classes are
    a simplex ETF.

    It is not benign: a unit with $\gamma=\alpha=0$ and no outgoing weight stays as it is, and where the inputs of all
    units are alike in every class, no small change of them helps (`local_minimisers`). With units to spare and weak
    decay random starts reach the minimum all the same; with K units, or where decay is strong, many end there.
    """

    def loss(self, state: State) -> Tensor:
        """Half the squared error, plus decay of weights, scales and shifts.

        Args:
            state: Entries by name.

        Returns:
            0-d float64.
        """
        squares = sum(state[name].square().sum() for name in ("weight", "gamma", "alpha"))
        return self.error(state) + self.decay / 2 * squares

    def minimiser(self, generator: torch.Generator | None = None) -> State:
        """One unit for each class; or the units of a class share it at random.

        Args:
            generator: Shares the units out, and draws scale and offset of their inputs.

        Returns:
            Entries by name.
        """
        owner = self.owners(generator)
        part = self._parts(owner, generator)
        used = owner >= 0
        counts = torch.tensor(self.counts, dtype=torch.float64)[owner.clamp_min(0)]
        length = torch.where(used, part * self.sizes[owner.clamp_min(0)].sqrt(), 0.0)
        weight = torch.zeros(self.num_classes, self.num_features, dtype=torch.float64)
        weight[owner[used], used.nonzero().squeeze(1)] = length[used]
        gamma, alpha = unit_shape(counts, self.num_samples)
        return {
            "h": self.inputs(owner, generator),
            "gamma": length * gamma,
            "alpha": length * alpha,
            "weight": weight,
        }

    def _parts(self, owner: Tensor, generator: torch.Generator | None) -> Tensor:
        """Length of each unit in the unit vector of its class."""
        size = len(owner)
        raw = torch.ones(size, dtype=torch.float64)
        if generator is not None:
            raw = 0.1 + torch.rand(size, generator=generator, dtype=torch.float64)
        same = (owner[:, None] == owner[None, :]).double()
        return raw / (same @ raw.square()).sqrt()

    def local_minimisers(self) -> Sequence[State]:
        """One unit that is constant, and units that are not used, with inputs that are alike in every class.

        Returns:
            One state, where class sizes have a common divisor; none where nothing survives anyway.
        """
        period = math.gcd(*self.counts)
        if self.benign or period < 2:
            return ()
        counts = torch.tensor(self.counts, dtype=torch.float64)
        size = math.sqrt(max(0.0, float(counts.norm()) / math.sqrt(self.num_samples) - self.decay))
        weight = torch.zeros(self.num_classes, self.num_features, dtype=torch.float64)
        weight[:, 0] = size * counts / counts.norm()
        alpha = torch.zeros(self.num_features, dtype=torch.float64)
        alpha[0] = size
        pattern = torch.arange(period, dtype=torch.float64).repeat(self.num_samples // period)
        h = pattern[:, None].expand(-1, self.num_features).clone()
        return ({"h": h, "gamma": torch.zeros_like(alpha), "alpha": alpha, "weight": weight},)

    def geometry(self) -> Geometry:
        """Inner products of class vectors and of the means of relu(BN(H)).

        Returns:
            The geometry, the same at every minimiser.
        """

        def size(count: int) -> float:
            return max(0.0, math.sqrt(count) - self.decay)

        return frame_geometry(self.counts, size, lambda count: size(count) / count)

    @classmethod
    def examples(cls) -> Sequence["BatchNormFeatures"]:
        """Balanced; with spare units; with a class that vanishes, and with two; where everything does.

        Returns:
            Landscapes.
        """
        return (
            cls((6,) * 4, 10, 0.4),
            cls((3, 3, 3), 3, 1.2),
            cls((12, 6, 2, 1), 8, 1.2),
            cls((8, 4, 2, 2), 6, 1.6),
            cls((5, 4), 4, 2.5),
        )
