"""Definition of a command: a function, and the dataclasses that hold its options."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

import click

from imbalance_study.cli.options import GroupedCommand, given, options
from imbalance_study.config import fields

_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


def command(
    settings: type | None = None, config: type | None = None, *, only: Collection[str] = ()
) -> Callable[[Callable[..., None]], click.Command]:
    """Make a click command of a function; place it above click's own decorators.

    Every command has ``--debug``, which `imbalance_study.cli.main` reads.

    Args:
        settings: Dataclass of the command's own options. The function gets an instance of it as
            its first argument, made of the options that were typed.
        config: Dataclass of the options of a run. The function gets those that were typed, as
            text, in a mapping as its next argument.
        only: Names of the options of `config` that the command takes; all when empty.

    Returns:
        A decorator; the function gets arguments and flags of click by their names.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def call(debug: str, **values: Any) -> None:
            positional: list[Any] = []
            for kind in filter(None, (settings, config)):
                names = {*fields.types_of(kind), *fields.former_names(kind)} & values.keys()
                mine = {name: values.pop(name) for name in tuple(values) if name in names}
                typed = fields.renamed(kind, given(mine))
                positional.append(_instance(kind, typed) if kind is settings else typed)
            function(*positional, **values)

        made = click.command(cls=GroupedCommand, context_settings=_HELP)(call)
        made.params.append(_debug())
        for kind in filter(None, (settings, config)):
            _add_options(made, kind, only if kind is config else ())
        return made

    return decorate


def _instance(settings: type, typed: Mapping[str, str]) -> Any:
    return settings(**fields.parse_values(settings, typed))


def _debug() -> click.Option:
    return click.Option(
        ["--debug"],
        default="false",
        is_flag=False,
        flag_value="true",
        type=click.Choice(["true", "false"]),
        help="Show the traceback of an error.",
    )


def _add_options(made: click.Command, kind: type, only: Collection[str]) -> None:
    """Add the options of a dataclass; an option that the command has already keeps its meaning."""
    taken = {parameter.name for parameter in made.params}
    added = options(kind)(click.Command(None)).params
    made.params += [
        parameter
        for parameter in added
        if parameter.name not in taken and (not only or parameter.name in only)
    ]
