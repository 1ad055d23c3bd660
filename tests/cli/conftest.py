"""What the tests of the command line share: a run that was made once, and files of features."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collapselab.cli import main
from small_run import SMALL


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Call a verb with ``--json`` and give back its document; nothing else may be on standard output."""

    def call(*arguments: str, code: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        assert main([*arguments, "--json"]) == code
        document = json.loads(capsys.readouterr().out)
        assert document["schema_version"] == 1
        return document

    return call


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small finished run; tests read it and write elsewhere."""
    folder = tmp_path_factory.mktemp("cli") / "finished"
    assert main(["run", "watch-collapse", *SMALL, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """A file of features of four classes, and a classifier with a row more."""
    random = np.random.default_rng(0)
    y = np.arange(80) % 4
    h = (3 * np.eye(4, 8)[y] + 0.1 * random.normal(size=(80, 8))).astype(np.float32)
    file = tmp_path / "features.npz"
    np.savez(file, h=h, y=y)
    np.savez(tmp_path / "head.npz", weight=np.eye(5, 8), bias=np.zeros(5))
    return file
