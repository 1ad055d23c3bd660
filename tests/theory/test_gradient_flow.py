"""The squared-error flow: what it conserves, where small starts end, what large ones keep."""

import itertools
import math

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError, NotKnown
from collapselab.evidence import ClassStats, LabelledFeatures, LinearHead
from collapselab.metrics import Evidence, measure_evidence
from collapselab.theory import SquaredErrorFlow, State, integrate, strong_collapse_errors
from collapselab.theory._flows.squared_error import class_parts
from tolerances import IDENTITY, REFERENCE, Relative

FLOW = SquaredErrorFlow(num_classes=4, per_class=6, num_features=10)

# Times by which a start of any size has either collapsed or interpolated; small ones still hold a loss of size^4.
LONG = 20.0

SEEDS = range(2)

# Integrators of both flows take different steps; at a size of 1e-3 the smallest error is 1e-15 of what it is made of.
TIME = Relative("same state at another time", 1e-6)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flow(scale: float, *, normalised: bool = False) -> SquaredErrorFlow:
    return SquaredErrorFlow(4, 6, 10, normalised=normalised, scale=scale)


def ended(one: SquaredErrorFlow, start: State, *, time: float = LONG) -> State:
    found = integrate(one, start, (time / one.speed,), method="DOP853", relative=1e-11, absolute=1e-14)
    return found.require("finished").end


def norm(*states: State) -> float:
    """Of the difference of two states, or of one."""
    parts = (states[0][name] - (states[1][name] if len(states) > 1 else 0) for name in ("weight", "h"))
    return math.hypot(*(float(part.norm()) for part in parts))


# ------------------------------------------------------------------------------------------------ slow twins


