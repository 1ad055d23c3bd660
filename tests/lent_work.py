"""What the loop lends an optimiser, without the loop: small problems in float64 whose answers are known."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from collapselab.training.losses import Outputs
from collapselab.training.optimisers import Each, Optimiser


class Lent:
    """Work on a handful of samples.

    Args:
        parameters: What is trained.
        look: Rows to logits (n, k), from the parameters.
        y: Targets of all samples.
        loss: Loss of each sample.
        seed: Of the noise.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], look: Callable[[Tensor], Tensor], y: Tensor, loss: Each, seed: int = 0
    ) -> None:
        self.parameters, self.y, self.generator = list(parameters), y, torch.Generator().manual_seed(seed)
        self._look, self._loss = look, loss
        self.rows: tuple[Tensor, ...] = (torch.arange(len(y)),)
        self.evaluations = 0
        self.clipped = 0

    def accumulate(self, rows: Tensor, *, weights: Tensor | None = None, each: Each | None = None) -> Tensor:
        self.evaluations += 1
        losses = self.losses(rows, each)
        (losses if weights is None else losses * weights).mean().backward()
        return losses.detach().sum()

    def evaluate(self, each: Each | None = None) -> Tensor:
        with torch.no_grad():
            return self.losses(torch.arange(len(self.y)), each)

    def clip(self) -> None:
        self.clipped += 1

    def losses(self, rows: Tensor, each: Each | None = None) -> Tensor:
        logits = self._look(rows)
        return (each or self._loss)(Outputs(logits, logits[:, :0], logits[:0, :0]), self.y[rows])

    @property
    def point(self) -> Tensor:
        """All parameters, flat and copied."""
        return torch.cat([parameter.detach().flatten() for parameter in self.parameters])


def squared(outputs: Outputs, y: Tensor) -> Tensor:
    return 0.5 * (outputs.logits[:, 0] - y).square()


def cross_entropy(outputs: Outputs, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs.logits, y, reduction="none")


def least_squares(a: Tensor, b: Tensor, *, start: Tensor | None = None, seed: int = 0) -> Lent:
    """Mean of (a_i . w - b_i)^2 / 2, with w in two parameters: all entries but the last, and the last."""
    w = torch.zeros_like(a[0]) if start is None else start
    parts = [nn.Parameter(w[:-1].clone()), nn.Parameter(w[-1:].clone())]
    return Lent(parts, lambda rows: (a[rows] @ torch.cat(parts))[:, None], b, squared, seed)


def some_squares(samples: int = 12, size: int = 4, *, exact: bool = False, dtype: torch.dtype = torch.float64) -> Lent:
    """Random least squares; `exact` ones can be solved without remainder."""
    a, b = matrices(samples, size, exact=exact)
    return least_squares(a.to(dtype), b.to(dtype))


def matrices(samples: int = 12, size: int = 4, *, exact: bool = False) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    a = torch.randn(samples, size, generator=generator, dtype=torch.float64)
    b = torch.randn(samples, generator=generator, dtype=torch.float64)
    return a, a @ torch.linspace(-1, 2, size, dtype=torch.float64) if exact else b


def two_sides(samples: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(samples, 3, generator=generator, dtype=torch.float64)
    y = (x[:, 0] > 0).long()
    x[:, 0] += 0.3 * (2 * y - 1)
    return x, y


def separable(samples: int = 12, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Lent:
    """Two classes on either side of a line in three dimensions, and a linear classifier without bias."""
    x, y = two_sides(samples)
    start = torch.tensor([[0.1, -0.05, 0.02], [-0.1, 0.03, 0.07]], dtype=dtype)
    weight, x = nn.Parameter(start), x.to(dtype)
    return Lent([weight], lambda rows: x[rows] @ weight.T, y, cross_entropy, seed)


def built(optimiser: Optimiser, work: Lent, **first: Any) -> torch.optim.Optimizer:
    """The optimiser of torch on all parameters, `first` being settings of the group of the last parameter."""
    if not first:
        return optimiser.build([{"params": work.parameters}])
    groups = [{"params": work.parameters[:-1]}, {"params": work.parameters[-1:], **first}]
    return optimiser.build([group for group in groups if group["params"]])


def run(optimiser: Optimiser, work: Lent, stepper: torch.optim.Optimizer, *, steps: int, epoch: int = 3) -> list[float]:
    """Steps as the loop does them, the end of an epoch after every third; the losses that were reported."""
    reported = []
    for at in range(steps):
        reported.append(float(optimiser.step(work, stepper)))
        if (at + 1) % epoch == 0:
            optimiser.end_epoch(work, stepper)
    return reported


def bytes_of(state: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def read(content: bytes) -> Any:
    return torch.load(io.BytesIO(content), weights_only=True)
