"""The squared error taken apart, the least-squares classifier, and the loss on the central path."""

import re

import numpy as np
import pytest
import torch

from collapselab.core.errors import InputError, UndefinedMetric
from collapselab.evidence import ClassStats, LabelledFeatures, LinearHead
from collapselab.theory import (
    central_path_loss,
    least_squares_head,
    renormalised,
    signal_to_noise,
    squared_error_parts,
)
from tolerances import IDENTITY, REFERENCE, Relative

# Row 12: a sum of three parts and the loss itself, both of size 1.
EXACT_SUM = Relative("parts add up", 1e-12)


def drawn(counts: tuple[int, ...] = (7, 7, 7, 7), d: int = 6, *, seed: int = 0, shift: float = 1.0) -> LabelledFeatures:
    """Features about class means and a common offset."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)), counts)
    h = rng.standard_normal((len(y), d)) + 2 * rng.standard_normal((len(counts), d))[y] + shift
    return LabelledFeatures.of(h, y, num_classes=len(counts))


def a_head(features: LabelledFeatures, *, bias: bool = True, seed: int = 1) -> LinearHead:
    rng = np.random.default_rng(seed)
    k, d = features.num_classes, features.num_features
    return LinearHead.of(rng.standard_normal((k, d)), rng.standard_normal(k) if bias else None)


# ------------------------------------------------------------------------------------------------ slow twins


def extended(features: LabelledFeatures) -> tuple[np.ndarray, np.ndarray]:
    """Columns h~ = [h; 1] and one-hot columns."""
    h, y = features.h.numpy(), features.y.numpy()
    return np.vstack([h.T, np.ones(len(h))]), np.eye(features.num_classes)[:, y]


def slow_loss(features: LabelledFeatures, head: LinearHead, decay: float, decay_bias: float) -> float:
    """(1/2) Ave |W h + b - e|^2 + decay, sample by sample."""
    total = 0.0
    for h, y in zip(features.h.numpy(), features.y.numpy(), strict=True):
        z = head.weight.numpy() @ h + (0 if head.bias is None else head.bias.numpy())
        total += ((z - np.eye(features.num_classes)[y]) ** 2).sum() / (2 * len(features.y))
    total += decay / 2 * float(head.weight.square().sum())
    return total if head.bias is None else total + decay_bias / 2 * float(head.bias.square().sum())


def slow_parts(features: LabelledFeatures, head: LinearHead, decay: float) -> tuple[float, float, float]:
    """Section 5(a) for balanced classes, with extended features, class by class and with explicit inverses."""
    x, _ = extended(features)
    k, y = features.num_classes, features.y.numpy()
    m = np.stack([x[:, y == c].mean(1) for c in range(k)], 1)
    within = sum(np.outer(col - m[:, c], col - m[:, c]) for col, c in zip(x.T, y, strict=True)) / len(y)
    mean = m.mean(1)
    between = (m - mean[:, None]) @ (m - mean[:, None]).T / k
    decays = decay * np.eye(len(x))
    a = within + between + np.outer(mean, mean) + decays
    best = m.T @ np.linalg.inv(a) / k
    assert head.bias is not None
    off = np.hstack([head.weight.numpy(), head.bias.numpy()[:, None]]) - best
    first = np.trace(best @ (within + decays) @ best.T) / 2
    return first, ((best @ m - np.eye(k)) ** 2).sum() / (2 * k), np.trace(off @ a @ off.T) / 2


@pytest.mark.parametrize("decay", [1e-3, 0.5])
def test_parts_against_their_twin(decay: float) -> None:
    features = drawn()
    head = a_head(features)
    parts = squared_error_parts(features, head, decay=decay)
    REFERENCE.check(torch.stack([parts.nc1, parts.nc2_nc3, parts.off_path]), slow_parts(features, head, decay))


@pytest.mark.parametrize("counts", [(7, 7, 7, 7), (20, 3, 1), (2, 2)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("decay", "decay_bias"), [(2e-3, None), (2e-3, 0.0), (0.0, 0.3), (0.0, None), (1.0, 5.0)])
def test_parts_add_up_to_the_loss(counts: tuple[int, ...], bias: bool, decay: float, decay_bias: float | None) -> None:
    """Row 12; also of unequal classes, and of fewer samples than features."""
    features = drawn(counts)
    head = a_head(features, bias=bias)
    parts = squared_error_parts(features, head, decay=decay, decay_bias=decay_bias)
    own = decay if decay_bias is None else decay_bias
    EXACT_SUM.times(100 if decay == 0 else 1).check(parts.loss, slow_loss(features, head, decay, own))
    assert min(float(parts.nc1), float(parts.nc2_nc3), float(parts.off_path)) >= 0
    best = least_squares_head(features, decay=decay, decay_bias=decay_bias, bias=bias)
    assert slow_loss(features, best, decay, own) == pytest.approx(float(parts.on_path), rel=1e-11, abs=1e-14)
    assert float(squared_error_parts(features, best, decay=decay, decay_bias=decay_bias).off_path) < 1e-25


@pytest.mark.parametrize("counts", [(7, 7, 7, 7), (20, 3, 1)])
def test_least_squares_head_is_ridge_regression(counts: tuple[int, ...]) -> None:
    """Row 12: an augmented least-squares problem, solved without normal equations."""
    features = drawn(counts, shift=30.0)
    x, targets = extended(features)
    for decay, decay_bias in ((1e-2, 1e-2), (1e-2, 0.0), (0.0, 0.0)):
        n = x.shape[1]
        roots = np.diag(np.sqrt(n * np.array([decay] * features.num_features + [decay_bias])))
        wanted, *_ = np.linalg.lstsq(np.vstack([x.T, roots]), np.vstack([targets.T, np.zeros((len(x), len(targets)))]))
        head = least_squares_head(features, decay=decay, decay_bias=decay_bias)
        IDENTITY.floor(1.0).check(head.weight, wanted[:-1].T)
        assert head.bias is not None
        IDENTITY.floor(1.0).check(head.bias, wanted[-1])


def test_without_decay_the_smallest_head_is_taken_where_many_fit() -> None:
    features = drawn((2, 2, 2), d=9)
    head = least_squares_head(features, decay=0.0)
    h = features.h - features.h.mean(0)
    wanted = np.linalg.pinv(h.numpy()) @ (np.eye(3)[features.y.numpy()] - 1 / 3)
    IDENTITY.floor(1.0).check(head.weight, wanted.T)
    assert float(squared_error_parts(features, head, decay=0.0).loss) < 1e-25


def test_classes_that_were_not_seen_get_a_row_of_zeros() -> None:
    features = drawn((5, 5))
    wider = LabelledFeatures(features.h, features.y * 2, 4)
    two, four = (least_squares_head(one, decay=1e-2) for one in (features, wider))
    IDENTITY.check(four.weight[::2], two.weight)
    assert float(four.weight[1::2].abs().max()) == 0
    assert float(squared_error_parts(wider, four, decay=1e-2).off_path) < 1e-28
    more = LinearHead(torch.cat([two.weight, torch.zeros(3, 6)]), None)
    less = squared_error_parts(features, LinearHead(two.weight, None), decay=1e-2)
    IDENTITY.check(squared_error_parts(features, more, decay=1e-2).loss, less.loss)


def test_moments_are_enough_and_float32_is_measured_in_float64() -> None:
    features = drawn()
    head = a_head(features)
    whole, moments = (squared_error_parts(one, head, decay=1e-3) for one in (features, ClassStats.of(features)))
    assert whole == moments
    single = LabelledFeatures(features.h.float(), features.y, 4)
    parts = squared_error_parts(single, LinearHead(head.weight.float(), None), decay=1e-3)
    assert parts.loss.dtype == torch.float64
    without = squared_error_parts(ClassStats.of(features), LinearHead(head.weight, None), decay=1e-3)
    assert float(parts.loss) == pytest.approx(float(without.loss), rel=1e-5)


def test_share_of_what_is_off_the_path() -> None:
    features = drawn()
    parts = squared_error_parts(features, a_head(features), decay=1e-3)
    assert float(parts.off_path_share) == pytest.approx(
        float(parts.off_path / (parts.nc1 + parts.nc2_nc3 + parts.off_path))
    )
    corners = LabelledFeatures.of(np.repeat(np.eye(3), 4, 0), np.repeat(np.arange(3), 4))
    at_rest = squared_error_parts(corners, LinearHead.of(np.eye(3), np.zeros(3)), decay=0.0)
    assert float(at_rest.loss) < 1e-30
    assert 0 <= float(at_rest.off_path_share) <= 1


# ------------------------------------------------------------------------------------------------ on the path


@pytest.mark.parametrize("d", [6, 3, 2])
def test_loss_on_the_path_is_a_function_of_signal_to_noise(d: int) -> None:
    features = drawn(d=d)
    parts = squared_error_parts(features, least_squares_head(features, decay=0.0), decay=0.0)
    omega = signal_to_noise(features)
    assert len(omega) == min(3, d)
    REFERENCE.check(central_path_loss(omega, 4), parts.loss)


def test_signal_to_noise_against_its_twin_and_under_any_map() -> None:
    features = drawn()
    stats = ClassStats.of(features)
    values, vectors = np.linalg.eigh(stats.within.numpy())
    snr = vectors @ np.diag(values**-0.5) @ vectors.T @ stats.centred_means.numpy().T
    REFERENCE.check(signal_to_noise(stats), np.linalg.svd(snr)[1][:3])
    mapped = features.h @ torch.from_numpy(np.random.default_rng(5).standard_normal((6, 6)))
    IDENTITY.check(signal_to_noise(LabelledFeatures(mapped, features.y, 4)), signal_to_noise(features))


def test_predictions_of_the_best_head_survive_any_map_only_without_decay() -> None:
    """Eq. 30: W_LS(AH) = W_LS(H) A^-1 for lambda = 0; not for lambda > 0."""
    features = drawn()
    matrix = torch.from_numpy(np.random.default_rng(5).standard_normal((6, 6)))
    mapped = LabelledFeatures(features.h @ matrix.T, features.y, 4)
    for decay in (0.0, 3e-3):
        before, after = (least_squares_head(one, decay=decay) for one in (features, mapped))
        gap = float((after.weight - before.weight @ torch.linalg.inv(matrix)).norm() / after.weight.norm())
        assert gap < 1e-11 if decay == 0 else gap > 1e-3


def test_renormalised_features_have_unit_noise_and_the_same_signal() -> None:
    features = drawn()
    white = renormalised(features)
    IDENTITY.floor(1.0).check(ClassStats.of(white).within, np.eye(6))
    IDENTITY.check(signal_to_noise(white), signal_to_noise(features))
    s, _ = ClassStats.of(white).means_spectrum
    IDENTITY.check(signal_to_noise(white), s[:3])


# ------------------------------------------------------------------------------------------------ bad input


def test_bad_input() -> None:
    features = drawn()
    with pytest.raises(InputError, match=re.escape("head must have 4 classes or more and 6 features, got 3 and 6")):
        squared_error_parts(features, LinearHead.of(np.ones((3, 6))), decay=0.0)
    with pytest.raises(InputError, match="decay must be a finite number of at least 0, got -1"):
        least_squares_head(features, decay=-1)
    with pytest.raises(InputError, match="decay_bias must be"):
        least_squares_head(features, decay=0.0, decay_bias=float("nan"))
    with pytest.raises(InputError, match="classes must have one size here, got an imbalance of 2"):
        signal_to_noise(drawn((8, 4)))
    with pytest.raises(UndefinedMetric, match="covariance within classes is singular"):
        signal_to_noise(drawn((2, 2)))
    with pytest.raises(InputError, match="singular_values must be at most 3 numbers"):
        central_path_loss(torch.ones(4), 4)
    with pytest.raises(UndefinedMetric, match="the pooled scatter was not kept"):
        squared_error_parts(ClassStats.of(features, scatter=False), a_head(features), decay=0.0)
