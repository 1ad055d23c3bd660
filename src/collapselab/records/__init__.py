"""What is kept: typed, versioned records, readable without torch."""

from collapselab.records.elasticity import Elasticity, read_elasticity
from collapselab.records.files import read_arrays, write_arrays, write_bytes
from collapselab.records.prediction import Prediction, read_prediction
from collapselab.records.provenance import command_line, provenance
from collapselab.records.schema import (
    SCHEMA_VERSION,
    Against,
    Arm,
    Chart,
    Claim,
    Conditions,
    Course,
    Declaration,
    Measurement,
    Measurements,
    NullBand,
    Observation,
    Paired,
    PerClass,
    Provenance,
    Reference,
    Run,
    Verdict,
)
from collapselab.records.store import Moment, RunFolder, as_json

__all__ = [
    "SCHEMA_VERSION",
    "Against",
    "Arm",
    "Chart",
    "Claim",
    "Conditions",
    "Course",
    "Declaration",
    "Elasticity",
    "Measurement",
    "Measurements",
    "Moment",
    "NullBand",
    "Observation",
    "Paired",
    "PerClass",
    "Prediction",
    "Provenance",
    "Reference",
    "Run",
    "RunFolder",
    "Verdict",
    "as_json",
    "command_line",
    "provenance",
    "read_arrays",
    "read_elasticity",
    "read_prediction",
    "write_arrays",
    "write_bytes",
]
