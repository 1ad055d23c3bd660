"""Checkpoints: plain tensors and numbers, complete or refused."""

import pickle
from pathlib import Path

import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.training.checkpoint import read_checkpoint, write_checkpoint
from tolerances import EXACT

STATE = {"epoch": 3, "learning_rate": 0.05, "order": torch.arange(7), "network": {"w": torch.ones(2, 2)}, "none": None}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, STATE, digest="abc")
    return path


def test_round_trip(kept: Path) -> None:
    found = read_checkpoint(kept, digest="abc")
    EXACT.check(found["order"], STATE["order"])
    EXACT.check(found["network"]["w"], torch.ones(2, 2))
    assert {key: found[key] for key in ("epoch", "learning_rate", "none")} == {
        "epoch": 3,
        "learning_rate": 0.05,
        "none": None,
    }
    assert [file.name for file in kept.parent.iterdir()] == ["checkpoint.pt"]


def test_another_configuration(kept: Path) -> None:
    with pytest.raises(InputError, match="belongs to another configuration"):
        read_checkpoint(kept, digest="abd")


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_truncated(kept: Path, part: float) -> None:
    content = kept.read_bytes()
    kept.write_bytes(content[: int(part * len(content))])
    with pytest.raises(InputError, match="is not a complete checkpoint"):
        read_checkpoint(kept, digest="abc")


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a complete checkpoint"):
        read_checkpoint(tmp_path / "nothing.pt", digest="abc")


class Harmful:
    """Runs when it is unpickled carelessly."""

    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("code from a checkpoint was run",))


def test_code_is_not_run(tmp_path: Path) -> None:
    for name, save in (("a.pt", torch.save), ("b.pt", _dumped)):
        save({"version": 2, "digest": "abc", "state": Harmful()}, tmp_path / name)
        with pytest.raises(InputError, match="is not a complete checkpoint"):
            read_checkpoint(tmp_path / name, digest="abc")


def _dumped(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("content", [{"version": 1, "digest": "abc", "state": {}}, {"weights": 1}, [1, 2], 5])
def test_foreign(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "foreign.pt")
    with pytest.raises(
        InputError, match=r"is not a complete checkpoint|must be a checkpoint of version 2, got version 1"
    ):
        read_checkpoint(tmp_path / "foreign.pt", digest="abc")
