"""Records: round trips to the bit, no NaN, no unknown field, an absent value with its reason."""

import json
import math

import pytest
from pydantic import ValidationError

from collapselab.core.errors import UndefinedMetric, UnknownName
from collapselab.records import (
    Against,
    Arm,
    Claim,
    Measurement,
    Measurements,
    NullBand,
    Observation,
    Paired,
    PerClass,
    Reference,
    Run,
    as_json,
)
from records import samples

EVERY = {
    "conditions": samples.conditions,
    "declaration": samples.declaration,
    "measurements": samples.measurements,
    "observation": lambda: samples.observation(3, error=0.25),
    "provenance": samples.provenance,
    "run": lambda: samples.run(verdict=samples.verdict(), notes=("resumed",)),
    "verdict": samples.verdict,
}


@pytest.mark.parametrize("kind", EVERY)
def test_round_trip_through_json_keeps_everything(kind):
    record = EVERY[kind]()
    text = record.model_dump_json()
    back = type(record).model_validate_json(text)
    assert back == record
    assert back.model_dump_json() == text
    assert type(record).model_validate(json.loads(as_json(record.model_dump(mode="json")))) == record


@pytest.mark.parametrize("kind", EVERY)
def test_records_are_frozen(kind):
    record = EVERY[kind]()
    field = next(iter(type(record).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(record, field, None)


@pytest.mark.parametrize("kind", EVERY)
def test_unknown_fields_are_refused(kind):
    record = EVERY[kind]()
    data = {**record.model_dump(mode="json"), "surprise": 1}
    with pytest.raises(ValidationError, match="surprise"):
        type(record).model_validate(data)


@pytest.mark.parametrize("value", [0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0, 1e-17])
def test_numbers_come_back_to_the_bit(value):
    found = Measurement.model_validate_json(Measurement(value=value, unit="1").model_dump_json()).value
    assert math.copysign(1, found) == math.copysign(1, value)
    assert found == value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nothing_that_is_no_number_is_kept(value):
    for make in (
        lambda: Measurement(value=value, unit="1"),
        lambda: PerClass(values=(0.0, value)),
        lambda: samples.declaration(at_collapse=value),
        lambda: samples.observation(1, error=value),
        lambda: samples.run(seconds=value),
    ):
        with pytest.raises(ValidationError, match="finite"):
            make()


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity"])
def test_nothing_that_is_no_number_is_read(token):
    with pytest.raises(ValidationError):
        Measurement.model_validate_json(f'{{"value": {token}, "unit": "1"}}')


def test_nothing_that_is_no_number_is_written():
    with pytest.raises(ValueError, match="JSON"):
        as_json({"value": math.nan})


@pytest.mark.parametrize(
    "fields", [{}, {"value": 1.0, "undefined": "why"}, {"unit": "1"}, {"value": None, "undefined": None}]
)
def test_a_measurement_is_a_value_or_a_reason(fields):
    with pytest.raises(ValidationError, match="either a value or the reason"):
        Measurement(**fields)


def test_a_per_class_measurement_is_values_or_a_reason():
    for fields in ({}, {"values": (1.0,), "undefined": "why"}):
        with pytest.raises(ValidationError, match="either values or the reason"):
            PerClass(**fields)


def test_an_undefined_measurement_is_its_reason_and_nothing_else():
    assert Measurement(undefined="one class").model_dump() == {"undefined": "one class"}
    assert Measurement(value=1.5, unit="nat").model_dump() == {"value": 1.5, "unit": "nat", "at_collapse": None}
    assert PerClass(undefined="one class").model_dump() == {"undefined": "one class"}


def test_values_are_looked_up_by_name():
    found = samples.measurements()
    assert found["nc1_pinv"] == 0.1 + 0.2
    with pytest.raises(UndefinedMetric, match="etf_error: with two classes"):
        found["etf_error"]
    with pytest.raises(UnknownName, match=r"'nc1' was not measured; measured: etf_error, nc1_pinv"):
        found["nc1"]


def test_shown_as_a_table():
    lines = str(samples.measurements()).splitlines()
    assert lines == [
        "nc1_pinv   0.3   (at collapse 0)",
        "etf_error  undefined: with two classes the value would say nothing",
    ]


@pytest.mark.parametrize("version", [0, 2, "1.0", None])
def test_other_versions_are_refused(version):
    with pytest.raises(ValidationError):
        Measurements.model_validate({**samples.measurements().model_dump(mode="json"), "schema_version": version})
    with pytest.raises(ValidationError, match="is not one this version of collapselab reads"):
        Run.model_validate({**samples.run().model_dump(mode="json"), "schema_version": version})


def test_the_version_is_written():
    assert json.loads(samples.run().model_dump_json())["schema_version"] == 1
    assert json.loads(samples.measurements().model_dump_json())["schema_version"] == 1


@pytest.mark.parametrize("missing", ["epoch", "split", "loss", "error", "learning_rate", "result"])
def test_an_observation_is_complete(missing):
    data = samples.observation(1).model_dump(mode="json")
    del data[missing]
    with pytest.raises(ValidationError, match=missing):
        Observation.model_validate(data)


def test_a_state_is_one_of_a_few():
    with pytest.raises(ValidationError, match="status"):
        samples.run(status="sleeping")
    with pytest.raises(ValidationError, match="mode"):
        samples.conditions(mode="asleep")
    with pytest.raises(ValidationError, match="sentence"):
        Claim(source="papyan2020")


def test_records_of_before_there_were_arms_are_read():
    row = samples.observation(1).model_dump(mode="json")
    run = samples.run().model_dump(mode="json")
    for field in ("arm", "layer"):
        del row[field]
    del run["arms"]
    assert Observation.model_validate(row) == samples.observation(1)
    assert Run.model_validate(run).arms == ()


def test_arms_come_back():
    arm = Arm(name="etf-0", title="fixed ETF, seed 0", settings={"head": "simplex_etf", "seed": 0})
    run = samples.run(arms=(arm,))
    assert Run.model_validate_json(run.model_dump_json()).arms == (arm,)


@pytest.mark.parametrize(
    "chart",
    [
        Against(metric="nc1_pinv", over="ratio", by="remedy", references=(Reference(value=1.0, label="one"),)),
        Paired(metric="accuracy", over="head", interval=("difference", "half")),
        NullBand(metric="nc1_pinv", null="permuted", part=0.1),
    ],
)
def test_a_picture_of_the_claim_comes_back(chart):
    run = samples.run(chart=chart)
    back = Run.model_validate_json(run.model_dump_json())
    assert back == run
    assert type(back.chart) is type(chart)


def test_records_of_before_there_were_pictures_are_read():
    run = samples.run().model_dump(mode="json")
    del run["chart"]
    assert Run.model_validate(run) == samples.run()


def test_a_picture_of_no_known_kind_is_refused():
    run = samples.run().model_dump(mode="json") | {"chart": {"kind": "pie", "metric": "nc1_pinv"}}
    with pytest.raises(ValidationError, match="'against', 'paired', 'null_band'"):
        Run.model_validate(run)
