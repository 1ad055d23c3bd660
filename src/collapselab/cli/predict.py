"""`collapselab predict`: what a model of free features says of a problem, alone or beside a run."""

import dataclasses
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser

from collapselab.cli._answer import Answer
from collapselab.cli._parsing import field_docs, parsed, parser_of, plainly
from collapselab.cli._predicted import predicted_text
from collapselab.core.errors import InputError
from collapselab.records import as_json, write_bytes
from collapselab.records.prediction import Prediction

_DESCRIPTION = """What free features and a decayed head do under a loss, from a closed form: norms, angles, bias, values
of the metrics, thresholds. The objective is the mean loss plus half of each decay times a squared norm, that of the
features summed over all samples. Beside a run, what is not given is taken from its record, and the decay of the
features is fitted to the norms at its end."""

_ARGUMENTS = {
    "loss": "loss",
    "classes": "num_classes",
    "per_class": "per_class",
    "counts": "counts",
    "features": "num_features",
    "decay_head": "decay_head",
    "decay_features": "decay_features",
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
    """
    from collapselab.theory import answered

    models = answered()
    parser = _parser(models)
    settings = _add_settings(parser, models)
    asked = parsed(parser, arguments)
    given = {name: value for flag, name in _ARGUMENTS.items() if (value := asked[flag]) is not None}
    given |= {name: asked[name] for name in settings if asked[name] is not None}
    if "counts" in given:
        given["counts"] = _counts(given["counts"])
    if asked.nonnegative:
        given["nonnegative"] = True
    # Of a loss without a model of its own each point takes a solution: only where a picture is asked for.
    given["follow"] = given.get("loss", "mse") in models or asked.report is not None
    found = _alone(given, asked.arm) if asked.beside is None else _beside(asked.beside, asked.arm, given)
    written = _written(found, out=asked.out, report=asked.report)
    text = "\n".join([predicted_text(found), *(f"written: {path}" for path in written)])
    return Answer(found.model_dump(mode="json") | {"written": written}, text)


def _parser(losses: Iterable[str]) -> ArgumentParser:
    parser = parser_of("predict", _DESCRIPTION)
    parser.add_argument("--loss", type=str, metavar="NAME", help=", ".join(losses))
    parser.add_argument("--classes", type=int, metavar="K", help="number of classes")
    parser.add_argument("--per-class", type=int, metavar="N", help="samples of each class")
    parser.add_argument("--counts", type=str, metavar="A,B,...", help="samples of each class, where they differ")
    parser.add_argument("--features", type=int, metavar="D", help="number of features; as many as classes by default")
    parser.add_argument("--decay-head", type=float, metavar="X", help="lambda_W")
    parser.add_argument("--decay-features", type=float, metavar="X", help="lambda_H")
    parser.add_argument("--bias", type=Literal["none", "free", "decay"], help="of the head; free if not given")
    parser.add_argument("--decay-bias", type=float, metavar="X", help="lambda_b, with --bias decay")
    parser.add_argument("--nonnegative", action="store_true", help="features cannot be negative, as after a ReLU")
    parser.add_argument("--beside", type=str, metavar="RUN", help="folder of a run to compare with")
    parser.add_argument("--arm", type=str, metavar="NAME", help="of a run that compares several trainings: which")
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


def _counts(listed: str) -> tuple[int, ...]:
    try:
        return tuple(int(count) for count in listed.split(","))
    except ValueError as error:
        raise InputError(f"--counts: expected whole numbers with commas between them, got {listed!r}") from error


_NEEDED = {
    "loss": "--loss must be given (--beside RUN takes it from a run), got nothing",
    "decay_head": "--decay-head must be given (--beside RUN takes it from a run), got nothing",
    "decay_features": "--decay-features must be given (--beside RUN fits it to a run), got nothing",
}


def _alone(given: dict[str, Any], arm: str | None) -> Prediction:
    if arm is not None:
        raise InputError(f"--arm: expected --beside with the run that the training is of, got {arm} alone")
    for name, message in _NEEDED.items():
        if name not in given:
            raise InputError(message)
    from collapselab.experiments.predicting import predicted

    return predicted(**given)


def _beside(run: str, arm: str | None, given: dict[str, Any]) -> Prediction:
    from collapselab.experiments.predicting import predicted_beside

    return predicted_beside(run, arm=arm, **given)


def _written(found: Prediction, *, out: str | None, report: str | None) -> list[str]:
    """Paths of the files that were asked for."""
    written = []
    if out is not None:
        write_bytes(Path(out), (as_json(found.model_dump(mode="json")) + "\n").encode())
        written.append(out)
    if report is not None:
        from collapselab.report import write_prediction_report

        written.append(str(write_prediction_report(found, report)))
    return written
