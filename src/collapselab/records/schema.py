"""The schema of what is kept. Everything a report shows is in these records; nothing here needs torch.

Every record is frozen, refuses unknown fields and refuses NaN and infinity: an undefined value is absent and carries
its reason.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, model_serializer, model_validator

SCHEMA_VERSION = 1


class Record(BaseModel):
    """Base of all records: frozen, strict about fields, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Declaration(Record):
    """What a metric says of itself, carried by the record so that a view needs no metric code.

    Attributes:
        name: Its key.
        label: A few words for a table or an axis.
        summary: First sentence of its documentation.
        symbol: LaTeX.
        unit: ``1`` for a pure number, else ``nat``, ``fraction`` ...
        at_collapse: Value in the fully collapsed limit for the classes at hand; None where the limit fixes none.
        lower: Smallest possible value; None if unbounded.
        upper: Largest possible value; None if unbounded.
        family: Module that defines it: ``variability``, ``means`` ...
        source: Key of the publication in ``references.bib``.
        per_class: Whether it is one number per class.
    """

    name: str
    label: str
    summary: str
    symbol: str
    unit: str
    at_collapse: float | None
    lower: float | None
    upper: float | None
    family: str
    source: str
    per_class: bool = False


class Measurement(Record):
    """One number with its unit and its limit at collapse, or the reason why there is none."""

    value: float | None = None
    unit: str | None = None
    at_collapse: float | None = None
    undefined: str | None = None

    @model_validator(mode="after")
    def _value_or_reason(self) -> "Measurement":
        if (self.value is None) == (self.undefined is None):
            raise ValueError("a measurement holds either a value or the reason why it is undefined")
        return self

    @model_serializer
    def _as_json(self) -> dict[str, Any]:
        if self.undefined is not None:
            return {"undefined": self.undefined}
        return {"value": self.value, "unit": self.unit, "at_collapse": self.at_collapse}


class PerClass(Record):
    """One number per seen class, in the order of `Conditions.classes`, or the reason why there is none."""

    values: tuple[float, ...] | None = None
    unit: str | None = None
    undefined: str | None = None

    @model_validator(mode="after")
    def _values_or_reason(self) -> "PerClass":
        if (self.values is None) == (self.undefined is None):
            raise ValueError("a per-class measurement holds either values or the reason why it is undefined")
        return self

    @model_serializer
    def _as_json(self) -> dict[str, Any]:
        if self.undefined is not None:
            return {"undefined": self.undefined}
        return {"values": list(self.values or ()), "unit": self.unit}


class Conditions(Record):
    """How something was measured.

    Attributes:
        split: Which data: ``train``, ``test`` or what the caller said; None if not said.
        source: What was measured: ``features``, or the class name of the model.
        layer: Name of the module whose input was taken as features, or ``output of`` a module and what became of its
            places; None for features given directly.
        mode: ``eval`` or ``train`` for a model's flags while measuring; None for features given directly.
        num_samples: Samples that entered the statistics.
        num_ignored: Samples left out because of `ignore_index`.
        num_classes: K as declared, seen or not.
        num_features: d.
        classes: Labels seen, ascending.
        counts: Samples of each seen class.
        empty_classes: Labels below `num_classes` never seen; they enter no mean.
        feature_dtype: Data type of the features as they came.
        accumulation_dtype: Data type of the moments.
        features_again: How metrics that look at the features a second time got them: kept in ``memory``, in a
            ``memory-map``, by a second pass (``replay``), or ``not needed``.
        autocast: Whether the forward pass ran under autocast.
        warnings: Sentences a reader must know, such as an imbalance or a stochastic sampler.
    """

    split: str | None = None
    source: str
    layer: str | None = None
    mode: Literal["eval", "train"] | None = None
    num_samples: int
    num_ignored: int = 0
    num_classes: int
    num_features: int
    classes: tuple[int, ...]
    counts: tuple[int, ...]
    empty_classes: tuple[int, ...] = ()
    feature_dtype: str
    accumulation_dtype: str = "float64"
    features_again: Literal["memory", "memory-map", "replay", "not needed"] = "not needed"
    autocast: bool = False
    warnings: tuple[str, ...] = ()


class Provenance(Record):
    """Where a record comes from: enough to repeat it, nothing that identifies a person or a machine's files."""

    collapselab: str
    python: str
    platform: str
    packages: dict[str, str]
    git_commit: str | None = None
    git_dirty: bool | None = None
    threads: int | None = None
    device: str | None = None
    devices: int | None = None
    dtype: str | None = None
    seed: int | None = None
    created: str
    command: tuple[str, ...] = ()


