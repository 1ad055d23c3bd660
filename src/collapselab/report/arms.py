"""The arms of a run as curves: one colour an arm, or one colour a group where arms repeat each other or are many."""

import json
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from collapselab.report.figures import Line, split_lines
from collapselab.report.palette import NUM_SERIES_COLOURS, series_colour, split_dash
from collapselab.report.view import Curve, View
from collapselab.report.words import in_plot, plain

# Settings whose values are interchangeable: arms that differ in nothing else are repetitions of one another.
_REPEATS = ("seed", "repetition", "repeat", "fold")

# Groups of which one arm each is shown in figures that cannot hold several.
MOST_EXAMPLES = 4


@dataclass(frozen=True, eq=False)
class Group:
    """Arms that share a colour.

    Attributes:
        title: What they have in common.
        sign: A letter, or a number after 26 of them.
        colour: Role of the colour.
        members: Their views.
        repeats: Whether they are repetitions of one another, so that a median stands for them.
    """

    title: str
    sign: str
    colour: str
    members: tuple[View, ...]
    repeats: bool

    @property
    def signs(self) -> tuple[str, ...]:
        """Sign of each member."""
        many = len(self.members) > 1
        return tuple(f"{self.sign}{at}" if many else self.sign for at in range(1, len(self.members) + 1))


def sign_of(at: int) -> str:
    """A sign for one of several runs or arms.

    Args:
        at: Which one.

    Returns:
        A capital letter, or a number after 26 of them.
    """
    return chr(ord("A") + at) if at < 26 else str(at + 1)


def settings_of(arm: View) -> Mapping[str, Any]:
    """What distinguishes an arm.

    Args:
        arm: Its view.

    Returns:
        Settings by name.
    """
    return {} if arm.arm is None else arm.arm.settings


def varying(arms: Sequence[View]) -> list[str]:
    """Settings that are not the same in all arms.

    Args:
        arms: Their views.

    Returns:
        Names in the order in which they come.
    """
    found = [settings_of(arm) for arm in arms]
    names = dict.fromkeys(name for settings in found for name in settings)
    return [name for name in names if len({_text(settings.get(name)) for settings in found}) > 1]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def groups_of(view: View) -> tuple[Group, ...]:
    """The arms of a run in groups.

    Repetitions (arms that differ in a seed alone) form a group with a median. Else each arm stands alone if there are
    colours for all, and if not, arms share the colour of the setting that has the fewest values.

    Args:
        view: A run with arms.

    Returns:
        Groups in the order of their first arms.
    """
    arms, names = view.arms, varying(view.arms)
    apart = [name for name in names if name not in _REPEATS]
    grouped = _by(arms, apart)
    if len(grouped) < len(arms) and len(apart) < len(names):
        return _named(grouped, apart, repeats=True)
    if len(arms) <= NUM_SERIES_COLOURS:
        return _named([(arm,) for arm in arms], names, repeats=False)
    counts = {name: len(_by(arms, [name])) for name in names}
    fitting = [name for name in names if 1 < counts[name] <= NUM_SERIES_COLOURS]
    if not fitting:
        return _named([(arm,) for arm in arms], names, repeats=False)
    shared = min(fitting, key=counts.__getitem__)
    return _named(_by(arms, [shared]), [shared], repeats=False)


def _by(arms: Sequence[View], names: Sequence[str]) -> list[tuple[View, ...]]:
    found: dict[str, list[View]] = {}
    for arm in arms:
        found.setdefault(_text([settings_of(arm).get(name) for name in names]), []).append(arm)
    return [tuple(members) for members in found.values()]


def _named(grouped: Sequence[tuple[View, ...]], names: Sequence[str], *, repeats: bool) -> tuple[Group, ...]:
    titles = [_shared_title(members) if repeats else "" for members in grouped]
    if len(set(titles)) < len(titles) or "" in titles:
        titles = [_settings(members, names) for members in grouped]
    return tuple(
        Group(title, sign_of(at), series_colour(at), members, repeats)
        for at, (title, members) in enumerate(zip(titles, grouped, strict=True))
    )


