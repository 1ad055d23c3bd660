"""Templates of one-dimensional signals, and what MNIST-1D does to them, for all signals of a class at once."""

from dataclasses import dataclass

import torch
from torch import Tensor

from collapselab.core.random import child_seed

POINTS = 12
"""Points of a template."""

LENGTH = 40
"""Points of a finished signal."""

NOISE_WIDTH = 2.0
"""Standard deviation, in points, of the Gaussian that makes correlated noise."""

# Standard deviation, in points, of what smooths a random template. At 1 the roughness is that of MNIST-1D's shapes, but
# among a hundred classes some are hard to tell apart.
TEMPLATE_WIDTH = 0.7

# Added to a template before it is padded, so that none of its values is taken for padding; the package's own number.
MARK = 1e-8


@dataclass(frozen=True)
class Draws:
    """What is random about n signals.

    Attributes:
        padding: (n,) zeros appended to the template, int64.
        scaling: (n,) factors.
        shift: (n,) places by which a signal is rotated to the right, int64.
        shear: (n,) slopes over the whole signal.
        correlated: (n, length) standard normal, to be smoothed.
        noise: (n, length) standard normal.
    """

    padding: Tensor
    scaling: Tensor
    shift: Tensor
    shear: Tensor
    correlated: Tensor
    noise: Tensor


def transformed(template: Tensor, draws: Draws) -> Tensor:
    """Signals of one class.

    Args:
        template: (12,) float64.
        draws: What is random about each of n signals.

    Returns:
        (n, 40) float64.
    """
    length = draws.noise.shape[1]
    x = _padded_and_stretched(template + MARK, draws.padding, length) * draws.scaling[:, None]
    x = x.gather(1, (torch.arange(length) - draws.shift[:, None]) % length)
    x = torch.where(x != 0, x, draws.correlated @ _smoothing(length)) + draws.noise
    x = x - draws.shear[:, None] * torch.linspace(-0.5, 0.5, length, dtype=torch.float64)
    return x @ _interpolation(length, LENGTH).T


def _padded_and_stretched(template: Tensor, padding: Tensor, length: int) -> Tensor:
    """Linear interpolation of the template and its zeros at `length` evenly spaced places: (n, length)."""
    rows = {}
    for amount in padding.unique().tolist():
        padded = torch.cat([template, template.new_zeros(amount)])
        rows[amount] = _interpolation(len(padded), length) @ padded
    kinds, which = padding.unique(return_inverse=True)
    return torch.stack([rows[amount] for amount in kinds.tolist()])[which]


def _interpolation(old: int, new: int) -> Tensor:
    """Matrix (new, old) that takes values at evenly spaced places to finer or coarser ones, linearly."""
    at = torch.arange(new, dtype=torch.float64) * (old - 1) / (new - 1)
    left = at.floor().long().clamp(max=old - 2)
    share = at - left
    matrix = torch.zeros(new, old, dtype=torch.float64)
    matrix[torch.arange(new), left] = 1 - share
    matrix[torch.arange(new), left + 1] = share
    return matrix


def _smoothing(length: int) -> Tensor:
    """Matrix (length, length) by which rows are smoothed with a Gaussian, cut at 4 sd, mirrored at the ends."""
    radius = int(4 * NOISE_WIDTH + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (offsets / NOISE_WIDTH).double() ** 2)
    kernel = kernel / kernel.sum()
    places = torch.arange(length)[:, None] + offsets
    folded = places % (2 * length)  # d c b a | a b c d | d c b a
    sources = torch.minimum(folded, 2 * length - 1 - folded)
    matrix = torch.zeros(length, length, dtype=torch.float64)
    matrix.index_put_((sources, torch.arange(length)[:, None].expand_as(sources)), kernel.expand(length, -1), True)
    return matrix


def random_templates(num_classes: int, seed: int) -> Tensor:
    """Smooth random shapes that start and end at 0, as large as those of MNIST-1D and about as rough.

    White noise at 12 points is smoothed by a Gaussian of 0.7 points, bent to end where it starts, and divided by six
    times its standard deviation.

    Args:
        num_classes: How many.
        seed: What they come from.

    Returns:
        (k, 12) float64. The first of more are those of fewer.
    """
    generator = torch.Generator().manual_seed(child_seed(seed, "templates"))
    white = torch.stack([torch.randn(POINTS, generator=generator, dtype=torch.float64) for _ in range(num_classes)])
    offsets = torch.arange(POINTS, dtype=torch.float64)
    kernel = torch.exp(-0.5 * ((offsets[:, None] - offsets) / TEMPLATE_WIDTH) ** 2)
    smooth = (white[:, None] * kernel).sum(-1)  # row by row: a matrix product rounds by the number of rows
    bridge = smooth - smooth[:, :1] - (smooth[:, -1:] - smooth[:, :1]) * offsets / (POINTS - 1)
    return bridge / bridge.std(1, correction=0, keepdim=True) / 6
