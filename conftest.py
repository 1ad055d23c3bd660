"""What every test and every example in a docstring starts from.

Nothing here imports collapselab at module level: the shape check must be installed first.
"""

import os

# Before torch: one thread a worker, and no library may try the network.
for _name, _value in {
    "OMP_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}.items():
    os.environ.setdefault(_name, _value)
os.environ["COLUMNS"] = "100"  # text is wrapped to the terminal, and the suite may have any or none

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)

# Derandomised: a property that fails here fails everywhere. Search further with --hypothesis-profile=explore.
settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    max_examples=25,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("explore", settings.get_profile("suite"), derandomize=False, max_examples=1000)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _settings_of_torch() -> Iterator[None]:
    """A test that changes a global setting of torch does not change it for the next one."""
    dtype = torch.get_default_dtype()
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_default_dtype(dtype)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture(autouse=True)
def _names_of_doctests(request: pytest.FixtureRequest) -> None:
    """Examples in docstrings may say `collapsed(classes=3)` without an import."""
    if isinstance(request.node, pytest.DoctestItem):
        from configurations import collapsed

        namespace: dict[str, Any] = request.getfixturevalue("doctest_namespace")
        namespace["collapsed"] = collapsed
