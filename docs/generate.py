"""Write the parts of the documentation that the program knows: `python docs/generate.py`.

docs/options.md, the table in docs/remedies.md and the choices in the comment of MLproject. With
``--check`` nothing is written, and the status is 1 where a file is not up to date.
"""

import argparse
import dataclasses
import inspect
import sys
import textwrap
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click  # noqa: TID251

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from imbalance_study.cli import COMMANDS, cli  # noqa: E402
from imbalance_study.cli.options import ConfigOption  # noqa: E402
from imbalance_study.config import spec  # noqa: E402
from imbalance_study.config.choice import SUPPLIED, Choice  # noqa: E402
from imbalance_study.config.schema import Config  # noqa: E402

REMEDIES = (
    *("loss", "class_weights", "sampler", "mix", "resample", "tail_augment", "augment", "stage2"),
)
MAIN = ("dataset", "imbalance", "validation", "model", *REMEDIES, "optimizer", "schedule")
_WORDS = {"minimum": "at least", "maximum": "at most", "above": "above", "below": "below"}
_TYPES = {int: "whole number", float: "number", str: "text", bool: "true, false"}

_ANALYSES = "imbalance_study.experiment.analyses."  # they take no options

_INTRODUCTION = """# Options

<!-- Written by docs/generate.py from the declarations of the options: edit those. -->

An option is typed `--name value` behind a command, or `-P name=value` behind `mlflow run .`. An
option that is not given is decided by the recipe, then by the data set, then by the default that
stands here; `imbalance-study train --dry_run` prints which of them decided what. A choice may have
options of its own: `--loss focal:gamma=2`. In place of each named choice a function of your own can
stand, as `file:function` or `package.module:function` ([Extending](extending.md)).

## Options of a run

The commands that train take them all.
"""


def options_page() -> str:
    """Write docs/options.md: the options of a run by their groups, then those of each command."""
    groups: dict[str, list[ConfigOption]] = {}
    for option in _shown("train"):
        if isinstance(option, ConfigOption):
            groups.setdefault(option.group, []).append(option)
    parts = [_INTRODUCTION]
    for group, options in groups.items():
        parts += [f"### {group}\n", _option_tables(options)]
    parts += [_command(name, groups) for name in COMMANDS]
    return "\n".join(parts)


def _command(name: str, of_run: dict[str, list[ConfigOption]]) -> str:
    fields = [option.field for options in of_run.values() for option in options]
    own = [option for option in _shown(name) if getattr(option, "field", None) not in fields]
    parts = [f"## {name}\n", f"{COMMANDS[name]}\n"]
    if len(own) < len(_shown(name)):
        parts.append("It takes the [options of a run](#options-of-a-run), and these:\n")
    return "\n".join([*parts, _option_tables(own)])


