"""SPACE: what a study searches, one row a dimension; and from a draw of it to options.

A dimension exists under conditions (`when`), its value is written into an option or into an option
of a
spec (`writes`). What the user gives is fixed and leaves the search. Of the choices those stay that
`guards` lets through together with what is fixed, so that no proposal is ever refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from imbalance_study.config import choices, fields, spec
from imbalance_study.config.choice import Registry, with_trait
from imbalance_study.config.resolve import Resolved, resolve
from imbalance_study.config.schema import Config

When = tuple[dict[str, tuple[str, ...]], ...]


class Axis(NamedTuple):
    """One dimension of the search.

    Attributes:
        name: Of the parameter.
        groups: Of `search`; one that is asked for is enough.
        writes: ``option``, or ``option:key`` for an option of a spec.
        default: Of the baselines; ``""``: the configuration's own.
        choices: Of a categorical dimension; empty for a number.
        low: Smallest number.
        high: Largest.
        log: Whether its logarithm counts.
        whole: Whether it is a whole number.
        form: How the number is written; see `_FORMS`.
        when: It exists where all conditions of one of these hold; always where there are none.
    """

    name: str
    groups: tuple[str, ...]
    writes: str
    default: Any
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    form: str = "number"
    when: When = ()


Draw = Callable[[Axis], Any]

GROUPS = {
    "loss": "loss, its options, class weights, label smoothing, deferral",
    "sampler": "sampler and its options, deferral",
    "optimizer": "optimizer, learning rate, weight decay, batch size",
    "augment": "more augmentation, mixing and its strength",
}


def _searched(registry: Registry) -> tuple[str, ...]:
    return with_trait(registry, "searched")


_CORRECTING = with_trait(choices.LOSSES, "correcting")
_PLAIN = tuple(name for name in _searched(choices.LOSSES) if name not in _CORRECTING)
_UNWEIGHTED = {"loss": _PLAIN, "class_weights": ("none",)}
_WEIGHTS = _searched(choices.CLASS_WEIGHTS)
_SAMPLERS = _searched(choices.SAMPLERS)
_MIXES = _searched(choices.MIXES)

SPACE: tuple[Axis, ...] = (
    Axis("loss", ("loss",), "loss", "cross_entropy", _searched(choices.LOSSES)),
    Axis("label_smoothing", ("loss",), "label_smoothing", 0.0, high=0.2,
         when=({"loss": ("cross_entropy",)},)),
    Axis("gamma", ("loss",), "loss:gamma", 2.0, low=0.5, high=4,
         when=({"loss": ("focal", "sigmoid_focal")},)),
    Axis("tau", ("loss",), "loss:tau", 1.0, low=0.25, high=2.5,
         when=({"loss": ("logit_adjusted", "vs")},)),
    Axis("vs_gamma", ("loss",), "loss:gamma", 0.15, low=0.02, high=0.4,
         when=({"loss": ("vs",)},)),
    Axis("margin", ("loss",), "loss:max_m", 0.5, low=0.1, high=1, when=({"loss": ("ldam",)},)),
    Axis("class_weights", ("loss",), "class_weights", "none", ("none", *_WEIGHTS),
         when=({"loss": _PLAIN},)),
    Axis("log10_one_minus_beta", ("loss",), "class_weights:beta", -4.0, low=-5, high=-1,
         form="one minus power", when=({"class_weights": ("effective",)},)),
    Axis("sampler", ("sampler",), "sampler", "shuffle", ("shuffle", *_SAMPLERS),
         when=(_UNWEIGHTED,)),
    Axis("q", ("sampler",), "sampler:q", 0.5, low=0, high=0.9, when=({"sampler": ("power",)},)),
    Axis("defer", ("loss", "sampler"), "defer", 0.0, high=0.9,
         when=({"class_weights": _WEIGHTS}, {"sampler": _SAMPLERS})),
    Axis("optimizer", ("optimizer",), "optimizer", "", _searched(choices.OPTIMIZERS)),
    Axis("lr_factor", ("optimizer",), "lr", 1.0, low=0.1, high=10, log=True, form="factor"),
    Axis("weight_decay_factor", ("optimizer",), "weight_decay", 1.0, low=0.1, high=10, log=True,
         form="factor"),
    Axis("log2_batch_size", ("optimizer",), "batch_size", "", low=4, high=8, whole=True,
         form="power of two"),
    Axis("more_augment", ("augment",), "augment", "none",
         ("none", *_searched(choices.AUGMENTATIONS))),
    Axis("mix", ("augment",), "mix", "none", ("none", *_MIXES)),
    Axis("mix_alpha", ("augment",), "mix:alpha", 1.0, low=0.1, high=2, log=True,
         when=({"mix": _MIXES},)),
)  # fmt: skip

# What is tried first, at default settings, where the search holds it; a dimension that is not named
# has its default. Every loss is among them: a search that never meets one does not learn of it.
BASELINES: dict[str, dict[str, Any]] = {
    "default": {},
    "cross_entropy": {"loss": "cross_entropy"},
    "balanced_softmax": {"loss": "balanced_softmax"},
    "ldam_drw": {"loss": "ldam", "class_weights": "effective", "defer": 0.8},
    "effective_weights": {"loss": "cross_entropy", "class_weights": "effective"},
    "class_balanced_sampler": {"loss": "cross_entropy", "sampler": "class_balanced"},
    "logit_adjusted": {"loss": "logit_adjusted", "tau": 1.5},  # tau 1 is balanced softmax
    "focal": {"loss": "focal"},
    "vs": {"loss": "vs"},
    "sigmoid_focal": {"loss": "sigmoid_focal"},
}

_FORMS: dict[str, Callable[[float], str]] = {
    "number": lambda value: f"{value:.6g}",
    "one minus power": lambda value: f"{1 - 10**value:.9g}",
    "power of two": lambda value: str(2 ** int(value)),
}


class Space(NamedTuple):
    """The dimensions of one study and what stays fixed."""

    axes: tuple[Axis, ...]
    fixed: dict[str, str]  # options as given
    names: dict[str, str]  # of the specs that are fixed: conditions may depend on them


class Proposal(NamedTuple):
    """One point of the space."""

    values: dict[str, Any]  # of the dimensions that exist
    resolved: Resolved


def build(search: str, given: Mapping[str, str]) -> Space:
    """The dimensions that a study searches.

    An option that is given is fixed. A spec that is given by its name alone (``loss=focal``) leaves
    its own options to the search; of several names apart by ``|`` (``model=a|b``) one is chosen.

    Args:
        search: Names of GROUPS apart by ``|``.
        given: Options of the runs, as typed.

    Raises:
        ValueError: An unknown group, nothing is left to search, or what is given goes with no
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
    axes = [kept for axis in axes if (kept := _not_given(axis, fixed)) is not None]
    axes = [axis for axis in axes if not _idle(axis, base)]
    searched = {axis.writes for axis in axes}
    names = {
        option: spec.parse(getattr(Config if option in searched else base, option)).name
        for option in _SPECS
    }
    space = _feasible(Space(tuple(axes), fixed, names))
    if not any(len(axis.choices) != 1 for axis in space.axes):
        raise ValueError(
            f"search={search} has nothing left to search: {', '.join(fixed)} are given; "
            f"groups are {', '.join(GROUPS)}"
        )
    return space


