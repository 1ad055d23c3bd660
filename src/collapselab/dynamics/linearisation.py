"""What a small step does to logits, to first order: one step, the drift of class means, and rates that are stable."""

import math
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.dynamics._elasticity.kernel import tangent_blocks
from collapselab.dynamics._mapped import require_apart
from collapselab.dynamics._spec import Found, Quantity, Sight, quantity
from collapselab.dynamics._tangent import BUDGET
from collapselab.records.numbers import Extra, declared

_drift = partial(declared, source="zhang2021", family="drift_linearisation", unit="1/time", at_collapse=None)
DRIFT = _drift(
    "drift_norm",
    "drift of class means",
    "Norm of the speed at which gradient descent on the cross-entropy moves the class means of the logits.",
    symbol=r"\lVert b(\bar X)\rVert",
)
RESIDUE = _drift(
    "drift_residue_norm",
    "residue of the drift",
    "Norm of what its linear part leaves of the drift at the class means of the logits.",
    symbol=r"\lVert b(\bar X)-M\bar X\rVert",
)
SHARE = _drift(
    "drift_residue_share",
    "residue over drift",
    "Norm of the residue as a multiple of the norm of the drift.",
    symbol=r"\lVert b-M\bar X\rVert/\lVert b\rVert",
    unit="1",
)
LARGEST = _drift(
    "drift_largest_eigenvalue",
    "drift: largest eigenvalue",
    "Largest eigenvalue of the Jacobian of the drift: 0, up to rounding, as nothing grows by it.",
    symbol=r"\lambda_{\max}(\nabla b)",
    lower=None,
    at_collapse=0.0,
)
CONTRACTION = _drift(
    "drift_contraction",
    "drift: fastest contraction",
    "Minus the smallest eigenvalue of the Jacobian of the drift.",
    symbol=r"-\lambda_{\min}(\nabla b)",
)
NUMBERS = (DRIFT, RESIDUE, SHARE, LARGEST, CONTRACTION)


@dataclass(frozen=True, eq=False)
class DriftLinearisation:
    r"""The drift of the class means of the logits, and its linear part at one moment.

    $b(X) = \tfrac1K\Theta\,(Y-\sigma(X))$, $b(X) \approx MX + R$ near $\bar X$. All eigenvalues of
    $M = \nabla b(\bar X) = -\tfrac1K\Theta S$ are real and none is above 0: this M contracts. It is **not** the matrix
    of the LE-ODE, whose growing modes write the drift as an elasticity times the state itself; put in its place, this M
    pulls classes together. Without decay the residue vanishes as the network converges, but so does the drift, and
    faster: "the residue is negligible" holds in absolute terms only.

    Attributes:
        drift: $b(\bar X)$, (k, k), per unit of time; row k is the motion of the mean of class k.
        jacobian: M, (k k, k k), by class and logit.
        residue: $R = b(\bar X) - M\bar X$, (k, k).
        eigenvalues: Of M, (k k,), ascending.
    """

    drift: Tensor
    jacobian: Tensor
    residue: Tensor
    eigenvalues: Tensor

    @property
    def residue_share(self) -> float:
        """Norm of the residue over that of the drift.

        Raises:
            UndefinedMetric: If there is no drift.
        """
        norm = float(self.drift.norm())
        if norm == 0:
            raise UndefinedMetric("the class means do not move: the drift is 0")
        return float(self.residue.norm()) / norm


