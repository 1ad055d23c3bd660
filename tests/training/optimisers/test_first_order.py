"""Descent with momentum, and Adam: iterates beside slow twins in plain Python."""

import math

import pytest
import torch

from collapselab.training.optimisers import OPTIMISERS
from lent_work import built, least_squares, matrices, run
from tolerances import EXACT, REFERENCE

START = torch.tensor([0.5, -1.0, 2.0, 1.0], dtype=torch.float64)
ROWS = [0, 3, 4, 7, 9]
STEPS = 7


def gradient(w: list[float], a: list[list[float]], b: list[float]) -> list[float]:
    """(1/n) sum_i a_i (a_i . w - b_i) over the minibatch."""
    total = [0.0] * len(w)
    for i in ROWS:
        residual = sum(a[i][j] * w[j] for j in range(len(w))) - b[i]
        for j in range(len(w)):
            total[j] += a[i][j] * residual / len(ROWS)
    return total


def heavy_ball(w, slope, *, rate: float, momentum: float, decay: list[float], nesterov: bool = False):
    """v <- m v + g + lambda w; w <- w - eta v, or w - eta (g + lambda w + m v)."""
    v = [0.0] * len(w)
    for _ in range(STEPS):
        g = [gj + lj * wj for gj, lj, wj in zip(slope(w), decay, w, strict=True)]
        v = [momentum * vj + gj for vj, gj in zip(v, g, strict=True)]
        move = [gj + momentum * vj for gj, vj in zip(g, v, strict=True)] if nesterov else v
        w = [wj - rate * mj for wj, mj in zip(w, move, strict=True)]
    return w


def adam(w, slope, *, rate: float, beta1: float, beta2: float, epsilon: float, decay: list[float], apart: bool):
    """Algorithm 1 of Kingma and Ba (2015); Algorithm 2 of Loshchilov and Hutter (2019) where the decay is apart."""
    m, v = [0.0] * len(w), [0.0] * len(w)
    for t in range(1, STEPS + 1):
        g = slope(w)
        for j in range(len(w)):
            gj = g[j] if apart else g[j] + decay[j] * w[j]
            m[j] = beta1 * m[j] + (1 - beta1) * gj
            v[j] = beta2 * v[j] + (1 - beta2) * gj * gj
            m_hat, v_hat = m[j] / (1 - beta1**t), v[j] / (1 - beta2**t)
            shrunk = w[j] * (1 - rate * decay[j]) if apart else w[j]
            w[j] = shrunk - rate * m_hat / (math.sqrt(v_hat) + epsilon)
    return w


ADAM = {"learning_rate": 0.1, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "weight_decay": 0.05}
CASES = {
    "heavy ball": ("sgd", {"learning_rate": 0.1, "momentum": 0.8, "weight_decay": 0.05}),
    "plain": ("sgd", {"learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.05}),
    "nesterov": ("sgd", {"learning_rate": 0.1, "momentum": 0.8, "weight_decay": 0.05, "nesterov": True}),
    "gradient descent": ("gradient_descent", {"learning_rate": 0.1, "momentum": 0.8, "weight_decay": 0.05}),
    "adam": ("adam", ADAM),
    "adamw": ("adamw", ADAM),
}


@pytest.mark.parametrize("exempt", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_iterates_of_the_twin(case: str, exempt: bool) -> None:
    """Seven steps on one minibatch, with weight decay on all parameters or on all but the last."""
    name, settings = CASES[case]
    a, b = matrices()
    work = least_squares(a, b, start=START)
    work.rows = (torch.tensor(ROWS),)
    optimiser = OPTIMISERS[name].make(**settings)
    run(optimiser, work, built(optimiser, work, **({"weight_decay": 0.0} if exempt else {})), steps=STEPS)
    assert work.clipped == STEPS

    decay = [0.05] * 3 + [0.0 if exempt else 0.05]
    rows, targets = a.tolist(), b.tolist()

    def slope(w: list[float]) -> list[float]:
        return gradient(w, rows, targets)

    if name.startswith("adam"):
        betas = {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3}
        expected = adam(START.tolist(), slope, rate=0.1, decay=decay, apart=name == "adamw", **betas)
    else:
        momentum, nesterov = settings["momentum"], settings.get("nesterov", False)
        expected = heavy_ball(START.tolist(), slope, rate=0.1, momentum=momentum, decay=decay, nesterov=nesterov)
    REFERENCE.check(work.point, expected)


def test_the_rate_of_the_groups_is_what_counts() -> None:
    """The loop sets it before each step; the setting is only where it starts from."""
    optimiser = OPTIMISERS["sgd"].make(learning_rate=5.0, momentum=0.0, weight_decay=0.0)
    slow = OPTIMISERS["sgd"].make(learning_rate=0.1, momentum=0.0, weight_decay=0.0)
    points = []
    for which in (optimiser, slow):
        work = least_squares(*matrices(), start=START)
        stepper = built(which, work)
        for group in stepper.param_groups:
            group["lr"] = 0.1
        which.step(work, stepper)
        points.append(work.point)
    EXACT.check(*points)
