"""What keeps a model, and a training run around it, as they were before a measurement."""

import contextlib
import random
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from collapselab.core.errors import InputError


@contextlib.contextmanager
def flags_of(model: nn.Module, mode: str) -> Iterator[None]:
    """Put a model in a mode; restore every submodule's flag, and the buffers that train mode moves.

    Args:
        model: The model.
        mode: ``eval`` or ``train``.

    Yields:
        Nothing.
    """
    training = mode == "train"
    before = [(module, module.training) for module in model.modules()]
    buffers = [(b, b.detach().clone()) for b in model.buffers()] if training else []
    changes = any(flag != training for _, flag in before)
    try:
        if changes:
            model.train(training)
        yield
    finally:
        if changes:
            model.train(before[0][1])  # first by the method: a model may do more in it than set flags
            for module, flag in before:
                module.training = flag
        for buffer, saved in buffers:
            buffer.copy_(saved)


def tappable(model: Any) -> nn.Module:
    """The module whose hooks will fire.

    Args:
        model: What the caller gave.

    Returns:
        The model, out of its data-parallel wrapper if it has one.

    Raises:
        InputError: If it is no module, or its hooks would not fire.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        model = model.module  # replicas would fire the hook on several threads, in no fixed order
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError("model must be a plain module, got TorchScript, in which hooks never fire")
    if _is_compiled(model, in_place=False):
        raise InputError(
            "model was compiled before the tap was added, so its hooks never fire; measure the original with"
            " model._orig_mod: it shares the weights"
        )
    parts = [name for name, part in model.named_modules() if _is_compiled(part)]
    if parts and not hasattr(torch.compiler, "set_stance"):
        where = f"part {parts[0]!r} of the model" if parts[0] else "model"
        raise InputError(
            f"{where} was compiled before the tap was added, so hooks in it may never fire; measure a model that is not"
            " compiled, or use PyTorch 2.6 or later, which can run it as it was written"
        )
    lazy = [n for n, p in model.named_parameters() if nn.parameter.is_lazy(p)]
    if lazy:
        raise InputError(f"model has uninitialised lazy parameters ({lazy[0]}): run one forward pass first")
    return model


def _is_compiled(module: nn.Module, *, in_place: bool = True) -> bool:
    """Whether a module is the outcome of `torch.compile`, or was compiled by its own method `compile`."""
    dynamo = sys.modules.get("torch._dynamo.eval_frame")  # not loaded means nothing was compiled
    if dynamo is not None and isinstance(module, dynamo.OptimizedModule):
        return True
    return in_place and getattr(module, "_compiled_call_impl", None) is not None


def eager() -> contextlib.AbstractContextManager[Any]:
    """Run compiled parts as they were written: a hook added after compilation would not fire, or be compiled itself.

    Returns:
        The context; it does nothing where nothing was compiled, or PyTorch (before 2.6) cannot.
    """
    stance = getattr(torch.compiler, "set_stance", None)
    if stance is None or "torch._dynamo" not in sys.modules:
        return contextlib.nullcontext()
    return stance("force_eager")


def home_of(model: nn.Module) -> torch.device | None:
    """Where a model is.

    Args:
        model: Any module.

    Returns:
        The device of its first parameter or buffer; None if it has neither.
    """
    tensor = next(iter(model.parameters()), None)
    tensor = next(iter(model.buffers()), None) if tensor is None else tensor
    return None if tensor is None else tensor.device


@contextlib.contextmanager
def untouched_randomness(device: torch.device | None) -> Iterator[None]:
    """Restore the global random generators: loaders and data sets draw from them, and training must not notice.

    Args:
        device: Where the model is; the generator of a CUDA device is restored too.

    Yields:
        Nothing.
    """
    cuda = [device] if device is not None and device.type == "cuda" else []
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global state is what is kept
    try:
        with torch.random.fork_rng(devices=cuda):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
