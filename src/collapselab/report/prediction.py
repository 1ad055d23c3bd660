"""A prediction as a page: the answer, where the problem stands, geometry, metrics, a run beside, what was assumed."""

from typing import Any

from collapselab.records.families import family_place, family_title
from collapselab.records.prediction import Beside, Blocks, Prediction
from collapselab.report.faces import FACES
from collapselab.report.imbalance_figures import ratio_figure, remedy_figure
from collapselab.report.page import Drawings, page
from collapselab.report.prediction_figures import (
    MOST_DENSE,
    course_figure,
    matrix_map,
    representatives,
    sweep_figure,
)
from collapselab.report.sections import Choice, Panel
from collapselab.report.sections.table import source_line, source_name
from collapselab.report.symbols import mathml, without_marks
from collapselab.report.words import number, plain

# Groups of classes whose norms stand in the table.
_MOST_GROUPS = 12

# Name, heading and caption.
_MATRICES = (
    ("weights", "Class vectors", "Inner products of the rows of the classifier, W Wᵀ."),
    ("means", "Class means", "Inner products of the class means, not centred, M Mᵀ."),
    ("logits", "Logits", "Rows of the classifier times class means, W Mᵀ; the bias is not in it."),
)
_OF = ("head", "features")
_SWEEPS = (
    ("margin", "margin", "The smallest difference between a sample's own logit and another."),
    ("minimum", "minimum", "The minimum of mean loss and decay together."),
)


def prediction_page(found: Prediction) -> str:
    """The page of a prediction.

    Args:
        found: The record.

    Returns:
        HTML.
    """
    drawings = Drawings()
    groups = {
        "sweep": _sweeps(found),
        "imbalance": _imbalanced(found),
        "matrices": _matrices(found),
        "beside": _main_courses(found),
    }
    for panels in groups.values():
        for slug, panel in panels.items():
            drawings.add(slug, panel)
    choice = _choice(found)
    for name, (_, panel) in () if choice is None else choice.options.items():
        drawings.add(f"any-{name}", panel)
    words = {
        "found": found,
        "facts": _facts(found),
        "state": _state(found),
        "cards": _cards(found),
        "panels": groups,
        "headings": {f"gram-{name}": title for name, title, _ in _MATRICES},
        "choice": choice,
        "classes": _classes(found),
        "pairs": _pairs(found),
        "metrics": _metrics(found),
        "thresholds": _thresholds(found),
        "imbalance": found.imbalance,
        "remedies": _remedies(found),
        "sources": [(key, source_line(key)) for key in _sources(found)],
        "beside": found.beside,
    }
    title = found.label[:1].upper() + found.label[1:]
    return page("prediction.html.j2", drawings, title=title, kind="prediction", **words)


# ------------------------------------------------------------------------------------------------ the answer


def _facts(found: Prediction) -> list[tuple[str, str]]:
    s = found.settings
    sizes = [f"{many:,} of {count:,}" for count, many in found.counts[:_MOST_GROUPS]]
    more = ", ..." if len(found.counts) > _MOST_GROUPS else ""
    bias = f"decayed by {number(s['decay_bias'])}" if s["bias"] == "decay" else str(s["bias"])
    return [
        ("loss", found.loss),
        *((name, plain(value)) for name, value in found.loss_settings.items()),
        ("classes", ", ".join(sizes) + more + " samples"),
        ("features", f"{s['num_features']:,}" + (", not negative" if s["nonnegative"] else "")),
        *(
            (f"{kind} of the {of}", number(s[f"{kind}_{of}"]))
            for kind in ("decay", "budget")
            for of in _OF
            if f"{kind}_{of}" in s
        ),
        ("bias", bias),
    ]


