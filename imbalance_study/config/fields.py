"""Dataclasses of options: one declaration gives the check, the help and the command-line option.

An option is a dataclass field made by `option`: a scalar with a default, a group, a help text and
optionally choices and bounds. `Config` and the settings of the other commands consist of them;
`imbalance_study.cli.options` derives the command line.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import sys
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from imbalance_study.config import spec
from imbalance_study.config.choice import Registry

# More names than this do not fit into a message.
_MANY = 25


def option(
    default: Any,
    group: str,
    help: str,
    *,
    choices: Registry | None = None,
    chain: bool = False,
    open_choice: bool = False,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    changes_result: bool = True,
    formerly: str = "",
) -> Any:
    """Make a dataclass field with the metadata for check, help page and command line.

    Args:
        default: A scalar; never None.
        group: Heading on the help page.
        help: One or two sentences: meaning and unit.
        choices: Names that a spec string can start with.
        chain: Several specs joined by ``+``.
        open_choice: Other names than the listed ones are valid too (any torchvision model).
        minimum: Smallest value that is allowed; `maximum` likewise.
        maximum: Largest value that is allowed.
        above: The value must be larger than this; `below` likewise.
        below: The value must be smaller than this.
        changes_result: Whether the value affects the result of a run; the place of its record
            does not.
        formerly: The name of the option in the previous version; it is still understood.
    """
    metadata = {
        "group": group,
        "help": help,
        "choices": choices,
        "chain": chain,
        "open_choice": open_choice,
        "bounds": {"minimum": minimum, "maximum": maximum, "above": above, "below": below},
        "changes_result": changes_result,
        "formerly": formerly,
    }
    return dataclasses.field(default=default, metadata=metadata)


_HINTS: dict[type, dict[str, Any]] = {}  # resolved once: it is slow


def types_of(settings: type) -> dict[str, Any]:
    """Return the annotated type of each option."""
    if settings not in _HINTS:
        _HINTS[settings] = typing.get_type_hints(settings)
    return _HINTS[settings]


def former_names(settings: type) -> dict[str, str]:
    """Return the name in the previous version of each renamed option, and its present name."""
    fields = dataclasses.fields(settings)
    return {one.metadata["formerly"]: one.name for one in fields if one.metadata["formerly"]}


def renamed(settings: type, given: Mapping[str, Any], *, note: bool = True) -> dict[str, Any]:
    """Replace the names of the previous version by the present ones.

    Args:
        settings: Dataclass of options.
        given: Option to value.
        note: Say so on stderr, once for each name. Not for stored values: nobody typed them.

    Raises:
        ValueError: An option is given under both names.
    """
    present: dict[str, Any] = {}
    for name, value in given.items():
        new = present_name(settings, name, note=note)
        if new != name and new in given:
            raise ValueError(f"{name} is now {new}; both are given, leave {name} out")
        present[new] = value
    return present


def present_name(settings: type, name: str, *, note: bool = True) -> str:
    """Replace the name of an option in the previous version by the present one; see `renamed`."""
    new = former_names(settings).get(name, name)
    if new != name and note:
        _note(name, new)
    return new


@functools.cache
def _note(old: str, new: str) -> None:
    print(f"{old} is now {new}; the next version does not know {old} any more", file=sys.stderr)


def parse_values(settings: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Convert text to typed values, by the annotations of the dataclass.

    Raises:
        ValueError: An unknown name (the message names the nearest known ones), or a value that
            is not of the annotated type.
    """
    hints = types_of(settings)
    values = {}
    for name, value in renamed(settings, given).items():
        if name not in hints:
            raise ValueError(unknown(name, hints, "option"))
        values[name] = spec.convert(value, hints[name], name)
    return values


def unknown(name: str, known: Iterable[str], kind: str) -> str:
    """Write the message for an unknown name: close matches, else all names if they are few."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return f"unknown {kind} {name!r}; did you mean {' or '.join(close)}?"
    if len(known) > _MANY:
        return f"unknown {kind} {name!r}"
    return f"unknown {kind} {name!r}; known: {', '.join(known)}"


def check(settings: Any) -> None:
    """Check every option of a settings object against its own bounds and choices.

    Raises:
        ValueError: With the rule, the value and the possible values.
    """
    hints = types_of(type(settings))
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        spec.convert(value, hints[field.name], field.name)
        if field.metadata["choices"] is not None:
            _check_names(field, value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            _check_bounds(field.name, value, field.metadata["bounds"])


def _check_bounds(name: str, value: float, bounds: Mapping[str, float | None]) -> None:
    rules = {
        "minimum": ("at least", lambda bound: value >= bound),
        "maximum": ("at most", lambda bound: value <= bound),
        "above": ("larger than", lambda bound: value > bound),
        "below": ("smaller than", lambda bound: value < bound),
    }
    for rule, bound in bounds.items():
        words, holds = rules[rule]
        if bound is not None and not holds(bound):
            raise ValueError(f"{name} must be {words} {bound:g}, got {value:g}")


def _check_names(field: dataclasses.Field[Any], value: str) -> None:
    choices = field.metadata["choices"]
    called = any(choice.address for choice in choices.values())
    specs = spec.parse_chain(value) if field.metadata["chain"] else [spec.parse(value)]
    for one in specs:
        if ":" in one.name and not called:
            raise ValueError(f"unknown {field.name} {one.name!r}; known: {', '.join(choices)}")
        if ":" in one.name or not field.metadata["open_choice"]:
            spec.check_name(choices, one.name, field.name)
