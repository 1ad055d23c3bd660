"""A network under attack: margins, and gradients of logits by the inputs, of logits that are divided by their scale."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.dynamics._margin.doubled import evaluating
from collapselab.dynamics._robustness.closed_forms import gaps_of
from collapselab.dynamics._robustness.perturbations import Perturbations, size_of

Box = tuple[float, float]
"""Smallest and largest value that inputs may take."""

# Bytes that Jacobians of the logits by the inputs may take at once.
_BUDGET = 2**26

# Halvings of the way back to the sample: relative 1e-8.
_HALVINGS = 27


@dataclass(frozen=True, eq=False)
class Attacked:
    """A network and the samples that are to be moved across the boundary of their class.

    Logits of a late network are in the thousands, where losses saturate and squares of gradients overflow: they are
    divided by the largest absolute one of the sample.

    Attributes:
        network: Inputs to logits, in eval mode while it is attacked.
        x: Inputs (n, ...).
        y: Labels (n,).
        scale: (n,) what the logits of each sample are divided by.
        gaps: (n, k) of the samples as they are; see `gaps_of`.
        box: What values inputs may take; None for any.
    """

    network: nn.Module
    x: Tensor
    y: Tensor
    scale: Tensor
    gaps: Tensor
    box: Box | None

    @property
    def right(self) -> Tensor:
        """Indices of the samples that are classified right."""
        return (self.gaps.amin(1) > 0).nonzero()[:, 0]

    def logits(self, inputs: Tensor, rows: Tensor) -> Tensor:
        """Scaled logits of moved samples.

        Args:
            inputs: (m, ...).
            rows: Which samples they were, (m,).

        Returns:
            (m, k).
        """
        # A copy, for networks that write into their inputs.
        return self.network(inputs.clone()) / self.scale[rows, None]

    def crossed(self, inputs: Tensor, rows: Tensor) -> Tensor:
        """Whether moved samples are on the boundary of their class or beyond.

        Args:
            inputs: (m, ...).
            rows: Which samples they were, (m,).

        Returns:
            (m,).
        """
        with torch.no_grad():
            return gaps_of(self.logits(inputs, rows), self.y[rows]).amin(1) <= 0

    def jacobians(self, inputs: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled logits of moved samples, and their gradients by the inputs.

        Args:
            inputs: (m, ...).
            rows: Which samples they were, (m,).

        Returns:
            (m, k) and (m, k, d) with the inputs flattened.
        """
        state = {name: t.detach() for name, t in (*self.network.named_parameters(), *self.network.named_buffers())}

        def logits(one: Tensor) -> tuple[Tensor, Tensor]:
            z = functional_call(self.network, state, (one[None].clone(),)).squeeze(0)
            return z, z

        size = max(1, _BUDGET // (self.gaps.shape[1] * inputs[0].numel() * inputs.element_size()))
        with torch.no_grad():
            parts = [vmap(jacrev(logits, has_aux=True))(part) for part in inputs.split(size)]
        scale = self.scale[rows]
        jacobian, z = (torch.cat(both) for both in zip(*parts, strict=True))
        return z / scale[:, None], jacobian.flatten(2) / scale[:, None, None]

    def clipped(self, inputs: Tensor) -> Tensor:
        """Inputs within the box.

        Args:
            inputs: (m, ...).

        Returns:
            (m, ...).
        """
        return inputs if self.box is None else inputs.clamp(*self.box)

    def least(self, moved: Tensor, found: Tensor, *, order: float) -> Perturbations:
        """What comes of moved samples: each goes back towards where it came from, as far as it may.

        Args:
            moved: Where the samples went, (n, ...).
            found: Which of them crossed the boundary, (n,).
            order: Of the norm.

        Returns:
            Distances of the points found.
        """
        rows = found.nonzero()[:, 0]
        best = self.x.clone()
        best[rows] = self._shortened(moved[rows], rows)
        distance = torch.where(found, size_of(best - self.x, order), math.inf)
        distance[self.gaps.amin(1) <= 0] = 0.0
        return Perturbations(distance, best)

    def _shortened(self, moved: Tensor, rows: Tensor) -> Tensor:
        """The nearest point beyond the boundary that halving the way to the sample comes upon."""
        x, axes = self.x[rows], (-1, *[1] * (self.x.ndim - 1))
        low, high = torch.zeros(len(rows)).to(x), torch.ones(len(rows)).to(x)
        for _ in range(_HALVINGS if len(rows) else 0):
            middle = (low + high) / 2
            beyond = self.crossed(x + middle.view(axes) * (moved - x), rows)
            low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)
        # Rounding must not make of a point that crossed one that did not: where nothing was gained it stays.
        return torch.where((high < 1).view(axes), x + high.view(axes) * (moved - x), moved)


@contextmanager
def attacked(network: nn.Module, x: Tensor, y: Tensor, *, box: Box | None) -> Iterator[Attacked]:
    """Check what is to be attacked, and put the network into eval mode for the time being.

    Args:
        network: Inputs (n, ...) to logits (n, k).
        x: Inputs.
        y: Labels (n,).
        box: Smallest and largest value of inputs; None for any.

    Yields:
        What attacks work on.

    Raises:
        InputError: If inputs, labels or box are not what they must be.
    """
    x = checks.as_tensor(x, "x")
    if x.ndim < 2 or not len(x) or not x.is_floating_point():
        raise InputError(f"x must be floating-point inputs (samples, ...), at least one, got {checks.described(x)}")
    checks.finite(x, "x")
    y = checks.labels(y, num_rows=len(x))
    if box is not None:
        _check_box(box, x)
    with evaluating(network):
        with torch.no_grad():
            z = checks.matrix(network(x.clone()), "logits", axes="(samples, classes)")
        checks.whole(z.shape[1], "number of classes", at_least=2)
        y = checks.labels_in_range(y, z.shape[1])
        size = z.abs().amax(1)
        scale = torch.where(size > 0, size, 1.0)
        yield Attacked(network, x, y, scale, gaps_of(z / scale[:, None], y), box)


def _check_box(box: Box, x: Tensor) -> None:
    for end in box:
        checks.real(end, "ends of box")
    if len(box) != 2 or not box[0] < box[1]:
        raise InputError(f"box must be two numbers in ascending order, got {box!r}")
    low, high = torch.aminmax(x)
    if float(low) < box[0] or float(high) > box[1]:
        raise InputError(f"x must lie within the box {box!r}, got values from {float(low):g} to {float(high):g}")
