"""What a model predicts, with what the metrics say of themselves, and beside what a run measured."""

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from collapselab.core.errors import InputError
from collapselab.experiments.reweighting import Reweighted, balanced, class_weights, reweighted, shown_counts
from collapselab.metrics import REGISTRY
from collapselab.records import Declaration, Observation, Run, RunFolder, command_line, provenance
from collapselab.records.prediction import Beside, MeasuredCourse, Prediction
from collapselab.theory import answered, predict
from collapselab.training._choice import chosen_from
from collapselab.training.losses import LOSSES

_STANDS_IN = (
    "The run decays weights, the model decays features: the decay of the features was fitted so that the norms of"
    " classifier and features at the end of the run are in the model's balance. It stands in for the weight decay of"
    " all other layers, and is no setting of the run."
)
_LIMIT = "The prediction is a limit of infinite training and of a network that can give every sample any features."
_OPEN = "The last measured training error is {error:.3g}: the run is not in its terminal phase, where models speak."
_UNKNOWN = "The run also has {what}, of which the model knows nothing."
_ADAMW = "AdamW's weight decay is no term of a loss: it only stands in for the decay of the head."
_NECK = "The run's neck fixes the size of the features, which the model leaves to decay."
_SHOWN = (
    "The run balances classes by oversampling or by weights of their losses: the model has each class as often as the"
    " loss counts it, the decay of its features alike, and metrics take the true sizes."
)
_WEIGHED = (
    "The run weighs losses of classes and decays the features of every sample alike; so does the model. Its mean loss"
    " is weighted, the measured one is not, so that they are not laid beside each other."
)
_RELU = "Features behind a ReLU cannot be negative; the model takes that into account only where nonnegative is asked."


def predicted(loss: Any, **asked: Any) -> Prediction:
    """`collapselab.theory.predict` with the declarations of the metrics, and where the record comes from.

    A loss of `collapselab.training` that no model is called like is asked about as a function of the logits.

    Args:
        loss: See there.
        asked: The other arguments.

    Returns:
        The record.

    Raises:
        InputError: If an argument is not what it must be, or no model knows the answer.
    """
    if isinstance(loss, str) and loss not in answered() and loss in LOSSES:
        settings = {name: asked.pop(name) for name in set(asked) - set(inspect.signature(predict).parameters)}
        found = predict(_OfLogits(loss, settings), **asked)
        found = found.model_copy(update={"loss": loss, "loss_settings": settings})
    else:
        found = predict(loss, **asked)
    sizes = (found.num_classes, int(found.settings["num_features"]))
    declared = {name: REGISTRY[name].declaration(*sizes) for name in found.predicts if name in REGISTRY}
    here = provenance(dtype="float64", command=command_line())
    return found.model_copy(update={"declarations": declared, "provenance": here})


class _OfLogits:
    """A loss of training as a function of logits and labels."""

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        self._name = name
        self._loss = chosen_from(LOSSES, {"name": name, **settings})

    def __call__(self, logits: Tensor, y: Tensor) -> Tensor:
        alone: Any = _LogitsAlone(self._name, logits)
        return self._loss(alone, y)


class _LogitsAlone:
    """The outputs of a network that are logits and nothing else."""

    def __init__(self, loss: str, logits: Tensor) -> None:
        self._loss = loss
        self.logits = logits

    def __getattr__(self, name: str) -> Any:
        raise InputError(f"no model answers the loss {self._loss!r}: it looks at {name}, not at logits alone")


def predicted_beside(folder: "str | os.PathLike[str]", *, arm: str | None = None, **given: Any) -> Prediction:
    """What a model predicts for a run, and what the run measured.

    Loss, classes, features and decay are those of the run where they are not given. The decay of the features is that
    of its penalty `feature_decay`, or fitted to the balance of norms at its end.

    Args:
        folder: A run folder.
        arm: Name of one of the trainings that the run compares.
        given: Arguments of `collapselab.theory.predict` that replace what the record says.

    Returns:
        The record, with its part `beside`.

    Raises:
        InputError: If the run does not say what the model needs, or is nothing the model speaks of.
    """
    ran = _Ran.of(RunFolder(folder), arm)
    asked, taken, fitted = _asked(ran, given)
    found = predicted(**asked)
    classes = len(ran.end.result.conditions.counts)
    if found.num_classes != classes:
        raise InputError(f"num_classes must be {classes}, as in {ran.run.name}, got {found.num_classes}")
    how = ran.reweighted(given)
    # A run's loss has its penalty in it, and not the weights of classes.
    comparable = how != "weighed" and ran.part("penalty").get("name", "none") == "none"
    names = [*found.predicts, *(("loss",) if found.mean_loss is not None and comparable else ())]
    beside = Beside(
        run=Path(folder).resolve().name,
        title=ran.run.title,
        arm=ran.title,
        split="train",
        unit=ran.unit,
        courses={name: course for name in names if (course := ran.course(name)) is not None},
        taken=taken,
        fitted=fitted,
        notes=tuple(_notes(ran, fitted, nonnegative=bool(found.settings["nonnegative"]), how=how)),
    )
    loss = {} if "loss" not in beside.courses else {"loss": _LOSS.model_copy(update={"source": found.source})}
    return found.model_copy(update={"beside": beside, "declarations": {**loss, **found.declarations}})


