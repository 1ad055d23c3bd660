"""The record of a prediction: round trips, no NaN, a geometry of a few numbers, read without torch."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from collapselab.core.errors import InputError
from collapselab.records import as_json
from collapselab.records.prediction import Blocks, MeasuredCourse, Prediction, Sweep, read_prediction
from records.samples import blocks, geometry, prediction


def test_round_trip_keeps_everything(tmp_path: Path) -> None:
    record = prediction()
    text = record.model_dump_json()
    assert Prediction.model_validate_json(text) == record
    file = tmp_path / "p.json"
    file.write_text(as_json(record.model_dump(mode="json")))
    assert read_prediction(file) == record


@pytest.mark.parametrize(
    "changes",
    [
        {"minimum": float("nan")},
        {"predicts": {"nc1_pinv": float("inf")}},
        {"settings": {"decay_head": float("nan")}},
        {"loss_settings": {"gamma": float("inf")}},
        {"surprise": 1},
        {"schema_version": 2},
    ],
)
def test_what_is_no_number_or_not_known_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        prediction(**changes)


def test_parts_must_fit_together() -> None:
    with pytest.raises(ValidationError, match="one number a group"):
        Blocks(sizes=(1, 2), own=(1.0,), between=((1.0,),))
    with pytest.raises(ValidationError, match="for each factor"):
        Sweep(factor=(1.0, 2.0), minimum=(0.0,), margin=(0.0,))
    with pytest.raises(ValidationError, match="each moment"):
        MeasuredCourse(moments=(1,), values=())
    with pytest.raises(ValidationError, match="one number a group of the geometry"):
        prediction(geometry=geometry(3, 2))
    with pytest.raises(ValidationError, match="frozen"):
        prediction().minimum = 1.0  # pyright: ignore[reportAttributeAccessIssue]


def test_blocks_are_written_out_where_they_are_few() -> None:
    two = Blocks(sizes=(2, 1), own=(4.0, 9.0), between=((1.0, 2.0), (3.0, 0.0)))
    assert two.dense(3) == [[4.0, 1.0, 2.0], [1.0, 4.0, 2.0], [3.0, 3.0, 9.0]]
    assert two.dense(2) is None
    assert blocks(100_000).size == 100_000


def test_groups_are_named_by_their_sizes_where_they_are_those_of_the_counts() -> None:
    unequal = ((5, 1), (50, 2), (5, 1))
    assert prediction().group_names == ("5 classes of 3",)
    assert prediction(counts=unequal, geometry=geometry(2, 2), norms=None).group_names == (
        "2 classes of 50",
        "2 classes of 5",
    )
    assert prediction(counts=unequal, geometry=geometry(3, 1), norms=None).group_names == ("3 classes", "1 class")
    assert prediction(geometry=None).group_names == ()
    assert prediction(counts=unequal).num_classes == 4
    assert prediction(counts=unequal).num_samples == 110


def test_the_end_of_a_course_is_its_last_value_or_none() -> None:
    beside = prediction().beside
    assert beside is not None
    assert beside.courses["nc1_pinv"].end == 1e-300
    assert beside.courses["weight_norm"].end is None
    assert MeasuredCourse(moments=(), values=(), undefined="never").end is None


def test_a_file_that_is_no_prediction_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        read_prediction(tmp_path / "none.json")
    file = tmp_path / "p.json"
    file.write_text(json.dumps({"minimum": 1}))
    with pytest.raises(InputError, match="is no prediction: "):
        read_prediction(file)


def test_it_is_read_without_torch(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text(as_json(prediction().model_dump(mode="json")))
    code = (
        "import sys; sys.modules['torch'] = None; from pathlib import Path\n"
        "from collapselab.records.prediction import read_prediction\n"
        f"assert read_prediction(Path({str(file)!r})).minimum == 0.1 + 0.2"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
