"""What follows from classes of different sizes, as text for people."""

from collapselab.cli._table import columns, number, paragraph
from collapselab.records.prediction import Imbalance, Remedy


def imbalance_text(found: Imbalance) -> str:
    """Ratio and threshold, which classes merge, and a table of remedies.

    Args:
        found: The record.

    Returns:
        Lines.
    """
    said = [paragraph(sentence, indent="  ") for sentence in found.said]
    lines = ["\n".join(["imbalance", *said])]
    if found.remedies:
        lines.append(_remedies(found.remedies))
    return "\n\n".join(lines)


def _remedies(found: tuple[Remedy, ...]) -> str:
    lacking: list[str] = []
    rows: list[tuple[str, ...]] = [("remedies", "cosine", "norms", "margin", "merged", "near")]
    for remedy in found:
        if remedy.unknown is not None:
            rows.append((f"  {remedy.title}", "-", "-", "-", "-", "-"))
            lacking.append(paragraph(f"{remedy.title}: {remedy.unknown}", indent="  "))
            continue
        values = (remedy.minority_cosine, remedy.norm_ratio, remedy.margin)
        counted = (str(remedy.merged), "-" if remedy.near is None else str(remedy.near))
        rows.append((f"  {remedy.title}", *map(number, values), *counted))
    words = (
        "cosine: mean of pairs of class vectors of the classes of at most average size; norms: mean of the other class"
        " vectors over theirs; margin: of a sample of the smallest classes; merged, near: classes whose class vector"
        " is that of another class, or within 5 % of the longest of it. Weights are factors of losses by class size n;"
        " a fixed head has the same answer under cross-entropy and dot regression where norms are fixed."
    )
    return "\n".join([columns(rows), *lacking, paragraph(words, indent="  ")])
