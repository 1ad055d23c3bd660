"""`collapselab predict`: what a model of free features says of a problem, alone or beside a run."""

import dataclasses
import sys
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace

from collapselab.cli._answer import Answer, show
from collapselab.cli._parsing import field_docs, parsed, parser_of, plainly
from collapselab.cli._predicted import predicted_text
from collapselab.core.errors import InputError
from collapselab.records import RunFolder, as_json, write_bytes
from collapselab.records.prediction import Prediction

# From here on a solution takes noticeably long.
_MANY_SIZES = 150

_DESCRIPTION = """What free features and a decayed head do under a loss, without training: norms, angles, bias, values
of the metrics, thresholds. The objective is the mean loss plus half of each decay times a squared norm, that of the
features summed over all samples; or, with budgets in place of decays, the mean loss of the layer-peeled model. Where
classes differ in size: which of them merge, and what each remedy does. Beside a run, what is not given is taken from
its record, and the decay of the features is fitted to the norms at its end."""

_ARGUMENTS = {
    "loss": "loss",
    "classes": "num_classes",
    "per_class": "per_class",
    "counts": "counts",
    "features": "num_features",
    "decay_head": "decay_head",
    "decay_features": "decay_features",
    "budget_head": "budget_head",
    "budget_features": "budget_features",
    "bias": "bias",
    "decay_bias": "decay_bias",
}
"""Flag to argument of `collapselab.theory.predict`."""


def answer(arguments: list[str]) -> Answer:
    """Predict, and write what was asked for.

    Args:
        arguments: What came after the verb.

    Returns:
        The record, and a table of it.

    Raises:
        InputError: If the prediction is to be kept in a run and there is none.
    """
    from collapselab.theory import answered

    models = answered()
    parser = _parser(models)
    settings = _add_settings(parser, models)
    asked = parsed(parser, arguments)
    given = {name: value for flag, name in _ARGUMENTS.items() if (value := asked[flag]) is not None}
    given |= {name: asked[name] for name in settings if asked[name] is not None}
    given |= _sizes(asked, given)
    if asked.nonnegative:
        given["nonnegative"] = True
    # Of a loss without a model of its own each point takes a solution: only where a picture is asked for.
    given["follow"] = given.get("loss", "mse") in models or asked.report is not None
    if asked.keep and (asked.beside is None or asked.arm is not None):
        got = "no run" if asked.beside is None else f"arm {asked.arm!r} of a run of several"
        raise InputError(f"--keep: expected --beside with a run of one training to keep the prediction in, got {got}")
    sizes = len(set(given.get("counts", ())))
    if sizes > _MANY_SIZES:
        show(f"{sizes} sizes of classes: this may take minutes", sys.stderr)
    found = _alone(given, asked.arm) if asked.beside is None else _beside(asked.beside, asked.arm, given)
    kept = RunFolder(str(asked.beside)).prediction_file if asked.keep else None
    written = _written(found, out=asked.out, kept=kept, report=asked.report)
    text = "\n".join([predicted_text(found), *(f"written: {path}" for path in written)])
    return Answer(found.model_dump(mode="json") | {"written": written}, text)


def _parser(losses: Iterable[str]) -> ArgumentParser:
    parser = parser_of("predict", _DESCRIPTION)
    parser.add_argument("--loss", type=str, metavar="NAME", help=", ".join(losses))
    parser.add_argument("--classes", type=int, metavar="K", help="number of classes")
    parser.add_argument("--per-class", type=int, metavar="N", help="samples of each class")
    parser.add_argument("--counts", type=str, metavar="A,B,...", help="samples of each class, where they differ")
    parser.add_argument("--labels", type=str, metavar="FILE", help="labels of all samples, to count them")
    profiles = Literal["none", "step", "exponential"]
    parser.add_argument("--imbalance.profile", type=profiles, help="fewer samples of some classes, as in train")
    parser.add_argument("--imbalance.ratio", type=float, metavar="R", help="largest size over smallest")
    parser.add_argument(
        "--imbalance.minority", type=int, metavar="K", help="small classes of a step; half if not given"
    )
    parser.add_argument("--features", type=int, metavar="D", help="number of features; as many as classes by default")
    parser.add_argument("--decay-head", type=float, metavar="X", help="lambda_W")
    parser.add_argument("--decay-features", type=float, metavar="X", help="lambda_H")
    parser.add_argument("--budget-head", type=float, metavar="X", help="E_W, in place of decay: mean squared norm")
    parser.add_argument("--budget-features", type=float, metavar="X", help="E_H, of features, averaged within classes")
    parser.add_argument(
        "--bias", type=Literal["none", "free", "decay"], help="of the head; free if not given, none with budgets"
    )
    parser.add_argument("--decay-bias", type=float, metavar="X", help="lambda_b, with --bias decay")
    parser.add_argument("--nonnegative", action="store_true", help="features cannot be negative, as after a ReLU")
    parser.add_argument("--beside", type=str, metavar="RUN", help="folder of a run to compare with")
    parser.add_argument("--arm", type=str, metavar="NAME", help="of a run that compares several trainings: which")
    parser.add_argument("--keep", action="store_true", help="put the record into the run's folder, for report")
    parser.add_argument("--report", type=str, metavar="FILE.html", help="write a page about the prediction as well")
    parser.add_argument("--out", type=str, metavar="FILE.json", help="write the record as well")
    return parser


