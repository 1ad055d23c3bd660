"""The layer-peeled model: a scan of 41 imbalances against the semidefinite program, and many unequal classes."""

import time
import tracemalloc

from _harness import Table, paired, peak_mb, timed

from collapselab.theory import LayerPeeled, imbalance_scan, minority_collapse_threshold, semidefinite_relaxation

RATIOS = [10 ** (i / 10) for i in range(41)]

# Gap that the interior-point method is asked for; the reduced program stays below it by far.
TOLERANCE = 1e-9


def scan(table: Table) -> None:
    """Five majority and five minority classes at a budget of 5."""
    values: dict[str, list[float]] = {}

    def reduced() -> None:
        values["reduced"] = [at.minimum for at in imbalance_scan(5, 5, RATIOS, 5.0)]

    def one_by_one() -> None:
        weights = [(r,) * 5 + (1.0,) * 5 for r in RATIOS]
        values["single"] = [LayerPeeled((1,) * 10, 10, 1.0, 5.0, w).minimum for w in weights]

    def semidefinite() -> None:
        found = [semidefinite_relaxation((1.0,) * 5 + (1 / r,) * 5, 5.0, tolerance=TOLERANCE) for r in RATIOS]
        values["semidefinite"] = [one.require().value for one in found]

    def apart(name: str) -> str:
        return f"{max(abs(a - b) for a, b in zip(values[name], values['semidefinite'], strict=True)):.1e}"

    for name, ours in (("reduced", reduced), ("single", one_by_one)):
        a, b, ratio = paired(ours, semidefinite, repeats=3)
        label = "41 imbalances, at once" if name == "reduced" else "41 imbalances, one by one"
        table.add(label, ours=a, semidefinite=b, speedup=f"{1 / ratio.median:.0f}x", apart=apart(name))
    gap = max(at.gap for at in imbalance_scan(5, 5, RATIOS, 5.0))
    threshold = timed(lambda: minority_collapse_threshold(5, 5, 5.0))
    table.add("threshold of minority collapse", time=threshold, largest_gap_of_the_scan=f"{gap:.1e}")


def groups(table: Table) -> None:
    """A thousand classes of ten sizes."""
    counts = tuple(n for n in (1000, 500, 200, 100, 60, 40, 20, 10, 7, 5) for _ in range(100))
    gaps = []

    def solved() -> None:
        gaps[:] = [LayerPeeled(counts, 999, 1.0, 5.0).gap]

    table.add("1,000 classes of 10 sizes", time=timed(solved), gap=f"{gaps[0]:.1e}")


def long_tail(table: Table, k: int) -> None:
    """As many sizes as classes, falling exponentially to a hundredth, by thin factors and products alone."""
    weights = tuple(0.01 ** (i / (k - 1)) for i in range(k))
    before, start = peak_mb(), time.process_time()
    tracemalloc.start()
    found = LayerPeeled((1,) * k, k, 1.0, 5.0, weights)
    end = found.solution
    memory = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    table.add(
        f"{k:,} classes of {k:,} sizes", seconds=f"{time.process_time() - start:.1f}", status=end.solved.status,
        gap=f"{end.solved.gap:.1e}", loss=f"{end.solved.value:.9f}", rank=end.rank, arrays=f"{memory:.0f} MB",
        resident=f"{before:.0f} -> {peak_mb():.0f} MB",
    )  # fmt: skip


def main() -> None:
    """Print the table."""
    table = Table(__doc__ or "")
    scan(table)
    groups(table)
    for k in (100, 300, 1000):
        long_tail(table, k)
    table.close()


if __name__ == "__main__":
    main()