def _shared_title(members: Sequence[View]) -> str:
    """What the titles of repetitions begin with, without the words that number them."""
    if len(members) == 1:
        return members[0].title
    columns = zip(*(member.title.split() for member in members), strict=False)
    shared = " ".join(words[0] for words in takewhile(lambda words: len(set(words)) == 1, columns))
    return re.sub(rf"[\s,;:=#(-]*({'|'.join(_REPEATS)})?[\s,;:=#(-]*$", "", shared)


def _settings(members: Sequence[View], names: Sequence[str]) -> str:
    """The title of a single arm; of several, the settings that they share."""
    if len(members) == 1:
        return members[0].title
    settings = settings_of(members[0])
    return ", ".join(f"{name} {plain(settings.get(name))}" for name in names) or "all arms"


def lines_of(view: View, curves: Callable[[View], Sequence[Curve]]) -> list[Line]:
    """The curves of a run: by split in a run of one training, by arm in a run of several.

    Args:
        view: The run.
        curves: Takes those that are wanted out of the view of one training.

    Returns:
        Lines; those of repetitions are faint, beside their median.
    """
    if not view.arms:
        return split_lines(curves(view))
    found: list[Line] = []
    for group in groups_of(view):
        own = [list(curves(member)) for member in group.members]
        repeated = group.repeats and len(group.members) > 1
        for member, sign, lines in zip(group.members, group.signs, own, strict=True):
            for curve in lines:
                name = in_plot(f"{sign} {member.title}, {curve.split}")
                # Of many arms only the first split is drawn in full.
                faint = repeated or (len(view.arms) > NUM_SERIES_COLOURS and curve.split != lines[0].split)
                end = "" if faint else sign
                found.append(Line(curve, name, group.colour, split_dash(curve.split), end, faint=faint))
        if repeated:
            found += _medians(group, own)
    return found


def _medians(group: Group, own: Sequence[Sequence[Curve]]) -> list[Line]:
    lines = []
    for split in dict.fromkeys(curve.split for curves in own for curve in curves):
        curve = median_curve([curve for curves in own for curve in curves if curve.split == split])
        name = in_plot(f"{group.sign} {group.title}, {split}, median")
        lines.append(Line(curve, name, group.colour, split_dash(split), group.sign))
    return lines


def median_curve(curves: Sequence[Curve]) -> Curve:
    """The median of curves, at the moments that at least half of them have.

    Args:
        curves: At least one, with a point each.

    Returns:
        A curve with at least one point.
    """
    found: dict[int, list[float]] = {}
    for curve in curves:
        for moment, value in zip(curve.moments, curve.values, strict=True):
            found.setdefault(moment, []).append(value)
    most = max(len(values) for values in found.values())
    kept = {at: values for at, values in sorted(found.items()) if 2 * len(values) >= min(len(curves), most)}
    return Curve(
        curves[0].split, tuple(kept), tuple(statistics.median(values) for values in kept.values()), curves[0].unit
    )


def legend_of(view: View) -> list[dict[str, Any]]:
    """What a legend of the arms says.

    Args:
        view: The run.

    Returns:
        Role of the colour, sign and name of each group; nothing in a run of one training.
    """
    return [
        {
            "role": group.colour[1:],
            "sign": group.sign,
            "name": _counted(group),
            "repeated": group.repeats and len(group.members) > 1,
        }
        for group in (groups_of(view) if view.arms else ())
    ]


def _counted(group: Group) -> str:
    return group.title if len(group.members) == 1 else f"{group.title} ({len(group.members)} arms)"


def examples(view: View) -> tuple[View, ...]:
    """One arm of each of the first few groups, for figures that show a single training.

    Args:
        view: The run.

    Returns:
        Their views; nothing in a run of one training.
    """
    return tuple(group.members[0] for group in groups_of(view)[:MOST_EXAMPLES]) if view.arms else ()
