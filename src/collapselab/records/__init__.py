"""What is kept: typed, versioned records, readable without torch."""

from collapselab.records.files import read_arrays, write_arrays, write_bytes
from collapselab.records.provenance import command_line, provenance
from collapselab.records.schema import (
    SCHEMA_VERSION,
    Arm,
    Claim,
    Conditions,
    Declaration,
    Measurement,
    Measurements,
    Observation,
    PerClass,
    Provenance,
    Run,
    Verdict,
)
from collapselab.records.store import Moment, RunFolder, as_json

__all__ = [
    "SCHEMA_VERSION",
    "Arm",
    "Claim",
    "Conditions",
    "Declaration",
    "Measurement",
    "Measurements",
    "Moment",
    "Observation",
    "PerClass",
    "Provenance",
    "Run",
    "RunFolder",
    "Verdict",
    "as_json",
    "command_line",
    "provenance",
    "read_arrays",
    "write_arrays",
    "write_bytes",
]