def _add_settings(parser: ArgumentParser, models: Mapping[str, Sequence[Any]]) -> list[str]:
    """A flag for each setting of a loss that a model answers."""
    owners: dict[str, list[str]] = {}
    found: dict[str, tuple[Any, str]] = {}
    for loss, (model, *_) in models.items():
        words, hints = field_docs(model.cls), typing.get_type_hints(model.cls)
        for entry in dataclasses.fields(model.cls):
            if entry.name != "problem":
                owners.setdefault(entry.name, []).append(loss)
                found[entry.name] = (hints[entry.name], plainly(words.get(entry.name, "")))
    for name, losses in owners.items():
        hint, said = found[name]
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=hint | None, metavar="X", help=f"of {', '.join(losses)}: {said}")
    return list(owners)


def _sizes(asked: Namespace, given: dict[str, Any]) -> dict[str, Any]:
    """Samples of each class, however they were told."""
    told = {
        "--counts": asked.counts,
        "--labels": asked.labels,
        "--imbalance.profile": None if asked.imbalance.profile == "none" else asked.imbalance.profile,
    }
    several = [flag for flag, value in told.items() if value is not None]
    if len(several) > 1:
        raise InputError(f"{several[1]}: expected one way to tell the sizes of classes, got {several[0]} as well")
    for name in ("ratio", "minority"):
        if asked.imbalance[name] is not None and told["--imbalance.profile"] is None:
            raise InputError(
                f"--imbalance.{name}: expected --imbalance.profile step or exponential beside it, got none"
            )
    if asked.counts is not None:
        return {"counts": _counts(asked.counts)}
    if asked.labels is not None:
        from collapselab.evidence.labels import read_class_counts

        return {"counts": read_class_counts(asked.labels)}
    return _of_profile(asked.imbalance, given) if several else {}


def _of_profile(asked: Namespace, given: dict[str, Any]) -> dict[str, Any]:
    """Sizes as training cuts them: per class are the samples of the largest."""
    from collapselab.training.data.imbalance import Imbalance

    for name, flag in (("num_classes", "--classes"), ("per_class", "--per-class")):
        if name not in given:
            raise InputError(f"{flag} must be given beside --imbalance.profile, got nothing")
    if asked.ratio is None:
        raise InputError("--imbalance.ratio must be given beside --imbalance.profile, got nothing")
    profile = Imbalance(asked.profile, asked.ratio, asked.minority)
    return {"counts": profile.counts(given.pop("per_class"), given["num_classes"])}


def _counts(listed: str) -> tuple[int, ...]:
    try:
        return tuple(int(count) for count in listed.split(","))
    except ValueError as error:
        raise InputError(f"--counts: expected whole numbers with commas between them, got {listed!r}") from error


_NEEDED = {
    "loss": "--loss must be given (--beside RUN takes it from a run), got nothing",
    "decay_head": "--decay-head must be given, or both budgets (--beside RUN takes it from a run), got nothing",
    "decay_features": "--decay-features must be given (--beside RUN fits it to a run), got nothing",
}


def _alone(given: dict[str, Any], arm: str | None) -> Prediction:
    if arm is not None:
        raise InputError(f"--arm: expected --beside with the run that the training is of, got {arm} alone")
    budgets = {"budget_head", "budget_features"} & given.keys()
    for name, message in _NEEDED.items():
        if name not in given and not (budgets and name.startswith("decay")):
            raise InputError(message)
    from collapselab.experiments.predicting import predicted

    return predicted(**given)


def _beside(run: str, arm: str | None, given: dict[str, Any]) -> Prediction:
    from collapselab.experiments.predicting import predicted_beside

    for name in ("budget_head", "budget_features"):
        if name in given:
            flag = name.replace("_", "-")
            raise InputError(f"--{flag}: expected decays beside a run, which trains under those, got {given[name]}")
    return predicted_beside(run, arm=arm, **given)


def _written(found: Prediction, *, out: str | None, kept: Path | None, report: str | None) -> list[str]:
    """Paths of the files that were asked for."""
    written = []
    for path in (out, kept):
        if path is not None:
            write_bytes(Path(path), (as_json(found.model_dump(mode="json")) + "\n").encode())
            written.append(str(path))
    if report is not None:
        from collapselab.report import write_prediction_report

        written.append(str(write_prediction_report(found, report)))
    return written
