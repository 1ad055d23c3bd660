"""What a model predicts, as it is kept: numbers, words and a geometry of a few numbers, readable without torch."""

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from collapselab.core.errors import InputError
from collapselab.records.schema import SCHEMA_VERSION, Declaration, Provenance, Record
from collapselab.records.store import first_fault

# Sets of merged classes that are told one by one.
_MOST_SETS = 6


class Blocks(Record):
    """A K x K matrix over classes in groups: one number on the diagonal of a group, one elsewhere in each block.

    Attributes:
        sizes: Classes in each group.
        own: Diagonal entry of each group.
        between: Entry of each block of groups off the diagonal; row, then column.
    """

    sizes: tuple[int, ...]
    own: tuple[float, ...]
    between: tuple[tuple[float, ...], ...]

    @model_validator(mode="after")
    def _one_a_group(self) -> "Blocks":
        g = len(self.sizes)
        if g == 0 or len(self.own) != g or len(self.between) != g or any(len(row) != g for row in self.between):
            raise ValueError("blocks hold one number a group and one a pair of groups")
        return self

    @property
    def size(self) -> int:
        """K."""
        return sum(self.sizes)

    def dense(self, most: int) -> list[list[float]] | None:
        """All entries, groups one after the other.

        Args:
            most: Rows up to which that is something to look at.

        Returns:
            Rows; None if there are more.
        """
        if self.size > most:
            return None
        group = [g for g, size in enumerate(self.sizes) for _ in range(size)]
        rows = enumerate(group)
        return [[self.own[g] if i == j else self.between[g][h] for j, h in enumerate(group)] for i, g in rows]


class PredictedGeometry(Record):
    """Inner products of class vectors and class means at every minimiser; groups of the largest classes come first.

    Attributes:
        weights: Of the rows of the classifier.
        means: Of the class means, not centred.
        logits: Rows of the classifier times class means, without bias.
        bias: Bias of a class of each group.
        groups: Group of each class: a group and how many classes of it come one after the other, in the order of the
            counts; empty where that is not recorded.
        cosines_weights: Cosines between the rows of the classifier; None where one is zero.
        cosines_means: Cosines between the class means after their mean is taken away; None where one is at that mean.
    """

    weights: Blocks
    means: Blocks
    logits: Blocks
    bias: tuple[float, ...]
    groups: tuple[tuple[int, int], ...] = ()
    cosines_weights: Blocks | None = None
    cosines_means: Blocks | None = None


class Norms(Record):
    """Sizes at every minimiser.

    Attributes:
        weight: Frobenius norm of the classifier.
        features: Frobenius norm of the features of all samples.
        bias: Euclidean norm of the bias.
        class_weight: Norm of a row of the classifier of each group of classes.
        class_mean: Norm of a class mean, not centred, of each group of classes.
    """

    weight: float
    features: float
    bias: float
    class_weight: tuple[float, ...]
    class_mean: tuple[float, ...]


class Sweep(Record):
    """The answer as all decays are multiplied by one factor.

    Attributes:
        factor: What they are multiplied by, ascending; 1 is the problem that was asked about.
        minimum: The minimum at each.
        margin: The smallest difference between a sample's own logit and another at each.
        vanishes_at: The factor from which on the classifier is zero; None if none was found.
    """

    factor: tuple[float, ...]
    minimum: tuple[float, ...]
    margin: tuple[float, ...]
    vanishes_at: float | None = None

    @model_validator(mode="after")
    def _of_one_length(self) -> "Sweep":
        if not len(self.factor) == len(self.minimum) == len(self.margin) > 0:
            raise ValueError("a sweep holds a minimum and a margin for each factor")
        return self


class MeasuredCourse(Record):
    """A number over training.

    Attributes:
        moments: When it was measured, in the unit of its run.
        values: What came.
        undefined: Why there is no number at the end; None where there is one.
    """

    moments: tuple[int, ...]
    values: tuple[float, ...]
    undefined: str | None = None

    @model_validator(mode="after")
    def _of_one_length(self) -> "MeasuredCourse":
        if len(self.moments) != len(self.values):
            raise ValueError("a course holds a value for each moment")
        return self

    @property
    def end(self) -> float | None:
        """The last value; None where the end has none."""
        return self.values[-1] if self.values and self.undefined is None else None


