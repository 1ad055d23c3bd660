r"""Homogeneous networks: parameters times a make logits times $a^L$. What margins over $\rho^L$ need."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import jvp

from collapselab.core.errors import UndefinedMetric
from collapselab.core.random import generators
from collapselab.dynamics._margin.doubled import Doubled, evaluating, norm_of

FACTORS = (0.5, 0.75, 1.5, 2.0)
"""What all parameters are multiplied by, to see what becomes of the logits."""

TOLERANCE = 1e-8
"""Largest deviation, as a part of the largest logit, that is put down to the rounding of float64."""

_BATCH_NORMS = nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True)
class Homogeneity:
    r"""How nearly a network is homogeneous, at its parameters and at others near them.

    Attributes:
        order: L, the slope of the logarithm of the size of the logits by that of the factor on the parameters; a whole
            number where it is one but for rounding.
        residual: Largest difference between the logits at scaled parameters and $a^L$ times the logits, as a part of
            the largest.
        euler: Largest difference between $\langle\theta, \nabla z\rangle$ and $L z$ (Euler), as a part of the
            largest of L z; None, and not looked at, where the residual is too large already.
    """

    order: float
    residual: float
    euler: float | None

    @property
    def holds(self) -> bool:
        """Whether nothing is left but rounding, and the order is above 0."""
        return self.order > TOLERANCE and self.euler is not None and self.apart < TOLERANCE

    @property
    def apart(self) -> float:
        """The larger of residual and deviation from Euler's identity."""
        return max(self.residual, self.euler or 0.0)


def homogeneity_of(network: nn.Module, x: Tensor, *, generator: torch.Generator | None = None) -> Homogeneity:
    r"""Scale all trained parameters and see what the logits do.

    It is done at the parameters as they are, and once more at parameters moved at random by their root mean square:
    biases that are still zero, or means of batch normalisation, would otherwise not be noticed. Frozen parameters and
    buffers stay as they are.

    Args:
        network: Inputs to logits; computed in eval mode and in float64, and left as it was.
        x: Inputs (n, ...) of the data at hand.
        generator: On the CPU; where the movement is drawn from.

    Returns:
        The order and what is left.

    Raises:
        UndefinedMetric: If all logits are 0, as those of a network that died are.

    Example:
        >>> network = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2, bias=False))
        >>> homogeneity_of(network, torch.eye(3)).order
        2.0
    """
    here = Doubled.of(network)
    there = _moved(here, generators(0, "homogeneity")[0] if generator is None else generator)
    with evaluating(network), torch.no_grad():
        order = _order(here, x)
        residual = max(_residual(one, x, order) for one in (here, there))
        good = order > TOLERANCE and residual < TOLERANCE
        return Homogeneity(order, residual, max(_euler(one, x, order) for one in (here, there)) if good else None)


def order_of_homogeneity(network: nn.Module, x: Tensor, *, generator: torch.Generator | None = None) -> float:
    """L of a network that is homogeneous in its trained parameters.

    Layers without bias, and with ReLU or nothing between them, count 1 each; the first of them may have a bias.

    Args:
        network: See `homogeneity_of`.
        x: Inputs (n, ...).
        generator: See `homogeneity_of`.

    Returns:
        L.

    Raises:
        UndefinedMetric: If the network is not homogeneous; the message says by how much, and names what may be why.
    """
    found = homogeneity_of(network, x, generator=generator)
    if found.holds:
        return found.order
    if found.order <= TOLERANCE:
        raise UndefinedMetric(f"the logits do not grow with the parameters: their order is {found.order:.3g}")
    raise UndefinedMetric(
        "the network is not homogeneous: with all trained parameters times a number the logits differ from a power of"
        f" it by {found.apart:.2g} of the largest{_suspects(network)}"
    )


def _order(here: Doubled, x: Tensor) -> float:
    """Slope through the origin of the log-log relation between factor and size of the logits."""
    sizes = [_size(here.logits(x))] + [_size(here.scaled(factor).logits(x)) for factor in FACTORS]
    if not all(0 < size < math.inf for size in sizes):
        raise UndefinedMetric("the logits are all 0, or not finite, so that they have no order in the parameters")
    steps = [math.log(factor) for factor in FACTORS]
    rises = [math.log(size / sizes[0]) for size in sizes[1:]]
    slope = sum(a * b for a, b in zip(steps, rises, strict=True)) / sum(a * a for a in steps)
    return float(round(slope)) if abs(slope - round(slope)) < TOLERANCE else slope


def _size(z: Tensor) -> float:
    return float(torch.linalg.vector_norm(z))


def _residual(one: Doubled, x: Tensor, order: float) -> float:
    z = one.logits(x)
    return max(_part(one.scaled(factor).logits(x), factor**order * z) for factor in FACTORS)


def _euler(one: Doubled, x: Tensor, order: float) -> float:
    """Forward differentiation along the parameters themselves gives all logits at once."""
    z, along, *_ = jvp(lambda weights: one.logits(x, weights), (dict(one.weights),), (dict(one.weights),))
    return _part(along, order * z)


def _part(found: Tensor, expected: Tensor) -> float:
    apart, size = float((found - expected).abs().max()), float(expected.abs().max())
    if size == 0:  # a network that the movement has silenced tells nothing
        return 0.0 if apart == 0 else math.inf
    return apart / size if apart < math.inf else math.inf


def _moved(one: Doubled, generator: torch.Generator) -> Doubled:
    size = float(norm_of(one.weights)) / math.sqrt(sum(part.numel() for part in one.weights.values()))

    def noise(part: Tensor) -> Tensor:
        return size * torch.randn(part.shape, generator=generator, dtype=part.dtype).to(part.device)

    return Doubled(one.network, {name: part + noise(part) for name, part in one.weights.items()}, one.rest)


def _suspects(network: nn.Module) -> str:
    """Biases beyond the first layer, and batch normalisation, by name."""
    layers = [
        (name, module)
        for name, module in network.named_modules()
        if not isinstance(module, _BATCH_NORMS) and any(p.requires_grad for p in module.parameters(recurse=False))
    ]
    biases = [f"{name}.bias" for name, module in layers[1:] if getattr(module, "bias", None) is not None]
    norms = [name for name, module in network.named_modules() if isinstance(module, _BATCH_NORMS)]
    parts = [
        f"{said} {', '.join(names[:4])}{' ...' if len(names) > 4 else ''}"
        for said, names in (("biases beyond the first layer:", biases), ("batch normalisation:", norms))
        if names
    ]
    return f"; {'; '.join(parts)}" if parts else ""
