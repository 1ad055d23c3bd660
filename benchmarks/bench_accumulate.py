"""Accumulating counts, means, traces and the d x d scatter, against `torch.addmm` of the same size and dtype."""

import torch
from _harness import Table, paired, work

from collapselab import OnlineStats

NUM_CLASSES, BATCH = 10, 256


def main() -> None:
    """Print the table."""
    table = Table(__doc__ or "")
    for d, n in ((512, 20_000), (2048, 8_192)):
        h = torch.randn(n, d, dtype=torch.float64)
        y = torch.arange(n) % NUM_CLASSES
        total = torch.zeros(d, d, dtype=torch.float64)

        def stream(h=h, y=y):
            online = OnlineStats(NUM_CLASSES)
            for rows, labels in zip(torch.split(h, BATCH), torch.split(y, BATCH), strict=True):
                online.update(rows, labels)
            return online.stats()

        def reference(h=h, total=total):
            return torch.addmm(total, h.T, h)

        ours, theirs, ratio = paired(stream, reference)
        ops = work(stream).multiply_adds / work(reference).multiply_adds
        table.add(
            f"scatter d={d} N={n} batches of {BATCH}", ours=ours, addmm=theirs,
            ratio=f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}] (aim <= 1.30)", multiply_adds=f"{ops:.2f}x",
        )  # fmt: skip
    table.close()


if __name__ == "__main__":
    main()
