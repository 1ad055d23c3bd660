"""Pull of every sample to the centre of its class, in intermediate layers."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.training.losses import Outputs
from collapselab.training.penalties._spec import Penalty, penalty
from collapselab.training.pooling import pooled


@penalty("nearest_centre", label="nearest class centre", source="benshaul2022")
@dataclass(frozen=True)
class NearestCentre(Penalty):
    r"""Squared distance to the centre of the class in the batch, averaged over stages of the body, times a strength.

    Variability-simplification: added to cross-entropy it lets intermediate layers be read by their class centres. The
    centres move with the samples, so the gradient flows through both. At least 0, where all stages are collapsed; a
    sample alone of its class is its own centre and adds 0. The distance is not divided by the width of a stage.

    Attributes:
        strength: alpha.
        stages: Children of the body whose outputs are drawn together, or modules inside them; ``*`` for all children.
        pooling: What becomes of maps (n, c, ...): the ``mean`` of each channel over positions; ``none`` keeps all. Of
            sequences (n, tokens, d): the mean over ``tokens``, or the ``first_token``.
    """

    unit: ClassVar[str] = "1"
    separable: ClassVar[bool] = False

    strength: float = 1e-2
    stages: tuple[str, ...] = ("*",)
    pooling: Literal["mean", "none", "tokens", "first_token"] = "mean"

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.strength, "strength", at_least=0)
        named = isinstance(self.stages, tuple) and all(isinstance(stage, str) for stage in self.stages)
        if not named or not self.stages:
            raise InputError(f"stages must be at least one name of a child of the body, or *, got {self.stages!r}")
        checks.one_of(self.pooling, "pooling", ("mean", "none", "tokens", "first_token"))

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the stages that it looks at."""
        return self.stages

    def __call__(self, outputs: Outputs, y: Tensor) -> Tensor:
        r"""$\frac\alpha{|S|}\sum_{s\in S}\lVert g^s-\mu^s_y\rVert^2$ of each sample, $g^s$ the output of stage s.

        Args:
            outputs: The layers are what is looked at; only the stages that were asked for count.
            y: Labels (n,).

        Returns:
            One number a sample.
        """
        names = tuple(outputs.layers) if "*" in self.stages else self.stages
        how = "flatten" if self.pooling == "none" else self.pooling
        layers = [pooled(outputs.layers[name], name, how, axes=outputs.axes.get(name, "channels")) for name in names]
        distances = [self._distances(rows, y, outputs.logits.shape[1]) for rows in layers]
        return self.strength * torch.stack(distances).mean(0)

    def _distances(self, rows: Tensor, y: Tensor, num_classes: int) -> Tensor:
        """Squared distance of each sample to the centre of its class in the batch."""
        sums = rows.new_zeros(num_classes, rows.shape[1]).index_add(0, y, rows)
        counts = functional.one_hot(y, num_classes).sum(0).clamp_min(1)
        return (rows - (sums / counts[:, None])[y]).square().sum(1)
