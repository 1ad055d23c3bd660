"""Colours, named by role. Figures carry the names (``@train``); the page and `themed` put colours in their place.

Train and test, and the colours of classes and runs, keep apart under the common colour-vision deficiencies (they follow
Okabe and Ito); a second sign beside colour (dash, marker, word) always says the same.
"""

from typing import Any, Literal

Scheme = Literal["light", "dark"]

PALETTE: dict[Scheme, dict[str, str]] = {
    "light": {
        "ink": "#1a1f26",
        "muted": "#59636f",
        "paper": "#ffffff",
        "surface": "#f5f6f8",
        "line": "#d9dee4",
        "grid": "#e8ebef",
        "train": "#0b62a8",
        "test": "#c04a08",
        "other": "#6b4fa0",
        "target": "#17794f",
        "phase": "rgba(23, 121, 79, 0.08)",
        "mark": "#59636f",
        "focus": "#0b62a8",
        "good": "#17794f",
        "bad": "#b3261e",
        "open": "#8a5a00",
        "low": "#0b62a8",
        "middle": "#f1f2f4",
        "high": "#c04a08",
        "c0": "#0072b2",
        "c1": "#d55e00",
        "c2": "#008a66",
        "c3": "#b0528b",
        "c4": "#8f6b00",
        "c5": "#3a8fc4",
        "c6": "#5b5b5b",
        "c7": "#7a4fb5",
    },
    "dark": {
        "ink": "#e7eaee",
        "muted": "#a3adb8",
        "paper": "#12151a",
        "surface": "#1a1e25",
        "line": "#353c46",
        "grid": "#272d36",
        "train": "#6db6f2",
        "test": "#f6a05c",
        "other": "#b9a3ea",
        "target": "#63cf9c",
        "phase": "rgba(99, 207, 156, 0.09)",
        "mark": "#a3adb8",
        "focus": "#8cc6f7",
        "good": "#63cf9c",
        "bad": "#ff9389",
        "open": "#f0c061",
        "low": "#56aef0",
        "middle": "#20252d",
        "high": "#f58b3c",
        "c0": "#56b4e9",
        "c1": "#f58b3c",
        "c2": "#3fcf9f",
        "c3": "#e59ac4",
        "c4": "#e6c229",
        "c5": "#9ad0f2",
        "c6": "#b9bec5",
        "c7": "#bba2ec",
    },
}

SPLIT_COLOURS = {"train": "@train", "test": "@test"}
SPLIT_DASHES = {"train": "solid", "test": "dash"}
NUM_SERIES_COLOURS = 8


def split_colour(split: str) -> str:
    """The colour of a split of the data.

    Args:
        split: Its name.

    Returns:
        A role, such as ``@train``.
    """
    return SPLIT_COLOURS.get(split, "@other")


def split_dash(split: str) -> str:
    """The dash of a split's line, so that colour is never the only difference.

    Args:
        split: Its name.

    Returns:
        A plotly dash.
    """
    return SPLIT_DASHES.get(split, "dot")


def series_colour(index: int) -> str:
    """The colour of one of several classes or runs.

    Args:
        index: Which one; colours come round after eight.

    Returns:
        A role.
    """
    return f"@c{index % NUM_SERIES_COLOURS}"


def themed(figure: Any, scheme: Scheme = "light") -> Any:
    """Put colours in the place of roles, to use a figure outside the page.

    Args:
        figure: A figure, or any part of one.
        scheme: Which colours.

    Returns:
        A copy with plain colours.

    Example:
        >>> themed({"color": "@ink", "text": "@home"})
        {'color': '#1a1f26', 'text': '@home'}
    """
    if isinstance(figure, dict):
        return {key: themed(value, scheme) for key, value in figure.items()}
    if isinstance(figure, (list, tuple)):
        return [themed(value, scheme) for value in figure]
    if isinstance(figure, str) and figure.startswith("@"):
        return PALETTE[scheme].get(figure[1:], figure)
    return figure


def style_rules() -> str:
    """The palette as custom properties of CSS, for both schemes and for a choice made on the page.

    Returns:
        A style sheet.
    """
    properties = {
        scheme: " ".join(f"--{role}: {colour};" for role, colour in roles.items()) for scheme, roles in PALETTE.items()
    }
    return (
        f":root {{ color-scheme: light; {properties['light']} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ "
        f":root:not([data-scheme=light]) {{ color-scheme: dark; {properties['dark']} }} }}\n"
        f"@media screen {{ :root[data-scheme=dark] {{ color-scheme: dark; {properties['dark']} }} }}\n"
    )