def parse_groups(search: str) -> tuple[str, ...]:
    """The groups of ``loss|sampler``.

    Raises:
        ValueError: An unknown group.
    """
    groups = tuple(part.strip() for part in search.split("|"))
    for group in groups:
        if group not in GROUPS:
            raise ValueError(fields.unknown(group, GROUPS, "search group"))
    return groups


OFF = ("class_weights", "sampler", "mix", "label_smoothing", "defer")  # off by Config's default
_SPECS = ("loss", "class_weights", "sampler", "mix", "optimizer")


def _base(fixed: Mapping[str, str]) -> Config:
    """Resolve the options that the space depends on, without the search; unguarded ones only."""
    looked_at = {*_SPECS, "dataset", "recipe", "batch_size", "lr", "weight_decay", "model"}
    alone = {name: value for name, value in fixed.items() if name in looked_at}
    try:
        return resolve(alone).config
    except ValueError:
        return resolve({name: alone[name] for name in alone if name not in _SPECS[:3]}).config


def _not_given(axis: Axis, fixed: dict[str, str]) -> Axis | None:
    """The dimension without what is given; None where nothing of it is left."""
    option, _, key = axis.writes.partition(":")
    if option not in fixed:
        return axis
    if option not in _SPECS:
        return None
    typed = spec.parse(fixed[option])
    if key:
        return None if key in typed.options else axis
    return axis._replace(choices=(typed.name,), default=typed.name) if axis.choices else None


def _idle(axis: Axis, base: Config) -> bool:
    """Whether a factor multiplies 0."""
    return axis.form == "factor" and getattr(base, axis.writes) == 0


