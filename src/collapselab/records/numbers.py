"""Numbers that are no registered metrics: what declares them, and their values or why there are none."""

from collapselab.records.schema import Declaration

MATRIX = "matrix."
"""Prefix of the names of arrays of a snapshot that hold a matrix over classes."""

Extra = tuple[Declaration, float | str]
"""What a number says of itself, and its value, or the reason why it has none."""


def declared(
    name: str,
    label: str,
    summary: str,
    *,
    symbol: str,
    source: str,
    family: str,
    at_collapse: float | None = 0.0,
    unit: str = "1",
    lower: float | None = 0.0,
    upper: float | None = None,
) -> Declaration:
    """What is said of a number that is no registered metric, by default a non-negative one.

    Args:
        name: Its key.
        label: A few words for a table or an axis.
        summary: One sentence.
        symbol: LaTeX.
        source: Key in ``references.bib``.
        family: Heading it stands under, in snake_case.
        at_collapse: Its limit at full collapse.
        unit: ``1`` for a pure number.
        lower: Smallest possible value; None if unbounded.
        upper: Largest possible value; None if unbounded.

    Returns:
        The declaration.
    """
    return Declaration(
        name=name,
        label=label,
        summary=summary,
        symbol=symbol,
        unit=unit,
        at_collapse=at_collapse,
        lower=lower,
        upper=upper,
        family=family,
        source=source,
    )