def slow_errors(state: State) -> tuple[float, float, float]:
    """Eq. 17, entry by entry, with features as columns as the papers write them."""
    w, h, b = (state[name].numpy() for name in ("weight", "h", "bias"))
    k, n = len(w), len(h) // len(w)
    first = second = third = 0.0
    for i in range(k):
        for j in range(k):
            first += (w[i] @ w[j] - math.sqrt(n) * ((i == j) - 1 / k)) ** 2
        third += (b[i] - 1 / k) ** 2
    for column in range(len(h)):
        second += ((h[column] - w[column // n] / math.sqrt(n)) ** 2).sum()
    return first, second, third


def slow_drift(state: State, s: float) -> dict[str, np.ndarray]:
    """W' = -s E H^T, H' = -s W^T E, b' = -s E 1 with H of shape (d, N)."""
    w, h, b = state["weight"].numpy(), state["h"].numpy().T, state["bias"].numpy()
    y = np.kron(np.eye(len(w)), np.ones((1, h.shape[1] // len(w))))
    e = w @ h + b[:, None] - y
    return {"weight": -s * e @ h.T, "h": (-s * w.T @ e).T, "bias": -s * e.sum(1)}


@pytest.mark.parametrize("normalised", [False, True])
def test_errors_and_velocity_against_their_twins(normalised: bool) -> None:
    one = flow(2.0, normalised=normalised)
    state = one.draw(generator(0)) | {"bias": torch.randn(4, generator=generator(1), dtype=torch.float64)}
    REFERENCE.check(torch.stack(strong_collapse_errors(state)), slow_errors(state))
    for name, expected in slow_drift(state, 1 / 24 if normalised else 1.0).items():
        REFERENCE.floor(1.0).check(one.drift(0.0, state)[name], expected)


@pytest.mark.parametrize("one", SquaredErrorFlow.examples())
def test_velocity_is_minus_the_gradient_of_the_loss(one: SquaredErrorFlow) -> None:
    state = {name: x.requires_grad_() for name, x in one.draw(generator(2)).items()}
    slopes = torch.autograd.grad(one.loss(state), list(state.values()))
    for name, slope in zip(state, slopes, strict=True):
        IDENTITY.floor(1.0).check(one.drift(0.0, state)[name], -slope)


# ------------------------------------------------------------------------------------------------ strong collapse


@pytest.mark.parametrize("one", SquaredErrorFlow.examples())
def test_strong_collapse_is_a_simplex_at_rest_without_loss(one: SquaredErrorFlow) -> None:
    for turned in (None, generator(3)):
        state = one.collapsed(turned)
        assert all(float(error) < 1e-25 for error in strong_collapse_errors(state))
        assert float(one.loss(state)) < 1e-28
        assert all(float(x.abs().max()) < 1e-14 for x in one.drift(0.0, state).values())
    features = LabelledFeatures(state["h"], one.labels, one.num_classes)
    evidence = Evidence(ClassStats.of(features), LinearHead(state["weight"], state["bias"]), features)
    names = ("within_fraction", "nc2_max_angle_means", "nc3_duality", "nc4_disagreement")
    measured, _, _ = measure_evidence(evidence, names)
    assert all(abs(measured[name].value or 0.0) < 1e-10 for name in names)


def test_the_loss_splits_on_states_that_collapse_leads_through() -> None:
    """On {(W, w_y / sqrt n, beta)} with 1^T W = 0: n |n^-1/2 W W^T - Pi|^2 + N K (beta - 1/K)^2."""
    weight = torch.randn(4, 10, generator=generator(4), dtype=torch.float64)
    weight -= weight.mean(0)
    state = FLOW.collapsed_on(weight) | {"bias": torch.full((4,), 0.7, dtype=torch.float64)}
    first, _, third = strong_collapse_errors(state)
    IDENTITY.check(2 * FLOW.loss(state), first + 24 * 4 * third / 4)


# ------------------------------------------------------------------------------------------------ starts of any size


@pytest.fixture(scope="module")
def ends() -> dict[float, list[tuple[State, State]]]:
    """Start and end, by size and seed."""
    found: dict[float, list[tuple[State, State]]] = {}
    for scale in (10.0, 1.0, 1e-1, 1e-2, 1e-3):
        starts = [flow(scale).draw(generator(seed)) for seed in SEEDS]
        found[scale] = [(start, ended(FLOW, start)) for start in starts]
    return found


def errors(ends: dict[float, list[tuple[State, State]]], scale: float) -> np.ndarray:
    """(seeds, 3)."""
    return np.array([[float(x) for x in strong_collapse_errors(end)] for _, end in ends[scale]])


def test_errors_grow_with_the_start_as_its_fourth_and_second_power(ends) -> None:
    small = (1e-3, 1e-2, 1e-1)
    for seed in SEEDS:
        rows = np.log([errors(ends, scale)[seed] for scale in small])
        for column, order in enumerate((4, 2, 2)):
            slope = np.polyfit(np.log(small), rows[:, column], 1)[0]
            assert slope == pytest.approx(order, rel=0.05)
    medians = [np.median(errors(ends, scale), 0) for scale in sorted(ends)]
    assert all((after > before).all() for before, after in itertools.pairwise(medians))


def test_sizes_of_the_errors(ends) -> None:
    """Medians of five other seeds were 5.33, 70.8, .031 from 10 and 3.5e-7, 5.6e-3, 5.7e-6 from 0.1."""
    for scale, expected in ((10.0, (5.33, 70.8, 3.1e-2)), (0.1, (3.5e-7, 5.6e-3, 5.7e-6))):
        ratio = np.median(errors(ends, scale), 0) / expected
        assert ((ratio > 0.25) & (ratio < 4)).all()


def test_the_mean_is_the_sum_at_another_time(ends) -> None:
    for scale, pairs in ends.items():
        start, end = pairs[0]
        other = ended(flow(scale, normalised=True), start)
        TIME.check(torch.stack(strong_collapse_errors(other)), torch.stack(strong_collapse_errors(end)))


def test_a_large_start_ends_without_loss_and_without_collapse(ends) -> None:
    """No saddle holds it, for the loss vanishes: what does is conserved."""
    start, before = ends[10.0][0]
    end = ended(FLOW, before, time=3 * LONG)
    assert float(FLOW.loss(end)) < 1e-15
    kept, found = strong_collapse_errors(before).features, strong_collapse_errors(end).features
    assert float(found) > 10
    assert float(found) == pytest.approx(float(kept), rel=1e-2)
    drift = FLOW.conserved(end)["balance"] - FLOW.conserved(start)["balance"]
    assert float(drift.norm()) < 1e-8 * float(FLOW.conserved(start)["balance"].norm())


def test_a_small_start_tends_to_the_nearest_strong_collapse(ends) -> None:
    """The distance from `limit` is of the order of the start, and no smaller for a turned simplex."""
    for seed in SEEDS:
        away = [norm(ends[scale][seed][1], FLOW.limit(ends[scale][seed][0])) / scale for scale in (1e-3, 1e-2, 1e-1)]
        assert max(away) < 1.0
        assert max(away) / min(away) < 1.05
    _, end = ends[1e-3][0]
    assert norm(end, FLOW.collapsed(generator(9))) > 1


def test_what_a_small_start_keeps_is_predicted_from_the_start(ends) -> None:
    """Remark 2: exact in the limit; the relative error falls like the square of the size."""
    for seed in SEEDS:
        away = []
        for scale in (1e-1, 1e-2, 1e-3):
            start, end = ends[scale][seed]
            kept, found = FLOW.remainder(start), strong_collapse_errors(end)
            within = class_parts(end).within.square().sum()
            assert float(within) == pytest.approx(float(kept.within), rel=0.5 * scale**2 + 1e-7)
            e2 = float(kept.within + kept.common + 4 * math.sqrt(6) * found.bias)
            away.append(abs(float(found.features) / e2 - 1))
        assert away[0] < 5e-3
        assert away[1] < 5e-5
        assert away[2] < 5e-7


def test_deviations_off_the_final_rows_have_hardly_moved(ends) -> None:
    """The final row space in place of the start's: close, and not exact, at a size of 0.1."""
    start, end = ends[0.1][0]
    _, _, vh = torch.linalg.svd(end["weight"], full_matrices=True)
    off = vh[4:].T
    before, after = (class_parts(state).within @ off for state in (start, end))
    share = float(after.square().sum() / before.square().sum()) - 1
    assert 1e-5 < abs(share) < 1e-3


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_classes": 1}, "num_classes must be an integer of at least 2, got 1"),
        ({"per_class": 0}, "per_class must be an integer of at least 1, got 0"),
        ({"num_features": 2}, "num_features must be an integer of at least 3, got 2"),
        ({"normalised": 1}, "normalised must be true or false, got 1"),
        ({"scale": 0.0}, "scale must be a finite number above 0, got 0.0"),
    ],
)
def test_bad_fields(fields, message) -> None:
    with pytest.raises(InputError, match=message):
        SquaredErrorFlow(**({"num_classes": 4, "per_class": 6, "num_features": 10} | fields))


def test_bad_states() -> None:
    start = FLOW.draw(generator(0))
    with pytest.raises(InputError, match="whole number of rows for each of 4 classes, got 23 rows"):
        strong_collapse_errors(start | {"h": start["h"][:-1]})
    with pytest.raises(NotKnown, match="must have rank K - 1 in the attracting subspace"):
        FLOW.limit({name: torch.ones_like(x) for name, x in start.items()})
    with pytest.raises(NotKnown, match="no solution in closed form"):
        FLOW.solution(1.0, start)
