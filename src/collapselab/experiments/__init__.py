"""Experiments: recipes that train and measure, and the runner that turns their events into a run folder."""

from collapselab.experiments._spec import REGISTRY, Experiment, Recipe, experiment
from collapselab.experiments.events import EpochDone, Finished, Observed, SafePoint, Snapshot, Started
from collapselab.experiments.runner import resume_experiment, run_experiment

__all__ = [
    "REGISTRY",
    "EpochDone",
    "Experiment",
    "Finished",
    "Observed",
    "Recipe",
    "SafePoint",
    "Snapshot",
    "Started",
    "experiment",
    "resume_experiment",
    "run_experiment",
]
