"""Paths of the locally elastic equation all at once, against a Python loop over paths that takes the same steps."""

import math

import torch
from _harness import Table, paired

from collapselab.theory import (
    LocallyElastic,
    LocallyElasticLogits,
    PowerLaw,
    constant,
    euler_maruyama_step,
    simulate,
)
from collapselab.theory._elastic.modal import AbstractModal

PATHS, STEPS, UNTIL = 1000, 50, 5.0


def one_by_one(model: AbstractModal, start: dict[str, torch.Tensor]) -> torch.Tensor:
    """The plain way: one path after the other, each in steps of a matrix product and a draw of noise."""
    generator, length, ends = torch.Generator().manual_seed(0), UNTIL / STEPS, []
    for _ in range(PATHS):
        mean, x = start["mean"].flatten(), start["h"].flatten()
        for step in range(STEPS):
            t = step * length
            velocity = model.matrix(t) @ mean
            noise = math.sqrt(length * float(model.noise.rate(t)))
            x = x + length * velocity + noise * torch.randn(x.shape, generator=generator, dtype=torch.float64)
            mean = mean + length * velocity
        ends.append(x.reshape(model.shape))
    return torch.stack(ends)


def with_matrices_at_hand(model: AbstractModal, start: dict[str, torch.Tensor]) -> torch.Tensor:
    """The same loop, to which the matrices of all steps are given: what a careful author would write."""
    generator, length, ends = torch.Generator().manual_seed(0), UNTIL / STEPS, []
    matrices = [length * model.matrix(step * length) for step in range(STEPS)]
    noises = [math.sqrt(length * float(model.noise.rate(step * length))) for step in range(STEPS)]
    for _ in range(PATHS):
        mean, x = start["mean"].flatten(), start["h"].flatten()
        for matrix, noise in zip(matrices, noises, strict=True):
            moved = matrix @ mean
            x = x + moved + noise * torch.randn(x.shape, generator=generator, dtype=torch.float64)
            mean = mean + moved
        ends.append(x.reshape(model.shape))
    return torch.stack(ends)


def with_the_library(model: AbstractModal, start: dict[str, torch.Tensor]) -> torch.Tensor:
    """The library's own step, path by path."""
    generator, length, ends = torch.Generator().manual_seed(0), UNTIL / STEPS, []
    for _ in range(PATHS):
        x = start
        for step in range(STEPS):
            drawn = torch.randn(model.shape, generator=generator, dtype=torch.float64)
            increment = {"h": math.sqrt(length) * drawn}
            x = euler_maruyama_step(model, step * length, x, step=length, increment=increment)
        ends.append(x["h"])
    return torch.stack(ends)


def main() -> None:
    """Print the table."""
    table = Table(__doc__ or "")
    loops = {"library's step": with_the_library, "plain": one_by_one, "matrices at hand": with_matrices_at_hand}
    for model in (
        LocallyElastic(3, PowerLaw(0.9, 0.6), PowerLaw(0.25, 0.8), constant(0.25)),
        LocallyElasticLogits(3, PowerLaw(0.9, 0.6), PowerLaw(0.25, 0.8), constant(0.25)),
    ):
        start = model.draw(torch.Generator().manual_seed(1))

        def ours(model=model, start=start) -> torch.Tensor:
            generator = torch.Generator().manual_seed(0)
            found = simulate(model, start, (UNTIL,), step=UNTIL / STEPS, paths=PATHS, generator=generator)
            return found.end["h"]

        for name, loop in loops.items():
            ends: list[torch.Tensor] = []
            a, b, ratio = paired(
                ours, lambda loop=loop, model=model, start=start, ends=ends: ends.append(loop(model, start)), repeats=2
            )
            off = (ours().mean(0) - ends[-1].mean(0)).abs().max() / ends[-1].std(0).max() * math.sqrt(PATHS / 2)
            table.add(
                f"{type(model).__name__}, {name}", ours=a, loop=b, speedup=f"{1 / ratio.median:.0f}x",
                paths=PATHS, steps=STEPS, means_apart=f"{off:.1f} standard errors",
            )  # fmt: skip
    table.close()


if __name__ == "__main__":
    main()
