"""What an option is: its type and bounds, what it belongs to, and what is said of it, all in one place.

Imports no torch and no pydantic, so that help comes at once.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from functools import cache, reduce
from itertools import chain
from operator import or_
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

DATA, MODEL, TRAINING, RUN = "Data", "Model", "Training", "Run"


@dataclass(frozen=True)
class Option:
    """What a field of a configuration carries in its annotation, beside type and bounds.

    Attributes:
        panel: under which heading help shows it.
        help: one sentence.
        default: what it is where nothing is given and it applies, or a function of the options before it that says so.
        shown: default as help shows it, where ``str`` does not say it.
        choices: names that it takes.
        reads: names in :attr:`msg.models.ModelSpec.options`, separated by spaces; it applies to models that read one of
            them. Empty: to all.
        of: the option that names a class, ``neuron`` or ``gradient``; it applies where that class has a parameter of
            this name, and has its default unless the class has its own.
        tasks: those that it applies to, separated by spaces. Empty: all.
    """

    panel: str
    help: str
    default: Any = None
    shown: str = ""
    choices: Collection[str] = ()
    reads: str = ""
    of: str = ""
    tasks: str = ""

    def applies_to(self, task: Any) -> bool:
        """Whether it is an option of a task."""
        return not self.tasks or task in self.tasks.split()

    @property
    def shown_default(self) -> str:
        """Default as help and documentation show it."""
        return self.shown or str(self.default)

    def settled(self, before: Mapping[str, Any]) -> Any:
        """The default, given the options before this one."""
        return self.default(before) if isinstance(self.default, Callable) else self.default


@dataclass(frozen=True)
class Field:
    """One field of a configuration.

    Attributes:
        name: of the field; on the command line ``--the-name``.
        kind: its type, without ``None`` and bounds.
        hint: its whole annotation.
        bounds: of its numbers.
        option: what it carries.
        absent: its value where nothing is given.
    """

    name: str
    kind: Any
    hint: Any
    bounds: tuple[Any, ...]
    option: Option
    absent: Any

    @property
    def flag(self) -> str:
        """As the command line writes it."""
        return "--" + self.name.replace("_", "-")

    @property
    def is_union(self) -> bool:
        """Whether it takes values of several types."""
        return get_origin(self.kind) in (Union, UnionType)

    def expected(self) -> str:
        """What values it takes, for messages."""
        lowest = next((bound.ge for bound in self.bounds if isinstance(bound, Ge)), None)
        positive = any(isinstance(bound, Gt) for bound in self.bounds)
        kind, *words = get_args(self.kind) if self.is_union else (self.kind,)
        if kind in (int, float):
            number = "whole number" if kind is int else "number"
            said = f"a positive {number}" if positive else f"a {number} of at least {lowest}"
            return " or ".join([said, *(repr(word) for literal in words for word in get_args(literal))])
        return {bool: "true or false", str: "a text"}.get(self.kind, str(self.kind))


@cache
def fields_of(config: type) -> dict[str, Field]:
    """The fields of a configuration class, by name, in their order."""
    hints = get_type_hints(config, include_extras=True)
    return {field.name: _field(field.name, hints[field.name], field.default) for field in fields(config)}


def _field(name: str, hint: Any, absent: Any) -> Field:
    plain, *metadata = get_args(hint)
    option = next(part for part in metadata if isinstance(part, Option))
    alternatives = get_args(plain) if get_origin(plain) in (Union, UnionType) else (plain,)
    parts = [get_args(part) if get_origin(part) is Annotated else (part,) for part in alternatives]
    kinds = [kind for kind, *_ in parts if kind is not NoneType]
    bounds = [bound for _, *bound in parts]
    return Field(name, reduce(or_, kinds), hint, (*metadata, *chain.from_iterable(bounds)), option, absent)


def check_types(config: Any) -> None:
    """Compare every value of a configuration with its type, bounds and choices.

    Raises:
        ValueError: naming the first that does not fit, and what would.
    """
    from pydantic import ValidationError

    found = fields_of(type(config))
    for name, field in found.items():
        value = getattr(config, name)
        if field.option.choices and value is not None and value not in field.option.choices:
            raise ValueError(f"unknown {name} {value!r}: use {listed(field.option.choices)}")
    try:
        _schema(type(config)).model_validate({name: getattr(config, name) for name in found})
    except ValidationError as error:
        wrong = error.errors()[0]
        field, value = found[str(wrong["loc"][0])], getattr(config, str(wrong["loc"][0]))
        upper = next((bound.lt for bound in field.bounds if isinstance(bound, Lt)), None)
        most = next((bound.le for bound in field.bounds if isinstance(bound, Le)), None)
        over = {"less_than": f"below {upper}", "less_than_equal": f"at most {most}"}
        must = over.get(wrong["type"], field.expected())
        raise ValueError(f"{field.name} must be {must}, not {value!r}") from None


@cache
def _schema(config: type) -> Any:
    from pydantic import ConfigDict, create_model

    exact = ConfigDict(strict=True, allow_inf_nan=False)
    wanted: dict[str, Any] = {name: (field.hint, ...) for name, field in fields_of(config).items()}
    return create_model(config.__name__, __config__=exact, **wanted)


def listed(names: Collection[str]) -> str:
    """Names for a message: ``'a', 'b'``."""
    return ", ".join(map(repr, names))


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from a text such as ``"3"``, ``"0-4"`` (both ends included) or ``"0,2,5-7"``.

    Raises:
        ValueError: if the text is none of these.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if not match or (match[2] and int(match[2]) < int(match[1])):
            raise ValueError(f"cannot read seeds {text!r}: write 3, 0-4 or 0,2,5")
        seeds.extend(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(seeds)
