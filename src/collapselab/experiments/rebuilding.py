"""The network of a run as its training left it, and the data that it was trained on, made again from the record."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import nn

from collapselab.core.errors import InputError
from collapselab.core.random import child_seed, preserved_randomness
from collapselab.experiments._spec import Recipe
from collapselab.experiments.config import younger_recipe_of
from collapselab.experiments.probe import Probe
from collapselab.records import Run, RunFolder
from collapselab.training import Training


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """A training as it was set up, with the weights that it ended with.

    Attributes:
        run: The record.
        arm: Name of the arm; empty in a run of one training.
        training: Its network has the kept weights and is in eval mode; its data are those of the run.
        assumed: Settings that the run is older than, taken at their defaults.
    """

    run: Run
    arm: str
    training: Training
    assumed: tuple[str, ...] = ()


def rebuilt(folder: "str | os.PathLike[str]", *, arm: str | None = None, device: torch.device | None = None) -> Rebuilt:
    """Make the network and the data of a run again.

    The recipe is made from the record and sets the training up as it did when it ran; nothing is trained.

    Args:
        folder: A run folder.
        arm: Name of one of the trainings that the run compares; None for a run of one.
        device: Where to; the CPU by default.

    Returns:
        The training.

    Raises:
        InputError: If there is no such run or arm, the recipe keeps no networks, the weights are not there, or they are
            those of another network.
    """
    place = RunFolder(folder)
    run = place.read()
    with preserved_randomness():
        recipe, assumed = younger_recipe_of(run)
        trainings = _trainings(recipe, run.name, torch.device("cpu") if device is None else device)
        name = _arm_of(run, arm, place)
        if not place.weights_file(name).is_file():
            what = f"arm {name} of {place.path}" if name else str(place.path)
            raise InputError(f"{what} must have kept the weights of a training that has ended, got none")
        if name not in trainings:
            raise InputError(f"the recipe {run.name} must still have the arm {name}, got {', '.join(trainings)}")
        torch.manual_seed(child_seed(0, f"arm {name}"))
        training = trainings[name]()
    _load(training.network, {key: torch.from_numpy(a) for key, a in place.read_weights(name).items()}, place)
    training.network.eval()
    return Rebuilt(run, name, training, assumed)


def _arm_of(run: Run, arm: str | None, place: RunFolder) -> str:
    known = [one.name for one in run.arms]
    if arm is None and not known:
        return ""
    if arm is None:
        raise InputError(f"arm must be given for {place.path}, a run of several: {', '.join(known)}")
    if arm not in known:
        there = ", ".join(known) or "none, it is one training"
        raise InputError(f"arm must be one of those of {place.path} ({there}), got {arm!r}")
    return arm


class _SetUp(Exception):
    """What a recipe was about to train: name of each training, and what sets it up."""

    def __init__(self, trainings: dict[str, Callable[[], Training]]) -> None:
        super().__init__("set up")
        self.trainings = trainings


class _Asking(Probe):
    """Takes note of what a recipe would train, and stops it there."""

    def watch(self, training: Training, **_: Any) -> NoReturn:
        """One training, set up already."""
        raise _SetUp({"": lambda: training})

    def arms(self, cases: Sequence[Any], **_: Any) -> NoReturn:
        """Several, to be set up when asked for."""
        raise _SetUp({case.name: case.make for case in cases})


def _trainings(recipe: Recipe, name: str, device: torch.device) -> dict[str, Callable[[], Training]]:
    """What a recipe trains, by the names of its arms; not set up where there are several."""
    try:
        events: Iterator[Any] = iter(recipe.run(_Asking.on(device)))
        next(events, None)  # some recipes begin when they are asked for their first event
    except _SetUp as found:
        return found.trainings
    raise InputError(f"a run must be of a recipe that trains networks and keeps their weights, got one of {name}")


def _load(network: nn.Module, weights: dict[str, torch.Tensor], place: RunFolder) -> None:
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        words = " ".join(str(error).split())[:200]
        raise InputError(f"{place.path} must hold the weights of the network of its record: {words}") from error
