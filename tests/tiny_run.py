"""A run of a few epochs, for tests of the runner, and what has to be the same in two runs."""

from pathlib import Path

from collapselab.experiments.recipes.watch_collapse import WatchCollapse

TINY = WatchCollapse(epochs=4, widths=(16, 8), samples_per_class=10, batch_size=20, measurements=2)


def kept(folder: Path) -> dict[str, bytes]:
    """Every file whose bytes are the outcome of a run; the checkpoint by its tensors."""
    files = {"series.jsonl": (folder / "series.jsonl").read_bytes()}
    for file in sorted((*folder.rglob("*.safetensors"),)):
        files[str(file.relative_to(folder))] = file.read_bytes()
    files["checkpoint.pt"] = _tensors(folder / "checkpoint.pt")
    return files


def _tensors(path: Path) -> bytes:
    import torch

    def flat(value: object) -> list[bytes]:
        if isinstance(value, torch.Tensor):
            return [value.contiguous().numpy().tobytes()]
        if isinstance(value, dict):
            return [part for key in value for part in (repr(key).encode(), *flat(value[key]))]
        if isinstance(value, (list, tuple)):
            return [part for item in value for part in flat(item)]
        return [repr(value).encode()]

    return b"|".join(flat(torch.load(path, weights_only=True)))