_LOSS = Declaration(
    name="loss",
    label="mean training loss",
    summary="The mean loss over the training split in eval mode, without what decay adds.",
    symbol=r"\tfrac1N\sum_i\ell_i",
    unit="1",
    at_collapse=None,
    lower=None,
    upper=None,
    family="training",
    source="",
)


@dataclass(frozen=True, eq=False)
class _Ran:
    """One training of a run, as its record tells it.

    Attributes:
        run: The record.
        config: Settings, with what distinguishes the arm.
        rows: What was measured of the training split at the classifier.
        title: Title of the arm; empty in a run of one.
        biased: Whether the head has a bias; None where neither weights nor settings say it.
    """

    run: Run
    config: Mapping[str, Any]
    rows: Sequence[Observation]
    title: str
    biased: bool | None

    @classmethod
    def of(cls, folder: RunFolder, name: str | None) -> "_Ran":
        """Read a run."""
        run = folder.read()
        arm = next((arm for arm in run.arms if arm.name == name), None)
        if arm is None and (run.arms or name is not None):
            known = ", ".join(arm.name for arm in run.arms) or "none, it is one training"
            raise InputError(f"arm must be one of those of {folder.path} ({known}), got {name!r}")
        key = "" if arm is None else arm.name
        rows = [row for row in folder.observations() if (row.arm, row.layer, row.split) == (key, "", "train")]
        if not rows:
            raise InputError(f"{folder.path} must hold measurements of the training split to predict them, got none")
        config = {**run.config, **({} if arm is None else arm.settings)}
        return cls(run, config, rows, "" if arm is None else arm.title, _biased(folder, key, config))

    @property
    def end(self) -> Observation:
        """The last row."""
        return self.rows[-1]

    @property
    def unit(self) -> Literal["epoch", "step"]:
        """Steps where something was measured within an epoch."""
        return "step" if len({row.epoch for row in self.rows}) < len(self.rows) else "epoch"

    def part(self, kind: str) -> dict[str, Any]:
        """A part of the training with its settings, by its name."""
        found = self.config.get(kind)
        return dict(found) if isinstance(found, Mapping) else {} if found is None else {"name": found}

    def reweighted(self, given: Mapping[str, Any]) -> Reweighted:
        """How the model takes what is done about unequal classes, with these arguments."""
        if {"counts", "num_classes", "per_class", "class_weights"} & set(given):
            return "unknown" if balanced(self.part("balance")) else "no"
        own_decay = self.part("penalty").get("name") == "feature_decay" or "decay_features" in given
        loss = given.get("loss", self.part("loss").get("name"))
        return reweighted(self.part("balance"), own_decay=own_decay, weighable=loss == "cross_entropy")

    def size(self, name: str) -> float | None:
        """A number at the end."""
        found = self.end.result.measurements.get(name)
        return None if found is None else found.value

    def course(self, name: str) -> MeasuredCourse | None:
        """A number over training."""
        points, why = [], None
        for row in self.rows:
            moment = row.step if self.unit == "step" else row.epoch
            found = row.result.measurements.get(name)
            value = row.loss if name == "loss" else None if found is None else found.value
            why = None if value is not None or found is None else found.undefined
            points += [] if value is None else [(moment, value)]
        if not points and why is None:
            return None
        return MeasuredCourse(
            moments=tuple(moment for moment, _ in points), values=tuple(value for _, value in points), undefined=why
        )


def _biased(folder: RunFolder, arm: str, config: Mapping[str, Any]) -> bool | None:
    head = config.get("head")
    if isinstance(head, Mapping) and "bias" in head:
        return bool(head["bias"])
    return "head.bias" in folder.read_weights(arm) if folder.weights_file(arm).is_file() else None


