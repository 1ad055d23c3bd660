"""How a step on samples of one class moves those of others, as it is kept; readable without torch."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from collapselab.core.errors import InputError
from collapselab.records.schema import SCHEMA_VERSION, Declaration, Provenance, Record
from collapselab.records.store import first_fault


class BetweenClasses(Record):
    """A similarity of samples, averaged over pairs of classes, or the reason why there is none.

    Attributes:
        matrix: One number a pair of seen classes; rows are the classes that are stepped on. On the diagonal pairs of
            different samples of a class.
        intra: Mean of the diagonal.
        inter: Mean of all else.
        undefined: Why there are no numbers.
    """

    matrix: tuple[tuple[float, ...], ...] | None = None
    intra: float | None = None
    inter: float | None = None
    undefined: str | None = None

    @model_validator(mode="after")
    def _numbers_or_reason(self) -> "BetweenClasses":
        given = [part is not None for part in (self.matrix, self.intra, self.inter)]
        if any(given) != all(given) or all(given) == (self.undefined is not None):
            raise ValueError("a similarity holds a matrix and its means, or the reason why it is undefined")
        if self.matrix is not None and any(len(row) != len(self.matrix) for row in self.matrix):
            raise ValueError("a matrix over classes must have as many columns as rows")
        return self

    @property
    def gap(self) -> float | None:
        """By how much samples move their own class more than others."""
        return None if self.intra is None or self.inter is None else self.intra - self.inter

    def rows(self, classes: tuple[int, ...]) -> "list[ClassRow]":
        """The matrix class by class.

        Args:
            classes: Labels of the classes, in the order of the rows.

        Returns:
            One a class; none where there are no numbers.
        """
        return [_row(at, row, classes) for at, row in enumerate(self.matrix or ())]


class ClassRow(Record):
    """What a step on samples of one class does.

    Attributes:
        label: The class.
        own: To other samples of the class.
        others: To samples of other classes, on average.
        nearest: The other class that it does most to.
        to_nearest: How much.
    """

    label: int
    own: float
    others: float
    nearest: int
    to_nearest: float


def _row(at: int, row: tuple[float, ...], classes: tuple[int, ...]) -> ClassRow:
    others = [other for other in range(len(row)) if other != at]
    nearest = max(others, key=row.__getitem__)
    return ClassRow(
        label=classes[at],
        own=row[at],
        others=sum(row[other] for other in others) / len(others),
        nearest=classes[nearest],
        to_nearest=row[nearest],
    )


class Elasticity(Record):
    """Similarities of the samples of a network at one moment.

    Attributes:
        kind: Whether the network is that of a ``run``, a registered ``network``, or what a Python ``function`` gave.
        model: Title of the run, name of the network, or the function.
        arm: Name of the arm of the run; empty in a run of one training.
        weights: Where the weights are from.
        data: Name of the data, or of their file.
        split: Which part of a run's data; None for a file.
        num_parameters: Trained numbers that the gradients are taken by.
        num_classes: K, seen or not.
        classes: Labels seen, ascending.
        counts: Samples of each of them that were looked at.
        seed: What decided which samples.
        notes: What to bear in mind.
        reading: The number of the logits whose gradients are compared: ``own_residual``, the logits along the residual
            of the label, or ``single_logit`` of a network with one output.
        similarities: Key of a declaration to the similarity.
        declarations: What each says of itself.
        provenance: Where the record comes from.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    kind: Literal["run", "network", "function"]
    model: str
    arm: str = ""
    weights: str
    data: str
    split: str | None = None
    num_parameters: int
    num_classes: int
    classes: tuple[int, ...]
    counts: tuple[int, ...]
    seed: int
    notes: tuple[str, ...] = ()
    reading: Literal["own_residual", "single_logit"]
    similarities: dict[str, BetweenClasses]
    declarations: dict[str, Declaration] = Field(default_factory=dict)
    provenance: Provenance | None = None

    @model_validator(mode="after")
    def _one_a_class(self) -> "Elasticity":
        k = len(self.classes)
        if len(self.counts) != k or k < 2:
            raise ValueError("there are at least two classes, with one count each")
        if any(found.matrix is not None and len(found.matrix) != k for found in self.similarities.values()):
            raise ValueError("a matrix over classes must have one row a class")
        missing = self.similarities.keys() - self.declarations.keys()
        if missing:
            raise ValueError(f"every similarity must be declared, got none for {', '.join(sorted(missing))}")
        return self


def read_elasticity(path: "str | os.PathLike[str]") -> Elasticity:
    """Read what ``collapselab elasticity --out`` wrote.

    Args:
        path: The file.

    Returns:
        The record.

    Raises:
        InputError: If there is no such file, or it is no such record.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"no file {file}")
    try:
        return Elasticity.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise InputError(f"{file} is no record of elasticity: {first_fault(error)}") from error
