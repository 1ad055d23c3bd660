"""Numbers of a recipe that are no registered metrics: what declares them, and how they join a measurement."""

from collections.abc import Callable, Iterable

import numpy as np

from collapselab.dynamics import Found
from collapselab.metrics import Evidence
from collapselab.records.numbers import MATRIX, Extra, declared
from collapselab.records.schema import Measurement, Measurements

__all__ = ["Extra", "Extras", "declared", "matrices_of", "with_extra", "with_found"]

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
    for entry, value in extra:
        declarations[entry.name] = entry
        measurements[entry.name] = (
            Measurement(undefined=value)
            if isinstance(value, str)
            else Measurement(value=value, unit=entry.unit, at_collapse=entry.at_collapse)
        )
    return result.model_copy(update={"measurements": measurements, "declarations": declarations})


def with_found(result: Measurements, found: Found) -> Measurements:
    """A measurement with what quantities of the moving network found beside it.

    Args:
        result: What the metrics gave.
        found: Numbers, and matrices, of which the declarations alone are added.

    Returns:
        New record.
    """
    result = with_extra(result, found.numbers)
    pictures = {entry.name: entry for entry, _ in found.matrices}
    return result.model_copy(update={"declarations": {**result.declarations, **pictures}})


def matrices_of(found: Found) -> dict[str, np.ndarray]:
    """Matrices as a snapshot keeps them.

    Args:
        found: What quantities found.

    Returns:
        Array by ``matrix.`` and the name of its declaration, in float32.
    """
    return {f"{MATRIX}{entry.name}": matrix.astype(np.float32) for entry, matrix in found.matrices}
