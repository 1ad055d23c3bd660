"""What a quantity of a moving network says of itself, for `collapselab describe`."""

import dataclasses
import inspect
from typing import Any

from collapselab.cli._parsing import default_of, field_docs, plainly, sections
from collapselab.cli._table import columns, paragraph
from collapselab.core.cite import references


def quantity_document(quantity: Any) -> dict[str, Any]:
    """A registered quantity as plain data.

    Args:
        quantity: An entry of the registry of quantities.

    Returns:
        What it is, its settings, and the numbers and matrices that it gives.
    """
    found = _on_a_small_network(quantity.cls())
    words = field_docs(quantity.cls)
    return {
        "kind": "quantity",
        "name": quantity.name,
        "title": quantity.label,
        "source": quantity.source,
        "documentation": sections(inspect.getdoc(quantity.cls) or "")["text"],
        "splits": list(quantity.cls.splits),
        "fields": [
            {"name": field.name, "default": _plain(default_of(field)), "help": plainly(words.get(field.name, ""))}
            for field in dataclasses.fields(quantity.cls)
        ],
        "numbers": [_number(declared) for declared, _ in found.numbers],
        "matrices": [_number(declared) for declared, _ in found.matrices],
        "python": f"from collapselab.dynamics import {quantity.cls.__name__}",
    }


def _on_a_small_network(quantity: Any) -> Any:
    """What it finds of a network of a few weights: its numbers are the same for every network."""
    import torch
    from torch import nn

    from collapselab.dynamics import Sight

    draw = torch.Generator().manual_seed(0)
    # Wide enough that every sample has a gradient: without one there is no direction, and no matrix of similarities.
    layers = (nn.Linear(3, 16, bias=False), nn.Linear(16, 3, bias=False))
    for layer in layers:
        layer.weight.data = torch.randn(layer.weight.shape, generator=draw)
    network = nn.Sequential(layers[0], nn.ReLU(), layers[1]).eval()
    x, y = torch.randn(12, 3, generator=draw), torch.arange(12) % 3
    return quantity.look(dataclasses.replace(Sight.of(network, x, y, batch_size=4), learning_rate=0.1))


def _number(declared: Any) -> dict[str, Any]:
    return declared.model_dump(mode="json", include={"name", "label", "summary", "unit", "lower", "upper", "source"})


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str)) else None


def quantity_text(document: dict[str, Any]) -> str:
    """The same for people.

    Args:
        document: What `quantity_document` gave.

    Returns:
        Lines.
    """
    prose = "\n\n".join(paragraph(plainly(part)) for part in document["documentation"].split("\n\n"))
    blocks = [f"{document['name']}: {document['title']} (a quantity of a network in training)", prose]
    blocks.append(f"measured on\n  {', '.join(document['splits'])}, at every moment that is measured")
    for kind, what in (("numbers", "gives"), ("matrices", "keeps, as pictures over pairs of classes")):
        if document[kind]:
            rows = [(one["name"], "" if one["unit"] == "1" else one["unit"], one["label"]) for one in document[kind]]
            blocks.append(f"{what}\n{columns(rows, indent='  ')}")
    lines = [
        f"  {field['name']} = {field['default']}\n{paragraph(field['help'], indent='      ')}"
        for field in document["fields"]
    ]
    if lines:
        blocks.append("\n".join(["settings, in Python", *lines]))
    flag = f"  collapselab train --quantities '[\"{document['name']}\"]'"
    blocks.append("\n".join(["use", flag, f"  {document['python']}"]))
    return "\n\n".join([*blocks, f"source\n  {references()[document['source']].line}"])
