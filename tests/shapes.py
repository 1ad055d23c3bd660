"""The run-time shape check of the test suite: jaxtyping annotations are enforced, plain ones are left to the code.

Public doors are annotated plainly (`Tensor`, `int`) and answer a wrong argument with `InputError`. A checker that
enforced the plain annotations too would answer first, with an error that no user ever sees. So beartype is shown only
the annotations that speak of shapes.
"""

import inspect
import typing
from collections.abc import Callable

from beartype import beartype
from jaxtyping import AbstractArray


def _speaks_of_shapes(annotation: object) -> bool:
    if inspect.isclass(annotation) and issubclass(annotation, AbstractArray):
        return True
    return any(_speaks_of_shapes(part) for part in typing.get_args(annotation))


def inside(fn: Callable) -> Callable:
    """Type-check calls of `fn`, but only the annotations that are arrays with axes.

    jaxtyping hands over stand-ins with the signature of the function to check, so their annotations may be rewritten.
    """
    annotations = inspect.get_annotations(fn)
    kept = {name: hint if _speaks_of_shapes(hint) else typing.Any for name, hint in annotations.items()}
    if all(hint is typing.Any for hint in kept.values()):
        return fn
    fn.__annotations__ = kept
    return beartype(fn)