def one_step_change(blocks: Tensor, logits: Tensor, label: int, *, rate: float) -> Tensor:
    r"""What a step of gradient descent on the cross-entropy of one sample does to logits, to first order in the rate.

    $\Delta z_k \approx \eta\,\Theta_{kl}\,(e_{y_l} - \sigma(z_l))$.

    Args:
        blocks: Tangent kernel (m, k, k) between the logits of m samples and those of the sample that is stepped on, as
            `tangent_blocks(network, x)[:, :, l]` gives it.
        logits: (k,) of the sample that is stepped on.
        label: Its label.
        rate: Learning rate.

    Returns:
        (m, k) changes of the logits, float64.

    Raises:
        InputError: If shapes do not fit, a number is not finite, or the label is no class.

    Example:
        >>> one_step_change(torch.eye(2)[None], torch.zeros(2), 0, rate=0.1)
        tensor([[ 0.0500, -0.0500]], dtype=torch.float64)
    """
    logits, blocks = checks.as_tensor(logits, "logits").double(), checks.as_tensor(blocks, "blocks").double()
    if logits.ndim != 1 or blocks.ndim != 3 or blocks.shape[1:] != (len(logits), len(logits)):
        came = f"{checks.described(blocks)} and {checks.described(logits)}"
        raise InputError(f"blocks and logits must be (m, k, k) and (k,), got {came}")
    blocks, logits = checks.finite(blocks, "blocks"), checks.finite(logits, "logits")
    label = int(checks.one_of(label, "label", range(len(logits))))
    rate = checks.real(rate, "rate", above=0)
    return rate * blocks @ _residuals(logits[None], torch.tensor([label], device=logits.device))[0]


def linearised_drift(kernel: Tensor, means: Tensor) -> DriftLinearisation:
    r"""The drift of class means by cross-entropy, linearised where they are.

    Args:
        kernel: Tangent kernel (k, k, k, k) between representatives of the classes: class, logit, class, logit; see
            `tangent_blocks`.
        means: Class means of the logits (k, k); rows are classes.

    Returns:
        Drift, Jacobian, residue and eigenvalues, float64.

    Raises:
        InputError: If the shapes do not fit, or a number is not finite.

    Example:
        >>> kernel = torch.eye(4).view(2, 2, 2, 2)
        >>> found = linearised_drift(kernel, torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))
        >>> float(found.eigenvalues[-1]) <= 1e-10
        True
    """
    means = checks.matrix(means, "means", axes="(classes, logits)").double()
    k, kernel = len(means), checks.as_tensor(kernel, "kernel")
    if means.shape != (k, k) or kernel.shape != (k, k, k, k):
        came = f"{checks.described(kernel)} and {checks.described(means)}"
        raise InputError(f"kernel and means must be (k, k, k, k) and (k, k), got {came}")
    theta = checks.finite(kernel, "kernel").double().reshape(k * k, k * k)
    root = _root_of_covariance(means)
    drift = theta @ _residuals(means, torch.arange(k, device=means.device)).flatten() / k
    jacobian = -theta @ (root @ root.mT) / k
    # Eigenvalues of Theta A A^T are those of A^T Theta A, which is symmetric.
    eigenvalues = -torch.linalg.eigvalsh(root.mT @ ((theta + theta.T) / 2) @ root).flip(0) / k
    residue = drift - jacobian @ means.flatten()
    return DriftLinearisation(drift.view(k, k), jacobian, residue.view(k, k), eigenvalues)