class Gram(Record):
    """The inner products as matrices over classes in the order in which their counts were given.

    Attributes:
        weights: Of the rows of the classifier.
        means: Of the class means, not centred.
        logits: Rows of the classifier times class means, without bias; rows are class vectors.
    """

    weights: tuple[tuple[float, ...], ...]
    means: tuple[tuple[float, ...], ...]
    logits: tuple[tuple[float, ...], ...]


class Remedy(Record):
    """What a model says of one way of training on classes of different sizes.

    Attributes:
        name: Its key.
        title: A few words.
        minority_cosine: Mean cosine between class vectors of the classes of at most average size; None where there is
            no pair of them or one is zero.
        norm_ratio: Mean norm of the class vectors of the other classes over theirs; None where theirs are zero.
        margin: Own logit less the largest other of a sample of the smallest classes.
        merged: Classes whose class vector coincides with that of another one of their size.
        near: Classes whose class vector is closer to another one than 5 % of the longest; None where all are zero.
        unknown: Why there are no numbers; None where there are.
    """

    name: str
    title: str
    minority_cosine: float | None = None
    norm_ratio: float | None = None
    margin: float | None = None
    merged: int | None = None
    near: int | None = None
    unknown: str | None = None


class ImbalanceSweep(Record):
    """The answer as the largest class keeps its size and all others shrink, each by the same power.

    Attributes:
        imbalance: Largest over smallest size, ascending.
        minority_cosine: Mean cosine between class vectors of the classes of at most average size; None where it has
            no value.
        merged: Classes whose class vector coincides with that of another one of their size.
    """

    imbalance: tuple[float, ...]
    minority_cosine: tuple[float | None, ...]
    merged: tuple[int, ...]

    @model_validator(mode="after")
    def _of_one_length(self) -> "ImbalanceSweep":
        if not len(self.imbalance) == len(self.minority_cosine) == len(self.merged) > 0:
            raise ValueError("a sweep over imbalance holds a cosine and a number of classes for each")
        return self


class Imbalance(Record):
    """What follows from classes of different sizes.

    Attributes:
        ratio: Largest over smallest size.
        minority: Classes of at most average size.
        threshold: The ratio from which on the class vectors of the smaller of two sizes coincide; None for other
            numbers of sizes, or where there is none.
        weight_needed: Weight of the losses of the smaller of two sizes, that of the larger being 1, above which their
            class vectors differ; None where not known, or none suffices.
        merged: Sets of classes with one class vector: their size, and how many there are.
        remedies: Training as it is, and with something done about it.
        sweep: The answer at other ratios; None where there are many sizes.
    """

    ratio: float
    minority: int
    threshold: float | None = None
    weight_needed: float | None = None
    merged: tuple[tuple[int, int], ...] = ()
    remedies: tuple[Remedy, ...] = ()
    sweep: ImbalanceSweep | None = None

    @property
    def said(self) -> tuple[str, ...]:
        """How unequal classes are, where the threshold is, what it would take, and which merge, in sentences."""
        sentences = [f"The largest class has {_plain(self.ratio)} times the samples of the smallest."]
        if self.threshold is not None:
            times = self.ratio / self.threshold
            far = f"{_plain(times)} times that" if times >= 1 else f"{_plain(1 / times)} times below"
            sentences.append(
                f"From a ratio of {_plain(self.threshold, 5)} on, the small classes have one class vector (minority"
                f" collapse); here it is {far}."
            )
        if self.weight_needed is not None and self.weight_needed > 1:
            sentences.append(f"A weight of their losses above {_plain(self.weight_needed)} would tell them apart.")
        sets = [f"{many:,} of {size:,} samples" for size, many in self.merged]
        more = f" and {len(sets) - _MOST_SETS} more sets" if len(sets) > _MOST_SETS else ""
        sentences.append(f"Classes with one class vector: {', '.join(sets[:_MOST_SETS]) + more or 'none'}.")
        return tuple(sentences)


def _plain(value: float, digits: int = 4) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.{digits}g}"


