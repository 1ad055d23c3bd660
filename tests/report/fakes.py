"""Run folders written by hand: plausible numbers, no network, no torch."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from collapselab.records import (
    Against,
    Arm,
    Claim,
    Conditions,
    Declaration,
    Measurement,
    Measurements,
    NullBand,
    Observation,
    Paired,
    PerClass,
    Provenance,
    Reference,
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


def observation(
    epoch: int,
    split: str = "train",
    *,
    error: float | None = None,
    step: int | None = None,
    arm: str = "",
    stage: str = "",
    factor: float = 1.0,
    **more: Any,
) -> Observation:
    """A row; `factor` scales the metrics that fall, and an inner layer knows no metric of the classifier."""
    gone = epoch >= 20 and split == "train"
    return Observation(
        epoch=epoch,
        step=epoch * 9 if step is None else step,
        split=split,
        loss=2.3 / (1 + epoch) + (0.0 if split == "train" else 0.05),
        error=(0.0 if gone else 0.8 / (1 + epoch)) if error is None else error,
        learning_rate=None if epoch == 0 else (0.05 if epoch < 150 else 0.005),
        result=_scaled(measurements(epoch, split, **more), factor, inner=bool(stage)),
        arm=arm,
        layer=stage,
    )


def _scaled(found: Measurements, factor: float, *, inner: bool) -> Measurements:
    falling = ("nc1_pinv", "nc2_max_angle_means", "nc3_duality")
    changed = {
        name: one.model_copy(update={"value": one.value * factor}) if name in falling and one.value else one
        for name, one in found.measurements.items()
        if not (inner and name in ("nc3_duality", "nc4_disagreement", "bias_term"))
    }
    return found.model_copy(update={"measurements": changed})


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


SEEDED = tuple(
    Arm(name=f"{head}-{seed}", title=f"{head} head, seed {seed}", settings={"head": head, "seed": seed})
    for seed in range(3)
    for head in ("learnable", "fixed")
)
RATIOS = tuple(
    Arm(name=f"r{ratio}-{remedy}", title=f"R = {ratio}, {remedy}", settings={"ratio": ratio, "remedy": remedy})
    for ratio in (1, 10, 100, 1000)
    for remedy in ("none", "oversampling", "fixed ETF")
)
AGAINST = Against(
    metric="nc1_pinv",
    over="ratio",
    by="remedy",
    log_x=True,
    references=(Reference(value=1.0, label="where it began"),),
    words={"ratio": "imbalance ratio R", "none": "cross-entropy"},
)
PAIRED = Paired(
    metric="accuracy",
    over="head",
    interval=("difference", "half"),
    references=(Reference(value=-0.01, label="margin"), Reference(value=0.01, label="margin")),
    words={"fixed": "fixed head"},
)
BAND = NullBand(metric="nc1_pinv", null="permuted", part=0.1, words={"permuted": "permuted labels"})
LAYERS = ("conv1", "conv2", "block3", "block4")


def write_arms(
    path: Path,
    arms: Sequence[Arm] = SEEDED,
    *,
    layers: Sequence[str] = (),
    epochs: Sequence[int] = EPOCHS,
    steps: bool = False,
    begun: int | None = None,
    **changes: Any,
) -> Path:
    """A run with arms, each a little worse than the one before; with `steps`, measured within the first epoch too."""
    folder = RunFolder(path)
    folder.write(run_record(arms=tuple(arms), **changes))
    moments = [(0, step) for step in (1, 2, 4)] if steps else []
    for at, arm in enumerate(arms[:begun]):
        for epoch, step in sorted([*((epoch, epoch * 9) for epoch in epochs), *moments], key=lambda pair: pair[1]):
            write_moment(
                folder, epoch, step, arm=arm.name, layers=layers, factor=1.3**at, within=(epoch, step) in moments
            )
    return path


def write_moment(
    folder: RunFolder, epoch: int, step: int, *, arm: str, layers: Sequence[str], factor: float, within: bool = False
) -> None:
    """Both splits at one moment, inner layers less collapsed than later ones."""
    for split in ("train", "test"):
        folder.append(observation(epoch, split, step=step, arm=arm, factor=factor))
        for depth, layer in enumerate(layers):
            less = factor * 4.0 ** (len(layers) - depth)
            where = f"output of body.{layer}, mean over places"
            folder.append(observation(epoch, split, step=step, arm=arm, stage=layer, factor=less, layer=where))
    folder.write_snapshot(epoch, snapshot(epoch), step=step if within else None, arm=arm)


def write_depth(path: Path, **changes: Any) -> Path:
    """A run of one training that was measured layer by layer."""
    folder = RunFolder(path)
    folder.write(run_record(**changes))
    for epoch in EPOCHS:
        write_moment(folder, epoch, epoch * 9, arm="", layers=LAYERS, factor=1.0)
    return path


def changed(path: Path, change: Callable[[Observation], Observation]) -> Path:
    """The same run with every row changed."""
    folder = RunFolder(path)
    rows = folder.observations()
    folder.series_file.unlink()
    for row in rows:
        folder.append(change(row))
    return path


def without(row: Observation, *, arm: str, why: str = "a row of the classifier is zero") -> Observation:
    """The row without NC1 if it is the last of an arm on the training split."""
    return undefined_nc1(row, why) if (row.arm, row.split, row.epoch) == (arm, "train", EPOCHS[-1]) else row


def undefined_nc1(row: Observation, why: str) -> Observation:
    found = row.result.measurements | {"nc1_pinv": Measurement(undefined=why)}
    return row.model_copy(update={"result": row.result.model_copy(update={"measurements": found})})


def permuted(path: Path, factors: Sequence[float], *, undefined: int = 0) -> Path:
    """The same run with a null at its end: values scaled by the factors, and some that are undefined."""
    folder = RunFolder(path)
    for factor in factors:
        folder.append(observation(300, "permuted", factor=factor, error=0.9))
    for _ in range(undefined):
        folder.append(undefined_nc1(observation(300, "permuted", error=0.9), "no such thing"))
    return path


_OF = {"family": "local_elasticity", "source": "papyan2020", "at_collapse": None}
_NOISE = {"family": "gradient_noise", "source": "papyan2020", "at_collapse": None}
QUANTITIES = {
    d.name: d
    for d in (
        declaration("elasticity_intra", label="relative similarity, within classes", **_OF),
        declaration("elasticity_inter", label="relative similarity, between classes", **_OF),
        declaration("elasticity_gap", label="relative similarity, gap", **(_OF | {"lower": None})),
        declaration("noise_to_signal", label="noise to signal", **_NOISE),
        declaration("noise_to_signal_low", label="noise to signal, lower end", **_NOISE),
        declaration("gradient_norm", label="signal", **_NOISE),
        declaration("similarity", label="relative similarity of classes", **_OF),
        declaration("kernel", label="normalised kernel", **(_OF | {"lower": -1.0, "upper": 1.0})),
    )
}
"""What quantities of a moving network say of their numbers; the last two are matrices over classes."""


def moved(path: Path, *, alone: bool = False) -> Path:
    """The same run with quantities in the rows of the training split, and matrices in its snapshots.

    With `alone`, snapshots hold the matrices and nothing else.
    """
    folder = RunFolder(path)
    run = folder.read()
    folder.write(run.model_copy(update={"declarations": {**run.declarations, **QUANTITIES}}))
    changed(path, _moved_row)
    for moment in folder.snapshots():
        arrays = {} if alone else folder.read_snapshot(moment.epoch, step=moment.step, arm=moment.arm)
        arrays |= {f"matrix.{name}": matrix for name, matrix in matrices(moment.epoch).items()}
        folder.write_snapshot(moment.epoch, arrays, step=moment.step, arm=moment.arm)
    return path


def matrices(epoch: int, *, classes: int = 10) -> dict[str, np.ndarray]:
    """More and more of a pattern on the diagonal; the kernel is negative somewhere."""
    rng = np.random.default_rng(epoch)
    own = np.eye(classes) * (0.7 - 0.6 / (1 + epoch)) + 0.2
    similarity = own + 0.05 * rng.random((classes, classes))
    return {
        "similarity": similarity.astype(np.float32),
        "kernel": (own - 0.4 * rng.random((classes, classes))).astype(np.float32),
    }


def _moved_row(row: Observation) -> Observation:
    if row.split != "train" or row.layer:
        return row
    late, noise = 1 / (1 + row.epoch), 3.0 * (1 + row.epoch)
    values = {
        "elasticity_intra": 0.9 - 0.3 * late,
        "elasticity_inter": 0.2 + 0.3 * late,
        "elasticity_gap": 0.7 - 0.6 * late,
        "noise_to_signal": noise,
        "noise_to_signal_low": 0.8 * noise,
        "gradient_norm": late**2,
    }
    more = {name: Measurement(value=value, unit="1", at_collapse=None) for name, value in values.items()}
    found = row.result.model_copy(update={"measurements": row.result.measurements | more})
    return row.model_copy(update={"result": found})