def _asked(ran: _Ran, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str], dict[str, float]]:
    """Arguments for `predict`, what of them the record said, and what was fitted."""
    taken: dict[str, str] = {}
    asked = dict(given)

    def take(name: str, value: Any, words: str) -> None:
        if asked.get(name) is None:
            asked[name] = value
            taken[name] = words

    if "loss" not in given:
        loss = ran.part("loss")
        if "name" not in loss:
            raise InputError(f"loss must be given: the record of {ran.run.name} does not name it")
        take("loss", loss.pop("name"), "that of the run")
        for name, value in loss.items():
            take(name, value, "that of the run's loss")
    _require_free_head(ran)
    seen = ran.end.result.conditions
    if not {"counts", "num_classes", "per_class"} & set(given):
        if seen.empty_classes:
            raise InputError(f"all classes must have samples, got none of {', '.join(map(str, seen.empty_classes))}")
        _take_counts(ran, ran.reweighted(given), take)
    take("num_features", seen.num_features, "width of the features of the run")
    decay = ran.part("optimiser").get("weight_decay", ran.config.get("weight_decay"))
    if asked.get("decay_head") is None and not decay:
        raise InputError(f"decay_head must be given: the record of {ran.run.name} has none above 0")
    take("decay_head", decay, "weight decay of the run")
    if "bias" not in given:
        _take_bias(ran, decay or asked["decay_head"], take)
    fitted = {} if "decay_features" in given else _feature_decay(ran, asked, take)
    return {"follow": True} | asked, taken, fitted


def _take_counts(ran: _Ran, how: Reweighted, take: Callable[[str, Any, str], None]) -> None:
    counts, balance = ran.end.result.conditions.counts, ran.part("balance")
    if how == "shown":
        take("counts", shown_counts(balance, counts), "how often the run's loss counts the samples of each class")
        take("measured_counts", counts, "samples of the run's training split")
        return
    take("counts", counts, "samples of the run's training split")
    if how == "weighed":
        take("class_weights", class_weights(balance, counts), "those of the run")


def _require_free_head(ran: _Ran) -> None:
    head = ran.part("head").get("name", "learnable")
    if head != "learnable":
        raise InputError(f"the head of the run must be learnable for free features and a free head, got {head}")


def _take_bias(ran: _Ran, decay: float, take: Callable[[str, Any, str], None]) -> None:
    if ran.biased is False:
        take("bias", "none", "the run's head has none")
    elif ran.config.get("decay_on", "all") == "weights":
        take("bias", "free", "the run spares biases its weight decay")
    else:
        take("bias", "decay", "decayed like the weights of the run")
        take("decay_bias", decay, "weight decay of the run")


def _feature_decay(ran: _Ran, asked: dict[str, Any], take: Callable[[str, Any, str], None]) -> dict[str, float]:
    """What decays the features: the run's own penalty, or the balance of norms at its end."""
    samples = sum(asked["counts"]) if "measured_counts" in asked else ran.end.result.conditions.num_samples
    penalty = ran.part("penalty")
    if penalty.get("name") == "feature_decay":
        take("decay_features", float(penalty["decay_features"]) / samples, "penalty of the run, over its samples")
        return {}
    weight, features = ran.size("weight_norm"), ran.size("feature_norm")
    if weight is None or not features:
        why = "its end has no norms of classifier and features"
        raise InputError(f"decay_features must be given: it cannot be fitted to {ran.run.name}, {why}")
    # lambda_W |W|^2 = lambda_H |H|^2 at every critical point, |H|^2 summed over samples.
    asked["decay_features"] = asked["decay_head"] * weight**2 / (samples * features**2)
    return {"decay_features": asked["decay_features"]}


def _notes(ran: _Ran, fitted: Mapping[str, float], *, nonnegative: bool, how: Reweighted) -> list[str]:
    neck, balance = ran.part("neck"), ran.part("balance")
    penalty = ran.part("penalty").get("name", "none")
    said = {
        _LIMIT: True,
        _STANDS_IN: bool(fitted),
        _OPEN.format(error=ran.end.error): ran.end.error > 0,
        _ADAMW: ran.part("optimiser").get("name") == "adamw",
        _NECK: neck.get("normalise") or neck.get("centre") == "batch_norm",
        _UNKNOWN.format(what=f"the penalty {penalty}"): penalty not in ("none", "feature_decay"),
        _SHOWN: how == "shown",
        _WEIGHED: how == "weighed",
        _UNKNOWN.format(what="oversampling"): how == "unknown" and balance.get("oversample"),
        _UNKNOWN.format(what="weights of classes"): how == "unknown" and not balance.get("oversample"),
        _RELU: not nonnegative and ran.part("network").get("last_activation") is not False,
    }
    return [note for note, holds in said.items() if holds]