def _shown(name: str) -> list[click.Option]:
    """List the options on the help page of a command."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    options = [one for one in command.params if isinstance(one, click.Option)]
    return [option for option in options if not option.hidden]


def _option_tables(options: Iterable[click.Option]) -> str:
    """Write a table of options, then one of the choices of each option that has some."""
    options = list(options)
    parts = [_table(("option", "default", "values", "meaning"), map(_row, options))]
    for option in options:
        field = option.field if isinstance(option, ConfigOption) else None
        if field is not None and field.metadata["choices"]:
            parts += [f"#### Choices of {field.name}\n", _choices(field)]
    return "\n".join(parts)


def _row(option: click.Option) -> tuple[str, str, str, str]:
    name = option.opts[0].removeprefix("--")
    if not isinstance(option, ConfigOption) or option.field is None:
        default = f"`{option.default}`" if isinstance(option.default, str) else "–"
        values = "true, false" if isinstance(option.type, click.Choice) else "text"
        return f"`{name}`", default, values, option.help or ""
    field = option.field
    meaning = field.metadata["help"]
    if field.metadata["formerly"]:
        meaning += f" Formerly `{field.metadata['formerly']}`."
    default = str(field.default).lower() if isinstance(field.default, bool) else field.default
    return f"`{name}`", f"`{default}`", _values(field, option.annotation), meaning


def _values(field: dataclasses.Field[Any], annotation: Any) -> str:
    if field.metadata["choices"]:
        return f"[choices](#choices-of-{field.name})"
    literal = typing.get_origin(annotation) is typing.Literal
    kinds = (annotation,) if literal else typing.get_args(annotation) or (annotation,)
    words = [_TYPES.get(kind) or ", ".join(typing.get_args(kind)) for kind in kinds]
    bounds = field.metadata["bounds"].items()
    words[0] += "".join(
        f", {_WORDS[rule]} {bound:g}" for rule, bound in bounds if bound is not None
    )
    return "; or ".join(words)


def _choices(field: dataclasses.Field[Any]) -> str:
    """Write a table of choices, with the options of each and their defaults."""
    rows = []
    for name, choice in field.metadata["choices"].items():
        options = _options_of(field.name, choice)
        rows.append((f"`{name}`", choice.about, ", ".join(options) or "–"))
    return _table(("choice", "meaning", "its options"), rows)


def _options_of(option: str, choice: Choice) -> list[str]:
    if not choice.address or choice.address.startswith(_ANALYSES):
        return []
    function = choice.load()
    parameters = inspect.signature(function).parameters
    known = spec.options_of(function, SUPPLIED.get(option, frozenset()))
    return [_default(name, parameters[name].default) for name in known]


def _default(key: str, value: Any) -> str:
    if value is inspect.Parameter.empty:
        return f"`{key}`"
    text = str(value).lower() if isinstance(value, bool) else value
    return f"`{key}={text:g}`" if isinstance(text, float) else f"`{key}={text}`"


def remedies_table() -> str:
    """Write the table of docs/remedies.md: one row for each remedy."""
    fields = {field.name: field for field in dataclasses.fields(Config)}
    rows = []
    for axis in REMEDIES:
        for name, choice in fields[axis].metadata["choices"].items():
            if choice.address and name != "none":
                value = f"{name}:{choice.options}" if choice.options else name
                typed = f"`{axis}={value}`"
                rows.append((axis, name, choice.about, typed, _reference(choice.paper)))
    return _table(("axis", "name", "what it does", "typed as", "reference"), rows)


def _reference(paper: str) -> str:
    text, _, place = paper.rpartition(", ")
    if place.startswith("arXiv:"):
        return f"[{text}](https://arxiv.org/abs/{place.removeprefix('arXiv:')})"
    return f"[{text}]({place})" if place.startswith("https:") else paper or "–"


def choices_comment() -> str:
    """Write the comment of MLproject that names the choices of the main options."""
    fields = {field.name: field for field in dataclasses.fields(Config)}
    lines: list[str] = []
    for option in MAIN:
        names = ", ".join(fields[option].metadata["choices"])
        first = f"#   {option:13} "
        lines += textwrap.wrap(names, 100, initial_indent=first, subsequent_indent=f"#{'':16} ")
    return "\n".join(lines) + "\n"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = tuple(head)
    cells = ([cell.replace("|", "\\|").replace("<", "&lt;") for cell in row] for row in rows)
    lines = [head, ["---"] * len(head), *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _between(path: Path, begin: str, end: str, text: str) -> str:
    whole = path.read_text(encoding="utf-8")
    before, _, rest = whole.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{path} must hold the lines {begin!r} and {end!r}")
    return f"{before}{begin}\n{text}{end}{after}"


def pages() -> Iterator[tuple[Path, str]]:
    """Make the text of each file that is generated, whole or in part."""
    yield ROOT / "docs" / "options.md", options_page()
    remedies = ROOT / "docs" / "remedies.md"
    yield remedies, _between(remedies, "<!-- remedies -->", "<!-- /remedies -->", remedies_table())
    project = ROOT / "MLproject"
    begin, end = "# Choices, written by docs/generate.py:", "# End of the choices."
    yield project, _between(project, begin, end, choices_comment())


def main(words: list[str] | None = None) -> int:
    """Write the files that differ, or name them; returns the status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail where stale")
    check = parser.parse_args(words).check
    stale = 0
    for path, text in pages():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        if check:
            print(f"{path.relative_to(ROOT)} is not up to date: run python docs/generate.py")
        else:
            path.write_text(text, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} written")
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
