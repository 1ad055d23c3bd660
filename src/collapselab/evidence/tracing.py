"""Which layer of a model is its classifier: the last one that computes W h + b in a forward pass."""

import difflib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from collapselab.core.errors import InputError, UnknownName
from collapselab.evidence.layers import CONVOLUTIONS, Layer, bias_of, features_last, first_tensor, matrix_of

# Outputs held until the end of the probe, to recognise them in what the model returns. Heads come last; holding every
# linear layer's output of a large model would cost as much memory as a training step.
_HELD_OUTPUTS = 16

# Rows on which a layer's claim to be linear is tried.
_TRIED_ROWS = 4


@dataclass(frozen=True, eq=False)
class Firing:
    """One call of one module during the probe.

    Attributes:
        name: The module's name.
        module: The module.
        num_features: Width of its input.
        num_outputs: Width of its output.
        rows: Feature vectors in its input.
        linear: Whether the output was W h + b.
        transposed: Whether W is stored (d, K).
    """

    name: str
    module: nn.Module
    num_features: int
    num_outputs: int | None
    rows: int
    linear: bool = False
    transposed: bool = False


class Trace:
    """Records the order in which the linear-like layers of a model (and one named layer) fire in a forward pass.

    Args:
        model: The model.
        layer: A module name to watch whatever its kind; None to watch linear-like layers only.

    Raises:
        InputError: If the model cannot be probed.
        UnknownName: If no module has that name.
    """

    def __init__(self, model: nn.Module, layer: str | None = None) -> None:
        self.firings: list[Firing] = []
        self.names = {module: name for name, module in model.named_modules()}
        self.wanted = None if layer is None else _named(model, layer)
        self._held: deque[tuple[Firing, Tensor]] = deque(maxlen=_HELD_OUTPUTS)
        self._handles: list[Any] = []

    def __enter__(self) -> "Trace":
        for module in self.names:
            if module is self.wanted or matrix_of(module) is not None:
                handle = module.register_forward_hook(self._fired, with_kwargs=True)
                self._handles.append(handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _fired(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        x = first_tensor(args, kwargs)
        if x is None or x.ndim < 2:
            return
        h = features_last(x.detach(), module)
        firing = Firing(self.names[module], module, h.shape[-1], None, h.numel() // max(h.shape[-1], 1))
        weight = matrix_of(module)
        if weight is not None and isinstance(output, Tensor):
            z = features_last(output.detach(), module)
            linear, transposed = _is_linear(h, z, weight, bias_of(module))
            firing = Firing(firing.name, module, h.shape[-1], z.shape[-1], firing.rows, linear, transposed)
        elif module is not self.wanted:
            return
        self.firings.append(firing)
        if isinstance(output, Tensor):
            self._held.append((firing, output))

    def returned(self, output: Any) -> list[Firing]:
        """Layers whose output is what the model returns.

        Args:
            output: What the model returned.

        Returns:
            Their calls, in order.
        """
        memory = {(t.untyped_storage().data_ptr(), t.numel()) for t in tensors_in(output)}
        return [f for f, t in self._held if (t.untyped_storage().data_ptr(), t.numel()) in memory]


def _is_linear(h: Tensor, z: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[bool, bool]:
    """Whether z = W h + b with W or its transpose, tried on a few rows."""
    if h.shape[:-1] != z.shape[:-1] or h.numel() == 0:
        return False, False
    rows, out = h.reshape(-1, h.shape[-1])[:_TRIED_ROWS], z.reshape(-1, z.shape[-1])[:_TRIED_ROWS].float()
    weight, bias = weight.detach(), None if bias is None else bias.detach()
    # Rounding of d summands in the layer's own precision stays far below the square root of its unit.
    slack = max(torch.finfo(h.dtype).eps, torch.finfo(z.dtype).eps) ** 0.5
    for transposed in (False, True):
        w = weight.T if transposed else weight
        if w.shape != (z.shape[-1], h.shape[-1]) or (bias is not None and bias.shape != w.shape[:1]):
            continue
        expected = nn.functional.linear(rows.to(w.dtype), w, bias).float()
        # Rows that are not finite decide nothing here; features that are not finite are refused where they are counted.
        known = torch.isfinite(expected).all(1) & torch.isfinite(out).all(1)
        scale = float(expected[known].abs().max()) if bool(known.any()) else 0.0
        if torch.allclose(out[known], expected[known], rtol=slack, atol=slack * scale):
            return True, transposed
    return False, False


def tensors_in(output: Any, depth: int = 2) -> Iterator[Tensor]:
    """Floating-point tensors in what a model returned.

    Args:
        output: A tensor, or a nest of mappings, sequences and objects with such attributes.
        depth: How deep to look.

    Yields:
        The tensors.
    """
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif depth > 0 and isinstance(output, Mapping):
        for item in output.values():
            yield from tensors_in(item, depth - 1)
    elif depth > 0 and isinstance(output, (tuple, list)):
        for item in output:
            yield from tensors_in(item, depth - 1)


def _named(model: nn.Module, name: str) -> nn.Module:
    modules = dict(model.named_modules(remove_duplicate=False))
    modules.pop("", None)
    if name in modules:
        return modules[name]
    near = difflib.get_close_matches(name, modules, n=3, cutoff=0.5)
    linear = [known for known, module in modules.items() if matrix_of(module) is not None]
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"linear layers: {', '.join(linear[-10:])}"
    raise UnknownName(f"no layer of {type(model).__name__} is called {name!r}; {hint}")


def choose(trace: Trace, output: Any) -> Firing:
    """The classifier among the layers that fired.

    Args:
        trace: What fired.
        output: What the model returned.

    Returns:
        The call of the chosen layer.

    Raises:
        InputError: If there is none, or more than one could be it, or it fired more than once.
    """
    if trace.wanted is not None:
        return _once(trace, _named_firing(trace))
    linear_like = [f for f in trace.firings if f.num_outputs is not None]
    if not linear_like:
        raise InputError(
            "no linear layer fired in a forward pass, so there is no classifier to find; name the layer whose input"
            " is to be measured with layer='...' (a layer inside a compiled module never fires)"
        )
    last, returned = linear_like[-1], trace.returned(output)
    shapes = [t.shape for t in tensors_in(output) if t.ndim > 1]
    rivals = _rivals(linear_like, last, {shape[-1] for shape in shapes} | {last.num_outputs})
    rivals += [f for f in returned if f.module is not last.module and f not in rivals]
    if rivals:
        names = [f"{f.name!r} ({f.num_features} -> {f.num_outputs})" for f in (*rivals, last)]
        raise InputError(
            f"more than one layer could be the classifier: {', '.join(names)}; choose one with layer={last.name!r}"
        )
    widths = {width for shape in shapes for width in (shape[-1], shape[1])}
    if not returned and widths and last.num_outputs not in widths:
        raise InputError(
            f"the last linear layer {last.name!r} ({last.num_features} -> {last.num_outputs}) cannot be the classifier"
            f" of a model that returns {sorted(widths)} columns; name the right layer with layer='...'"
        )
    return _once(trace, last)


def _rivals(firings: list[Firing], last: Firing, widths: set[int | None]) -> list[Firing]:
    """Layers as wide as something the model returns, one row a sample, that no later linear layer takes further."""
    found: dict[nn.Module, Firing] = {}
    for at, f in enumerate(firings):
        is_head_like = f.num_outputs in widths and f.rows == last.rows and f.module is not last.module
        if is_head_like and all(later.num_features != f.num_outputs for later in firings[at + 1 :]):
            found[f.module] = f
    return list(found.values())


def _named_firing(trace: Trace) -> Firing:
    """The call of the named layer, or of the only linear layer inside a named container."""
    wanted = trace.wanted
    assert wanted is not None  # asked for by the caller
    fired = [f for f in trace.firings if f.module is wanted]
    if not fired:
        name = trace.names.get(wanted, "?")
        raise InputError(
            f"layer {name!r} did not fire in a forward pass: it is unused in this mode, or it sits inside a compiled"
            " module (measure the module that was compiled, model._orig_mod)"
        )
    within = set(wanted.modules())
    inner = [f for f in trace.firings if f.module in within and f.module is not wanted]
    return inner[0] if len(inner) == 1 and not fired[0].linear else fired[0]


def _once(trace: Trace, chosen: Firing) -> Firing:
    times = sum(f.module is chosen.module for f in trace.firings)
    if times != 1:
        raise InputError(
            f"layer {chosen.name!r} fired {times} times in one forward pass; its inputs cannot be told apart."
            " Name another layer with layer='...'"
        )
    return chosen


def layer_of(firing: Firing, model: nn.Module) -> Layer:
    """What there is to know about the chosen layer.

    Args:
        firing: Its call.
        model: The model.

    Returns:
        The description.
    """
    weight = getattr(firing.module, "weight", None)
    tied = [
        name
        for name, module in model.named_modules()
        if module is not firing.module and any(p is weight for p in module.parameters(recurse=False))
    ]
    return Layer(
        name=firing.name,
        module=firing.module,
        num_features=firing.num_features,
        num_outputs=firing.num_outputs if firing.linear else None,
        transposed=firing.transposed,
        channels_first=isinstance(firing.module, CONVOLUTIONS),
        tied_to=tuple(tied),
    )
