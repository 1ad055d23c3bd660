"""From the name of a loss, or a loss itself, to the record of what its model predicts."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from collapselab.core.errors import InputError
from collapselab.records.prediction import Prediction
from collapselab.theory._model import REGISTRY, Model, UnconstrainedLandscape
from collapselab.theory._problem import ONE_SIZE, Bias, Problem
from collapselab.theory._statement import COARSE, Steps, stated, stated_of_budgets
from collapselab.theory.layer_peeled import LayerPeeled

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""Logits (n, k) and labels (n,) to losses (n,)."""


def predict(
    loss: str | LossFunction,
    *,
    num_classes: int | None = None,
    per_class: int | None = None,
    counts: Sequence[int] | None = None,
    num_features: int | None = None,
    decay_head: float | None = None,
    decay_features: float | None = None,
    budget_head: float | None = None,
    budget_features: float | None = None,
    bias: Bias | None = None,
    decay_bias: float | None = None,
    nonnegative: bool = False,
    follow: bool = False,
    measured_counts: Sequence[int] | None = None,
    **settings: Any,
) -> Prediction:
    r"""What free features and a decayed head do under a loss, without training anything.

    The objective is the mean loss plus $\tfrac{\lambda_W}2\|W\|^2+\tfrac{\lambda_H}2\|H\|^2$, and
    $\tfrac{\lambda_b}2\|b\|^2$ where the bias is decayed. With budgets in place of decays it is the layer-peeled model:
    the mean loss alone, with bounds for the mean squared norms of class vectors and of features.

    Args:
        loss: Name of a loss that a model answers (see `answered`), or any function of logits (n, k) and labels (n,)
            that gives losses (n,), is convex in the logits and treats all classes alike.
        num_classes: K, with `per_class`.
        per_class: Samples of each class.
        counts: Samples of each class, where they differ; in place of the two before.
        num_features: d; K by default.
        decay_head: lambda_W.
        decay_features: lambda_H, of the squared norm of all features together.
        budget_head: E_W, largest mean squared norm of the class vectors; with the next one in place of both decays.
        budget_features: E_H, largest mean squared norm of the features, averaged within each class first.
        bias: Whether the head has a bias, and whether it is decayed; free if not given, and none with budgets.
        decay_bias: lambda_b, of a bias that is decayed.
        nonnegative: Whether features cannot be negative, as after a ReLU.
        follow: Whether the answer is also worked out under weaker and stronger decay, and at other ratios of class
            sizes, for a picture.
        measured_counts: Samples of each class in the data that metrics look at, where training shows them more or less
            often than once.
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
    given = {"decay_head": decay_head, "decay_features": decay_features, "decay_bias": decay_bias, "bias": bias}
    if budget_head is not None or budget_features is not None:
        given |= {"nonnegative": nonnegative or None, **settings}
        budgets = {"budget_head": budget_head, "budget_features": budget_features}
        return stated_of_budgets(_peeled(loss, sizes, num_features, budgets, given), follow=follow)
    for name in ("decay_head", "decay_features"):
        if given[name] is None:
            raise InputError(f"{name} must be given, or budget_head and budget_features, got nothing")
    if bias == "decay" and decay_bias is None:
        raise InputError("decay_bias must be given for a bias that is decayed, got nothing")
    problem = Problem(
        sizes,
        len(sizes) if num_features is None else num_features,
        decay_head,  # pyright: ignore[reportArgumentType] - checked above
        decay_features,  # pyright: ignore[reportArgumentType]
        bias="free" if bias is None else bias,
        decay_bias=0.0 if decay_bias is None else decay_bias,
        nonnegative=nonnegative,
    )
    named = isinstance(loss, str)
    return stated(
        _landscape(loss, settings),
        problem,
        loss=loss if named else _name_of(loss),
        follow=_steps(sizes, named=named) if follow else None,
        measured_counts=measured_counts,
    )


# Different sizes of classes up to which the answer is followed over decay as finely as in closed form, and at all.
_FEW_SIZES, _SOME_SIZES = 10, 40


def _steps(sizes: Sequence[int], *, named: bool) -> Steps | None:
    kinds = len(set(sizes))
    if kinds > _SOME_SIZES:
        return None
    return Steps() if named and kinds <= _FEW_SIZES else COARSE


def _peeled(
    loss: str | LossFunction,
    counts: tuple[int, ...],
    num_features: int | None,
    budgets: Mapping[str, float | None],
    others: Mapping[str, Any],
) -> LayerPeeled:
    """The layer-peeled model of cross-entropy, where nothing is asked of it that it does not have."""
    for name, value in others.items():
        if value is not None and (name, value) != ("bias", "none"):
            raise InputError(f"{name} must not be given beside budgets, which stand in place of decay, got {value}")
    for name, value in budgets.items():
        if value is None:
            raise InputError(f"{name} must be given beside the other budget, got nothing")
    if loss != "cross_entropy":
        raise InputError(
            f"loss must be cross_entropy with budgets, got {loss if isinstance(loss, str) else _name_of(loss)}"
        )
    d = len(counts) if num_features is None else num_features
    return LayerPeeled(counts, d, **budgets)  # pyright: ignore[reportArgumentType] - checked above


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
        refused: list[InputError] = []
        # What a model that knows the settings has against them says more than that another one does not know them.
        knowing = [model for model in models if set(settings) <= set(_settings_of(model))]
        for model in knowing or models:
            try:
                return _made(model, loss, problem, settings)
            except InputError as error:
                refused.append(error)
        # Where classes differ in size, that a model wants one size says less than what another one lacks besides.
        telling = [error for error in refused if not (str(error).startswith(ONE_SIZE) and not problem.is_balanced)]
        raise (telling or refused)[0]

    return made


def _settings_of(model: Model) -> list[str]:
    return [entry.name for entry in dataclasses.fields(model.cls) if entry.name != "problem"]


def _made(model: Model, loss: str, problem: Problem, settings: Mapping[str, Any]) -> UnconstrainedLandscape:
    known = _settings_of(model)
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
