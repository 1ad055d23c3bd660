"""Numbers of a recipe that are no registered metrics: what declares them, and how they join a measurement."""

from collections.abc import Callable, Iterable

from collapselab.metrics import Evidence
from collapselab.records.schema import Declaration, Measurement, Measurements

Extra = tuple[Declaration, float | str]
"""What a number says of itself, and its value, or the reason why it has none."""

Extras = Callable[[Evidence, str], Iterable[Extra]]
"""Gives the numbers of a look at a network, from the evidence that metrics see and the name of the split."""


def with_extra(result: Measurements, extra: Iterable[Extra]) -> Measurements:
    """A measurement with further numbers, which are declared by the record alone.

    Args:
        result: What the metrics gave.
        extra: Declarations, each with its value or the reason why it has none.

    Returns:
        New record.
    """
    measurements, declarations = dict(result.measurements), dict(result.declarations)
    for declared, value in extra:
        declarations[declared.name] = declared
        measurements[declared.name] = (
            Measurement(undefined=value)
            if isinstance(value, str)
            else Measurement(value=value, unit=declared.unit, at_collapse=declared.at_collapse)
        )
    return result.model_copy(update={"measurements": measurements, "declarations": declarations})


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
    lower: float = 0.0,
    upper: float | None = None,
) -> Declaration:
    """What a recipe says of a number that is no registered metric, by default a non-negative one.

    Args:
        name: Its key.
        label: A few words for a table or an axis.
        summary: One sentence.
        symbol: LaTeX.
        source: Key in ``references.bib``.
        family: Heading it stands under, in snake_case.
        at_collapse: Its limit at full collapse.
        unit: ``1`` for a pure number.
        lower: Smallest possible value.
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
