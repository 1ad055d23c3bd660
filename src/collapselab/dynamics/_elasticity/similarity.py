"""Similarities of samples from the tangent kernel: by how much a small step on one moves what is said of another."""

from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError, UndefinedMetric


def relative_similarity(kernel: Tensor, own: Tensor | None = None) -> Tensor:
    r"""How far a small step on a sample moves what is said of another, relative to what is said of itself.

    $|\Theta(x, x')| / \Theta(x, x)$: the limit of the relative similarity of He and Su for small steps, which depends
    neither on labels nor on the loss. Not symmetric.

    Args:
        kernel: Tangent kernel (n, m); rows are the samples that are stepped on.
        own: Its diagonal (n,), `tangent_norms`; by default that of a square kernel.

    Returns:
        (n, m) non-negative numbers; 1 between a sample and itself.

    Raises:
        InputError: If the squared lengths do not fit, or are none.
        UndefinedMetric: If a sample's gradient is zero.

    Example:
        >>> import torch
        >>> relative_similarity(torch.tensor([[2.0, -1.0], [-1.0, 4.0]]))
        tensor([[1.0000, 0.5000],
                [0.2500, 1.0000]])
    """
    own = _lengths(kernel, own, "own", 0)
    return kernel.abs() / moved(own, "the gradient of sample {} is zero: a step on it moves nothing")[:, None]


def normalised_kernel(kernel: Tensor, own: Tensor | None = None, other_own: Tensor | None = None) -> Tensor:
    r"""Cosines of the gradients of samples, $\Theta(x, x') / \sqrt{\Theta(x, x)\, \Theta(x', x')}$.

    Args:
        kernel: Tangent kernel (n, m).
        own: Squared lengths (n,) of the gradients of the rows; by default the diagonal of a square kernel.
        other_own: Squared lengths (m,) of the gradients of the columns; by default those of the rows.

    Returns:
        (n, m) numbers from -1 to 1.

    Raises:
        InputError: If the squared lengths do not fit, or are none.
        UndefinedMetric: If a sample's gradient is zero.

    Example:
        >>> import torch
        >>> normalised_kernel(torch.tensor([[1.0, -1.0], [-1.0, 4.0]]))
        tensor([[ 1.0000, -0.5000],
                [-0.5000,  1.0000]])
    """
    own = _lengths(kernel, own, "own", 0)
    rows = moved(own, "the gradient of sample {} is zero: it has no direction").sqrt()
    columns = rows
    if other_own is not None:
        other_own = _lengths(kernel, other_own, "other_own", 1)
        columns = moved(other_own, "the gradient of other sample {} is zero: it has no direction").sqrt()
    return (kernel / rows[:, None] / columns).clamp(-1, 1)


def symmetrised(similarity: Tensor) -> Tensor:
    """Mean of a similarity and its transpose.

    Args:
        similarity: (n, n).

    Returns:
        (n, n), symmetric.
    """
    return (similarity + similarity.T) / 2


def _lengths(kernel: Tensor, own: Tensor | None, name: str, axis: int) -> Tensor:
    """Squared lengths of the gradients of rows or columns; by default the diagonal."""
    if own is None:
        if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1]:
            raise InputError(f"{name} must be given where the kernel is not square, got {checks.described(kernel)}")
        own = kernel.diagonal()
    if kernel.ndim != 2 or own.shape != kernel.shape[axis : axis + 1] or not bool((own >= 0).all()):
        side = ("rows", "columns")[axis]
        raise InputError(f"{name} must be squared lengths, one for each of the {side}, got {checks.described(own)}")
    return own


def moved(values: Tensor, words: str) -> Tensor:
    """Refuse zeros.

    Args:
        values: (n,).
        words: What is wrong, with the number of the first zero in braces.

    Returns:
        The values.

    Raises:
        UndefinedMetric: If one is zero.
    """
    still = (values == 0).nonzero()
    if len(still):
        raise UndefinedMetric(words.format(int(still[0])))
    return values
