"""The terminal phase from observations."""

import pytest

from collapselab.records import Conditions, Measurements, Observation
from collapselab.records.phase import TerminalPhase, terminal_phase


def row(epoch: int, error: float, *, split: str = "train") -> Observation:
    conditions = Conditions(
        source="test",
        num_samples=2,
        num_classes=2,
        num_features=2,
        classes=(0, 1),
        counts=(1, 1),
        feature_dtype="float32",
    )
    result = Measurements(measurements={}, conditions=conditions)
    return Observation(epoch=epoch, step=epoch, split=split, loss=1.0, error=error, learning_rate=None, result=result)


@pytest.mark.parametrize(
    ("errors", "expected", "settled"),
    [
        ({0: 0.9, 1: 0.1, 2: 0.0, 3: 0.0}, TerminalPhase(2, 1), True),
        ({0: 0.9, 1: 0.0, 2: 0.1, 3: 0.0}, TerminalPhase(1, 2), False),
        ({0: 0.0, 5: 0.0}, TerminalPhase(0, None), True),
        ({0: 0.9, 4: 0.2}, TerminalPhase(None, 4), False),
        ({}, TerminalPhase(None, None), False),
    ],
)
def test_phase(errors: dict[int, float], expected: TerminalPhase, settled: bool) -> None:
    found = terminal_phase([row(epoch, error) for epoch, error in reversed(errors.items())])
    assert found == expected
    assert found.settled is settled
    assert found.reached is (expected.first_zero is not None)


def test_other_splits_do_not_count() -> None:
    rows = [row(1, 0.0), row(1, 0.3, split="test"), row(2, 0.3, split="test")]
    assert terminal_phase(rows) == TerminalPhase(1, None)
    assert terminal_phase(rows, split="test") == TerminalPhase(None, 2)
