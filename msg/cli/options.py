"""Command lines made from the fields of a configuration, and what a file or the user gave of them."""

import inspect
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

from cyclopts import Group, Parameter, Token

from msg.cli.errors import user_errors
from msg.experiments.config import NO_BASELINE, RunConfig
from msg.experiments.options import DATA, MODEL, RUN, TRAINING, Option, fields_of, parse_seeds

_PANELS = {name: Group(name, sort_key=number) for number, name in enumerate((DATA, MODEL, TRAINING, RUN))}
_WHAT = Group("What", sort_key=-1)
"""Of options that have no panel. Without a group they would not be shown."""

Own = Mapping[str, tuple[Any, Option]]
"""Options of one command: type and what is said of each, by name."""

_SHARED: Own = {
    "workers": (int, Option(RUN, "Processes that work at once; results do not depend on it.", 1)),
    "config": (Path, Option(RUN, "A TOML file of options; those on the command line come first.", shown="none")),
    "json": (bool, Option(RUN, "Print the result as JSON, and all else on standard error.", False)),
    "quiet": (bool, Option(RUN, "Say nothing but the result.", False)),
}


def command(own: Own, without: Collection[str] = (), positional: Collection[str] = ()) -> Callable:
    """Make a command of a function that takes what the user gave, a mapping from option to value.

    Args:
        own: options that no other command has, or has otherwise.
        without: fields of :class:`~msg.experiments.RunConfig` that it does not take.
        positional: of its own, those without a flag.
    """

    def decorate(function: Callable[[dict[str, Any]], None]) -> Callable[..., None]:
        def call(*arguments: Any, **values: Any) -> None:
            with user_errors():
                given = _with_file(dict(zip(positional, arguments)) | values, own, without)
            function(given)

        parameters = [_parameter(*item, positional) for item in _options(own, without).items()]
        call.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        call.__name__, call.__doc__ = function.__name__, function.__doc__
        return call

    return decorate


def _options(own: Own, without: Collection[str]) -> dict[str, tuple[Any, Option]]:
    """In the order help shows them: those of a run, the command's own in their panels, then those all share."""
    of_a_run = {
        name: (field.kind if field.kind in (int, float, bool) or field.is_union else str, field.option)
        for name, field in fields_of(RunConfig).items()
        if name not in without
    }
    return {**{name: option for name, option in own.items() if not option[1].panel}, **of_a_run, **own, **_SHARED}


def _parameter(name: str, option: tuple[Any, Option], positional: Collection[str]) -> inspect.Parameter:
    kind, said = option
    shown = said.shown_default
    parameter = Parameter(
        help=said.help.replace("`", ""),
        group=_PANELS.get(said.panel, _WHAT),
        show_default=(lambda _: shown) if shown != "None" else False,
        show_choices=False,
        negative="" if name in ("json", "quiet") else None,
        negative_none="no-" if name == "baseline" else None,
        negative_iterable="",
        allow_leading_hyphen=kind == list[str] or name == "fan_out",
        converter=whole_number if kind is int or int in get_args(kind) else None,
    )
    place = inspect.Parameter.POSITIONAL_ONLY if name in positional else inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, place, default=None, annotation=Annotated[kind | None, parameter])


def whole_number(_: Any, tokens: Sequence[Token]) -> int:
    """A number as it is written: what is not whole is not rounded.

    Raises:
        ValueError: for one that is not.
    """
    text = tokens[0].value
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is no whole number") from None


Whole = Annotated[int, Parameter(converter=whole_number)]
"""An integer on a command line."""


def resumed(given: dict[str, Any], besides: Collection[str] = ()) -> Path | None:
    """The folder to go on with, if any.

    Args:
        given: what the user gave.
        besides: names of options that may be given with it.

    Raises:
        ValueError: if any other option is.
    """
    folder = given.get("resume")
    others = [flag(name) for name in given if name not in ("resume", *besides)]
    if folder is not None and others:
        raise ValueError(
            f"--resume goes on with the options the run began with, so {', '.join(others)} cannot be given too"
        )
    return folder


def _with_file(given: dict[str, Any], own: Own, without: Collection[str]) -> dict[str, Any]:
    """What is given, with the options of ``--config`` that are not.

    Args:
        given: on the command line.
        own: the command's own options.
        without: fields of a run that it does not take.

    Raises:
        ValueError: for a file that is no TOML, or has a table, an unknown option, one twice, or one of another type.
        OSError: for one that cannot be read.
    """
    path = given.pop("config", None)
    if path is None:
        return given
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as TOML: {error}") from error
    spelt = {name.replace("-", "_"): value for name, value in found.items()}
    if len(spelt) < len(found):
        raise ValueError(f"{path} has an option twice, with - and with _: leave one of them out")
    tables = [name for name, value in spelt.items() if isinstance(value, dict) and name not in own]
    if tables:
        raise ValueError(f"{path} has a table {tables[0]!r}: write options without one, as in layers = 3")
    known = {name: kind for name, (kind, _) in _options(own, without).items() if name != "config"}
    unknown = [name for name in spelt if name not in known]
    if unknown:
        raise ValueError(f"{path} has unknown options {', '.join(unknown)}: known are {', '.join(known)}")
    for name, value in spelt.items():
        if name in own or name in _SHARED:  # those of a run are checked with it
            _check_kind(path, name, value, known[name])
    return {**spelt, **given}


def _check_kind(path: Any, name: str, value: Any, kind: Any) -> None:
    wanted = {bool: "true or false", int: "a whole number"}.get(kind)
    if wanted is not None and type(value) is not kind:
        raise ValueError(f"{path} has {name} = {value!r}, which must be {wanted}")


def seeds_of(given: Any) -> Any:
    """Seeds as they are written, ``0-4`` or ``0,2``, or a list of them in a file; what is neither stays as it is.

    Raises:
        ValueError: for text that cannot be read.
    """
    if isinstance(given, str | int):
        return parse_seeds(str(given))
    return tuple(given) if isinstance(given, list) else given


def of_a_run(given: Mapping[str, Any]) -> RunConfig:
    """The configuration that is given.

    Raises:
        ValueError: as it does, and for seeds that cannot be read.
    """
    options = dict(given)
    if options.get("baseline", "") in (None, False):
        options["baseline"] = NO_BASELINE
    if "seeds" in options:
        options["seeds"] = seeds_of(options["seeds"])
    if "teleport" in options and not options.get("propagate"):
        raise ValueError("teleport is of predictions that are propagated: give propagate too")
    return RunConfig.from_dict(options)


def words(text: str | list[str]) -> tuple[str, ...]:
    """Names separated by commas, or a list of them."""
    found = text.split(",") if isinstance(text, str) else map(str, text)
    return tuple(word.strip() for word in found if word.strip())


def flag(name: str) -> str:
    """An option as the command line writes it."""
    return "--" + name.replace("_", "-")
