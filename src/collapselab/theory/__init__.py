"""Models with known answers, one module a model: landscapes that state their optimum, and dynamics that state facts."""

from collapselab.theory._blocks import BlockMatrix
from collapselab.theory._geometry import Geometry
from collapselab.theory._model import (
    REGISTRY,
    AbstractDynamics,
    AbstractLandscape,
    Model,
    UnconstrainedLandscape,
    model,
)
from collapselab.theory._predict import answered, predict
from collapselab.theory._problem import Problem, State
from collapselab.theory._solve import Trajectory, gradient, integrate, minimise, stationarity

__all__ = [
    "REGISTRY",
    "AbstractDynamics",
    "AbstractLandscape",
    "BlockMatrix",
    "Geometry",
    "Model",
    "Problem",
    "State",
    "Trajectory",
    "UnconstrainedLandscape",
    "answered",
    "gradient",
    "integrate",
    "minimise",
    "model",
    "predict",
    "stationarity",
]


def __getattr__(name: str) -> object:
    if name[:1].isupper():  # names of modules come here as well, and must not fill the registry
        for declared in REGISTRY.values():
            if declared.cls.__name__ == name:
                return declared.cls
    raise AttributeError(f"module 'collapselab.theory' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(declared.cls.__name__ for declared in REGISTRY.values())])
