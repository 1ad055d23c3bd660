"""Run folders written by hand: plausible numbers, no network, no torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

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
    RunFolder,
    Verdict,
)

EPOCHS = (0, 1, 2, 3, 5, 8, 13, 20, 30, 45, 70, 100, 150, 200, 300)


def declaration(name: str, **changes: Any) -> Declaration:
    given = {
        "name": name,
        "label": f"label of {name}",
        "summary": f"What {name} says.",
        "symbol": r"\tfrac1K\operatorname{tr}(\Sigma_W\Sigma_B^{+})",
        "unit": "1",
        "at_collapse": 0.0,
        "lower": 0.0,
        "upper": None,
        "family": "variability",
        "source": "papyan2020",
    }
    return Declaration(**(given | changes))


DECLARATIONS = {
    d.name: d
    for d in (
        declaration("nc1_pinv", label="NC1, within / between"),
        declaration("nc2_max_angle_means", family="means", label="deviation of cosines"),
        declaration("nc3_duality", family="duality", label="distance of W and M"),
        declaration("nc4_disagreement", family="decision", unit="fraction", label="disagreement"),
        declaration("ncc_accuracy", family="decision", unit="fraction", at_collapse=1.0, label="accuracy of NCC"),
        declaration("effective_rank", family="spectrum", at_collapse=None, label="effective rank"),
        declaration("bias_term", family="duality", label="Zhu's bias term"),
        declaration(
            "cosine_per_class", per_class=True, at_collapse=1.0, family="duality", label="cosine of w and mean"
        ),
        declaration("norm_per_class", per_class=True, at_collapse=None, family="means", label="norm of mean"),
        declaration("lost_per_class", per_class=True, at_collapse=0.0, family="means", label="lost"),
    )
}

PROVENANCE = Provenance(
    collapselab="0.1.0",
    python="3.11.2",
    platform="Linux x86_64",
    packages={"torch": "2.13.0", "numpy": "2.3"},
    git_commit="0123abc",
    git_dirty=True,
    threads=2,
    device="cpu",
    dtype="float32",
    seed=7,
    created="2026-01-01T00:00:00+00:00",
    command=("run", "watch-collapse", "--seed", "7"),
)


def measurements(epoch: int, split: str = "train", *, classes: int = 10, **conditions: Any) -> Measurements:
    """What a run at this epoch could measure; the bias term is undefined, NC1 is not there before training."""
    late = 1 / (1 + epoch) ** 1.3 * (1 if split == "train" else 1.8) + (0 if split == "train" else 0.02)
    zero = epoch >= 20 and split == "train"
    values = {
        "nc1_pinv": 8 * late,
        "nc2_max_angle_means": 0.4 * late**0.5,
        "nc3_duality": 1.9 * late**0.6,
        "nc4_disagreement": 0.0 if zero else 0.3 * late**0.7,
        "ncc_accuracy": 1.0 - (0.0 if zero else 0.3 * late),
        "effective_rank": 9.0 + late,
    }
    rng = np.random.default_rng(epoch)
    how = {
        "split": split,
        "source": "MLP",
        "layer": "head",
        "mode": "eval",
        "num_samples": 1200,
        "num_classes": classes,
        "num_features": 64,
        "classes": tuple(range(classes)),
        "counts": (1200 // classes,) * classes,
        "feature_dtype": "float32",
        "features_again": "memory",
    }
    return Measurements(
        measurements={name: Measurement(value=v, unit="1", at_collapse=0.0) for name, v in values.items()}
        | {"bias_term": Measurement(undefined="needs a classifier bias, the head has none")},
        per_class={
            "cosine_per_class": PerClass(values=tuple((1 - late * rng.uniform(0, 0.3, classes)).tolist()), unit="1"),
            "norm_per_class": PerClass(values=tuple(rng.uniform(1, 2, classes).tolist()), unit="1"),
            "lost_per_class": PerClass(undefined="nobody knows"),
        },
        conditions=Conditions(**(how | conditions)),
        declarations={},
    )


def observation(epoch: int, split: str = "train", *, error: float | None = None, **more: Any) -> Observation:
    gone = epoch >= 20 and split == "train"
    return Observation(
        epoch=epoch,
        step=epoch * 9,
        split=split,
        loss=2.3 / (1 + epoch) + (0.0 if split == "train" else 0.05),
        error=(0.0 if gone else 0.8 / (1 + epoch)) if error is None else error,
        learning_rate=None if epoch == 0 else (0.05 if epoch < 150 else 0.005),
        result=measurements(epoch, split, **more),
    )


def simplex(classes: int) -> np.ndarray:
    """Unit corners (K, K-1)."""
    centred = np.eye(classes) - 1 / classes
    basis = np.linalg.svd(centred)[2][: classes - 1]
    corners = centred @ basis.T
    return corners / np.linalg.norm(corners[0])


def snapshot(epoch: int, *, classes: int = 10, samples: int = 40, weights: bool = True) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    ideal = simplex(classes)
    spread = (1 + epoch) ** -0.6
    centres = ideal + 0.6 * spread * rng.standard_normal(ideal.shape) / np.sqrt(classes)
    centres -= centres.mean(0)
    centres /= np.sqrt((centres**2).sum(1).mean())
    labels = np.repeat(np.arange(classes), samples)
    cloud = centres[labels] + 0.7 * spread * rng.standard_normal((len(labels), classes - 1))
    unit = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    arrays = {
        "coordinates": cloud.astype(np.float32),
        "labels": labels.astype(np.int64),
        "centres": centres.astype(np.float32),
        "simplex": ideal.astype(np.float32),
        "cosines": (unit @ unit.T).astype(np.float32),
        "classes": np.arange(classes),
    }
    if weights:
        arrays["weight_coordinates"] = (ideal + 0.2 * spread).astype(np.float32)
    return arrays


def run_record(**changes: Any) -> Run:
    given = {
        "name": "watch-collapse",
        "title": "Watch a network collapse",
        "status": "done",
        "claim": Claim(sentence="NC1 falls at least ten-fold after zero training error.", source="papyan2020"),
        "verdict": Verdict(
            state="holds", statement="NC1 fell 120-fold.", figures={"fall": 120.5, "metric": "nc1_pinv"}
        ),
        "config": {"dataset": "digits", "epochs": 300, "lr": 0.05, "hidden": [256, 256], "test": None, "shuffle": True},
        "epochs": 300,
        "epochs_done": 300,
        "seconds": 75.2,
        "declarations": DECLARATIONS,
        "provenance": PROVENANCE,
    }
    return Run(**(given | changes))


def write_run(
    path: Path,
    *,
    epochs: Sequence[int] = EPOCHS,
    splits: Sequence[str] = ("train", "test"),
    classes: int = 10,
    snapshots: bool = True,
    conditions: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """A whole run folder."""
    folder = RunFolder(path)
    folder.write(run_record(**changes))
    for epoch in epochs:
        for split in splits:
            folder.append(observation(epoch, split, classes=classes, **(conditions or {})))
        if snapshots:
            folder.write_snapshot(epoch, snapshot(epoch, classes=classes))
    return path
