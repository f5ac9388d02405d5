"""Registries: named values, imported when they are asked for, so that listing names needs no torch."""

import inspect
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Self


class Registry(Mapping[str, Any]):
    """Values by name. A value is given as it is, or as ``"package.module:attribute"`` and imported when first read.

    Args:
        kind: what the values are, for messages: ``"neuron"``.
        entries: the first ones.
    """

    def __init__(self, kind: str, entries: Mapping[str, Any]):
        self.kind = kind
        self._entries: dict[str, Any] = dict(entries)

    def register(self, name: str, value: Any) -> None:
        """Add a value, so that every command, configuration and function that takes a name knows it.

        Args:
            name: what users write.
            value: the value, or where it is: ``"package.module:attribute"``.

        Raises:
            ValueError: if the name is taken, or not one that can be written in a list of names.
        """
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} exists already: choose another name, or remove it first")
        if not name or name != name.strip() or set(name) & set(",= "):
            raise ValueError(f"{name!r} cannot name a {self.kind}: use letters, digits, '-' and '_'")
        self._entries[name] = value

    def remove(self, name: str) -> None:
        """Forget a name.

        Raises:
            ValueError: for an unknown one.
        """
        self.check(name)
        del self._entries[name]

    def check(self, name: Any) -> None:
        """Raise ``ValueError``, listing the names, for an unknown one; nothing is imported."""
        if not isinstance(name, str) or name not in self._entries:
            raise ValueError(f"unknown {self.kind} {name!r}: use {', '.join(map(repr, self._entries))}")

    def __getitem__(self, name: str) -> Any:
        self.check(name)
        value = self._entries[name]
        if isinstance(value, str):
            module, _, attribute = value.partition(":")
            value = self._entries[name] = getattr(import_module(module), attribute)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries


_OF_HUB = "_hub_mixin_config"
"""What ``huggingface_hub``'s ``PyTorchModelHubMixin`` writes of a model."""


class Recorded:
    """Base of what knows with which arguments it was made."""

    _made: dict[str, Any]
    _unnamed: dict[str, str]  # what has no plain form, and why: as it is it might not be picklable

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        make: Any = super().__new__
        made = make(cls) if make is object.__new__ else make(cls, *args, **kwargs)
        object.__setattr__(made, "_made", {})
        object.__setattr__(made, "_unnamed", {})
        try:
            given = inspect.signature(cls.__init__).bind(made, *args, **kwargs)
        except TypeError:  # a copy or a pickle is made without arguments; wrong ones are told by __init__
            return made
        given.apply_defaults()
        spell = import_module("msg.names").spell
        for name, value in list(given.arguments.items())[1:]:
            try:
                made._made[name] = spell(value)
            except ValueError as error:
                made._unnamed[name] = str(error)
        if hasattr(cls, _OF_HUB):  # which would leave out a neuron, and load another one
            setattr(made, _OF_HUB, None if made._unnamed else dict(made._made))
        return made

    @property
    def config(self) -> dict[str, Any]:
        """The arguments it was made with, as plain data: see :func:`msg.names.spell`.

        Raises:
            ValueError: for one that has no name.
        """
        for name, why in self._unnamed.items():
            raise ValueError(f"{type(self).__name__}.config cannot hold {name}: {why}")
        return dict(self._made)
