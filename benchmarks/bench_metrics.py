"""Every metric from features (N=50,000, d=512) and from class means at vocabulary size (K=20,000, d=768)."""

import resource

import torch
from _harness import Table, paired, peak_mb, timed, work

from collapselab import ClassStats, LabelledFeatures, LinearHead
from collapselab.evidence.decisions import Decisions
from collapselab.metrics import REGISTRY, Evidence, measure_evidence

N, D = 50_000, 512


def moment_metrics() -> list[str]:
    """Keys of the metrics that need moments and perhaps a head, but never the features again."""
    return [name for name, m in REGISTRY.items() if "features" not in m.needs]


def from_features(table: Table) -> None:
    """Moments, moment-based metrics and NC4 at three numbers of classes."""
    for k in (10, 100, 1000):
        generator = torch.Generator().manual_seed(k)
        y = torch.randint(k, (N,), generator=generator)
        centres = torch.randn(k, D, generator=generator)
        features = LabelledFeatures(centres[y] + torch.randn(N, D, generator=generator), y, k)
        head = LinearHead(centres / D, torch.zeros(k))
        names = moment_metrics()

        def everything(features=features, head=head, names=names):
            return measure_evidence(Evidence(ClassStats.of(features), head), names)

        stats = ClassStats.of(features)
        h64 = features.h.double()
        scatter = torch.zeros(D, D, dtype=torch.float64)

        def moments(features=features):
            return ClassStats.of(features)

        def addmm(h64=h64, scatter=scatter):
            return torch.addmm(scatter, h64.T, h64)

        ours, _, ratio = paired(moments, addmm, repeats=3)
        table.add(f"moments with scatter K={k}", ours=ours, ratio_to_addmm=f"{ratio.median:.2f}")
        table.add(f"moments and {len(names)} metrics K={k}", ours=timed(everything), aim="0.45 s")
        _nc4(table, stats, head, features, h64)


def _nc4(table: Table, stats: ClassStats, head: LinearHead, features: LabelledFeatures, h64: torch.Tensor) -> None:
    head64, k = head.double(), stats.num_seen

    def decide():
        return Decisions.of(stats, head64, features)

    def products():
        for rows in torch.split(h64, 8192):
            torch.mm(rows, head64.weight.T)
            torch.mm(rows, stats.means.T)

    ours, theirs, ratio = paired(decide, products)
    ops = work(decide).multiply_adds / work(products).multiply_adds
    table.add(
        f"NC4 K={k}", ours=ours, products=theirs, ratio=f"{ratio.median:.2f} (aim <= 1.30)", multiply_adds=f"{ops:.2f}x"
    )


def from_means(table: Table) -> None:
    """Means only at K=20,000, d=768: no K x K object is ever formed."""
    k, d = 20_000, 768
    means = torch.randn(k, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(k)
    before = peak_mb()
    for names, aim in ((["etf_error"], "about 1 s"), (["cdnv", "uniformity_mean", "uniformity_variance"], "about 9 s")):

        def run(names=names):
            stats = ClassStats(k, labels, torch.full((k,), 10), means, torch.full((k,), 5.0, dtype=torch.float64))
            return measure_evidence(Evidence(stats), names)

        counted = work(run)
        table.add(
            f"{' + '.join(names)} K={k} d={d}", ours=timed(run, repeats=2), aim=aim,
            extra_memory=f"{peak_mb() - before:.0f} MB", multiply_adds=f"{counted.multiply_adds:.3g}",
            factorisations=dict(counted.factorisations),
        )  # fmt: skip


def main() -> None:
    """Print the table; vocabulary size first, while the process is still small."""
    table = Table(__doc__ or "")
    soft = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    table.add("resident before anything", memory=f"{soft / 1024:.0f} MB")
    from_means(table)
    from_features(table)
    table.close()


if __name__ == "__main__":
    main()
