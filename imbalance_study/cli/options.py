"""Options of a command, derived from a dataclass of options."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from typing import Any

import click

from imbalance_study.config import fields


class GroupedCommand(click.Command):
    """A command whose help page shows its options under the headings of their groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section a group, in the order of declaration."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                group = getattr(parameter, "group", "Other")
                sections.setdefault(group, []).append(record)
        for group, records in sections.items():
            with formatter.section(group):
                formatter.write_dl(records, col_max=26)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; an unknown option names the nearest known ones in one line."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name.lstrip("-").split("=")[0].replace("-", "_")
            options = [p for p in self.params if isinstance(p, click.Option)]
            known = [p.opts[0].lstrip("-") for p in options if not p.hidden]
            hint = f"; see imbalance-study {ctx.info_name} --help"
            raise click.UsageError(fields.unknown(name, known, "option") + hint) from None


class ConfigOption(click.Option):
    """An option of the command line; its value stays text until `fields.parse_values`."""

    group = "Other"
    field: dataclasses.Field[Any] | None = None  # its declaration, where it has one
    annotation: Any = str


def flag(name: str, text: str) -> Callable[[Any], Any]:
    """Make a switch of a command: ``--name`` or ``--name true``; its value is text."""
    return click.option(
        f"--{name}",
        default="false",
        is_flag=False,
        flag_value="true",
        type=click.Choice(["true", "false"]),
        help=text,
    )


def options(settings: type) -> Callable[[click.Command], click.Command]:
    """Add an option to a command for each field of the dataclass.

    The name of the previous version works too; the help page does not show it.
    """
    hints = fields.types_of(settings)

    def add(command: click.Command) -> click.Command:
        for field in dataclasses.fields(settings):
            command.params.append(_option(field, hints[field.name]))
            if field.metadata["formerly"]:
                old = _option(field, hints[field.name], field.metadata["formerly"])
                old.hidden = True
                command.params.append(old)
        return command

    return add


def given(values: dict[str, Any]) -> dict[str, str]:
    """Keep the options that were typed."""
    return {name: value for name, value in values.items() if value is not None}


def _option(field: dataclasses.Field[Any], annotation: Any, name: str = "") -> ConfigOption:
    optional_value: dict[str, Any] = {"flag_value": "true"} if annotation is bool else {}
    option = ConfigOption(
        [f"--{name or field.name}"],
        type=str,
        default=None,
        metavar=_metavar(annotation, field),
        help=_help(field),
        is_flag=False,
        **optional_value,
    )
    option.group, option.field, option.annotation = field.metadata["group"], field, annotation
    return option


def _metavar(annotation: Any, field: dataclasses.Field[Any]) -> str:
    if field.metadata["choices"] is not None:
        return "SPEC+SPEC" if field.metadata["chain"] else "SPEC"
    parts = typing.get_args(annotation) or (annotation,)
    if typing.get_origin(annotation) is typing.Literal:
        return "|".join(parts) if len("|".join(parts)) < 24 else "CHOICE"
    return {bool: "true|false", int: "N", float: "X", str: "TEXT"}[parts[0]]


def _help(field: dataclasses.Field[Any]) -> str:
    """Write meaning and default, then one line for each choice."""
    default = str(field.default).lower() if isinstance(field.default, bool) else field.default
    text = f"{field.metadata['help']} [default: {default}]"
    named = field.metadata["choices"]
    if named is None:
        return text
    width = max(map(len, named))
    lines = "\n".join(f"  {name:{width}} {choice.line}" for name, choice in named.items())
    return f"{text}\n\n\b\n{lines}"