class Beside(Record):
    """A run that the prediction is laid beside.

    Attributes:
        run: Name of its folder, without the way to it.
        title: What it was.
        arm: Title of the training; empty in a run of one.
        split: Which data.
        unit: What time is counted in.
        courses: What was measured of each predicted number, by its name.
        taken: What the model was told by the run's record, in words, by setting.
        fitted: What was fitted to the end of the run, by setting.
        notes: Sentences on what the model stands in for and what it does not know.
    """

    run: str
    title: str
    arm: str = ""
    split: str
    unit: Literal["epoch", "step"] = "epoch"
    courses: dict[str, MeasuredCourse]
    taken: dict[str, str] = Field(default_factory=dict)
    fitted: dict[str, float] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Prediction(Record):
    """What a model says of a problem.

    Attributes:
        model: Its registered name.
        label: A few words for a heading.
        loss: Name of the loss that was asked about.
        source: Key of the publication in ``references.bib``.
        assumptions: What must hold for the answer to be one, in sentences.
        settings: The problem: classes, features, decays, bias.
        loss_settings: Settings of the loss.
        counts: Samples of a class, and how many classes of that size come one after the other.
        minimum: The infimum of the objective.
        mean_loss: The part of it that is the mean loss; None where it is not known.
        attained: Whether there is a minimiser.
        benign: Whether every local minimiser is a global one.
        norms: Sizes at the minimisers; None where they differ in them.
        margin: Smallest difference between a sample's own logit and another.
        predicts: Key of a metric to its value at every minimiser.
        declarations: What the metrics say of themselves; empty where nobody who knows them was asked.
        thresholds: Where the answer changes its nature, and how far this problem is from there.
        thresholds_say: What these numbers are, in words.
        minority_collapse_threshold: Largest over smallest size of a class from which on the smaller of two sizes have
            one class vector; None where there are not two sizes, or it is not known.
        geometry: Inner products; None where minimisers differ in them.
        gram: The same as dense matrices, up to 60 classes.
        imbalance: What follows from different sizes; None where classes have one size or the model does not say.
        sweep: The answer under weaker and stronger decay.
        beside: A run to compare with.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    model: str
    label: str
    loss: str
    source: str
    assumptions: tuple[str, ...]
    settings: dict[str, Any]
    loss_settings: dict[str, Any] = Field(default_factory=dict)
    counts: tuple[tuple[int, int], ...]
    minimum: float
    mean_loss: float | None = None
    attained: bool
    benign: bool
    norms: Norms | None = None
    margin: float | None = None
    predicts: dict[str, float]
    declarations: dict[str, Declaration] = Field(default_factory=dict)
    thresholds: dict[str, float]
    thresholds_say: str = ""
    minority_collapse_threshold: float | None = None
    geometry: PredictedGeometry | None = None
    gram: Gram | None = None
    imbalance: Imbalance | None = None
    sweep: Sweep | None = None
    beside: Beside | None = None
    provenance: Provenance | None = None

    @model_validator(mode="after")
    def _settings_are_numbers(self) -> "Prediction":
        for name, value in {**self.settings, **self.loss_settings}.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"setting {name} must be finite, got {value}")
        return self

    @model_validator(mode="after")
    def _norms_of_each_group(self) -> "Prediction":
        if self.norms is not None and self.geometry is not None:
            groups = {len(self.geometry.bias), len(self.norms.class_weight), len(self.norms.class_mean)}
            if groups != {len(self.geometry.weights.sizes)}:
                raise ValueError("norms and bias hold one number a group of the geometry")
        return self

    @property
    def num_classes(self) -> int:
        """K."""
        return sum(many for _, many in self.counts)

    @property
    def num_samples(self) -> int:
        """N."""
        return sum(count * many for count, many in self.counts)

    @property
    def group_names(self) -> tuple[str, ...]:
        """What each group of classes of the geometry is called, such as ``5 classes of 100``."""
        sizes = () if self.geometry is None else self.geometry.weights.sizes
        names = [f"{size:,} {'class' if size == 1 else 'classes'}" for size in sizes]
        alike: dict[int, int] = {}
        for count, many in self.counts:
            alike[count] = alike.get(count, 0) + many
        largest_first = sorted(alike.items(), reverse=True)
        if sizes != tuple(many for _, many in largest_first):
            return tuple(names)
        return tuple(f"{name} of {count:,}" for name, (count, _) in zip(names, largest_first, strict=True))


def read_prediction(path: Path) -> Prediction:
    """Read what ``collapselab predict --out`` wrote.

    Args:
        path: The file.

    Returns:
        The record.

    Raises:
        InputError: If there is no such file, or it is no prediction.
    """
    if not path.is_file():
        raise InputError(f"no file {path}")
    try:
        return Prediction.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise InputError(f"{path} is no prediction: {first_fault(error)}") from error
