"""Small records for tests."""

from typing import Any

from collapselab.records import (
    Claim,
    Conditions,
    Declaration,
    Measurement,
    Measurements,
    Observation,
    PerClass,
    Provenance,
    Run,
    Verdict,
)
from collapselab.records.prediction import (
    Beside,
    Blocks,
    MeasuredCourse,
    Norms,
    PredictedGeometry,
    Prediction,
    Sweep,
)


def conditions(**changes):
    given = {
        "split": "train",
        "source": "features",
        "num_samples": 6,
        "num_classes": 3,
        "num_features": 2,
        "classes": (0, 2),
        "counts": (4, 2),
        "empty_classes": (1,),
        "feature_dtype": "float32",
    }
    return Conditions(**{**given, **changes})


def declaration(**changes):
    given = {
        "name": "nc1_pinv",
        "label": "NC1",
        "summary": "Within over between.",
        "symbol": r"\Sigma",
        "unit": "1",
        "at_collapse": 0.0,
        "lower": 0.0,
        "upper": None,
        "family": "variability",
        "source": "papyan2020",
    }
    return Declaration(**{**given, **changes})


def measurements(**changes):
    given = {
        "measurements": {
            "nc1_pinv": Measurement(value=0.1 + 0.2, unit="1", at_collapse=0.0),
            "etf_error": Measurement(undefined="with two classes the value would say nothing"),
        },
        "per_class": {
            "class_variability": PerClass(values=(0.1, 1e-300), unit="1"),
            "class_accuracy": PerClass(undefined="needs the features"),
        },
        "conditions": conditions(),
    }
    return Measurements(**{**given, **changes})


def observation(epoch, *, error=0.0, split="train"):
    rate = 0.1 if epoch else None
    result = measurements()
    return Observation(
        epoch=epoch, step=10 * epoch, split=split, loss=1 / 3, error=error, learning_rate=rate, result=result
    )


def provenance():
    return Provenance(collapselab="0.1.0", python="3.11.0", platform="Linux x86_64", packages={}, created="2026-01-01")


def run(**changes):
    given = {
        "name": "watch-collapse",
        "title": "Watch a network collapse",
        "status": "running",
        "claim": Claim(sentence="NC1 falls.", source="papyan2020"),
        "config": {"epochs": 3, "network": "mlp", "rate": 0.1},
        "epochs": 3,
        "declarations": {"nc1_pinv": declaration()},
        "provenance": provenance(),
    }
    return Run(**{**given, **changes})


def verdict():
    return Verdict(state="holds", statement="NC1 fell 40-fold.", figures={"fold": 40.5, "epoch": 7, "why": None})


def blocks(*sizes: int, own: float = 1.0, other: float = -0.25) -> Blocks:
    g = len(sizes)
    return Blocks(sizes=sizes, own=(own,) * g, between=((other,) * g,) * g)


def geometry(*sizes: int) -> PredictedGeometry:
    whole = blocks(*sizes)
    parts = {"weights": whole, "means": whole, "logits": whole, "cosines_weights": whole, "cosines_means": whole}
    return PredictedGeometry(**parts, bias=(0.0,) * len(sizes))


def prediction(**changes: Any) -> Prediction:
    given: dict[str, Any] = {
        "model": "cross_entropy",
        "label": "cross-entropy on unconstrained features",
        "loss": "cross_entropy",
        "source": "zhu2021",
        "assumptions": ("All classes have the same number of samples.",),
        "settings": {
            **{"num_classes": 5, "num_samples": 15, "num_features": 4, "decay_head": 5e-3, "decay_features": 1e-3},
            **{"bias": "free", "decay_bias": 0.0, "nonnegative": False, "per_class": 3},
        },
        "counts": ((3, 5),),
        "minimum": 0.1 + 0.2,
        "mean_loss": 0.1,
        "attained": True,
        "benign": True,
        "norms": Norms(weight=2.0, features=3.0, bias=0.0, class_weight=(1.0,), class_mean=(1.0,)),
        "margin": 1.25,
        "predicts": {"nc1_pinv": 0.0, "weight_norm": 2.0},
        "thresholds": {"strength_times_classes": 0.05},
        "thresholds_say": "$cK$, which must be below 1.",
        "geometry": geometry(5),
        "sweep": Sweep(factor=(0.1, 1.0, 20.0), minimum=(0.05, 0.3, 1.6), margin=(4.0, 1.25, 0.0), vanishes_at=20.0),
        "beside": Beside(
            run="run-1",
            title="A run",
            split="train",
            courses={
                "nc1_pinv": MeasuredCourse(moments=(0, 1, 10), values=(1.0, 0.1, 1e-300)),
                "weight_norm": MeasuredCourse(moments=(0,), values=(2.5,), undefined="nobody knows"),
            },
            taken={"loss": "that of the run"},
            fitted={"decay_features": 1e-3},
            notes=("A note.",),
        ),
    }
    return Prediction(**{**given, **changes})
