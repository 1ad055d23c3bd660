"""How equal is equal: one named policy for each reason why two numbers may differ.

A test says which policy it uses. A looser bound is written where it is used, with its cause.

    IDENTITY.check(measured, expected)
    IDENTITY.times(condition_number).check(measured, expected)
    PRECISION.at(num_samples).check(measured, expected)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

EPS32 = torch.finfo(torch.float32).eps


def _array(value: object) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().to(torch.float64 if value.is_floating_point() else value.dtype).numpy()
    return np.asarray(value)


@dataclass(frozen=True)
class Relative:
    """Largest |measured - expected| allowed, as a share of |expected| elementwise, plus an absolute floor.

    The floor is zero unless a test names one: a quantity that is 0 in the limit has no relative error there, and the
    scale of the numbers it was subtracted from belongs in `floor`.
    """

    name: str
    rtol: float
    atol: float = 0.0

    def times(self, factor: float) -> "Relative":
        """The same policy, loosened by a stated factor (a condition number)."""
        return replace(self, rtol=self.rtol * factor, name=f"{self.name} x {factor:.3g}")

    def floor(self, scale: float) -> "Relative":
        """The same policy, with `rtol * scale` allowed where the expected value is near zero."""
        return replace(self, atol=self.rtol * abs(scale))

    def check(self, measured: object, expected: object) -> None:
        """Assert that `measured` is within the policy of `expected`."""
        __tracebackhide__ = True
        np.testing.assert_allclose(
            _array(measured), _array(expected), rtol=self.rtol, atol=self.atol, err_msg=f"policy {self.name}"
        )


@dataclass(frozen=True)
class Exact:
    """Bit for bit: same shape, same dtype, same bits; a NaN equals itself."""

    def check(self, measured: object, expected: object) -> None:
        """Assert that the two are the same."""
        __tracebackhide__ = True
        if isinstance(measured, torch.Tensor) and isinstance(expected, torch.Tensor):
            torch.testing.assert_close(measured, expected, rtol=0, atol=0, equal_nan=True)
        elif isinstance(measured, np.ndarray) or isinstance(expected, np.ndarray):
            np.testing.assert_array_equal(measured, expected, strict=True)
        else:
            assert measured == expected


@dataclass(frozen=True)
class Precision:
    """float32 input against float64: the rounding of n summands, 50 eps32 sqrt(n), relative."""

    factor: float = 50.0

    def at(self, num_samples: int) -> Relative:
        """The bound for a sum over `num_samples` terms."""
        return Relative("PRECISION", self.factor * EPS32 * math.sqrt(num_samples))


@dataclass(frozen=True)
class Optimum:
    """An optimiser reached a closed form: relative gap of the value, and norm of the gradient there."""

    gap: float = 1e-8
    gradient: float = 1e-6

    def check(self, value: float, minimum: float, *, gradient_norm: float) -> None:
        """Assert that `value` is the minimum and that the gradient vanishes."""
        __tracebackhide__ = True
        assert abs(value - minimum) <= self.gap * max(abs(minimum), 1.0), f"gap {value - minimum:.3e}"
        assert gradient_norm <= self.gradient, f"gradient norm {gradient_norm:.3e}"


@dataclass(frozen=True)
class MonteCarlo:
    """A mean over independent draws against its expectation, in standard errors; the seed is fixed."""

    standard_errors: float = 4.0

    def check(self, draws: object, expected: float) -> None:
        """Assert that the mean of `draws` is within the bound of `expected`."""
        __tracebackhide__ = True
        sample = _array(draws).astype(np.float64).ravel()
        error = sample.std(ddof=1) / math.sqrt(sample.size)
        off = abs(sample.mean() - expected)
        assert off <= self.standard_errors * error, f"off by {off:.3e} = {off / error:.1f} standard errors"


@dataclass(frozen=True)
class Order:
    """Observed order of convergence: slope of log error against log step."""

    slack: float = 0.2

    def check(self, steps: Sequence[float], errors: Sequence[float], *, order: float) -> None:
        """Assert that the slope is `order`, give or take the slack."""
        __tracebackhide__ = True
        slope = float(np.polyfit(np.log(steps), np.log(errors), 1)[0])
        assert abs(slope - order) <= self.slack, f"slope {slope:.3f}, expected {order}"


EXACT = Exact()  # relabelling of counts, round trips of records, determinism under a seed
IDENTITY = Relative("IDENTITY", 1e-9)  # rotation, scaling, merging, order of samples
REFERENCE = Relative("REFERENCE", 1e-10)  # against the slow twin
PRECISION = Precision()  # float32 input against float64
OPTIMUM = Optimum()  # optimiser against closed form
MONTE_CARLO = MonteCarlo()  # simulation against moments
ORDER = Order()  # convergence of integrators
