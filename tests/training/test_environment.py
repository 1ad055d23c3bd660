"""Settings of torch that a run changes, and puts back."""

import pytest
import torch

from collapselab.core.errors import InputError
from collapselab.training import computing
from collapselab.training.environment import find_device


def _settings() -> tuple[object, ...]:
    return (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        torch.get_rng_state().tolist(),
    )


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_put_back(fails: bool) -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    before = _settings()
    try:
        with computing(threads=2):
            assert torch.get_num_threads() == 2
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
            torch.manual_seed(17)
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert _settings() == before
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("threads", [0, -1, 1.5, "two"])
def test_bad_threads(threads: object) -> None:
    with pytest.raises(InputError, match="threads must be an integer of at least 1"), computing(threads=threads):  # pyright: ignore[reportArgumentType]
        pass


def test_devices() -> None:
    assert find_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match="device must be auto, cpu, cuda, cuda:INDEX or mps, got 'gpu'"):
        find_device("gpu")
    with pytest.raises(InputError, match=r"device 'cuda:99' is not there: this machine has cpu"):
        find_device("cuda:99")
    with pytest.raises(InputError, match="device 'meta' is not there"):
        find_device("meta")
