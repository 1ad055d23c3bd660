"""Every part can be imported from the package of its kind, whatever file it is in."""

import importlib
from typing import Any

import pytest

from collapselab.core.registry import Registry
from collapselab.training.parts import REGISTRIES

PACKAGES = {base: base.__module__.rpartition(".")[0] for base in REGISTRIES}


@pytest.mark.parametrize(("base", "registry"), REGISTRIES.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_classes_are_attributes_of_their_package(base: type, registry: Registry[Any]) -> None:
    package = importlib.import_module(PACKAGES[base])
    for choice in registry.values():
        assert getattr(package, choice.make.__name__) is choice.make
        assert choice.make.__name__ in dir(package)
        assert issubclass(choice.make, base)


@pytest.mark.parametrize("package", PACKAGES.values())
@pytest.mark.parametrize("name", ["Nothing", "nothing", "_nothing"])
def test_what_is_no_part_is_no_attribute(package: str, name: str) -> None:
    with pytest.raises(AttributeError, match=f"{name}'"):
        getattr(importlib.import_module(package), name)