def _feasible(space: Space) -> Space:
    """Leave out the choices that the guards refuse whatever the other dimensions are.

    Raises:
        ValueError: Nothing is left, or a refused combination would be.
    """
    refused = ""
    for _ in range(2):
        used: dict[str, set[Any]] = {}
        refused = ""
        found = 0
        for values in _combinations(space):
            try:
                options_of(space, values)
            except ValueError as error:
                refused = refused or str(error)
                continue
            found += 1
            for name, value in values.items():
                used.setdefault(name, set()).add(value)
        if not found:
            raise ValueError(f"no combination of the search goes with what is given: {refused}")
        axes = [_only(axis, used) for axis in space.axes]
        space = space._replace(axes=tuple(axis for axis in axes if axis is not None))
    if refused:
        raise ValueError(f"the search cannot keep clear of a combination: {refused}")
    names = space.names | {a.name: a.choices[0] for a in space.axes if len(a.choices) == 1}
    return space._replace(names=names)


_INDEPENDENT = ("optimizer", "more_augment", "model")  # no guard looks at them


def _only(axis: Axis, used: Mapping[str, set[Any]]) -> Axis | None:
    if axis.name not in used:
        return None
    if not axis.choices or axis.name in _INDEPENDENT:
        return axis
    choices = tuple(choice for choice in axis.choices if choice in used[axis.name])
    default = axis.default if axis.default in choices else choices[0]
    return axis._replace(choices=choices, default=default)


def _combinations(space: Space) -> Iterator[dict[str, Any]]:
    """Every combination of the choices that guards look at; numbers in the middle."""

    def walk(position: int, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if position == len(space.axes):
            yield values
            return
        axis = space.axes[position]
        if not exists(axis, space.names | values):
            yield from walk(position + 1, values)
            return
        options: Sequence[Any] = axis.choices or (int((axis.low + axis.high) / 2 * 64) / 64,)
        if axis.name in _INDEPENDENT:
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
    """Draw the dimensions that exist, in their order, and resolve the configuration.

    Args:
        space: The space.
        draw: A dimension to a value of it.
    """
    values: dict[str, Any] = {}
    for axis in space.axes:
        if exists(axis, space.names | values):
            values[axis.name] = draw(axis)
    return Proposal(values, options_of(space, values))


def options_of(space: Space, values: Mapping[str, Any]) -> Resolved:
    """The configuration of a point.

    Raises:
        ValueError: The point is none of the space.
    """
    given = dict(space.fixed)
    if given.get("recipe", "none") != "none":  # what is searched and not drawn is not the recipe's
        idle = {a.writes: a for a in space.axes if a.writes in OFF and a.name not in values}
        given |= {option: str(getattr(Config, option)) for option in idle}
    rows = {axis.name: axis for axis in space.axes}
    late = []
    for name, value in values.items():
        axis = rows[name]
        option, _, key = axis.writes.partition(":")
        if axis.form == "factor" or axis.name == "more_augment":
            late.append((axis, value))
        elif key:
            whole = spec.parse(given.get(option) or getattr(Config, option))
            text = _FORMS[axis.form](value)
            given[option] = str(whole._replace(options={**whole.options, key: text}))
        elif axis.choices:
            if option not in given or spec.parse(given[option]).name != value:
                given[option] = value
        else:
            given[option] = _FORMS[axis.form](value)
    base = resolve(given).config if late else None
    for axis, value in late:
        usual = getattr(base, axis.writes)
        if axis.form == "factor":
            given[axis.writes] = f"{usual * value:.5g}"
        elif value != "none":
            given[axis.writes] = value if usual == "none" else f"{usual}+{value}"
    return resolve(given)


def baselines(space: Space) -> dict[str, dict[str, Any]]:
    """The values of each baseline that the space holds, by its name."""
    found: dict[str, dict[str, Any]] = {}
    base = _base(space.fixed)
    for name, wanted in BASELINES.items():
        values = propose(space, lambda axis, wanted=wanted: _value(axis, wanted, base)).values  # type: ignore[misc]
        context = space.names | values
        known = {axis.name for axis in space.axes} | set(space.names) | {"defer"}
        if any(context.get(key) != value for key, value in wanted.items() if key in known):
            continue
        if values in found.values():
            found = {old: there for old, there in found.items() if there != values}
        found[name] = values
    return found


def _value(axis: Axis, wanted: Mapping[str, Any], base: Config) -> Any:
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
    """The space as plain data: what a study is known by, beside its objective and its data."""
    axes = {}
    for axis in space.axes:
        bounds: Any = list(axis.choices) or [axis.low, axis.high]
        axes[axis.name] = {"values": bounds, "log": axis.log, "when": [*map(dict, axis.when)]}
    return axes
