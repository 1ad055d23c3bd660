"""One measurement as a table for people."""

from collections.abc import Iterable

from collapselab.cli._table import columns, number, paragraph
from collapselab.records import Conditions, Measurement, Measurements, PerClass
from collapselab.records.families import family_title


def measured_text(name: str, measured: Measurements) -> str:
    """Values grouped by family, then numbers per class, then what is undefined and why, then what a reader must know.

    Args:
        name: What was measured, for the first line.
        measured: The record.

    Returns:
        Lines.
    """
    c = measured.conditions
    blocks = [_headline(name, c), _values(measured), _per_class(measured), _undefined(measured)]
    notes = "\n".join(paragraph(f"note: {note}") for note in c.warnings)
    return "\n\n".join(block for block in (*blocks, notes) if block)


def _headline(name: str, c: Conditions) -> str:
    sizes = f"{c.num_samples} samples of {len(c.classes)} classes, {c.num_features} features ({c.feature_dtype})"
    split = "" if c.split is None else f", split {c.split}"
    ignored = f", {c.num_ignored} samples left out" if c.num_ignored else ""
    return f"{name}: {sizes}{split}{ignored}"


def _values(measured: Measurements) -> str:
    families: dict[str, list[tuple[str, str, str]]] = {}
    for name, found in measured.measurements.items():
        if found.value is not None:
            unit = "" if found.unit in (None, "1") else f" {found.unit}"
            row = (name, f"{number(found.value)}{unit}", number(found.at_collapse))
            families.setdefault(measured.declarations[name].family, []).append(row)
    if not families:
        return ""
    rows = [("", "value", "at collapse"), *(row for members in families.values() for row in members)]
    head, *lines = columns(rows, indent="  ").splitlines()
    text = [head]
    for family, members in families.items():
        text += [family_title(family), *lines[: len(members)]]
        lines = lines[len(members) :]
    return "\n".join(text)


def _per_class(measured: Measurements) -> str:
    """Of a number per class the lowest and the highest, with the classes they belong to."""
    rows = []
    for name, found in measured.per_class.items():
        if found.values is not None:
            (low, lowest), *_, (high, highest) = sorted(zip(found.values, measured.conditions.classes, strict=True)) * 2
            limit = number(measured.declarations[name].at_collapse)
            rows.append((name, f"{number(low)} (class {lowest})", f"{number(high)} (class {highest})", limit))
    return columns([("per class", "lowest", "highest", "at collapse"), *rows]) if rows else ""


def _undefined(measured: Measurements) -> str:
    reasons: dict[str, list[str]] = {}
    found: Iterable[tuple[str, Measurement | PerClass]] = [*measured.measurements.items(), *measured.per_class.items()]
    for name, one in found:
        if one.undefined is not None:
            reasons.setdefault(one.undefined, []).append(name)
    lines = [f"  {reason}:\n{paragraph(', '.join(names), indent='    ')}" for reason, names in reasons.items()]
    return "\n".join(["no value", *lines]) if lines else ""
