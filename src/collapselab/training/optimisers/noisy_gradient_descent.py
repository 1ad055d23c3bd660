"""Gradient descent with Gaussian noise of the covariance that minibatches have."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.dynamics.noise import noisy_weights
from collapselab.training.losses import Loss
from collapselab.training.optimisers._requirements import no_batch_norm
from collapselab.training.optimisers._spec import Optimiser, Work, optimiser


@optimiser("noisy_gradient_descent", label="gradient descent with minibatch-like noise", source="wu2020")
@dataclass(frozen=True)
class NoisyGradientDescent(Optimiser):
    r"""The whole training set with a random weight on each sample, so that mean and covariance are those of SGD.

    $g = \frac1N \sum_i \delta_i \nabla\ell_i$ with $\delta_i = 1 + \sqrt{N/B}(\xi_i - \bar\xi)$ and independent
    standard normal $\xi_i$ has the mean $\nabla L$ and the covariance of a minibatch of B samples drawn with
    replacement, and is Gaussian. An epoch is one step.

    It is refused for networks with batch normalisation and for losses that compare samples: there a minibatch has
    another loss than its samples have in the whole set, and the covariances differ. Use group normalisation.

    Attributes:
        learning_rate: Rate before any cut.
        noise_batch_size: B, the size of the minibatches whose noise is imitated.
        weight_decay: Coefficient of one half of the squared norm of the parameters.
    """

    full_batch: ClassVar[bool] = True

    learning_rate: float = 0.05
    noise_batch_size: int = 64
    weight_decay: float = 2e-3

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.real(self.learning_rate, "learning_rate", above=0)
        checks.whole(self.noise_batch_size, "noise_batch_size", at_least=1)
        checks.real(self.weight_decay, "weight_decay", at_least=0)

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
        """Refuse what has no gradient of a single sample.

        Args:
            network: What is trained.
            loss: What is minimised.
            penalty: What is added to it.
            class_weights: Whether classes weigh differently in the loss.
            clipping: Whether gradients are clipped.
            augmentation: Whether inputs are changed at random.

        Raises:
            InputError: If samples of a batch depend on each other.
        """
        del class_weights, clipping, augmentation
        no_batch_norm(network, "noisy_gradient_descent", because="its noise is made of the gradients of single samples")
        for part in (loss, penalty):
            if part is not None and not part.separable:
                raise InputError(
                    "the optimiser noisy_gradient_descent needs a loss that is a sum over single samples, "
                    f"got {type(part).__name__}"
                )

    def build(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimiser.

        Args:
            groups: Parameter groups.

        Returns:
            A new optimiser.
        """
        return torch.optim.SGD(list(groups), lr=self.learning_rate, weight_decay=self.weight_decay)

    def step(self, work: Work, stepper: torch.optim.Optimizer) -> Tensor:
        """One step.

        Args:
            work: What the loop lends.
            stepper: What `build` returned.

        Returns:
            Sum of the losses of all samples, each with weight 1.
        """
        (rows,) = work.rows
        noise = torch.randn(len(rows), generator=work.generator, dtype=torch.float64)
        weights = noisy_weights(noise, batch_size=self.noise_batch_size)
        dtype = stepper.param_groups[0]["params"][0].dtype
        stepper.zero_grad()
        total = work.accumulate(rows, weights=weights.to(dtype).to(rows.device))
        work.clip()
        stepper.step()
        return total
