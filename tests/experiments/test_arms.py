"""Runs of several trainings: order, resumption at any place, moments within an epoch, early ends."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError, Interrupted
from collapselab.experiments import (
    Case,
    EpochDone,
    Observed,
    Planned,
    Probe,
    Started,
    Trained,
    resume_experiment,
    run_experiment,
    session,
)
from collapselab.records import Arm, RunFolder
from collapselab.training import Training
from tiny_arms import TinyArms, registered
from tiny_run import kept

MOMENTS = {"adam": [(0, 0), (0, 2), (1, 5), (1, 7), (3, 15)], "sgd": [(0, 0), (0, 2), (1, 5), (1, 7), (2, 10)]}


@pytest.fixture(scope="module", autouse=True)
def recipe() -> Iterator[None]:
    with registered():
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """An unbroken run, only to be read, and what a listener heard."""
    folder = tmp_path_factory.mktemp("arms") / "whole"
    heard: list[Any] = []
    run_experiment(TinyArms(), folder, listener=heard.append)
    return folder, heard


def test_what_a_folder_holds(whole: tuple[Path, list[Any]]) -> None:
    place = RunFolder(whole[0])
    run = place.read()
    assert run.arms == (Arm(name="adam", title="Adam"), Arm(name="sgd", title="sgd", settings={"optimiser": "sgd"}))
    assert (run.status, run.epochs, run.epochs_done) == ("done", 6, 5)
    expected = [
        (arm, *moment, split) for arm, moments in MOMENTS.items() for moment in moments for split in ("train", "test")
    ]
    assert [(row.arm, row.epoch, row.step, row.split) for row in place.observations()] == expected
    for arm, moments in MOMENTS.items():
        assert [(m.epoch, m.step) for m in place.snapshots(arm)] == [
            (epoch, step if step in (2, 7) else None) for epoch, step in moments
        ]


def test_an_arm_is_measured_at_moments_of_its_own_too() -> None:
    recipe, probe = TinyArms(epochs=1), Probe.on("cpu")
    cases = [
        Case(name, lambda: recipe._training(probe, *_of("adam")), 1, at_steps=own)
        for name, own in (("more", (1, 3)), ("plain", ()))
    ]
    events = probe.arms(cases, at_steps=(2,), metrics=("accuracy",))
    rows = [event.observation for event in events if isinstance(event, Observed)]
    assert [(row.arm, row.step) for row in rows if row.split == "train"] == [
        *(("more", step) for step in (1, 2, 3, 5)),
        *(("plain", step) for step in (2, 5)),
    ]


def test_an_early_end_is_measured_and_said(whole: tuple[Path, list[Any]]) -> None:
    run = RunFolder(whole[0]).read()
    (note,) = run.notes
    assert note.startswith("Training of sgd ended after epoch 2 of 3: its mean loss in train mode, 1.8")
    assert note.endswith("fell below 2.")


def test_progress_tells_the_arm_and_the_epochs_of_all(whole: tuple[Path, list[Any]]) -> None:
    heard = whole[1]
    assert isinstance(heard[0], Started)
    assert (len(heard[0].run.arms), heard[0].total_epochs) == (2, 6)
    told = [(e.arm, e.epoch, e.epochs_done, e.total_epochs) for e in heard if isinstance(e, EpochDone)]
    assert told == [("adam", 1, 1, 6), ("adam", 2, 2, 6), ("adam", 3, 3, 6), ("sgd", 1, 4, 6), ("sgd", 2, 5, 5)]


def test_the_weights_are_those_of_the_trained_networks(whole: tuple[Path, list[Any]]) -> None:
    """Put into a network of the same make, they give the error that was measured last."""
    from safetensors.torch import load_file

    place = RunFolder(whole[0])
    for arm in ("adam", "sgd"):
        training = TinyArms()._training(Probe.on("cpu"), *_of(arm))
        training.network.load_state_dict(load_file(place.weights_file(arm)))
        training.network.eval()
        with torch.no_grad():
            wrong = training.network(training.data.train.x).argmax(1) != training.data.train.y
        last = [row for row in place.observations() if row.arm == arm and row.split == "train"][-1]
        assert float(wrong.double().mean()) == last.error
        state = training.network.state_dict()
        assert {name: a.shape for name, a in place.read_weights(arm).items()} == {n: t.shape for n, t in state.items()}


def _of(arm: str) -> tuple[Any, ...]:
    from collapselab.training.optimisers import SGD
    from collapselab.training.optimisers.adam import Adam
    from collapselab.training.stop import Stop

    return (Adam() if arm == "adam" else SGD(learning_rate=0.1), None, Stop())


@pytest.mark.parametrize("at", [1, 4, 6, 11, 12, 14, 19, 23])
def test_ctrl_c_anywhere_is_resumed_to_the_same_bits(at: int, whole: tuple[Path, list[Any]], tmp_path: Path) -> None:
    heard: Iterator[int] = iter(range(1, 1000))

    def listener(_event: Any) -> None:
        if next(heard) == at:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        run_experiment(TinyArms(), tmp_path / "run", listener=listener)
    done = resume_experiment(tmp_path / "run")
    assert (done.status, done.sessions, done.epochs, done.epochs_done) == ("done", 2, 6, 5)
    assert done.notes == RunFolder(whole[0]).read().notes
    assert kept(tmp_path / "run") == kept(whole[0])


def test_arms_that_are_complete_cost_nothing(
    whole: tuple[Path, list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the second arm, the run goes on without setting up the first, wherever the checkpoint stands."""
    monkeypatch.setattr(session, "CHECKPOINT_SECONDS", 0.0)

    def listener(event: Any) -> None:
        if isinstance(event, EpochDone) and event.arm == "sgd":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="stopped after epoch 4 of 6"):
        run_experiment(TinyArms(), tmp_path / "run", listener=listener)
    made: list[Training] = []
    real = Training.__init__

    def init(self: Training, *given: Any, **named: Any) -> None:
        made.append(self)
        real(self, *given, **named)

    monkeypatch.setattr(Training, "__init__", init)
    heard: list[Any] = []
    resume_experiment(tmp_path / "run", listener=heard.append)
    assert len(made) == 1
    assert (heard[0].run.epochs_done, heard[0].total_epochs) == (4, 6)
    assert kept(tmp_path / "run") == kept(whole[0])