class Measurements(Record):
    """The outcome of `collapselab.measure`: every metric's value or reason, and how it was measured."""

    schema_version: Literal[1] = SCHEMA_VERSION
    measurements: dict[str, Measurement]
    per_class: dict[str, PerClass] = Field(default_factory=dict)
    conditions: Conditions
    declarations: dict[str, Declaration] = Field(default_factory=dict)
    provenance: Provenance | None = None

    def __getitem__(self, name: str) -> float:
        """The value of a metric.

        Args:
            name: Key of a measured metric.

        Returns:
            Its value.

        Raises:
            UndefinedMetric: If the metric was undefined here; the message is the reason.
            UnknownName: If it was not measured.
        """
        from collapselab.core.errors import UndefinedMetric, UnknownName

        if name not in self.measurements:
            raise UnknownName(f"{name!r} was not measured; measured: {', '.join(sorted(self.measurements))}")
        found = self.measurements[name]
        if found.value is None:
            raise UndefinedMetric(f"{name}: {found.undefined}")
        return found.value

    def __str__(self) -> str:
        """A table of the values, one line a metric."""
        width = max((len(name) for name in self.measurements), default=0)
        lines = []
        for name, m in self.measurements.items():
            shown = f"undefined: {m.undefined}" if m.value is None else f"{m.value:.6g}"
            target = "" if m.at_collapse is None else f"   (at collapse {m.at_collapse:.4g})"
            lines.append(f"{name:<{width}}  {shown}{target if m.value is not None else ''}")
        return "\n".join(lines)


class Claim(Record):
    """One sentence that can be false, and where it was made."""

    sentence: str
    source: str


class Verdict(Record):
    """Whether a claim holds in a run, and by how much."""

    state: Literal["holds", "fails", "inconclusive"]
    statement: str
    figures: dict[str, float | int | str | None] = Field(default_factory=dict)


class Observation(Record):
    """One row of a run's series: one split of the data, at one layer of one training, at one moment.

    Attributes:
        epoch: Epochs done; 0 is before training.
        step: Optimiser steps done; a moment within an epoch has more steps than its epochs took.
        split: Which data.
        loss: Mean training loss over the split in eval mode, in the loss's own unit; of the whole network, whatever the
            layer.
        error: Fraction of the split that the classifier gets wrong; of the whole network, whatever the layer.
        learning_rate: Learning rate of the last step taken; None before training.
        result: What was measured.
        arm: Name of the arm of the run; empty in a run of one training.
        layer: Name of the stage of the network whose output was measured; empty for the features that the classifier
            sees.
    """

    epoch: int
    step: int
    split: str
    loss: float
    error: float
    learning_rate: float | None
    result: Measurements
    arm: str = ""
    layer: str = ""


class Arm(Record):
    """One of several trainings that a run compares.

    Attributes:
        name: Its key in the series and in the names of files.
        title: A few words for a legend.
        settings: What distinguishes it from the other arms, by name.
    """

    name: str
    title: str
    settings: dict[str, Any] = Field(default_factory=dict)


class Reference(Record):
    """A value that a picture is read against, and what it is."""

    value: float
    label: str


class Against(Record):
    """A picture of a claim: what each arm ended with, or all its rows, against a number.

    Attributes:
        kind: Which picture.
        metric: Key of a metric; ``accuracy``, ``error`` or ``loss`` of a row will do as well.
        split: Which data.
        over: Setting of the arms that the horizontal axis shows: numbers, or words, which stand side by side in the
            order of the arms; with `every`, a number of their rows.
        by: Setting with one line a value; None for a single line.
        log_x: Whether the horizontal axis is logarithmic.
        references: Lines to read the values against.
        words: Words for people, by name of a setting or by value of `by`.
        beside: Further metrics on the same axis, each with lines of its own.
        powers: Exponents of power laws predicted for small values of the setting, by key of a metric: drawn through the
            first value of its first line where both axes are logarithmic.
        title: Name of the vertical axis; that of the metric by default.
        half_width: Figures of the verdict with half the widths of confidence intervals of the means of `metric` where
            several arms share a place: this name, the value of `by` and the place, joined by ``_``; empty for none.
        confidence: What the intervals are, in a few words.
        every: Whether all rows of an arm are drawn, as a line, and not its last one alone.
        mark: With `every`, a setting of the arms with the place on the axis at which each line bears a mark; empty for
            none. `words` say what it is.
        linear: Whether the vertical axis is linear even where values differ by factors, as that of a share.
    """

    kind: Literal["against"] = "against"
    metric: str
    split: str = "train"
    over: str
    by: str | None = None
    log_x: bool = False
    references: tuple[Reference, ...] = ()
    words: dict[str, str] = Field(default_factory=dict)
    beside: tuple[str, ...] = ()
    powers: dict[str, float] = Field(default_factory=dict)
    title: str = ""
    half_width: str = ""
    confidence: str = "95 % confidence intervals"
    every: bool = False
    mark: str = ""
    linear: bool = False


