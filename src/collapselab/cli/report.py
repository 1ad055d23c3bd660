"""`collapselab report`: one self-contained HTML page of one or more runs."""

from pathlib import Path

from collapselab.cli._answer import Answer
from collapselab.cli._parsing import parsed, parser_of
from collapselab.core.errors import InputError


def answer(arguments: list[str]) -> Answer:
    """Write a page, and a figure if asked for.

    Args:
        arguments: What came after the verb.

    Returns:
        Where they are.

    Raises:
        InputError: If a figure is asked of several runs.
    """
    parser = parser_of("report", "One self-contained HTML page of one or more runs; it needs no network.")
    parser.add_argument("runs", nargs="+", type=str, metavar="RUN", help="folder of a run, finished or not")
    parser.add_argument(
        "--out", type=str, metavar="FILE.html", help="where to write; report.html in the first folder if not given"
    )
    parser.add_argument(
        "--figure", type=str, metavar="FILE.svg", help="draw NC1 to NC4 of a run for a paper as well (.svg, .pdf, .png)"
    )
    asked = parsed(parser, arguments)
    if asked.figure is not None and len(asked.runs) > 1:
        raise InputError(f"--figure: expected a single run, got {len(asked.runs)}")
    written = {"page": _page(asked.runs, asked.out)}
    if asked.figure is not None:
        written["figure"] = _figure(asked.runs[0], asked.figure)
    return Answer({"runs": list(asked.runs), **written}, "\n".join(written.values()))


def _page(runs: list[str], out: str | None) -> str:
    from collapselab.report import write_report

    return str(write_report([Path(run) for run in runs], out))


def _figure(run: str, out: str) -> str:
    from collapselab.report import nc_figure

    return str(nc_figure(run, out))