def _state(found: Prediction) -> str:
    """What sort of answer it is, in a sentence or two."""
    attained = (
        "The minimum is attained" if found.attained else "The infimum is approached as norms grow, never attained"
    )
    benign = "every local minimiser is a global one" if found.benign else "not every local minimiser is a global one"
    zero = found.norms is not None and found.norms.weight == 0
    return f"{attained}, and {benign}." + (
        " Decay is so strong here that classifier and features are zero." if zero else ""
    )


def _cards(found: Prediction) -> list[dict[str, Any]]:
    cards = [_minimum_card(found)]
    threshold = None if found.imbalance is None else found.imbalance.threshold
    if threshold is not None and found.imbalance is not None:
        parts = [("here", number(found.imbalance.ratio, 4))]
        what = (
            "Ratio of class sizes from which on small classes have one class vector (large), and that of this problem."
        )
        cards.append({"title": "Minority collapse", "big": number(threshold, 5), "parts": parts, "what": what})
    elif found.margin is not None:
        what = "By how much a sample's own logit exceeds the largest other one."
        cards.append({"title": "Margin", "big": number(found.margin, 5), "parts": [], "what": what})
    if found.norms is not None:
        n = found.norms
        parts = [("features", number(n.features, 5)), ("bias", number(n.bias, 4))]
        what = "Frobenius norms of the classifier (large) and of the features of all samples."
        cards.append({"title": "Norms", "big": number(n.weight, 5), "parts": parts, "what": what})
    if found.geometry is not None:
        cards.append(_angle_card(found))
    return cards


def _minimum_card(found: Prediction) -> dict[str, Any]:
    loss, budgets = found.mean_loss, "budget_head" in found.settings
    parts = []
    if loss is not None and not budgets:
        parts = [("mean loss", number(loss, 4)), ("decay", number(found.minimum - loss, 4))]
    what = "Mean loss within the budgets." if budgets else "Mean loss and decay together."
    return {"title": "Minimum", "big": number(found.minimum, 6), "parts": parts, "what": what}


def _angle_card(found: Prediction) -> dict[str, Any]:
    assert found.geometry is not None
    vectors, means = found.geometry.cosines_weights, found.geometry.cosines_means
    simplex = f"a simplex has {number(-1 / (found.num_classes - 1))}"
    what = f"Cosines between different class vectors (large) and between centred class means; {simplex}."
    return {"title": "Angles", "big": _range(vectors), "parts": [("means", _range(means))], "what": what}


def _range(cosines: Blocks | None) -> str:
    """The cosines that there are between different classes, smallest to largest."""
    if cosines is None:
        return "none"
    groups = range(len(cosines.sizes))
    apart = [cosines.between[g][h] for g in groups for h in groups if g != h or cosines.sizes[g] > 1]
    low, high = number(min(apart)), number(max(apart))
    return low if low == high else f"{low} to {high}"


# ------------------------------------------------------------------------------------------------ figures


def _sweeps(found: Prediction) -> dict[str, Panel]:
    sweep = found.sweep
    if sweep is None:
        return {}
    end = "" if sweep.vanishes_at is None else " Beyond the dashed line zero is best."
    panels = {}
    for name, title, what in _SWEEPS:
        values = getattr(sweep, name)
        label = f"{title} as all decays are multiplied: {number(values[0])} at {number(sweep.factor[0])}, "
        label += f"{number(values[-1])} at {number(sweep.factor[-1])}."
        caption = f"{what} The diamond is this problem.{end}"
        panels[f"sweep-{name}"] = Panel(sweep_figure(sweep, values, title=title), label, caption)
    return panels


def _matrices(found: Prediction) -> dict[str, Panel]:
    if found.geometry is None:
        return {}
    panels, across = {}, "class" if len(found.counts) == 1 else "class, largest first"
    for name, title, what in _MATRICES:
        matrix: Blocks = getattr(found.geometry, name)
        some = ""
        if matrix.size > MOST_DENSE:
            some = f" Drawn are {len(representatives(matrix))} of {matrix.size:,} classes; all others are like them."
        label = f"{title}: {_said(matrix)}."
        figure = matrix_map(matrix, unit="inner product", across=across, groups=_short_names(found))
        panels[f"gram-{name}"] = Panel(figure, label, what + some, "square")
    return panels