def test_an_arm_does_not_depend_on_those_before_it(whole: tuple[Path, list[Any]], tmp_path: Path) -> None:
    """Alone, the second arm ends with the weights it has beside the first."""
    recipe = TinyArms()
    probe = Probe.on("cpu")
    cases = [Case("sgd", lambda: recipe._training(probe, *_stopped()), 3)]
    weights = next(event for event in probe.arms(cases) if isinstance(event, Trained)).weights
    for name, array in RunFolder(whole[0]).read_weights("sgd").items():
        np.testing.assert_array_equal(weights[name], array, strict=True)


def _stopped() -> tuple[Any, ...]:
    from collapselab.training.optimisers import SGD
    from collapselab.training.stop import Stop

    return SGD(learning_rate=0.1), None, Stop(loss_below=2.0)


def _never() -> Training:
    raise AssertionError("nothing is to be set up")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "cases must be at least one, got none"),
        (("a", "b/c"), r"case names must be letters, digits and any of \. _ = \+ -, got 'b/c'"),
        (("..",), "got '\\.\\.'"),
        (("",), "got ''"),
        (("a", "A"), "case names must differ, got a, A"),
    ],
)
def test_names_that_are_no_names_of_files(names: tuple[str, ...], message: str) -> None:
    cases = [Case(name, _never, 1) for name in names]
    with pytest.raises(InputError, match=message):
        list(Probe.on("cpu").arms(cases))


def test_a_case_that_says_other_epochs_than_its_plan() -> None:
    recipe = TinyArms()
    probe = Probe.on("cpu")
    events = probe.arms([Case("sgd", lambda: recipe._training(probe, *_stopped()), 4)])
    assert next(events) == Planned((Arm(name="sgd", title="sgd"),), 4)
    with pytest.raises(InputError, match="arm sgd must have 4 epochs, got 3"):
        next(events)


@pytest.mark.parametrize(
    ("moments", "message"),
    [
        ({"at": 3}, "at must be a collection of moments, got the single number 3"),
        ({"at": (-1,)}, "at: each moment must be an integer of at least 0, got -1"),
        ({"at_steps": (0.5,)}, "at_steps: each moment must be an integer of at least 0, got 0.5"),
    ],
)
def test_moments_that_are_none(moments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(Probe.on("cpu").arms([Case("a", _never, 1)], **moments))
