"""The tangent kernel: inner products of the gradients of what a network says of samples, tile by tile."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.dynamics._elasticity.doors import Set, labelled, require_known, require_like
from collapselab.dynamics._elasticity.gradients import Differentiation, Gradients
from collapselab.dynamics._elasticity.readings import own_logit, single_logit
from collapselab.dynamics._mapped import require_apart
from collapselab.dynamics._tangent import BUDGET, Read

# Blocks of gradients that are held at once: two that meet in a tile, and the parts of one before they are put together.
_HELD = 3


def tangent_kernel(
    network: nn.Module,
    x: Tensor,
    y: Tensor | None = None,
    *,
    other: Tensor | None = None,
    other_y: Tensor | None = None,
    read: Read = single_logit,
    budget: int = BUDGET,
) -> Tensor:
    r"""Inner products of the gradients of one number a sample by all trained parameters.

    $\Theta(x, x') = \langle \nabla_w f(x, w), \nabla_w f(x', w)\rangle$, exact. It is the limit of small steps of the
    kernelised similarity of He and Su: a step on x along $-\eta\, \partial L/\partial f\, \nabla_w f(x)$ changes
    $f(x')$ by $-\eta\, \partial L/\partial f\, \Theta(x, x')$. Gradients of linear layers and
    convolutions stay outer products as long as that is less; those of other parameters are formed. All go in blocks.

    Args:
        network: Inputs to logits; it must treat samples one by one, as it does in eval mode.
        x: Inputs (n, ...).
        y: Labels (n,), for a reading that looks at them.
        other: Further inputs (m, ...) of the same shape; the same samples by default, each pair of tiles then being
            computed once.
        other_y: Their labels (m,).
        read: What is read off the logits: `single_logit`, `own_logit`, `own_residual`, or any function of the logits
            (k,) and the label () of a sample. Of several numbers, as of `all_logits`, the kernels are added.
        budget: Bytes that the result and the gradients may take together.

    Returns:
        (n, m) in the precision of the network, detached; symmetric if there are no others.

    Raises:
        InputError: If the network cannot be mapped over samples, labels are missing, or the budget is too small for
            the result.

    Example:
        >>> tangent_kernel(nn.Linear(2, 1, bias=False), torch.tensor([[1.0, 2.0], [3.0, 0.0]]))
        tensor([[5., 3.],
                [3., 9.]])
    """
    mine = labelled(x, y, "y", read)
    theirs = None if other is None else labelled(other, other_y, "other_y", read)
    how = Differentiation.of(network, mine[0][:1], mine[1][0], read=read)
    require_known(mine, "y", read, how.num_logits)
    if theirs is not None:
        require_like(theirs[0], mine[0])
        require_known(theirs, "other_y", read, how.num_logits)
    m = len(x) if other is None else len(other)
    dtype = next(network.parameters()).dtype
    left = checks.whole(budget, "budget", at_least=1) - len(x) * m * dtype.itemsize
    if left <= 0:
        raise InputError(f"budget must be more than the {budget - left} bytes of a kernel of {len(x)} x {m} numbers")
    found = torch.zeros(len(x), m, dtype=dtype, device=x.device)
    # Blocks of several samples and one number are met by fewer others than blocks of one sample and all numbers.
    ways = [how] if len(x) * _HELD * how.size <= left else how.parts()
    for way in ways:
        for rows, columns, tile in _tiles(way, mine, theirs, size=max(1, left // (_HELD * way.size))):
            found[rows, columns] += tile
            if theirs is None and rows != columns:
                found[columns, rows] += tile.T
    return found


def tangent_norms(
    network: nn.Module, x: Tensor, y: Tensor | None = None, *, read: Read = single_logit, budget: int = BUDGET
) -> Tensor:
    r"""Squared lengths of the gradients of one number a sample: the diagonal of the tangent kernel.

    Args:
        network: Inputs to logits; it must treat samples one by one.
        x: Inputs (n, ...).
        y: Labels (n,), for a reading that looks at them.
        read: What is read off the logits.
        budget: Bytes that gradients may take at once.

    Returns:
        (n,) in the precision of the network, detached.

    Raises:
        InputError: As `tangent_kernel`.
    """
    mine = labelled(x, y, "y", read)
    how = Differentiation.of(network, mine[0][:1], mine[1][0], read=read)
    require_known(mine, "y", read, how.num_logits)
    size = max(1, checks.whole(budget, "budget", at_least=1) // (_HELD * how.size))
    return torch.cat([block.squared() for _, block in _blocks(how, mine, size=size)])


def tangent_blocks(network: nn.Module, x: Tensor, *, budget: int = BUDGET) -> Tensor:
    r"""The tangent kernel of all logits of a few samples.

    $\Theta_{kl} = J_k J_l^T$ with the Jacobians of the logits by all trained parameters.

    Args:
        network: Inputs to logits; it must treat samples one by one.
        x: Inputs (n, ...).
        budget: Bytes that the result and the gradients may take together.

    Returns:
        (n, k, n, k), sample and logit, then sample and logit; detached.

    Raises:
        InputError: As `tangent_kernel`.

    Example:
        >>> tangent_blocks(nn.Linear(2, 3), torch.ones(4, 2)).shape
        torch.Size([4, 3, 4, 3])
    """
    require_apart(network)
    labelled(x, None, "y", single_logit)
    with torch.no_grad():
        k = network(x[:1].clone()).numel()  # some networks write into what they are given
    labels = torch.arange(k, device=x.device).repeat(len(x))
    found = tangent_kernel(network, x.repeat_interleave(k, 0), labels, read=own_logit, budget=budget)
    return found.view(len(x), k, len(x), k)


def _blocks(how: Differentiation, samples: Set, *, size: int, start: int = 0) -> Iterator[tuple[slice, Gradients]]:
    x, y = samples
    for first in range(start, len(x), size):
        rows = slice(first, min(first + size, len(x)))
        yield rows, how.at(x[rows], y[rows])


def _tiles(how: Differentiation, mine: Set, theirs: Set | None, *, size: int) -> Iterator[tuple[slice, slice, Tensor]]:
    """Rows, columns and inner products of each tile; of the same samples those on and above the diagonal."""
    for rows, block in _blocks(how, mine, size=size):
        if theirs is None:
            yield rows, rows, block.inner(block)
        beyond = (mine, rows.stop) if theirs is None else (theirs, 0)
        for columns, against in _blocks(how, beyond[0], size=size, start=beyond[1]):
            yield rows, columns, block.inner(against)
