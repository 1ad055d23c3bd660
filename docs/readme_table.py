"""The README's table of metrics, written from the registry: ``python docs/readme_table.py`` updates the file."""

from pathlib import Path

from collapselab.metrics import REGISTRY, Metric
from collapselab.records.families import family_title

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- metrics: begin (checked against the registry by the tests) -->\n", "<!-- metrics: end -->"


def at_collapse(metric: Metric) -> str:
    """The limit at full collapse, as a formula where it depends on K and d."""
    if metric.at_collapse is None:
        return ""
    if not callable(metric.at_collapse):
        return f"{metric.at_collapse:g}"
    values = {f"{metric.limit(k, 512):.6g}" for k in (3, 10, 50)}
    return values.pop() if len(values) == 1 else "K-1" if values == {"2", "9", "49"} else "depends on K"


def row(metric: Metric) -> str:
    """One line of the table."""
    needs = ", ".join(metric.needs)
    shape = " (per class)" if metric.per_class else ""
    return f"| `{metric.name}`{shape} | {metric.summary} | {at_collapse(metric)} | {needs} | {metric.source} |"


def table() -> str:
    """All tables, a heading for each family."""
    parts = []
    for family in dict.fromkeys(m.family for m in REGISTRY.values()):
        parts.append(f"\n**{family_title(family)}**\n")
        parts.append("| key | what it says | at collapse | needs | source |\n|---|---|---|---|---|")
        parts += [row(m) for m in REGISTRY.values() if m.family == family]
    return "\n".join(parts) + "\n\n"


def updated(text: str) -> str:
    """A README with the present table in it."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END, 1)[1]


if __name__ == "__main__":
    README.write_text(updated(README.read_text()))
