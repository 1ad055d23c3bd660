"""The command line, one file a verb. `main` is the door; nothing heavy is imported before a verb asks for it."""

from collapselab.cli._main import main

__all__ = ["main"]
