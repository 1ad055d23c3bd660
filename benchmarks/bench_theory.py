"""Fitting unconstrained features with `minimise` against SGD to the same loss; closed forms of many classes."""

import tracemalloc

import torch
from _harness import Table, paired, timed

from collapselab.theory import AbstractLandscape, CrossEntropyFeatures, Problem, State, minimise

# How far above the minimum, as a part of it, both fits must get.
EXCESS = 1e-8

# Full batch and momentum .9. Of 1, 3, 10, 30 and 100 a rate that one would begin with, and the fastest.
RATES = {10: (1.0, 10.0), 100: (30.0, 100.0)}
MOST_STEPS = 40_000


def sgd(landscape: AbstractLandscape, start: State, rate: float) -> int:
    """Full-batch gradient descent with momentum until the loss is reached; how many steps that took."""
    parameters = [x.clone().requires_grad_() for x in start.values()]
    optimiser = torch.optim.SGD(parameters, lr=rate, momentum=0.9)
    goal = landscape.minimum * (1 + EXCESS)
    for step in range(1, MOST_STEPS + 1):
        loss = landscape.loss(dict(zip(start, parameters, strict=True)))
        if float(loss.detach()) <= goal:
            return step
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    raise RuntimeError(f"SGD did not come within {EXCESS} of the minimum in {MOST_STEPS} steps")


def fits(table: Table) -> None:
    """The same problem from the same start to the same loss."""
    for k, n, d, decay, repeats in ((10, 50, 64, 1e-3, 3), (100, 50, 256, 1e-4, 1)):
        landscape = CrossEntropyFeatures(Problem.balanced(k, n, d, decay_head=1e-3, decay_features=decay))
        start = landscape.draw(torch.Generator().manual_seed(0))
        for rate in RATES[k]:
            found: dict[str, float] = {}

            def ours(landscape=landscape, start=start, found=found):
                end = minimise(landscape, start, tolerance=1e-8)
                found["excess"] = float(landscape.loss(end.end)) / landscape.minimum - 1
                found["evaluations"] = end.stats["evaluations"]

            def plain(landscape=landscape, start=start, found=found, rate=rate):
                found["steps"] = sgd(landscape, start, rate)

            a, b, ratio = paired(ours, plain, repeats=repeats)
            table.add(
                f"cross-entropy ({k}, {n}, {d}), SGD rate {rate:g}", lbfgs=a, sgd=b, speedup=f"{1 / ratio.median:.1f}x",
                evaluations=int(found["evaluations"]), steps=int(found["steps"]), excess=f"{found['excess']:.0e}",
            )  # fmt: skip
            assert found["excess"] <= EXCESS


def closed_forms(table: Table) -> None:
    """A hundred thousand classes: minimum, geometry, thresholds and predicted metrics."""
    k = 100_000
    decay = 0.5 / k

    def stated() -> None:
        landscape = CrossEntropyFeatures(Problem.balanced(k, 1, k, decay_head=decay, decay_features=decay))
        landscape.minimum, landscape.predicts(), landscape.thresholds()

    seconds = timed(stated)
    tracemalloc.start()
    stated()
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    table.add(f"closed form, {k:,} classes", time=seconds, python_memory=f"{peak:.1f} MB (K x K would be 76,000 MB)")


def main() -> None:
    """Print the table."""
    table = Table(__doc__ or "")
    fits(table)
    closed_forms(table)
    table.close()


if __name__ == "__main__":
    main()
