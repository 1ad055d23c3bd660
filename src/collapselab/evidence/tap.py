"""The tap: finds a model's classifier and streams what goes into it, leaving the model as it was."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from collapselab.core.errors import InputError
from collapselab.evidence.batches import Batch, batch_of, iterable, moved
from collapselab.evidence.guards import eager, flags_of, home_of, tappable
from collapselab.evidence.head import LinearHead
from collapselab.evidence.layers import Layer, first_tensor
from collapselab.evidence.tracing import Firing, Trace, choose, layer_of

# Rows of the forward pass that finds the layer: enough to tell one row a sample from one row a batch.
_PROBE_ROWS = 16

_HALF = (torch.float16, torch.bfloat16)


def feature_tap(
    model: nn.Module,
    layer: str = "auto",
    *,
    mode: Literal["eval", "train"] = "eval",
    device: torch.device | str | None = None,
    allow_autocast: bool = False,
) -> "FeatureTap":
    """A tap on the input of a model's classifier.

    The classifier is the last linear layer reached in a forward pass, so it is found with the first batch that is
    streamed, and remembered.

    Args:
        model: Any module; data-parallel wrappers are looked through.
        layer: Name of the layer whose input is wanted, as in ``model.named_modules()``; ``auto`` for the classifier.
        mode: Flags of the model while features are taken.
        device: Where inputs go; by default where the model's first parameter is.
        allow_autocast: Take features under autocast. By default autocast is switched off for the measured forward
            pass: bfloat16 features bias the within-class trace by tens of per cent.

    Returns:
        The tap.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
        >>> tap = feature_tap(model)
        >>> [(h, y)] = tap.stream([(torch.zeros(2, 4), torch.tensor([0, 1]))])
        >>> print(tap.layer)
        '2' (Linear, 8 -> 3, bias)
    """
    return FeatureTap(model, layer, mode=mode, device=device, allow_autocast=allow_autocast)


class FeatureTap:
    """Streams the input of one layer, batch by batch; made by `feature_tap`.

    Every forward pass runs without gradients; the training flag of every submodule, the buffers and the hooks are as
    before when it ends, however it ends.

    Attributes:
        model: The model, out of its data-parallel wrapper.
        mode: Its flags while features are taken.
        device: Where inputs go.
        allow_autocast: Whether features may be taken under autocast.
        autocast: Whether they were.
        unshifted: Whether the labels of the first batch repeat its inputs position by position.

    Args:
        model: See `feature_tap`.
        layer: See `feature_tap`.
        mode: See `feature_tap`.
        device: See `feature_tap`.
        allow_autocast: See `feature_tap`.

    Raises:
        InputError: If the model cannot be tapped.
        UnknownName: If no layer has that name.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: str = "auto",
        *,
        mode: Literal["eval", "train"] = "eval",
        device: torch.device | str | None = None,
        allow_autocast: bool = False,
    ) -> None:
        if mode not in ("eval", "train"):
            raise InputError(f"mode must be 'eval' or 'train', got {mode!r}")
        if not isinstance(layer, str) or not layer:
            raise InputError(f"layer must be the name of a layer or 'auto', got {layer!r}")
        self.model = tappable(model)
        self._given = model
        names = dict(self.model.named_modules(remove_duplicate=False))
        if self.model is not model and layer not in names:
            layer = layer.removeprefix("module.")  # the wrapper's name for it
        self._wanted = None if layer == "auto" else layer
        Trace(self.model, self._wanted)  # an unknown name fails here, before any data is read
        self.mode: Literal["eval", "train"] = mode
        self.allow_autocast = allow_autocast
        self.autocast = False
        self.unshifted = False
        self.device = home_of(self.model) if device is None else torch.device(device)
        self._layer: Layer | None = None

    def belongs_to(self, model: nn.Module) -> bool:
        """Whether this is a tap of that model.

        Args:
            model: A model, or the wrapper the tap was made from.

        Returns:
            True if it is.
        """
        return model is self._given or model is self.model

    @property
    def layer(self) -> Layer:
        """What was chosen.

        Raises:
            InputError: If no batch has been streamed yet.
        """
        if self._layer is None:
            raise InputError("the tap knows its layer once a batch has passed: stream or probe one first")
        return self._layer

    def head(self) -> LinearHead | None:
        """The tapped layer as a classifier, with its weights as they are now.

        Returns:
            A copy; None if the layer is not linear.
        """
        return self.layer.head()

    def probe(self, batch: Any) -> Layer:
        """Find the layer with one forward pass.

        Args:
            batch: What a loader gives.

        Returns:
            What was chosen.
        """
        return self._resolve(batch_of(batch, self.model))

    def _resolve(self, batch: Batch) -> Layer:
        if self._layer is None:
            self._layer = layer_of(self._probed(batch), self.model)
            if batch.labels_are_inputs():
                self.unshifted = True
        return self._layer

    def _probed(self, batch: Batch) -> Firing:
        """The call of the wanted layer, from a forward pass of a few rows where they can be cut off."""
        few = batch.beginning(_PROBE_ROWS) if self.mode == "eval" else None
        if few is not None:
            # A model written for one batch size fails on fewer rows; the whole batch then decides.
            with contextlib.suppress(RuntimeError):
                return self._traced(few)
        return self._traced(batch)

    def _traced(self, batch: Batch) -> Firing:
        with Trace(self.model, self._wanted) as trace, self._measuring():
            return choose(trace, self._forward(batch))

    def stream(self, loader: Iterable[Any]) -> Iterator[tuple[Tensor, Tensor]]:
        """Features and labels, one batch of the loader at a time.

        Args:
            loader: Gives pairs (inputs, labels) or mappings with labels; see `batch_of`.

        Yields:
            Features (n, d), copied as they enter the layer, and labels (n,); positions of a sequence become rows.

        Raises:
            InputError: If the loader is empty, or features and labels do not fit together.
        """
        empty = True
        for raw in iterable(loader):
            empty = False
            batch = batch_of(raw, self.model)
            layer = self._resolve(batch)
            yield paired(self._captured(batch, layer), batch.y, layer)
        if empty:
            raise InputError("the loader gave no batch: it is empty, or an iterator that was used up before")

    def _captured(self, batch: Batch, layer: Layer) -> Tensor:
        """The layer's input in one forward pass, copied inside the hook: later in-place operations cannot reach it."""
        caught: list[Tensor | None] = []

        def keep(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            x = first_tensor(args, kwargs)
            caught.append(None if x is None else x.detach().clone())

        handle = layer.module.register_forward_pre_hook(keep, with_kwargs=True)
        try:
            with self._measuring():
                self._forward(batch)
        finally:
            handle.remove()
        if len(caught) != 1 or caught[0] is None:
            raise InputError(
                f"layer {layer.name!r} fired {len(caught)} times for one batch, expected once; a layer inside a"
                " compiled module never fires (measure model._orig_mod), a reused one needs another layer='...'"
            )
        self._note_precision(caught[0], layer)
        return caught[0]

    def _note_precision(self, h: Tensor, layer: Layer) -> None:
        if h.dtype not in _HALF:
            return
        own = next((p.dtype for p in layer.module.parameters() if p.is_floating_point()), h.dtype)
        if own == h.dtype:
            return  # the model itself is of that precision
        if not self.allow_autocast:
            got, weight = (str(dtype).removeprefix("torch.") for dtype in (h.dtype, own))
            raise InputError(
                f"the input of layer {layer.name!r} is {got} though its weight is {weight}: the model casts inside its"
                " forward pass; pass allow_autocast=True to measure such features"
            )
        self.autocast = True

    def _forward(self, batch: Batch) -> Any:
        return self.model(*moved(batch.args, self.device), **moved(batch.kwargs, self.device))

    @contextlib.contextmanager
    def _measuring(self) -> Iterator[None]:
        """No gradients, no autocast, the asked-for flags; everything as before afterwards."""
        # Not inference_mode: tensors a module caches there could not take part in later training.
        with torch.no_grad(), flags_of(self.model, self.mode), self._autocast(), eager():
            yield

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        kind = "cpu" if self.device is None else self.device.type
        if not torch.amp.is_autocast_available(kind):
            return contextlib.nullcontext()
        if self.allow_autocast:
            self.autocast |= torch.is_autocast_enabled(kind)
            return contextlib.nullcontext()
        return torch.autocast(kind, enabled=False)


def paired(h: Tensor, y: Tensor, layer: Layer) -> tuple[Tensor, Tensor]:
    """Features as rows, each with its label.

    Args:
        h: The layer's input for one batch.
        y: The batch's labels, one a sample or one a position.
        layer: Where the input was taken.

    Returns:
        Features (n, d) and labels (n,).

    Raises:
        InputError: If there is not one label for each feature vector.
    """
    if layer.channels_first and h.ndim > 2:
        h = h.movedim(1, -1)
    elif layer.num_outputs is None and h.ndim > 2 and h.shape[2:].numel() == 1:
        h = h.flatten(1)  # pooled maps (n, d, 1, 1) on their way into a container
    lead = h.shape[:-1]
    single = y.ndim == 1 and len(lead) > 0 and lead[0] == y.shape[0] == lead.numel()
    if y.shape == lead or single:
        return h.reshape(-1, h.shape[-1]), y.reshape(-1)
    shapes = f"features {tuple(h.shape)}, labels {tuple(y.shape)}"
    if y.ndim == 1 and len(lead) > 1 and lead[0] == y.shape[0]:
        raise InputError(
            f"layer {layer.name!r} sees one feature vector per position but there is one label per sample: {shapes};"
            " give one label per position, or name a layer after the pooling with layer='...'"
        )
    raise InputError(f"layer {layer.name!r} must see one feature vector per label, got {shapes}")
