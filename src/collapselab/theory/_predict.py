"""From the name of a loss, or a loss itself, to the record of what its model predicts."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from collapselab.core.errors import InputError
from collapselab.records.prediction import Prediction
from collapselab.theory._model import REGISTRY, Model, UnconstrainedLandscape
from collapselab.theory._problem import Bias, Problem
from collapselab.theory._statement import COARSE, Steps, stated

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""Logits (n, k) and labels (n,) to losses (n,)."""


def predict(
    loss: str | LossFunction,
    *,
    num_classes: int | None = None,
    per_class: int | None = None,
    counts: Sequence[int] | None = None,
    num_features: int | None = None,
    decay_head: float,
    decay_features: float,
    bias: Bias = "free",
    decay_bias: float | None = None,
    nonnegative: bool = False,
    follow: bool = False,
    **settings: Any,
) -> Prediction:
    r"""What free features and a decayed head do under a loss, without training anything.

    The objective is the mean loss plus $\tfrac{\lambda_W}2\|W\|^2+\tfrac{\lambda_H}2\|H\|^2$, and
    $\tfrac{\lambda_b}2\|b\|^2$ where the bias is decayed.

    Args:
        loss: Name of a loss that a model answers (see `answered`), or any function of logits (n, k) and labels (n,)
            that gives losses (n,), is convex in the logits and treats all classes alike.
        num_classes: K, with `per_class`.
        per_class: Samples of each class.
        counts: Samples of each class, where they differ; in place of the two before.
        num_features: d; K by default.
        decay_head: lambda_W.
        decay_features: lambda_H, of the squared norm of all features together.
        bias: Whether the head has a bias, and whether it is decayed.
        decay_bias: lambda_b, of a bias that is decayed.
        nonnegative: Whether features cannot be negative, as after a ReLU.
        follow: Whether the answer is also worked out under weaker and stronger decay, for a picture.
        settings: Of the loss, by name.

    Returns:
        The record, without declarations of the metrics: theory does not know them.

    Raises:
        InputError: If an argument is not what it must be, or no model knows the answer to this problem.

    Example:
        >>> asked = {"decay_head": 5e-3, "decay_features": 1e-3}
        >>> found = predict("cross_entropy", num_classes=10, per_class=5, num_features=16, **asked)
        >>> round(found.minimum, 10)
        0.2823962428
    """
    sizes = _counts(num_classes, per_class, counts)
    if bias == "decay" and decay_bias is None:
        raise InputError("decay_bias must be given for a bias that is decayed, got nothing")
    problem = Problem(
        sizes,
        len(sizes) if num_features is None else num_features,
        decay_head,
        decay_features,
        bias=bias,
        decay_bias=0.0 if decay_bias is None else decay_bias,
        nonnegative=nonnegative,
    )
    named = isinstance(loss, str)
    steps = None if not follow else Steps() if named else COARSE
    return stated(_landscape(loss, settings), problem, loss=loss if named else _name_of(loss), follow=steps)


def answered() -> dict[str, tuple[Model, ...]]:
    """The losses that `predict` knows by name.

    Returns:
        Name of a loss to the models that answer it, the one that is called like it first.
    """
    found: dict[str, list[Model]] = {}
    for name, model in REGISTRY.items():
        for loss in _losses_of(name, model):
            found.setdefault(loss, []).append(model)
    return {loss: tuple(sorted(models, key=lambda m: m.name != loss)) for loss, models in sorted(found.items())}


def _losses_of(name: str, model: Model) -> tuple[str, ...]:
    entries = dataclasses.fields(model.cls)
    if not issubclass(model.cls, UnconstrainedLandscape):
        return ()
    if model.cls.answers is not None:
        return model.cls.answers
    # A model with a setting that must be given, such as a function, is not asked by name.
    needed = [entry.name for entry in entries if entry.default is dataclasses.MISSING]
    return (name,) if needed == ["problem"] else ()


def _counts(num_classes: int | None, per_class: int | None, counts: Sequence[int] | None) -> tuple[int, ...]:
    if counts is None:
        if num_classes is None or per_class is None:
            missing = "num_classes" if num_classes is None else "per_class"
            raise InputError(f"{missing} must be given, or counts, got nothing")
        return Problem.balanced(num_classes, per_class, 1, decay_head=0.0, decay_features=0.0).counts
    if isinstance(counts, (str, bytes, int)):
        raise InputError(f"counts must be whole numbers, one a class, got {counts!r}")
    given = tuple(counts)
    if per_class is not None:
        raise InputError(f"per_class must not be given beside counts, got {per_class}")
    if num_classes is not None and num_classes != len(given):
        raise InputError(f"num_classes must be {len(given)}, the number of counts, got {num_classes}")
    return given


def _name_of(loss: LossFunction) -> str:
    name = getattr(loss, "__name__", type(loss).__name__)
    return "function" if name == "<lambda>" else name


def _landscape(loss: str | LossFunction, settings: Mapping[str, Any]) -> Callable[[Problem], UnconstrainedLandscape]:
    """What makes the landscape of a problem: the first model that knows the answer."""
    if not isinstance(loss, str):
        return _of_function(loss, settings)
    models = answered().get(loss)
    if models is None:
        raise InputError(_no_such(loss))

    def made(problem: Problem) -> UnconstrainedLandscape:
        refused: InputError | None = None
        for model in models:
            try:
                return _made(model, loss, problem, settings)
            except InputError as error:
                refused = refused or error
        assert refused is not None  # there is at least one model
        raise refused

    return made


def _made(model: Model, loss: str, problem: Problem, settings: Mapping[str, Any]) -> UnconstrainedLandscape:
    known = [entry.name for entry in dataclasses.fields(model.cls) if entry.name != "problem"]
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"its settings: {', '.join(known) or 'none'}"
            raise InputError(f"{loss} has no setting {name!r}; {hint}")
    return model.cls(problem=problem, **settings)


def _of_function(loss: LossFunction, settings: Mapping[str, Any]) -> Callable[[Problem], UnconstrainedLandscape]:
    if not callable(loss):
        raise InputError(f"loss must be a name or a function of logits and labels, got {loss!r}")
    if settings:
        raise InputError(f"a function has no settings, got {', '.join(settings)}")
    cls = REGISTRY["symmetric"].cls
    return lambda problem: cls(problem, loss)


def _no_such(loss: str) -> str:
    known = answered()
    near = difflib.get_close_matches(loss, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return f"no model answers the loss {loss!r}; {hint}"
