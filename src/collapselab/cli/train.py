"""`collapselab train`: a training put together from parts, measured on the way."""

from collapselab.cli import run
from collapselab.cli._answer import Answer


def answer(arguments: list[str]) -> Answer:
    """Train any network on any data; the same as ``collapselab run train``.

    Args:
        arguments: What came after the verb.

    Returns:
        The verdict, and where the run is.
    """
    return run.answer(["train", *arguments])