def _short_names(found: Prediction) -> list[str]:
    """Sizes of the classes of each group, where groups are by size."""
    there: dict[int, int] = {}
    for count, many in found.counts:
        there[count] = there.get(count, 0) + many
    sizes = sorted(there.items(), reverse=True)
    groups = () if found.geometry is None else found.geometry.weights.sizes
    return [f"{count:,} samples" for count, _ in sizes] if tuple(many for _, many in sizes) == groups else []


def _imbalanced(found: Prediction) -> dict[str, Panel]:
    """The cosine of small classes over the ratio of sizes, and under each remedy."""
    imbalance, panels = found.imbalance, {}
    if imbalance is None:
        return {}
    what = "Mean cosine between class vectors of two of the classes of at most average size."
    if imbalance.sweep is not None and any(cosine is not None for cosine in imbalance.sweep.minority_cosine):
        figure = ratio_figure(imbalance.sweep, imbalance, num_classes=found.num_classes)
        caption = f"{what} The largest class keeps its size, the others shrink. The diamond is this problem."
        label = (
            f"Mean cosine between class vectors of small classes over the ratio of sizes. {' '.join(imbalance.said)}"
        )
        panels["imbalance-ratio"] = Panel(figure, label, caption)
    shown = [remedy for remedy in imbalance.remedies if remedy.minority_cosine is not None]
    if shown:
        said = "; ".join(f"{remedy.title} {number(remedy.minority_cosine)}" for remedy in shown)
        figure = remedy_figure(imbalance.remedies, num_classes=found.num_classes)
        caption = f"{what} Crosses are answers in which classes are merged."
        panels["imbalance-remedies"] = Panel(
            figure, f"Mean cosine of small classes by remedy: {said}.", caption, "rows"
        )
    return panels


def _remedies(found: Prediction) -> list[list[str]]:
    remedies = () if found.imbalance is None else found.imbalance.remedies
    rows = []
    for one in remedies:
        if one.unknown is not None:
            rows.append([one.title, one.unknown])
            continue
        counted = ["none" if many == 0 else number(many) for many in (one.merged, one.near)]
        rows.append(
            [one.title, number(one.minority_cosine, 4), number(one.norm_ratio, 4), number(one.margin, 4), *counted]
        )
    return rows


def _said(matrix: Blocks) -> str:
    own = [number(x) for x in dict.fromkeys(matrix.own)]
    other = [number(x) for x in dict.fromkeys(x for row in matrix.between for x in row)]
    return f"on the diagonal {', '.join(own[:_MOST_GROUPS])}; elsewhere {', '.join(other[:_MOST_GROUPS])}"


def _main_courses(found: Prediction) -> dict[str, Panel]:
    """Loss and sizes, and one metric for each of NC1 to NC3."""
    names = ["loss", "weight_norm", "feature_norm"]
    for face in FACES[:3]:
        names += [name for name in face.preferred if name in found.predicts][:1]
    panels = {}
    for name in names:
        panel = _course(found, name)
        if panel is not None:
            panels[f"beside-{name}"] = panel
    return panels


def _choice(found: Prediction) -> Choice | None:
    options = {}
    for name in found.predicts:
        panel = _course(found, name)
        if panel is not None:
            options[name] = (f"{_label(found, name)} ({name})", panel)
    return Choice("Metric", options, next(iter(options))) if options else None


