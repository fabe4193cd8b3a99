"""Spec strings: ``focal:gamma=2`` becomes the function with its keyword bound.

A choice that has options of its own is written ``name:key=value,key=value``. The name is looked up
in a registry of `choices`, or imported: ``package.module:function`` and ``file:function`` name a
function of the user's own, in the current folder or on Python's path. Options are the keyword-only
parameters of the function; their annotations give the types.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from imbalance_study.config.choice import Registry


class Spec(NamedTuple):
    """A parsed spec string; the values are still text."""

    name: str
    options: dict[str, str]

    def __str__(self) -> str:
        """Write the spec string in canonical form."""
        options = ",".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.name}:{options}" if options else self.name


def parse(text: str) -> Spec:
    """Split ``name:key=value,key=value``, ``module:function`` or ``module:function:key=value``.

    The part behind the first colon is the name of a function where it is a word without ``=``, or
    where the module has a dot.

    Raises:
        ValueError: The name is empty, an option has no ``=``, or an option comes twice.
    """
    name, _, rest = text.strip().partition(":")
    function, _, options_of_it = rest.partition(":")
    module = "." in name and "/" not in name  # timm/NAME.TAG is a model
    if module or (name.isidentifier() and function.strip().isidentifier()):
        name, rest = f"{name}:{function.strip()}", options_of_it
    if not name or name.endswith(":"):
        raise ValueError(f"a spec is 'name' or 'name:key=value,key=value', got {text!r}")
    options: dict[str, str] = {}
    for part in rest.split(",") if rest else ():
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key or not value:
            raise ValueError(f"a spec is 'name:key=value,key=value', got {part!r} in {text!r}")
        if key in options:
            raise ValueError(f"{key} comes twice in {text!r}")
        options[key] = value
    return Spec(name, options)


def parse_chain(text: str) -> list[Spec]:
    """Split a chain such as ``crop+flip+cutout:size=8``; ``none`` is the empty chain."""
    if text.strip() == "none":
        return []
    return [parse(part) for part in text.split("+")]


def check_name(registry: Registry, name: str, kind: str, known: Iterable[str] = ()) -> None:
    """Refuse a name that neither is in the registry nor can be a function of the user's own.

    Args:
        registry: The choices of one option.
        name: The name of a spec.
        kind: What is chosen, for the message ("loss").
        known: The names to list in the message, where they are not all of the registry.

    Raises:
        ValueError: An unknown name, or an option without a value (``focal:gamma``).
    """
    module, colon, function = name.partition(":")
    if colon and module in registry:
        raise ValueError(
            f"a spec is 'name:key=value,key=value', got {function!r} in {name!r}; a file of your "
            f"own may not have the name of the {kind} {module}"
        )
    if not colon and name not in registry:
        raise ValueError(f"unknown {kind} {name!r}; known: {', '.join(known or registry)}")


def find(registry: Registry, name: str, kind: str) -> Callable[..., Any]:
    """Import the function of a name in the registry, or of ``module:function``.

    Raises:
        ValueError: The name is not known (the message lists the known ones) or not importable.
    """
    callable_ones = {known: choice for known, choice in registry.items() if choice.address}
    check_name(callable_ones, name, kind)
    return callable_ones[name].load() if name in callable_ones else _own(name, kind)


def _own(address: str, kind: str) -> Callable[..., Any]:
    """Import a function of the user's own; the current folder is looked at first."""
    module, _, attribute = address.partition(":")
    folder = os.getcwd()
    if folder not in sys.path:  # as `python -m` does
        sys.path.insert(0, folder)
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:  # "..x", ":f"
        raise ValueError(f"{kind} {address!r} cannot be imported: {error}") from error
    if not callable(found):
        raise ValueError(f"{kind} {address!r} is not a function")
    return typing.cast(Callable[..., Any], found)


def functions(registry: Registry) -> dict[str, Callable[..., Any]]:
    """Import the functions of a registry: name to function."""
    return {name: choice.load() for name, choice in registry.items() if choice.address}


def options_of(
    function: Callable[..., Any], reserved: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Return name and type of each keyword-only parameter, without the `reserved` ones.

    The caller supplies the reserved ones itself (``progress`` of a sampler); see
    `choice.SUPPLIED`.
    """
    hints = typing.get_type_hints(function)
    return {
        name: hints.get(name, str)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in reserved
    }


def takes(function: Callable[..., Any], name: str) -> bool:
    """Return whether `function` has a parameter called `name`."""
    return name in inspect.signature(function).parameters


def bind(
    registry: Registry, text: str | Spec, kind: str, reserved: frozenset[str] = frozenset()
) -> Callable[..., Any]:
    """Import the function that a spec string names, and bind its options.

    Args:
        registry: The choices of one option.
        text: The spec string, or a Spec.
        kind: What is chosen, for messages ("loss").
        reserved: Keyword-only parameters that are no options.

    Raises:
        ValueError: Unknown name, unknown option (the message lists the options of the function),
            or a value of the wrong type.
    """
    spec = text if isinstance(text, Spec) else parse(text)
    return with_options(find(registry, spec.name, kind), spec, kind, reserved)


def with_options(
    function: Callable[..., Any], spec: Spec, kind: str, reserved: frozenset[str] = frozenset()
) -> Callable[..., Any]:
    """Bind the options of a spec to a function, converted to their annotated types.

    Raises:
        ValueError: As `bind`.
    """
    known = options_of(function, reserved)
    values = {}
    for key, value in spec.options.items():
        if key not in known:
            takes_what = ", ".join(known) if known else "none"
            raise ValueError(f"{kind} {spec.name} has no option {key!r}; it takes: {takes_what}")
        values[key] = convert(value, known[key], f"{key} of {kind} {spec.name}")
    return functools.partial(function, **values) if values else function


def convert(value: Any, annotation: Any, what: str) -> Any:
    """Convert text to the annotated type: bool, int, float, str, a Literal, or a union of these.

    Raises:
        ValueError: With rule and value: "gamma of loss focal must be a number, got 'x'".
    """
    origin: Any = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(annotation)
        for option in sorted(options, key=_is_no_literal):
            try:
                return convert(value, option, what)
            except ValueError:
                continue
        names = " or ".join(_type_name(option) for option in options)
        raise ValueError(f"{what} must be {names}, got {value!r}")
    if origin is typing.Literal:
        choices = typing.get_args(annotation)
        for choice in choices:
            if str(choice) == str(value).strip():
                return choice
        raise ValueError(f"{what} must be one of {', '.join(map(str, choices))}, got {value!r}")
    if annotation is str:
        return str(value)
    try:
        return _CONVERTERS[annotation](str(value).strip())
    except (ValueError, OverflowError):
        message = f"{what} must be {_type_name(annotation)}, got {value!r}"
        raise ValueError(message) from None


def _is_no_literal(annotation: Any) -> bool:
    origin: Any = typing.get_origin(annotation)
    return origin is not typing.Literal


def _to_bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower() == "true"


def _to_int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        number = float(text)  # 1e4
        if not number.is_integer():
            raise
        return int(number)


def _to_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


_CONVERTERS: dict[Any, Callable[[str], Any]] = {bool: _to_bool, int: _to_int, float: _to_float}


def _type_name(annotation: Any) -> str:
    origin: Any = typing.get_origin(annotation)
    if origin is typing.Literal:
        return " or ".join(map(repr, typing.get_args(annotation)))
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return names.get(annotation, str(annotation))
