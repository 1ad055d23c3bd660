"""Two processes against one: the same statistics, gradients and weights; an end together, whatever happens.

Starting a process takes seconds, so what two processes are to do is done in one go; the tests look at what came of it.
"""

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import process_work as work
from collapselab.core.errors import CollapselabError, InputError
from collapselab.training.environment import computing
from collapselab.training.processes import launch
from collapselab.training.sharding import Alone, merged, share
from tolerances import EXACT, IDENTITY

CPU = torch.device("cpu")


def _surroundings() -> tuple[Any, ...]:
    names = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS")
    return torch.get_num_threads(), *(os.environ.get(name) for name in names)


@pytest.fixture(scope="module")
def one() -> dict[str, Any]:
    return launch(work.everything, device=CPU)


@pytest.fixture(scope="module")
def two() -> dict[str, Any]:
    before = _surroundings()
    with computing(threads=1):
        found = launch(work.together, device=CPU, devices=2)
    assert _surroundings() == before
    assert not torch.distributed.is_initialized()
    return found


@pytest.mark.parametrize("which", ["statistics", "far", "few"])
def test_the_same_statistics(one: dict[str, Any], two: dict[str, Any], which: str) -> None:
    """251 samples in shares of 126 and 125; as far from the origin as 1e6; and 1 sample, none for the second."""
    (expected, rows), (found, rows_found) = one[which], two[which]
    EXACT.check(rows_found, rows)
    EXACT.check(found.labels, expected.labels)
    EXACT.check(found.counts, expected.counts)
    assert found.num_samples == (1 if which == "few" else work.NUM_SAMPLES)
    IDENTITY.check(found.means, expected.means)
    IDENTITY.check(found.class_scatter, expected.class_scatter)
    scale = float(expected.scatter.abs().max())
    IDENTITY.floor(scale).check(found.scatter, expected.scatter)


def test_gradients_add_up(one: dict[str, Any], two: dict[str, Any]) -> None:
    assert len(one["gradients"]) == len(two["gradients"]) == 5  # the unused layer has none, in both
    for found, expected in zip(two["gradients"], one["gradients"], strict=True):
        IDENTITY.floor(1e-3).check(found, expected)


@pytest.mark.parametrize("which", work.TRAININGS)
def test_the_same_training(one: dict[str, Any], two: dict[str, Any], which: str) -> None:
    """Although the two began with other weights and other generators: those of the first process count."""
    expected, found = one["trained"][which], two["trained"][which]
    IDENTITY.floor(1e-3).check(found["weights"], expected["weights"])
    assert [loss is None for loss in found["losses"]] == [loss is None for loss in expected["losses"]]
    for a, b in zip(found["losses"], expected["losses"], strict=True):
        if b is not None:
            IDENTITY.check(a, b)
    IDENTITY.check(found["each"], expected["each"])
    assert found["wrong"] == expected["wrong"]
    assert expected["wrong"] > 0 or which == "lbfgs"  # its errors are counted apart


@pytest.mark.parametrize("which", work.OWN)
def test_layers_that_look_at_their_share(two: dict[str, Any], which: str) -> None:
    """That the weights are the same bits in both processes is asserted there; here, that training went well."""
    losses = [loss for loss in two["own"][which]["losses"] if loss is not None]
    assert losses[-1] < losses[0]


def test_going_on_from_the_state_of_the_first(two: dict[str, Any]) -> None:
    """Bit for bit, in the middle of an epoch, with Adam, batch normalisation, and noise that differs by process."""
    EXACT.check(two["cut"], two["unbroken"])


def test_settings_are_those_of_the_first(two: dict[str, Any]) -> None:
    assert two["settings"] == {"seen": [[1, 1, 0], [1, 1, 1]], "world": 2, "device": "cpu"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("input", InputError, r"^widths must be positive, got -1$"),
        ("bug", CollapselabError, r"^process 1 of 2 failed: ZeroDivisionError: division by zero$"),
        pytest.param(
            "killed",
            CollapselabError,
            r"^process 1 of 2 ended without a word, exit code -9",
            marks=pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL"),
        ),
        ("first", RuntimeError, r"^the first went wrong$"),
    ],
)
def test_an_error_ends_all(how: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        launch(functools.partial(work.failing, how=how), device=CPU, devices=2)
    if how == "bug":
        assert "in failing" in str(caught.value.__cause__)  # its traceback
    assert not torch.distributed.is_initialized()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a process cannot send itself Ctrl-C")
def test_an_interruption_is_for_the_first(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background may ignore Ctrl-C
    try:
        with pytest.raises(KeyboardInterrupt):
            launch(functools.partial(work.interrupted, folder=str(tmp_path)), device=CPU, devices=2)
        assert [file.name for file in tmp_path.iterdir()] == ["0"]
        assert (tmp_path / "0").read_text() == "5"
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_others_may_have_a_function_of_their_own() -> None:
    heard: list[int] = []  # of this process, and not to be pickled

    def first(fabric: Any) -> int:
        heard.append(fabric.global_rank)
        return work.settings_here(fabric)["world"]

    assert launch(first, others=work.settings_here, device=CPU, devices=2) == 2
    assert heard == [0]


@pytest.mark.slow
def test_a_process_that_cannot_begin(tmp_path: Path) -> None:
    """A script without a guard would start processes that start processes; and none waits for one that is gone."""
    script = tmp_path / "unguarded.py"
    lines = (
        "import torch, math",
        "from collapselab.training.processes import launch",
        'launch(math.sqrt, device=torch.device("cpu"), devices=2)',
    )
    script.write_text("\n".join(lines))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 1
    assert "CollapselabError: process 1 of 2 ended without a word, exit code 1; a script" in done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"devices": 0}, "devices must be an integer of at least 1, got 0"),
        ({"strategy": "fsdp"}, r"strategy must be auto or ddp, .*got 'fsdp'; .* such as fsdp, are not supported"),
        ({"devices": 2, "device": torch.device("cpu", 0)}, "device must be cpu without an index for 2 devices"),
        (
            {"devices": 2, "device": torch.device("mps")},
            "devices must be at most 1, what this machine has of mps, got 2",
        ),
        ({"devices": 2}, "what other processes are to do must be a function of a module, got <function"),
    ],
)
def test_bad_settings(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        launch(lambda fabric: None, **{"device": CPU, **change})


def test_shares_are_consecutive_and_never_empty_in_the_first() -> None:
    class Place(Alone):
        """One of several."""

    for total in (0, 1, 2, 5, 251):
        for processes in (1, 2, 3, 7):
            found = []
            for rank in range(processes):
                place = Place(CPU)
                object.__setattr__(place, "world_size", processes)
                object.__setattr__(place, "global_rank", rank)
                mine = share(total, place)
                found.append(list(range(total))[mine])
            assert [row for rows in found for row in rows] == list(range(total))
            sizes = [len(rows) for rows in found]
            assert max(sizes) - min(sizes) <= 1
            assert sizes == sorted(sizes, reverse=True)


def test_no_samples_at_all() -> None:
    with pytest.raises(InputError, match="statistics need at least one sample in one of the processes, got none"):
        merged(None, Alone(CPU))
