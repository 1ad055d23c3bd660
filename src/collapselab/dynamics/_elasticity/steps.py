"""Similarities of samples as defined by finite steps: one step on each sample, and a look at all others."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from collapselab.core import checks
from collapselab.dynamics._elasticity.doors import labelled, require_known
from collapselab.dynamics._elasticity.readings import single_logit
from collapselab.dynamics._elasticity.similarity import moved
from collapselab.dynamics._mapped import mapped, require_apart
from collapselab.dynamics._tangent import BUDGET, Read, fixed, trained

OfNumber = Callable[[Tensor, Tensor], Tensor]
"""Loss () of the number () that is read of a sample and of its label ()."""

# Copies of the parameters for each sample that is stepped on: gradient, stepped parameters, and one on the way.
_HELD = 3

# Bytes beyond which a processor is slower at once than in parts: fresh memory costs more than the calls it saves.
_FASTEST = 2**24


def half_squared_error(value: Tensor, y: Tensor) -> Tensor:
    """Half the squared difference of what is read and the label.

    Args:
        value: What is read.
        y: Label 0 or 1, or any number.

    Returns:
        Loss.
    """
    return 0.5 * (value - y) ** 2


def stepped_relative_similarity(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    other: Tensor | None = None,
    other_y: Tensor | None = None,
    step: float,
    read: Read = single_logit,
    loss: OfNumber = half_squared_error,
    budget: int = BUDGET,
) -> Tensor:
    r"""The relative similarity of He and Su as defined: take a step on each sample and look at all others.

    $|f(x', w^+) - f(x', w)| / |f(x, w^+) - f(x, w)|$ with $w^+ = w - \eta \nabla_w L(f(x, w), y)$. Differences of
    numbers that are nearly the same: small steps ask for a network in float64.

    Args:
        network: Inputs to logits; it must treat samples one by one, as it does in eval mode.
        x: Inputs (n, ...) that are stepped on.
        y: Labels (n,).
        other: Inputs (m, ...) that are looked at; the same samples by default.
        other_y: Their labels (m,).
        step: η.
        read: What is read off the logits, f.
        loss: L, of what is read and the label.
        budget: Bytes that stepped parameters and what the network makes of the others may take at once.

    Returns:
        (n, m) non-negative numbers.

    Raises:
        UndefinedMetric: If a step does not move its own sample.
    """
    answers = _answers(network, x, y, other, other_y, _Step(step, read, loss), budget)
    own = moved(answers.own, "the step on sample {} does not move it")
    return answers.moved.abs() / own.abs()[:, None]


def stepped_kernelised_similarity(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    other: Tensor | None = None,
    other_y: Tensor | None = None,
    step: float,
    read: Read = single_logit,
    loss: OfNumber = half_squared_error,
    budget: int = BUDGET,
) -> Tensor:
    r"""The kernelised similarity of He and Su as defined; for small steps it becomes the tangent kernel.

    $(f(x', w) - f(x', w^+)) / (\eta\, \partial L/\partial f)$ at $f = f(x, w)$.

    Args:
        network: Inputs to logits; it must treat samples one by one, as it does in eval mode.
        x: Inputs (n, ...) that are stepped on.
        y: Labels (n,).
        other: Inputs (m, ...) that are looked at; the same samples by default.
        other_y: Their labels (m,).
        step: η.
        read: What is read off the logits, f.
        loss: L, of what is read and the label.
        budget: Bytes that stepped parameters and what the network makes of the others may take at once.

    Returns:
        (n, m) numbers.

    Raises:
        UndefinedMetric: If the loss of a sample has no slope.
    """
    answers = _answers(network, x, y, other, other_y, _Step(step, read, loss), budget)
    slope = moved(answers.slope, "the loss of sample {} has no slope")
    return -answers.moved / (step * slope)[:, None]


@dataclass(frozen=True)
class _Step:
    """How a step is taken, and what is looked at."""

    size: float
    read: Read
    loss: OfNumber


@dataclass(frozen=True, eq=False)
class _Answers:
    """Slopes (n,) of the losses, changes (n,) of the samples stepped on, and changes (n, m) of the others."""

    slope: Tensor
    own: Tensor
    moved: Tensor


def _answers(
    network: nn.Module, x: Tensor, y: Tensor, other: Tensor | None, other_y: Tensor | None, how: _Step, budget: int
) -> _Answers:
    checks.real(how.size, "step", above=0)
    mine = labelled(x, y, "y", how.read)
    theirs = mine if other is None else labelled(other, other_y, "other_y", how.read)
    require_apart(network)
    with torch.no_grad():
        k = network(mine[0][:1].clone()).numel()  # some networks write into what they are given
    require_known(mine, "y", how.read, k)
    require_known(theirs, "other_y", how.read, k)
    rows, columns = _sizes(network, mine[0], len(theirs[0]), budget)
    look = _looker(network, how)
    with mapped(network):
        parts = [
            [look(*one, *two) for two in zip(theirs[0].split(columns), theirs[1].split(columns), strict=True)]
            for one in zip(mine[0].split(rows), mine[1].split(rows), strict=True)
        ]
    return _Answers(
        slope=torch.cat([row[0].slope for row in parts]),
        own=torch.cat([row[0].own for row in parts]),
        moved=torch.cat([torch.cat([part.moved for part in row], 1) for row in parts]),
    )


def _looker(network: nn.Module, how: _Step) -> Callable[[Tensor, Tensor, Tensor, Tensor], _Answers]:
    """Steps on samples one by one, all at once, and looks at others after each."""
    weights, rest = trained(network), fixed(network)

    def say(own: dict[str, Tensor], one: Tensor, label: Tensor) -> Tensor:
        return how.read(functional_call(network, (own, rest), (one[None].clone(),)).squeeze(0), label)

    def stepped(
        one: Tensor, label: Tensor, others: Tensor, labels: Tensor, before: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        value, slope = say(weights, one, label), grad(how.loss)(say(weights, one, label), label)
        direction = grad(say)(weights, one, label)
        after = {name: w - how.size * slope * direction[name] for name, w in weights.items()}
        return slope, say(after, one, label) - value, vmap(say, (None, 0, 0))(after, others, labels) - before

    def look(x: Tensor, y: Tensor, others: Tensor, labels: Tensor) -> _Answers:
        before = vmap(say, (None, 0, 0))(weights, others, labels)
        return _Answers(*vmap(stepped, (0, 0, None, None, None))(x, y, others, labels, before))

    return look


def _sizes(network: nn.Module, x: Tensor, num_others: int, budget: int) -> tuple[int, int]:
    """How many samples are stepped on at once, and how many are looked at after each step."""
    weights, one = sum(w.nbytes for w in trained(network).values()), _made_of(network, x[:1])
    room = checks.whole(budget, "budget", at_least=1)
    if x.device.type == "cpu":
        room = min(room, _FASTEST)
    rows = room // (_HELD * weights + one * num_others)
    return (rows, num_others) if rows else (1, max(1, (room - _HELD * weights) // one))


def _made_of(network: nn.Module, one: Tensor) -> int:
    """Bytes that the modules of a network put out for one input."""
    sizes: list[int] = []

    def count(_module: nn.Module, _inputs: object, output: object) -> None:
        sizes.append(output.nbytes if isinstance(output, Tensor) else 0)

    handles = [module.register_forward_hook(count) for module in network.modules() if not list(module.children())]
    try:
        with torch.no_grad():
            network(one.clone())
    finally:
        for handle in handles:
            handle.remove()
    return max(1, sum(sizes))