def stable_rate(kernel: Tensor, *, share: float = 0.3) -> float:
    r"""A learning rate for the squared error that is stable at the scale of the data and the network at hand.

    Near its start, a step of gradient descent on the mean of half the squared errors multiplies the residuals of the n
    samples by $I - \tfrac\eta n\Theta$. They shrink while $\eta < 2n/\lambda_{\max}(\Theta)$, and a rate that suits one
    scale of inputs therefore diverges at another. This rate is a share of $n/\lambda_{\max}$, with room for the kernel
    to grow in training and for the noise of minibatches.

    Args:
        kernel: Tangent kernel (n, n) between all training samples, or (n, k, n, k) between their logits.
        share: Between 0 and 2, where descent no longer converges.

    Returns:
        The rate.

    Raises:
        InputError: If the kernel is not square and finite, or zero.

    Example:
        >>> stable_rate(4 * torch.eye(2), share=1.0)
        0.5
    """
    share = checks.real(share, "share", above=0, below=2)
    kernel = checks.as_tensor(kernel, "kernel")
    shape = tuple(kernel.shape)
    if len(shape) not in (2, 4) or shape[: len(shape) // 2] != shape[len(shape) // 2 :]:
        raise InputError(f"kernel must be (n, n) or (n, k, n, k), got {checks.described(kernel)}")
    side = math.prod(shape[: len(shape) // 2])
    theta = checks.matrix(kernel.reshape(side, side), "kernel", axes="(samples, samples)").double()
    largest = float(torch.linalg.eigvalsh(theta)[-1])
    if not largest > 0:
        raise InputError(f"kernel must have an eigenvalue above 0, got {largest:g} as the largest")
    return share * shape[0] / largest


@quantity("drift_linearisation", label="drift of class means", source="zhang2021")
@dataclass(frozen=True)
class DriftOfMeans(Quantity):
    r"""How fast class means of the logits move by the cross-entropy, and how much of that is linear in where they are.

    The drift is that of gradient descent on the cross-entropy, whatever the training minimises, with a class drawn at
    random in each unit of time; see `DriftLinearisation` for what the linear part does not say. Weight decay is no part
    of it: under decay a network collapses where the two balance, and neither the drift nor its residue vanishes.

    Attributes:
        samples_per_class: Samples of each class that stand for it: kernel and logits are means over them.
        budget: Bytes that the kernel and the gradients may take together.
    """

    samples_per_class: int = 3
    budget: int = BUDGET

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.whole(self.samples_per_class, "samples_per_class", at_least=1)
        checks.whole(self.budget, "budget", at_least=1)

    def look(self, sight: Sight) -> Found:
        """Measure.

        Args:
            sight: The network and the samples.

        Returns:
            Norms of drift and residue, their ratio, and the ends of the spectrum of the linear part.
        """
        try:
            found = self._linearised(sight)
        except UndefinedMetric as undefined:
            return Found(tuple((one, str(undefined)) for one in NUMBERS))
        try:
            share: float | str = found.residue_share
        except UndefinedMetric as undefined:
            share = str(undefined)
        ends = (float(found.eigenvalues[-1]), -float(found.eigenvalues[0]))
        values = (float(found.drift.norm()), float(found.residue.norm()), share, *ends)
        numbers: tuple[Extra, ...] = tuple(zip(NUMBERS, values, strict=True))
        return Found(numbers)

    def _linearised(self, sight: Sight) -> DriftLinearisation:
        k, counts = sight.num_classes, torch.bincount(sight.y, minlength=sight.num_classes)
        if k < 2 or int(counts.min()) == 0:
            raise UndefinedMetric("one class has no drift" if k < 2 else f"class {int(counts.argmin())} has no samples")
        m = min(self.samples_per_class, int(counts.min()))
        needed = 16 * (k * m * k) ** 2
        if needed > self.budget:
            raise UndefinedMetric(f"a kernel of {k * m * k} logits takes {needed} bytes, over the budget")
        require_apart(sight.network)
        x, _ = sight.take(sight.few_of_each(m, "drift of class means"))
        with torch.no_grad():
            z = sight.network(x).cpu().double()
        if z.shape[1] != k:
            raise UndefinedMetric(f"the network has {z.shape[1]} logits, and there are {k} classes")
        means = z.view(k, m, k).mean(1)
        blocks = tangent_blocks(sight.network, x, budget=self.budget).cpu().double()
        return linearised_drift(blocks.view(k, m, k, k, m, k).mean((1, 4)), means)


def _residuals(logits: Float[Tensor, "n k"], y: Tensor) -> Float[Tensor, "n k"]:
    """One-hot labels minus probabilities, exact where the probability of the label rounds to 1."""
    own = functional.one_hot(y, logits.shape[1]).bool()
    others = functional.softmax(logits, 1).masked_fill(own, 0)
    return torch.where(own, others.sum(1, keepdim=True), -others)


def _root_of_covariance(logits: Float[Tensor, "k k"]) -> Float[Tensor, "kk kk"]:
    """A block diagonal A whose blocks have A A^T = diag(p) - p p^T: sqrt(p) times the projection along sqrt(p)."""
    root = functional.softmax(logits, 1).sqrt()
    away = torch.eye(len(root), dtype=root.dtype, device=root.device) - root[:, :, None] * root[:, None]
    return torch.block_diag(*(root[:, :, None] * away))
