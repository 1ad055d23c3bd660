"""Everything collapselab raises on purpose."""


class CollapselabError(Exception):
    """Base of all errors raised on purpose by collapselab."""


class InputError(CollapselabError, ValueError):
    """An argument, a flag or a file is not what was asked for; the message names it, the expectation and what came."""


class UndefinedMetric(CollapselabError, ArithmeticError):
    """A quantity does not exist for this evidence; the message says why. Never replaced by a number."""


class NotConverged(CollapselabError):
    """A numerical method stopped before it reached its tolerance."""


class NotKnown(CollapselabError):
    """The literature (or this library) has no answer to the question asked."""


class UnknownName(CollapselabError, LookupError):
    """A name is not in a registry; the message offers the nearest names."""


class MissingExtra(CollapselabError, ImportError):
    """An optional dependency is not installed; the message says which extra brings it."""


class Interrupted(CollapselabError):
    """Long work was stopped by the user; what was done is kept and the message says how to go on."""


class StorageError(CollapselabError, OSError):
    """A file could not be written or read to its end; what was there before is untouched."""
