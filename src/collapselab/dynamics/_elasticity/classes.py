"""Local elasticity between classes: means of a kernel over pairs of samples."""

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric


class IntraInter(NamedTuple):
    """A kernel within and between classes.

    Attributes:
        intra: Mean over classes, α.
        inter: Mean over pairs of different classes, β.
    """

    intra: float
    inter: float

    @property
    def gap(self) -> float:
        """By how much samples move their own class more than others."""
        return self.intra - self.inter


def class_elasticity(kernel: Tensor, y: Tensor, num_classes: int) -> Tensor:
    """Mean of a kernel over the pairs of samples of each two classes; of one class, over pairs of different samples.

    Args:
        kernel: (n, n): the tangent kernel, a normalised one, or a similarity.
        y: Labels (n,).
        num_classes: K.

    Returns:
        (k, k) float64, where the kernel is; row and column are the classes of the kernel's rows and columns.

    Raises:
        InputError: If the kernel is not square, or labels do not fit it.
        UndefinedMetric: If a class has fewer than two samples.

    Example:
        >>> import torch
        >>> class_elasticity(torch.ones(4, 4), torch.tensor([0, 0, 1, 1]), 2)
        tensor([[1., 1.],
                [1., 1.]], dtype=torch.float64)
    """
    k = checks.whole(num_classes, "num_classes", at_least=1)
    kernel = checks.matrix(kernel, "kernel", axes="(samples, samples)")
    if kernel.shape[0] != kernel.shape[1]:
        raise InputError(f"kernel must have as many columns as rows, got {checks.described(kernel)}")
    y = checks.labels_in_range(checks.labels(y, "y", num_rows=len(kernel)), k, "y").to(kernel.device)
    member = functional.one_hot(y, k).double()
    counts = member.sum(0)
    if bool((counts < 2).any()):
        label = int((counts < 2).nonzero()[0])
        raise UndefinedMetric(f"class {label} has {int(counts[label])} of the samples; pairs within it need 2")
    alone = kernel.diagonal().double()
    sums = member.T @ (kernel.double() - alone.diag()) @ member
    return sums / (counts[:, None] * counts - counts.diag())


def intra_inter(matrix: Tensor) -> IntraInter:
    """Means of the diagonal and of all else: every class, and every pair of classes, counts alike.

    Args:
        matrix: Elasticity (k, k) between classes.

    Returns:
        Both means.

    Raises:
        UndefinedMetric: If there is only one class.

    Example:
        >>> import torch
        >>> intra_inter(torch.tensor([[3.0, 1.0], [1.0, 5.0]]))
        IntraInter(intra=4.0, inter=1.0)
    """
    k = len(matrix)
    if k < 2:
        raise UndefinedMetric("one class has no pairs with others")
    matrix = matrix.double()
    trace = matrix.trace()
    return IntraInter(float(trace / k), float((matrix.sum() - trace) / (k * (k - 1))))
