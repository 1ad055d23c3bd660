"""`collapselab compare`: final values of runs side by side, and a page."""

from typing import Any

from collapselab.cli._answer import Answer
from collapselab.cli._parsing import parsed, parser_of
from collapselab.cli._runs import NC, last_documents, last_rows
from collapselab.cli._table import columns, number
from collapselab.core.errors import InputError
from collapselab.records import Observation, Run, RunFolder
from collapselab.records.flat import flattened


def answer(arguments: list[str]) -> Answer:
    """Compare the ends of runs, and write a page that compares their courses.

    Args:
        arguments: What came after the verb.

    Returns:
        A table with a column a run, and where the page is.

    Raises:
        InputError: If fewer than two runs are given.
    """
    parser = parser_of("compare", "Final values of runs side by side, and a page that compares their courses.")
    parser.add_argument("runs", nargs="+", type=str, metavar="RUN", help="folder of a run, finished or not")
    parser.add_argument(
        "--out", type=str, metavar="FILE.html", help="where to write; comparison.html in the first folder if not given"
    )
    asked = parsed(parser, arguments)
    if len(asked.runs) < 2:
        raise InputError(f"RUN: expected at least two folders, got {len(asked.runs)}")
    runs = [(name, RunFolder(name).read()) for name in asked.runs]
    page = _page(asked.runs, asked.out)
    ends = [end for name, run in runs for end in _ends(name, run)]
    return Answer({"runs": [_document(*one) for one in runs], "page": page}, f"{_table(ends)}\n\n{page}")


def _page(runs: list[str], out: str | None) -> str:
    from collapselab.report import write_comparison

    return str(write_comparison(runs, out))


def _ends(name: str, run: Run) -> list[tuple[str, Run, dict[str, Observation]]]:
    """A column for the run, or one for each of its arms."""
    if not run.arms:
        return [(name, run, last_rows(RunFolder(name)))]
    return [(f"{name} {arm.name}", run, last_rows(RunFolder(name), arm.name)) for arm in run.arms]


def _document(name: str, run: Run) -> dict[str, Any]:
    verdict = None if run.verdict is None else run.verdict.model_dump(mode="json")
    described = {"folder": name, "name": run.name, "status": run.status, "epochs_done": run.epochs_done}
    return described | {"config": run.config, "verdict": verdict, "last": last_documents(RunFolder(name), run)}


def _table(opened: list[tuple[str, Run, dict[str, Observation]]]) -> str:
    rows = [["", *(name for name, _, _ in opened)], ["status", *(run.status for _, run, _ in opened)]]
    rows.append(["epochs", *(f"{run.epochs_done} of {run.epochs}" for _, run, _ in opened)])
    rows.append(["claim", *("-" if run.verdict is None else run.verdict.state for _, run, _ in opened)])
    configs = [flattened(run.config) for _, run, _ in opened]
    rows += [[field, *(_shown(config.get(field)) for config in configs)] for field in _differing(configs)]
    for split in dict.fromkeys(split for _, _, last in opened for split in last):
        ends = [last.get(split) for _, _, last in opened]
        rows.append([split, *("" for _ in ends)])
        rows.append(["  loss", *("-" if end is None else number(end.loss) for end in ends)])
        rows.append(["  error", *("-" if end is None else number(end.error) for end in ends)])
        rows += [[f"  {code} {name}", *(_value(end, name) for end in ends)] for code, name in NC]
    return columns(rows)


def _differing(configs: list[dict[str, Any]]) -> list[str]:
    fields = dict.fromkeys(field for config in configs for field in config)
    return [field for field in fields if any(config.get(field) != configs[0].get(field) for config in configs)]


def _shown(value: Any) -> str:
    return "-" if value is None else str(value)


def _value(row: Observation | None, name: str) -> str:
    found = None if row is None else row.result.measurements.get(name)
    if found is None:
        return "-"
    return "undefined" if found.value is None else number(found.value)
