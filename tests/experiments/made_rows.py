"""Rows of a series that nobody measured, for tests of verdicts."""

from collections.abc import Mapping, Sequence

from collapselab.records.schema import Conditions, Measurement, Measurements, Observation, PerClass


def made_row(
    values: Mapping[str, float | None] | None = None,
    *,
    split: str = "train",
    arm: str = "",
    epoch: int = 1,
    error: float = 0.0,
    per_class: Mapping[str, Sequence[float]] | None = None,
) -> Observation:
    """A row with these values; None for one that is undefined."""
    classes = 10
    conditions = Conditions(
        source="test",
        num_samples=classes,
        num_classes=classes,
        num_features=2,
        classes=tuple(range(classes)),
        counts=(1,) * classes,
        feature_dtype="float32",
    )
    measurements = {
        name: Measurement(undefined="there is no such thing") if value is None else Measurement(value=value, unit="1")
        for name, value in (values or {}).items()
    }
    vectors = {name: PerClass(values=tuple(found), unit="1") for name, found in (per_class or {}).items()}
    result = Measurements(measurements=measurements, per_class=vectors, conditions=conditions)
    return Observation(
        epoch=epoch, step=epoch, split=split, loss=1.0, error=error, learning_rate=0.1, result=result, arm=arm
    )
