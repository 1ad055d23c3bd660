"""One prediction as text for people."""

from collapselab.cli._imbalanced import imbalance_text
from collapselab.cli._table import columns, number, paragraph
from collapselab.core.cite import references
from collapselab.records.families import family_place, family_title
from collapselab.records.prediction import Beside, Blocks, Prediction

# Groups of classes beyond which a table of them is no longer something to read.
_MOST_GROUPS = 8


def predicted_text(found: Prediction) -> str:
    """The problem, the minimum, norms and angles, metrics, thresholds, what was assumed, and the run beside.

    Args:
        found: The record.

    Returns:
        Lines.
    """
    blocks = [
        f"{found.label}\n{paragraph(problem_words(found), indent='  ')}",
        _minimum(found),
        _geometry(found),
        _cosines(found),
        _metrics(found) if found.beside is None else _beside(found, found.beside),
        _thresholds(found),
        "" if found.imbalance is None else imbalance_text(found.imbalance),
        "\n".join(["assumed", *(paragraph(sentence, indent="  ") for sentence in found.assumptions)]),
        f"source\n{paragraph(references()[found.source].line, indent='  ')}",
    ]
    return "\n\n".join(block for block in blocks if block)


def problem_words(found: Prediction) -> str:
    """The problem in one line.

    Args:
        found: The record.

    Returns:
        Loss, classes, features, decays and bias.
    """
    s = found.settings
    own = ", ".join(f"{name} {value}" for name, value in found.loss_settings.items())
    sizes = ", ".join(f"{many} {_classes(many)} of {count}" for count, many in found.counts[:_MOST_GROUPS])
    parts = [
        f"{found.loss} ({own})" if own else found.loss,
        sizes + (", ..." if len(found.counts) > _MOST_GROUPS else ""),
        f"{s['num_features']} features" + (" that cannot be negative" if s["nonnegative"] else ""),
        f"decay of head {number(s['decay_head'])}, of features {number(s['decay_features'])}"
        if "decay_head" in s
        else f"budget of head {number(s['budget_head'])}, of features {number(s['budget_features'])}",
        f"bias decayed by {number(s['decay_bias'])}" if s["bias"] == "decay" else f"bias {s['bias']}",
    ]
    return "; ".join(parts)


def _classes(many: int) -> str:
    return "class" if many == 1 else "classes"


def _minimum(found: Prediction) -> str:
    loss = found.mean_loss
    budgets = "budget_head" in found.settings
    rows = [("minimum", number(found.minimum), "of the mean loss" if budgets else "of mean loss and decay together")]
    if loss is not None and not budgets:
        rows += [("  mean loss", number(loss), ""), ("  decay", number(found.minimum - loss), "")]
    if found.margin is not None:
        rows.append(("margin", number(found.margin), "own logit less the largest other"))
    attained = "attained" if found.attained else "not attained: approached as norms grow"
    benign = (
        "every local minimiser is a global one" if found.benign else "there are local minimisers that are not global"
    )
    return "\n".join([columns(rows), f"{attained}; {benign}"])


def _geometry(found: Prediction) -> str:
    """Norms: whole matrices first, then a row for each group of classes."""
    norms, geometry = found.norms, found.geometry
    if norms is None or geometry is None:
        return "norms and angles\n  not the same at all minimisers"
    rows = [
        ("norms", "classifier", "features", "bias"),
        ("  all together", number(norms.weight), number(norms.features), number(norms.bias)),
    ]
    of_class = zip(found.group_names, norms.class_weight, norms.class_mean, geometry.bias, strict=True)
    for name, weight, mean, bias in list(of_class)[:_MOST_GROUPS]:
        rows.append((f"  each of {name}", number(weight), number(mean), number(bias)))
    more = len(geometry.bias) - _MOST_GROUPS
    return columns(rows) + (f"\n  and {more} more groups of classes" if more > 0 else "")


def _cosines(found: Prediction) -> str:
    """Cosines between classes, of class vectors and of centred class means."""
    geometry, names = found.geometry, found.group_names
    if geometry is None or (geometry.cosines_weights is None and geometry.cosines_means is None):
        return "" if geometry is None else "angles\n  none: a class vector or a centred class mean is zero"
    sizes = geometry.weights.sizes
    groups = range(min(len(sizes), _MOST_GROUPS))
    rows = [("cosines", "class vectors", "centred class means")]
    for g in groups:
        for h in groups[g:]:
            if g != h or sizes[g] > 1:
                where = f"  within {names[g]}" if g == h else f"  {names[g]} with {names[h]}"
                rows.append((where, _entry(geometry.cosines_weights, g, h), _entry(geometry.cosines_means, g, h)))
    return columns(rows)


def _entry(cosines: Blocks | None, g: int, h: int) -> str:
    return "-" if cosines is None else number(cosines.between[g][h])


def _families(found: Prediction) -> list[tuple[str, list[str]]]:
    """Predicted metrics under the headings of their families."""
    families: dict[str, list[str]] = {}
    for name in found.predicts:
        declared = found.declarations.get(name)
        families.setdefault("" if declared is None else declared.family, []).append(name)
    return [(family_title(family), families[family]) for family in sorted(families, key=family_place)]


def _metrics(found: Prediction) -> str:
    if not found.predicts:
        return "metrics\n  none is the same at all minimisers"
    rows = [("metrics", "predicted", "at collapse")]
    titles: dict[int, str] = {}
    for title, names in _families(found):
        titles[len(rows)] = title
        for name in names:
            declared = found.declarations.get(name)
            limit = None if declared is None else declared.at_collapse
            rows.append((f"  {name}", number(found.predicts[name]), number(limit)))
    return _titled(columns(rows), titles)


def _beside(found: Prediction, beside: Beside) -> str:
    """Predicted and measured numbers side by side, then what was taken and fitted, and what to bear in mind."""
    rows = [("metrics", "predicted", f"at the end of {beside.run}")]
    titles: dict[int, str] = {}
    for title, names in [("Training", ["loss"] if "loss" in beside.courses else []), *_families(found)]:
        if names:
            titles[len(rows)] = title
        for name in names:
            expected = found.mean_loss if name == "loss" else found.predicts[name]
            course = beside.courses.get(name)
            came = "not measured" if course is None else number(course.end) if course.end is not None else "undefined"
            rows.append((f"  {name}", number(expected), came))
    taken = [f"  {name}: {words}" for name, words in beside.taken.items()]
    fitted = [f"  {name}: {number(value)}" for name, value in beside.fitted.items()]
    return "\n\n".join(
        [
            _titled(columns(rows), titles),
            "\n".join(["taken from the run", *(taken or ["  nothing"])]),
            "\n".join(["fitted to the run", *(fitted or ["  nothing"])]),
            "\n".join(paragraph(f"note: {note}") for note in beside.notes),
        ]
    )


def _titled(table: str, titles: dict[int, str]) -> str:
    lines = []
    for at, line in enumerate(table.splitlines()):
        lines += [titles[at]] if at in titles else []
        lines.append(line)
    return "\n".join(lines)


def _thresholds(found: Prediction) -> str:
    rows = [(f"  {name}", number(value)) for name, value in found.thresholds.items()]
    if found.sweep is not None and found.sweep.vanishes_at is not None:
        rows.append(("  all_decays_times", number(found.sweep.vanishes_at)))
    if not rows:
        return ""
    words = found.thresholds_say.replace("$", "")
    last = "all_decays_times: from there on everything is zero" if found.sweep and found.sweep.vanishes_at else ""
    said = [paragraph(text, indent="  ") for text in (words, last) if text]
    return "\n".join(["thresholds", columns(rows), *said])