def _course(found: Prediction, name: str) -> Panel | None:
    beside = found.beside
    course = None if beside is None else beside.courses.get(name)
    expected = found.mean_loss if name == "loss" else found.predicts.get(name)
    if beside is None or course is None or expected is None:
        return None
    title = _label(found, name)
    declared = found.declarations.get(name)
    signed = declared is not None and declared.lower is not None and declared.lower < 0
    figure = course_figure(course, expected, split=beside.split, unit=beside.unit, title=title, linear=signed)
    if figure is None:
        return None
    end = "undefined at the end" if course.end is None else f"{number(course.end, 4)} at the end"
    caption = f"{'' if declared is None else without_marks(declared.summary)} Predicted {number(expected, 4)}, {end}."
    return Panel(figure, f"{title} over {beside.unit}s: {end}, predicted {number(expected, 4)}.", caption.strip())


def _label(found: Prediction, name: str) -> str:
    declared = found.declarations.get(name)
    return name if declared is None else declared.label


# ------------------------------------------------------------------------------------------------ tables


def _classes(found: Prediction) -> list[list[str]]:
    """Norms and bias of a class of each group."""
    norms, geometry = found.norms, found.geometry
    if norms is None or geometry is None:
        return []
    rows = zip(found.group_names, norms.class_weight, norms.class_mean, geometry.bias, strict=True)
    return [
        [name, number(weight, 5), number(mean, 5), number(bias, 5)]
        for name, weight, mean, bias in list(rows)[:_MOST_GROUPS]
    ]


def _pairs(found: Prediction) -> list[list[str]]:
    """Cosines between classes of each pair of groups."""
    geometry = found.geometry
    if geometry is None:
        return []
    names, both = found.group_names, (geometry.cosines_weights, geometry.cosines_means)
    sizes = geometry.weights.sizes
    groups = range(min(len(sizes), _MOST_GROUPS))
    rows = []
    for g in groups:
        for h in groups[g:]:
            if g != h or sizes[g] > 1:
                where = f"within {names[g]}" if g == h else f"{names[g]} with {names[h]}"
                rows.append([where, *("none" if c is None else number(c.between[g][h], 5) for c in both)])
    return rows


def _thresholds(found: Prediction) -> list[tuple[str, str]]:
    rows = [(name.replace("_", " "), number(value, 5)) for name, value in found.thresholds.items()]
    if found.sweep is not None and found.sweep.vanishes_at is not None:
        rows.append(("all decays, times: from there on zero is best", number(found.sweep.vanishes_at, 5)))
    return rows


def _metrics(found: Prediction) -> list[tuple[str, list[dict[str, Any]]]]:
    """Predicted metrics by family, with what the run measured."""
    families: dict[str, list[dict[str, Any]]] = {}
    for name in found.predicts:
        declared = found.declarations.get(name)
        families.setdefault("" if declared is None else declared.family, []).append(_row(found, name))
    if found.beside is not None and "loss" in found.beside.courses:
        families["training"] = [_row(found, "loss")]
    order = sorted(families, key=lambda family: (family != "training", family_place(family)))
    return [(family_title(family) if family else "Metrics", families[family]) for family in order]


def _row(found: Prediction, name: str) -> dict[str, Any]:
    declared = found.declarations.get(name)
    expected = found.mean_loss if name == "loss" else found.predicts[name]
    symbol = "" if declared is None else declared.symbol
    return {
        "name": name,
        "label": _label(found, name),
        "summary": "" if declared is None else declared.summary,
        "symbol": symbol,
        "mathml": mathml(symbol) if symbol else None,
        "predicted": number(expected, 4),
        "exact": repr(expected),
        "target": number(None if declared is None else declared.at_collapse),
        "measured": None if found.beside is None else _measured(found.beside, name),
        "short": "" if declared is None or not declared.source else source_name(declared.source),
    }


def _measured(beside: Beside, name: str) -> dict[str, str]:
    course = beside.courses.get(name)
    if course is None:
        return {"text": "not measured", "exact": ""}
    if course.end is None:
        return {"text": "undefined", "exact": course.undefined or ""}
    return {"text": number(course.end, 4), "exact": repr(course.end)}


def _sources(found: Prediction) -> list[str]:
    own = [found.source, *(declared.source for declared in found.declarations.values())]
    return list(dict.fromkeys(key for key in own if key))
