"""What was measured how: the data, the layer, the mode, the precision."""

from collapselab.records import Conditions
from collapselab.report.sections._section import Section
from collapselab.report.view import View
from collapselab.report.words import listed

_AGAIN = {
    "memory": "kept in memory",
    "memory-map": "kept in a memory map on disk",
    "replay": "by a second pass over the data",
    "not needed": "not needed",
}

CONVENTIONS = (
    "Covariances are sums divided by the number of samples, never by one less.",
    "Class means are centred at the mean of class means, so that each class counts once. nc1_pinv takes the covariance "
    "within classes over samples and the one between classes over class means; other metrics count each class once on "
    "both sides, unless their name ends in sample_weighted. On balanced data the weightings agree.",
    "One name is one formula: the symbol beside a name is what was computed, and no option changes it.",
    "Logarithms are natural, cosines have no unit, error and agreement are fractions.",
)


def conditions(view: View) -> Section | None:
    """Make the section.

    Args:
        view: What to show.

    Returns:
        The section, or None if nothing was measured.
    """
    if not view.latest:
        return None
    columns = _columns(view)
    names = dict.fromkeys(name for facts in columns.values() for name in facts)
    rows = [(name, [facts.get(name, "–") for facts in columns.values()]) for name in names]
    words = {"splits": tuple(columns), "rows": rows, "conventions": CONVENTIONS}
    return Section("conditions", "What was measured how", "How measured", "conditions.html.j2", words)


def _columns(view: View) -> dict[str, dict[str, str]]:
    """One column a split; in a run with arms one an arm and split, those that say the same together."""
    if not view.arms:
        return {split: _facts(measured.conditions) for split, measured in view.latest.items()}
    found: dict[str, tuple[dict[str, str], list[str]]] = {}
    for arm in view.arms:
        for split, measured in arm.latest.items():
            facts = _facts(measured.conditions)
            found.setdefault(f"{split} {facts}", (facts, []))[1].append(f"{split}, {arm.title}")
    return {_titled(titles): facts for facts, titles in found.values()}


def _titled(titles: list[str]) -> str:
    split, title = titles[0].split(", ", 1)
    return f"{split}, {title}" if len(titles) == 1 else f"{split}, {title} and {len(titles) - 1} more"


def _facts(how: Conditions) -> dict[str, str]:
    facts = {
        "features of": how.source,
        "layer": "features given directly" if how.layer is None else f"input of {how.layer}",
        "mode of the network": "features given directly" if how.mode is None else how.mode,
        "forward pass under autocast": "yes" if how.autocast else "no",
        "samples": f"{how.num_samples:,}" + (f" ({how.num_ignored:,} ignored)" if how.num_ignored else ""),
        "samples in each class": _counts(how),
        "classes": f"{len(how.classes):,} seen of {how.num_classes:,}",
        "width of the features": f"{how.num_features:,}",
        "data type of the features": how.feature_dtype,
        "data type of the sums": how.accumulation_dtype,
        "features looked at a second time": _AGAIN[how.features_again],
        "warnings": "; ".join(how.warnings) or "none",
    }
    if how.empty_classes:
        facts["classes never seen, left out"] = listed(how.empty_classes)
    return facts


def _counts(how: Conditions) -> str:
    low, high = min(how.counts, default=0), max(how.counts, default=0)
    if low == high:
        return f"{low:,} in each"
    return f"{low:,} to {high:,}: {listed(how.counts)}" if len(how.counts) <= 12 else f"{low:,} to {high:,}"
