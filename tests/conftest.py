"""Fixtures that many tests ask for."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch


@pytest.fixture
def generator() -> torch.Generator:
    """Randomness of this test and of nobody else."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium without network; `chromium.py` says what it can be asked. Mark the test `browser`."""
    from chromium import Browser, why_no_browser

    missing = why_no_browser()
    if missing is not None:
        if os.environ.get("COLLAPSELAB_REQUIRE_BROWSER") == "1":
            pytest.fail(f"a browser is required here, but {missing}")
        pytest.skip(missing)
    with Browser() as opened:
        yield opened
