"""Gradient flow: the differential equation that gradient descent follows at small rates, with adaptive steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from collapselab.core import checks
from collapselab.training.losses import Loss
from collapselab.training.optimisers._closure import whole_set
from collapselab.training.optimisers._requirements import same_loss_each_time
from collapselab.training.optimisers._runge_kutta import PAIRS, Flow
from collapselab.training.optimisers._spec import Optimiser, Work, optimiser


@optimiser("gradient_flow", label="gradient flow", source="bogacki1989")
@dataclass(frozen=True)
class GradientFlow(Optimiser):
    r"""$\dot w = -\nabla L(w) - \lambda w$ on the whole training set, by an embedded Runge-Kutta pair.

    An epoch is one step of the loop, and a step is the flow over a time of `learning_rate`, in as many substeps as
    the tolerances ask for. An explicit pair needs substeps of at most about 2.5 (``bogacki_shampine``, 3 gradients) or
    3.3 (``dormand_prince``, 6 gradients) over the largest curvature: the first is cheaper where curvature is what
    limits it, the second where accuracy is. In float32 the tolerances mean little below 1e-6.

    The network must give the same loss each time: no dropout, no augmentation. Batch normalisation works; its running
    statistics see every stage.

    Attributes:
        learning_rate: Flow time of one step.
        weight_decay: Coefficient λ of one half of the squared norm of the parameters.
        method: The pair: of order 3(2) or 5(4).
        relative_tolerance: Error of a substep allowed per size of a parameter.
        absolute_tolerance: Error of a substep allowed at parameters near zero.
    """

    full_batch: ClassVar[bool] = True

    learning_rate: float = 0.1
    weight_decay: float = 0.0
    method: Literal["bogacki_shampine", "dormand_prince"] = "bogacki_shampine"
    relative_tolerance: float = 1e-4
    absolute_tolerance: float = 1e-6

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            InputError: If one is not what it must be.
        """
        checks.real(self.learning_rate, "learning_rate", above=0)
        checks.real(self.weight_decay, "weight_decay", at_least=0)
        checks.one_of(self.method, "method", PAIRS)
        checks.real(self.relative_tolerance, "relative_tolerance", above=0)
        checks.real(self.absolute_tolerance, "absolute_tolerance", above=0)

    def check(
        self,
        *,
        network: nn.Module,
        loss: Loss,
        penalty: Loss | None,
        class_weights: bool,
        clipping: bool,
        augmentation: bool,
    ) -> None:
        """Refuse clipped gradients and random inputs.

        Args:
            network: What is trained.
            loss: What is minimised.
            penalty: What is added to it.
            class_weights: Whether classes weigh differently in the loss.
            clipping: Whether gradients are clipped.
            augmentation: Whether inputs are changed at random.
        """
        del network, loss, penalty, class_weights
        same_loss_each_time("gradient_flow", clipping=clipping, augmentation=augmentation)

    def build(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimiser.

        Args:
            groups: Parameter groups.

        Returns:
            A new optimiser.
        """
        return Flow(
            groups,
            PAIRS[self.method],
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            relative=self.relative_tolerance,
            absolute=self.absolute_tolerance,
        )

    def step(self, work: Work, stepper: torch.optim.Optimizer) -> Tensor:
        """The flow over a time of the learning rate.

        Args:
            work: What the loop lends.
            stepper: What `build` returned.

        Returns:
            Sum of the losses of all samples, before the step.
        """
        total = stepper.step(whole_set(work, stepper))  # pyright: ignore[reportArgumentType, reportCallIssue]
        return torch.as_tensor(total, device=work.rows[0].device)
