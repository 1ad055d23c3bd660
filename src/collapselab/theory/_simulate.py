"""Paths of equations with noise by the scheme of Euler and Maruyama, all at once."""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from collapselab.core import checks
from collapselab.core.errors import InputError
from collapselab.theory._problem import State
from collapselab.theory._solve import Trajectory
from collapselab.theory._stochastic import AbstractStochasticDynamics, normal, within_floats

# Copies of the entries of a path that a step holds at once: state, drift, increments, what they add, sums.
_COPIES = 8


def simulate(
    dynamics: AbstractStochasticDynamics,
    start: State | torch.Generator,
    times: Sequence[float],
    *,
    step: float,
    paths: int,
    generator: torch.Generator,
    memory_mb: float = 64.0,
) -> Trajectory:
    """Follow many paths of an equation with noise, all of them in every step.

    Args:
        dynamics: The equation.
        start: State at time 0, the same for all paths; or a generator to draw it from.
        times: Ascending times of at least 0 at which states are wanted.
        step: Longest step; between two times all steps are of one length.
        paths: How many.
        generator: What the noise is drawn from.
        memory_mb: What a step may hold beside the states that are returned; more paths than fit are followed one batch
            after the other, and draw in that order.

    Returns:
        States whose entries have the axis of paths in front; of size 1 where an entry is the same for all of them.

    Raises:
        InputError: If the times do not ascend from 0 or later, or the start is no state of the equation.
        NotConverged: If paths leave float64.

    Example:
        >>> from collapselab.theory import LocallyElastic, PowerLaw
        >>> model = LocallyElastic(3, PowerLaw(1.0, 0.5), PowerLaw(0.2, 0.5), num_features=2)
        >>> noise = torch.Generator().manual_seed(0)
        >>> found = simulate(model, torch.Generator().manual_seed(1), (1.0,), step=0.01, paths=500, generator=noise)
        >>> tuple(found.end["h"].shape), tuple(found.end["mean"].shape)
        ((500, 3, 2), (1, 3, 2))
    """
    wanted = [checks.real(t, "times", at_least=0) for t in times]
    if not wanted or any(b <= a for a, b in itertools.pairwise(wanted)):
        raise InputError(f"times must ascend, got {list(times)!r}")
    checks.real(step, "step", above=0)
    checks.whole(paths, "paths", at_least=1)
    given = dynamics.draw(start) if isinstance(start, torch.Generator) else _state_of(dynamics, start)
    begun = {name: x.detach().double().unsqueeze(0) for name, x in given.items()}
    sizes = _batches(begun, paths, checks.real(memory_mb, "memory_mb", above=0))
    found = [_followed(dynamics, begun, wanted, step=step, paths=size, generator=generator) for size in sizes]
    states = tuple(_together(moments, sizes) for moments in zip(*found, strict=True))
    steps = _num_steps(wanted, step)
    return Trajectory(tuple(wanted), states, "finished", "the last time was reached", {"steps": steps})


def euler_maruyama_step(
    dynamics: AbstractStochasticDynamics, t: float, x: State, *, step: float, increment: State
) -> State:
    """One step: drift times its length, and what increments of Wiener processes add.

    Args:
        dynamics: The equation.
        t: Time before the step.
        x: State before the step; axes of paths in front.
        step: Length of the step.
        increment: Normal numbers of variance `step` for each entry that noise moves.

    Returns:
        State after the step.
    """
    velocity, added = dynamics.drift(t, x), dynamics.diffusion(t, x, increment)
    moved = {name: torch.add(entry, velocity[name], alpha=step) for name, entry in x.items()}
    return moved | {name: moved[name] + more for name, more in added.items()}


def _followed(
    dynamics: AbstractStochasticDynamics,
    begun: State,
    wanted: Sequence[float],
    *,
    step: float,
    paths: int,
    generator: torch.Generator,
) -> list[State]:
    """One batch of paths at the wanted times."""
    shapes = {name: (paths, *begun[name].shape[1:]) for name in dynamics.disturbed}
    x, now, kept = _spread(begun, shapes), 0.0, []
    for until in wanted:
        count = math.ceil((until - now) / step * (1 - 1e-12))
        length = (until - now) / max(count, 1)
        for place in range(count):
            increment = {name: normal(shape, generator).mul_(math.sqrt(length)) for name, shape in shapes.items()}
            x = euler_maruyama_step(dynamics, now + place * length, x, step=length, increment=increment)
        now = until
        kept.append(within_floats(x, until))
    return kept


def _state_of(dynamics: AbstractStochasticDynamics, start: State) -> State:
    """The start, if it has the entries of a state, with what axes whatever in front."""
    wanted = dynamics.draw(torch.Generator())
    if start.keys() != wanted.keys():
        raise InputError(f"start must have the entries {', '.join(wanted)}, got {', '.join(start) or 'none'}")
    for name, like in wanted.items():
        entry = checks.finite(checks.as_tensor(start[name], name), name)
        if entry.shape[max(entry.ndim - like.ndim, 0) :] != like.shape:
            raise InputError(f"{name} must end in axes of sizes {tuple(like.shape)}, got shape {tuple(entry.shape)}")
    return start


def _spread(begun: State, shapes: dict[str, tuple[int, ...]]) -> State:
    """The start of every path; entries that no noise moves get the axis when something on it moves them."""
    return {name: x.expand(shapes[name]) if name in shapes else x for name, x in begun.items()}


def _num_steps(wanted: Sequence[float], step: float) -> int:
    return sum(math.ceil((b - a) / step * (1 - 1e-12)) for a, b in itertools.pairwise([0.0, *wanted]))


def _batches(begun: State, paths: int, memory_mb: float) -> list[int]:
    each = _COPIES * sum(x.numel() * x.element_size() for x in begun.values())
    most = max(1, min(paths, int(memory_mb * 2**20 / max(each, 1))))
    return [most] * (paths // most) + ([paths % most] if paths % most else [])


def _together(parts: Sequence[State], sizes: Sequence[int]) -> State:
    def joined(entries: list[Tensor]) -> Tensor:
        shared = entries[0].shape[0] != sizes[0]
        return entries[0] if shared or len(entries) == 1 else torch.cat(entries)

    return {name: joined([part[name] for part in parts]) for name in parts[0]}
