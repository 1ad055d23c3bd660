"""Numbers of a moving network over training: what belongs together shares a figure."""

from collections.abc import Mapping, Sequence
from itertools import takewhile

from collapselab.records import Declaration
from collapselab.report.arms import sign_of
from collapselab.report.figures import Line
from collapselab.report.palette import series_colour, split_dash
from collapselab.report.view import View
from collapselab.report.words import in_plot

# What may stand between words that labels share and those that they do not.
_MARKS = " ,;:"

# First or last words of names of numbers on one axis: within classes, between them, their difference; ends of an
# interval.
_TOGETHER = ("intra", "inter", "gap", "low", "high")


def gathered(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Numbers that are read on one axis.

    Args:
        names: Keys of numbers.

    Returns:
        The first of those that go together to all of them, in their order.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_stem(name), []).append(name)
    return {members[0]: tuple(members) for members in groups.values()}


def _stem(name: str) -> str:
    first, _, rest = name.partition("_")
    before, _, last = name.rpartition("_")
    return rest if first in _TOGETHER else before if last in _TOGETHER else name


def shared_label(names: Sequence[str], declarations: Mapping[str, Declaration]) -> str:
    """What the labels of some numbers have in common at their beginning.

    Args:
        names: Keys of numbers.
        declarations: What they say of themselves.

    Returns:
        A few words; all labels where they have nothing in common.
    """
    labels = [declarations[name].label for name in names]
    columns = zip(*(label.split() for label in labels), strict=False)
    words = takewhile(lambda each: len({word.rstrip(_MARKS) for word in each}) == 1, columns)
    return " ".join(each[-1] for each in words).rstrip(_MARKS) or ", ".join(labels)


def own_words(name: str, names: Sequence[str], declarations: Mapping[str, Declaration]) -> str:
    """What distinguishes a number from the others on its axis.

    Args:
        name: Its key.
        names: Keys of all.
        declarations: What they say of themselves.

    Returns:
        The end of its label.
    """
    label, shared = declarations[name].label, shared_label(names, declarations)
    own = label.removeprefix(shared).strip(_MARKS)
    return own if label.startswith(shared) and own else label


def lines_together(view: View, names: Sequence[str]) -> list[Line]:
    """Several numbers of one training: colour says which, dash the split.

    Args:
        view: The training.
        names: Keys of the numbers.

    Returns:
        Lines, with the words that distinguish them as names.
    """
    found = []
    for at, name in enumerate(names):
        own = in_plot(own_words(name, names, view.declarations))
        for curve in view.curves(name):
            title = own if len(view.splits) == 1 else f"{own}, {curve.split}"
            found.append(Line(curve, title, series_colour(at), split_dash(curve.split), sign_of(at)))
    return found
