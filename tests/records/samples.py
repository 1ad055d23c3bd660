"""Small records for tests."""

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
