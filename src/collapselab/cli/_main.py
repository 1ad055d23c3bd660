"""From arguments to an exit code: finds the verb, runs it, prints its answer or its failure."""

import contextlib
import importlib
import sys
import traceback
from collections.abc import Sequence

from collapselab import __version__
from collapselab.cli._answer import DONE, Answer, Told, as_json, complain, failure, show
from collapselab.core.errors import InputError
from collapselab.core.registry import Registry

VERBS: Registry[str] = Registry("verb", package=None)
"""Verb to one line of help; each is a module of this package with a function `answer(arguments) -> Answer`."""
VERBS.add("run", "run an experiment and keep it in a folder; runs/ by default")
VERBS.add("train", "train a network on data of your choice, measured on the way")
VERBS.add("sweep", "a recipe under every combination of some settings, several runs at once")
VERBS.add("measure", "collapse metrics of a file of features")
VERBS.add("predict", "what a model says the geometry will be, alone or beside a run")
VERBS.add("elasticity", "how a step on samples of one class moves those of others")
VERBS.add("report", "one self-contained HTML page of one or more runs")
VERBS.add("compare", "final values of runs side by side, and a page")
VERBS.add("list", "metrics, recipes, quantities, models and sources there are")
VERBS.add("describe", "what a metric, a recipe, a model or a source is")
VERBS.add("cite", "BibTeX of what a metric, a recipe, a model or a run rests on")

_EVERYWHERE = """Every verb takes
  --help     say what the verb takes
  --json     print one JSON document on standard output, and nothing else there
  --debug    with an error, print the traceback as well"""


def _help() -> str:
    verbs = "\n".join(f"  {name:<10} {line}" for name, line in VERBS.items())
    begin = "Begin with\n  collapselab run watch-collapse"
    what = "Measure, watch and explain neural collapse."
    return f"usage: collapselab VERB ...\n\n{what}\n\nVerbs\n{verbs}\n\n{_EVERYWHERE}\n\n{begin}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments after the program's name; by default those of this process.

    Returns:
        Exit code: 0 done, 2 bad input or usage, 1 anything else.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    json_asked, debug = "--json" in given, "--debug" in given
    given = [argument for argument in given if argument not in ("--json", "--debug")]
    prog = f"collapselab {given[0]}" if given and given[0] in VERBS else "collapselab"
    try:
        # Whatever a library prints on the way must not stand beside the one document.
        with contextlib.redirect_stdout(sys.stderr) if json_asked else contextlib.nullcontext():
            answer = _answer(given)
        show(as_json(answer.document) if json_asked else answer.text, sys.stdout)
    except (Exception, KeyboardInterrupt) as error:
        return _fail(error, prog, json_asked=json_asked, debug=debug)
    return DONE


def _answer(given: list[str]) -> Answer:
    if not given:
        raise InputError(f"a verb must come first: {', '.join(VERBS)} (see collapselab --help)")
    verb, *rest = given
    if verb in ("-h", "--help"):
        return Answer({"help": _help()}, _help())
    if verb == "--version":
        return Answer({"version": __version__}, f"collapselab {__version__}")
    if verb.startswith("-"):
        raise InputError(f"a verb must come first, got {verb} (see collapselab --help)")
    if verb not in VERBS:
        VERBS[verb]  # says which verbs are near
    try:
        return importlib.import_module(f"collapselab.cli.{verb}").answer(rest)
    except Told as told:
        return told.answer


def _fail(error: BaseException, prog: str, *, json_asked: bool, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    answer, code = failure(error)
    complain(prog, answer.text)
    if json_asked:
        show(as_json(answer.document), sys.stdout)
    return code
