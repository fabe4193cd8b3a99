"""Build the search space of a study, and turn a point of it into a configuration.

A dimension exists under conditions (`when`), and its value is written into an option or into an
option of a spec (`writes`). Given options are fixed and leave the search. Choices that
`config.compatibility` would refuse together with them leave it too, so that every proposal is
valid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from imbalance_study.config import fields, spec
from imbalance_study.config.resolve import Resolved, resolve
from imbalance_study.config.schema import Config
from imbalance_study.studies.search.axes import (
    BASELINES,
    FORMS,
    GROUPS,
    INDEPENDENT,
    OFF,
    SPACE,
    SPECS,
    Axis,
)

Draw = Callable[[Axis], Any]


class Space(NamedTuple):
    """The dimensions of one study, and its fixed options."""

    axes: tuple[Axis, ...]
    fixed: dict[str, str]  # options, as typed
    names: dict[str, str]  # option to the name of its fixed spec, on which conditions may depend


class Proposal(NamedTuple):
    """One point of the space."""

    values: dict[str, Any]  # dimension to value, where the dimension exists
    resolved: Resolved


def build(search: str, given: Mapping[str, str]) -> Space:
    """Build the search space of a study.

    A given option is fixed. A spec that is given by its name alone (``loss=focal``) leaves its own
    options to the search; several models (``model=a|b``) become a dimension.

    Args:
        search: Names of GROUPS, separated by ``|``.
        given: Options of the runs, as typed.

    Raises:
        ValueError: An unknown group, nothing is left to search, or the given options exclude every
            choice of the search.
    """
    groups = parse_groups(search)
    fixed = {name: value for name, value in given.items() if value != "auto"}
    axes = [axis for axis in SPACE if set(axis.groups) & set(groups)]
    models = [one.strip() for one in fixed.get("model", "").split("|")]
    if len(models) > 1:
        del fixed["model"]
        axes.append(Axis("model", (), "model", models[0], tuple(models)))
    base = _base(fixed)
    axes = [kept for axis in axes if (kept := _reduce(axis, fixed)) is not None]
    axes = [axis for axis in axes if not _idle(axis, base)]
    searched = {axis.writes for axis in axes}
    names = {
        option: spec.parse(getattr(Config if option in searched else base, option)).name
        for option in SPECS
    }
    space = _feasible(Space(tuple(axes), fixed, names))
    if not any(len(axis.choices) != 1 for axis in space.axes):
        raise ValueError(
            f"search={search} has nothing left to search, because {', '.join(fixed)} are given; "
            f"the groups are {', '.join(GROUPS)}"
        )
    return space


def parse_groups(search: str) -> tuple[str, ...]:
    """Parse the groups of ``loss|sampler``.

    Raises:
        ValueError: An unknown group.
    """
    groups = tuple(part.strip() for part in search.split("|"))
    for group in groups:
        if group not in GROUPS:
            raise ValueError(fields.unknown(group, GROUPS, "search group"))
    return groups


def _base(fixed: Mapping[str, str]) -> Config:
    """Resolve the given options that the space depends on."""
    relevant = {*SPECS, "dataset", "recipe", "batch_size", "lr", "weight_decay", "model"}
    alone = {name: value for name, value in fixed.items() if name in relevant}
    try:
        return resolve(alone).config
    except ValueError:
        return resolve({name: alone[name] for name in alone if name not in SPECS[:3]}).config


def _reduce(axis: Axis, fixed: dict[str, str]) -> Axis | None:
    """Reduce a dimension to the part that is not given; None where nothing is left."""
    option, _, key = axis.writes.partition(":")
    if option not in fixed:
        return axis
    if option not in SPECS:
        return None
    typed = spec.parse(fixed[option])
    if key:
        return None if key in typed.options else axis
    return axis._replace(choices=(typed.name,), default=typed.name) if axis.choices else None


def _idle(axis: Axis, base: Config) -> bool:
    """Whether a dimension is a factor of 0."""
    return axis.form == "factor" and getattr(base, axis.writes) == 0


def _feasible(space: Space) -> Space:
    """Leave out the choices that are refused in every combination with the other dimensions.

    Resolves every combination of choices twice: 140 combinations for all groups, which takes
    half a second.

    Raises:
        ValueError: No combination is valid, or some remain invalid.
    """
    refused = ""
    for _ in range(2):
        used: dict[str, set[Any]] = {}
        refused = ""
        valid = 0
        for values in _combinations(space):
            try:
                options_of(space, values)
            except ValueError as error:
                refused = refused or str(error)
                continue
            valid += 1
            for name, value in values.items():
                used.setdefault(name, set()).add(value)
        if not valid:
            raise ValueError(
                f"no combination of the search is valid with the given options: {refused}"
            )
        axes = [_restrict(axis, used) for axis in space.axes]
        space = space._replace(axes=tuple(axis for axis in axes if axis is not None))
    if refused:
        raise ValueError(f"the search contains an invalid combination: {refused}")
    names = space.names | {a.name: a.choices[0] for a in space.axes if len(a.choices) == 1}
    return space._replace(names=names)


def _restrict(axis: Axis, used: Mapping[str, set[Any]]) -> Axis | None:
    """Restrict a dimension to its used choices; None where none is used."""
    if axis.name not in used:
        return None
    if not axis.choices or axis.name in INDEPENDENT:
        return axis
    choices = tuple(choice for choice in axis.choices if choice in used[axis.name])
    default = axis.default if axis.default in choices else choices[0]
    return axis._replace(choices=choices, default=default)


def _combinations(space: Space) -> Iterator[dict[str, Any]]:
    """Yield every combination of the dependent choices, with numbers in mid-range."""

    def walk(position: int, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if position == len(space.axes):
            yield values
            return
        axis = space.axes[position]
        if not exists(axis, space.names | values):
            yield from walk(position + 1, values)
            return
        options: Sequence[Any] = axis.choices or (int((axis.low + axis.high) / 2 * 64) / 64,)
        if axis.name in INDEPENDENT:
            options = options[:1]
        for option in options:
            yield from walk(position + 1, values | {axis.name: option})

    yield from walk(0, {})


def exists(axis: Axis, values: Mapping[str, Any]) -> bool:
    """Whether the conditions of a dimension hold."""
    return not axis.when or any(
        all(values.get(name) in allowed for name, allowed in condition.items())
        for condition in axis.when
    )


def propose(space: Space, draw: Draw) -> Proposal:
    """Draw the dimensions that exist, in order, and resolve the configuration.

    Args:
        space: The space.
        draw: Draws a value of a dimension.
    """
    values: dict[str, Any] = {}
    for axis in space.axes:
        if exists(axis, space.names | values):
            values[axis.name] = draw(axis)
    return Proposal(values, options_of(space, values))


def options_of(space: Space, values: Mapping[str, Any]) -> Resolved:
    """Resolve the configuration of a point.

    Raises:
        ValueError: The point is invalid.
    """
    given = dict(space.fixed)
    if given.get("recipe", "none") != "none":  # remedies that the point lacks are off
        lacking = {a.writes for a in space.axes if a.writes in OFF and a.name not in values}
        given |= {option: str(getattr(Config, option)) for option in lacking}
    axes = {axis.name: axis for axis in space.axes}
    relative = []  # to the value that the other options lead to
    for name, value in values.items():
        if axes[name].form == "factor" or name == "more_augment":
            relative.append((axes[name], value))
        else:
            _write(axes[name], value, given)
    base = resolve(given).config if relative else None
    for axis, value in relative:
        usual = getattr(base, axis.writes)
        if axis.form == "factor":
            given[axis.writes] = f"{usual * value:.5g}"
        elif value != "none":
            given[axis.writes] = value if usual == "none" else f"{usual}+{value}"
    return resolve(given)


def _write(axis: Axis, value: Any, given: dict[str, str]) -> None:
    """Write the value of a dimension into its option, or into an option of its spec."""
    option, _, key = axis.writes.partition(":")
    if key:
        whole = spec.parse(given.get(option) or getattr(Config, option))
        text = FORMS[axis.form](value)
        given[option] = str(whole._replace(options={**whole.options, key: text}))
    elif not axis.choices:
        given[option] = FORMS[axis.form](value)
    elif option not in given or spec.parse(given[option]).name != value:
        given[option] = value


def baselines(space: Space) -> dict[str, dict[str, Any]]:
    """Find the baselines that the space contains; returns name to values."""
    points: dict[str, dict[str, Any]] = {}
    base = _base(space.fixed)
    for name, wanted in BASELINES.items():
        values = propose(space, lambda axis, wanted=wanted: _value(axis, wanted, base)).values  # type: ignore[misc]
        context = space.names | values
        known = {axis.name for axis in space.axes} | set(space.names) | {"defer"}
        if any(context.get(key) != value for key, value in wanted.items() if key in known):
            continue
        if values in points.values():
            points = {other: point for other, point in points.items() if point != values}
        points[name] = values
    return points


def _value(axis: Axis, wanted: Mapping[str, Any], base: Config) -> Any:
    """Choose the value of a dimension in a baseline."""
    value = wanted.get(axis.name, axis.default)
    if axis.name == "optimizer" and value == "":
        value = spec.parse(base.optimizer).name
    if axis.name == "log2_batch_size" and value == "":
        size = Config.batch_size if base.batch_size == "auto" else base.batch_size
        value = min(max(int(size).bit_length() - 1, int(axis.low)), int(axis.high))
    if axis.choices and value not in axis.choices:
        return axis.choices[0]
    return value


def describe(space: Space) -> dict[str, Any]:
    """Describe the space as plain data, for the signature of a study."""
    axes = {}
    for axis in space.axes:
        bounds: Any = list(axis.choices) or [axis.low, axis.high]
        axes[axis.name] = {"values": bounds, "log": axis.log, "when": [*map(dict, axis.when)]}
    return axes
