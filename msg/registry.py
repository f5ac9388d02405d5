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
        self.changes = 0  # whoever keeps what follows from the values looks here whether it still does

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
        self.changes += 1

    def remove(self, name: str) -> None:
        """Forget a name.

        Raises:
            ValueError: for an unknown one.
        """
        self.check(name)
        del self._entries[name]
        self.changes += 1

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
        return isinstance(name, str) and name in self._entries


_POSITIONAL = "*args"
"""Where arguments stand that have no name."""


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
            given = _arguments(cls.__mro__, args, kwargs)
        except TypeError:  # a copy or a pickle is made without arguments; wrong ones are told by __init__
            return made
        spell = import_module("msg.names").spell
        for name, value in given.items():
            if name == _POSITIONAL:
                made._unnamed[name] = f"{value!r} have no names there: give them by name"
                continue
            try:
                made._made[name] = spell(value)
            except ValueError as error:
                made._unnamed[name] = str(error)
        return made

    @property
    def _hub_mixin_config(self) -> dict[str, Any] | None:
        """What ``huggingface_hub``'s ``PyTorchModelHubMixin`` writes of a model."""
        return None if not vars(self).get("_made") or self._unnamed else self.config

    @_hub_mixin_config.setter
    def _hub_mixin_config(self, value: Any) -> None:
        """The mixin's own leaves out a neuron, with which another model would be loaded."""

    @property
    def config(self) -> dict[str, Any]:
        """The arguments it was made with, as plain data: see :func:`msg.names.spell`.

        Raises:
            ValueError: for one that has no name.
        """
        for name, why in self._unnamed.items():
            raise ValueError(f"{type(self).__name__}.config cannot hold {name}: {why}")
        return dict(self._made)


def _arguments(lineage: tuple[type, ...], args: tuple, kwargs: Mapping[str, Any], whole: bool = True) -> dict[str, Any]:
    """What a class is made with, by name. What it takes as ``*args`` and ``**kwargs`` has the names of the class above,
    to which it hands them; the defaults there are not its own.

    Args:
        lineage: the class and those above it, in the order in which methods are looked up.
        args: as given.
        kwargs: as given.
        whole: whether these are all arguments of the first class, so that the others have their defaults.

    Raises:
        TypeError: for what the class does not take.
    """
    place = next(place for place, one in enumerate(lineage) if "__init__" in vars(one))
    unread = {**kwargs, **({_POSITIONAL: args} if args else {})}
    if lineage[place] is object:
        return unread
    signature = inspect.signature(vars(lineage[place])["__init__"])
    try:
        given = (signature.bind if whole else signature.bind_partial)(None, *args, **kwargs)
    except TypeError:
        if whole:
            raise
        return unread  # whoever took more than the class above knows reads it itself
    if whole:
        given.apply_defaults()
    named, further_args, further = {}, (), {}
    for parameter in list(signature.parameters.values())[1:]:
        if parameter.name not in given.arguments:
            continue
        value = given.arguments[parameter.name]
        if parameter.kind is parameter.VAR_POSITIONAL:
            further_args = value
        elif parameter.kind is parameter.VAR_KEYWORD:
            further = value
        else:
            named[parameter.name] = value
    if further_args or further:
        named |= _arguments(lineage[place + 1 :], further_args, further, whole=False)
    return named
