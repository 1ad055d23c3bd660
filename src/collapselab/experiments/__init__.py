"""Experiments: recipes that train and measure, and the runner that turns their events into a run folder."""

from collapselab.experiments._spec import REGISTRY, Experiment, Recipe, experiment
from collapselab.experiments.events import (
    EpochDone,
    Finished,
    Note,
    Observed,
    Planned,
    SafePoint,
    Snapshot,
    Started,
    Trained,
)
from collapselab.experiments.probe import Case, Probe
from collapselab.experiments.runner import resume_experiment, run_experiment

__all__ = [
    "REGISTRY",
    "Case",
    "EpochDone",
    "Experiment",
    "Finished",
    "Note",
    "Observed",
    "Planned",
    "Probe",
    "Recipe",
    "SafePoint",
    "Snapshot",
    "Started",
    "Trained",
    "experiment",
    "resume_experiment",
    "run_experiment",
]
