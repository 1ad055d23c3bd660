"""The doors of the report: folders in, the path of a page out."""

import os
from collections.abc import Sequence
from pathlib import Path

from collapselab.core.errors import InputError
from collapselab.records import Measurements, write_bytes
from collapselab.records.elasticity import Elasticity
from collapselab.records.prediction import Prediction
from collapselab.report.compare import comparison_page
from collapselab.report.elasticity import elasticity_page
from collapselab.report.opening import open_run, view_of
from collapselab.report.page import report_page
from collapselab.report.prediction import prediction_page
from collapselab.report.view import View

AnyPath = str | os.PathLike[str]


def write_report(run_folders: Sequence[AnyPath], out: AnyPath | None = None) -> Path:
    """Write one page on one or several runs, finished or not.

    Args:
        run_folders: Folders of runs; several give one page with a part for each.
        out: Where to write; by default ``report.html`` in the (first) run folder.

    Returns:
        Where the page is.

    Raises:
        InputError: If no folder is given, or one of them holds no run.
    """
    views = _opened(run_folders, at_least=1)
    title = views[0].title if len(views) == 1 else f"{len(views)} runs"
    return _written(report_page(views, title=title, kind="report"), out, run_folders, "report.html")


def write_comparison(run_folders: Sequence[AnyPath], out: AnyPath | None = None) -> Path:
    """Write one page that compares runs on the same axes.

    Args:
        run_folders: Folders of at least two runs.
        out: Where to write; by default ``comparison.html`` in the first run folder.

    Returns:
        Where the page is.

    Raises:
        InputError: If fewer than two folders are given, or one of them holds no run.
    """
    return _written(comparison_page(_opened(run_folders, at_least=2)), out, run_folders, "comparison.html")


def write_measurements_report(measurements: Measurements, out: AnyPath, *, title: str = "Measurement") -> Path:
    """Write one page on a single measurement.

    Args:
        measurements: What `collapselab.measure` returned.
        out: Where to write.
        title: Heading of the page.

    Returns:
        Where the page is.

    Raises:
        InputError: If it is no record of a measurement.
    """
    if not isinstance(measurements, Measurements):
        raise InputError(f"measurements must be a Measurements record, got {type(measurements).__name__}")
    return _written(report_page([view_of(measurements, title=title)], title=title, kind="measurement"), out, (), "")


def write_prediction_report(prediction: Prediction, out: AnyPath) -> Path:
    """Write one page on what a model predicts, beside a run if the record has one.

    Args:
        prediction: The record.
        out: Where to write.

    Returns:
        Where the page is.

    Raises:
        InputError: If it is no record of a prediction.
    """
    if not isinstance(prediction, Prediction):
        raise InputError(f"prediction must be a Prediction record, got {type(prediction).__name__}")
    return _written(prediction_page(prediction), out, (), "")


def write_elasticity_report(found: Elasticity, out: AnyPath) -> Path:
    """Write one page on how a step on samples of one class moves those of others.

    Args:
        found: The record.
        out: Where to write.

    Returns:
        Where the page is.

    Raises:
        InputError: If it is no such record.
    """
    if not isinstance(found, Elasticity):
        raise InputError(f"found must be an Elasticity record, got {type(found).__name__}")
    return _written(elasticity_page(found), out, (), "")


def _opened(run_folders: Sequence[AnyPath], *, at_least: int) -> list[View]:
    if isinstance(run_folders, (str, os.PathLike)):
        raise InputError(f"run_folders must be a list of folders, got the single path {os.fspath(run_folders)!r}")
    if len(run_folders) < at_least:
        raise InputError(f"run_folders must name at least {at_least} run folder(s), got {len(run_folders)}")
    return [open_run(folder, key=f"run-{at}") for at, folder in enumerate(run_folders, start=1)]


def _written(html: str, out: AnyPath | None, run_folders: Sequence[AnyPath], name: str) -> Path:
    path = Path(out) if out is not None else Path(run_folders[0]) / name
    if path.is_dir():
        raise InputError(f"out must be a file to write, got the folder {path}")
    write_bytes(path, html.encode())
    return path