class Paired(Record):
    """A picture of a claim: what arms that belong together ended with, side by side, and their differences.

    Attributes:
        kind: Which picture.
        metric: Key of a metric; ``accuracy``, ``error`` or ``loss`` of a row will do as well.
        split: Which data.
        over: Setting in which the arms of a pair differ; a difference is the second value minus the first, in the order
            of the arms.
        by: Setting that the arms of a pair share.
        interval: Figures of the verdict with the mean difference and half the width of its confidence interval.
        confidence: What the interval is, in a few words.
        references: Differences to read the interval against.
        words: Words for people, by name of a setting or by value of `over`.
    """

    kind: Literal["paired"] = "paired"
    metric: str
    split: str = "test"
    over: str
    by: str = "seed"
    interval: tuple[str, str]
    confidence: str = "95 % confidence interval"
    references: tuple[Reference, ...] = ()
    words: dict[str, str] = Field(default_factory=dict)


class NullBand(Record):
    """A picture of a claim: a number over training, beside the range of its values where there is nothing to find.

    Attributes:
        kind: Which picture.
        metric: Key of a metric; ``accuracy``, ``error`` or ``loss`` of a row will do as well.
        split: Which data.
        null: Split whose rows hold the values to compare with.
        part: The part of their mean that the claim speaks of, drawn as a line; None for none.
        words: Words for people, by name of a split.
    """

    kind: Literal["null_band"] = "null_band"
    metric: str
    split: str = "train"
    null: str
    part: float | None = None
    words: dict[str, str] = Field(default_factory=dict)


class Course(Record):
    """A picture of a claim: numbers over training, one figure each, a line for every arm.

    Attributes:
        kind: Which picture.
        metrics: Keys of metrics or of other numbers of the rows; ``accuracy`` is one, ``error`` and ``loss`` are not.
        split: Which data.
        references: Lines to read the values against, by key of the metric.
        together: Further metrics that share one figure in a run of one training: a line each.
    """

    kind: Literal["course"] = "course"
    metrics: tuple[str, ...]
    split: str = "train"
    references: dict[str, tuple[Reference, ...]] = Field(default_factory=dict)
    together: tuple[str, ...] = ()


Chart = Annotated[Against | Paired | NullBand | Course, Field(discriminator="kind")]
"""How a run shows its claim in a picture."""


class Run(Record):
    """One experiment: what was asked, what it became, what it says about its claim.

    Attributes:
        name: Registered name of the recipe.
        title: A few words for people.
        status: ``running`` until it ends; a killed run still says so, with `epochs_done` of `epochs`.
        error: Message of the failure, if it failed.
        config: Every field of the recipe, as in force.
        epochs: Epochs asked for, of all arms together.
        epochs_done: Epochs completed and kept, of all arms together; a run that is done has fewer than were asked for
            where a stop rule ended a training early.
        seconds: Wall time so far, over all sessions.
        sessions: How many times it was started or resumed.
        arms: The trainings that it compares, in their order; none in a run of one training.
        chart: How to show the claim in a picture; None where the curves of every run do.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    title: str
    status: Literal["running", "done", "interrupted", "failed"]
    error: str | None = None
    claim: Claim
    verdict: Verdict | None = None
    config: dict[str, Any]
    epochs: int
    epochs_done: int = 0
    seconds: float = 0.0
    sessions: int = 1
    declarations: dict[str, Declaration] = Field(default_factory=dict)
    provenance: Provenance
    notes: tuple[str, ...] = ()
    arms: tuple[Arm, ...] = ()
    chart: Chart | None = None

    @model_validator(mode="wrap")
    @classmethod
    def _known_version(cls, data: Any, handler: ModelWrapValidatorHandler["Run"]) -> "Run":
        version = data.get("schema_version", SCHEMA_VERSION) if isinstance(data, dict) else SCHEMA_VERSION
        if version != SCHEMA_VERSION:
            raise ValueError(
                f"schema_version {version} is not one this version of collapselab reads ({SCHEMA_VERSION})"
            )
        return handler(data)
